#!/bin/bash
# The stack of docker-compose.yml on a real engine: starts it under a name of its own, waits until
# every service is healthy, conducts a short surge with a fault, asks Prometheus whether the series
# moved and the fault was seen, and Toxiproxy whether it is gone, and removes everything again.
#
# Exit: 0 passed, 1 failed, 77 not possible here (the reason is printed).
# LAUNCHDAY_COMPOSE_SANDBOX names a script that provides an engine and images where no image
# registry is reachable: it is called as `SCRIPT images DIRECTORY`, 77 meaning "not possible".
set -euo pipefail
cd "$(dirname "$0")/../.."

sandbox=${LAUNCHDAY_COMPOSE_SANDBOX:-../shared/compose-sandbox.sh}
project=launchday-test-$$
export TARGET_PUBLISHED_PORT=0 PROMETHEUS_PUBLISHED_PORT=0 GRAFANA_PUBLISHED_PORT=0
export LOCUST_PUBLISHED_PORT=0 REPORTS_PUBLISHED_PORT=0
# A fifth of the default: two cores have to carry generator, target and database at once.
export TARGET_SLOTS=4 TARGET_SHEDDING=on
surge=(-p baseline_rps=24 -p quiet_seconds=6 -p peak_seconds=24 -p decay_seconds=2 -p tail_seconds=8)

say() { printf 'compose-test: %s\n' "$*"; }
fail() { say "FAILED: $*"; exit 1; }
skip() { say "SKIPPED: $*"; exit 77; }
compose() { timeout "${limit:-120}" docker compose --project-name "$project" --progress quiet "$@"; }
engine_major() { timeout 20 docker version --format '{{.Server.Version}}' 2>/dev/null | cut -d. -f1; }

provide_engine() {
  local reason=''
  if [ -x "$sandbox" ]; then
    reason=$(COMPOSE_SANDBOX_ALLOW_MISSING=1 timeout 600 "$sandbox" images . 2>&1 | tail -n 1) || true
  fi
  timeout 20 docker compose version >/dev/null 2>&1 || skip "no docker compose. $reason"
  [ "$(engine_major)" ] || skip "no Docker engine answers. $reason"
  [ "$(engine_major)" -ge 25 ] || skip "needs Docker Engine 25, this is $(engine_major)"
}

# Everything that has, builds or can pull its image; names what has to stay out.
startable() {
  local service image
  for service in $(compose config --services); do
    [ "$service" != grafana ] || {
      image=$(compose config --images | grep '^grafana/')
      timeout 20 docker image inspect "$image" >/dev/null 2>&1 ||
        limit=300 compose pull --quiet grafana >/dev/null 2>&1 || {
        say "without grafana: $image cannot be had here" >&2
        continue
      }
    }
    echo "$service"
  done
}

clean_up() {
  local status=$?
  trap - EXIT
  if [ "$status" != 0 ] && [ "$status" != 77 ]; then
    compose ps --all || true
    compose logs --no-color --tail 8 || true
  fi
  compose --profile '*' down --volumes --remove-orphans --rmi local --timeout 5 >/dev/null 2>&1 || true
  local label=label=com.docker.compose.project=$project
  if [ -n "$(docker ps --all --quiet --filter "$label"; docker volume ls --quiet --filter "$label"
             docker network ls --quiet --filter "$label"; docker image ls --quiet --filter "$label")" ]; then
    say "FAILED: something of $project is left, see docker ps --all --filter $label"
    status=1
  fi
  exit "$status"
}

query() { compose exec -T prometheus promtool query instant http://127.0.0.1:9090 "$1"; }

moved() {
  local found
  found=$(query "sum(increase($1[10m])) > 0") || fail "Prometheus refused the query for $1"
  [ -n "$found" ] || fail "Prometheus has no movement in $1"
  say "Prometheus: $1 rose by $(cut -d' ' -f3 <<<"$found" | cut -d. -f1)"
}

# Between runs the conductor's series are stale: what they last said is asked for over time.
fault_was_seen() {
  local active='chaos_fault_active{job="launchday",link="gateway"}' worst last waited=0
  worst=$(query "max(max_over_time(${active}[10m]))" | cut -d' ' -f3)
  last=$(query "max(last_over_time(${active}[10m]))" | cut -d' ' -f3)
  [ "$worst/$last" = 1/0 ] ||
    fail "chaos_fault_active was at most '$worst' and '$last' in the end, not 1 and then 0"
  until [ -z "$(query chaos_fault_active)" ]; do
    [ "$((waited += 1))" -le 10 ] || fail "chaos_fault_active goes on without a conductor"
    sleep 1
  done
  say "Prometheus: chaos_fault_active was 1, then 0, and ended with its conductor"
}

conduct() {
  local status=0
  limit=200 compose run --rm -T launchday run launch_day --experiment slow_gateway "${surge[@]}" ||
    status=$?
  # Breached (1) and inconclusive (2) are verdicts about a busy machine, and then a record exists.
  [ "$status" -le 2 ] || fail "the run ended with exit code $status"
  compose exec -T reports sh -c '
    cd runs/*/ && test -s run.json && test -s verdict.json && test -s report.html &&
    grep -q "\"undone\"" faults.jsonl' || fail "the run left no complete record"
  compose run --rm -T launchday audit "$(compose exec -T reports sh -c 'echo runs/*/')" ||
    fail "something was lost or doubled, or nobody can tell"
  say "the surge was conducted, exit code $status"
}

provide_engine
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mapfile -t services < <(startable)
limit=400 compose build --quiet
limit=200 compose up --detach --wait --wait-timeout 180 "${services[@]}" >/dev/null 2>&1 ||
  fail "not every service became healthy"
say "healthy: ${services[*]}"

conduct
fault_was_seen
waited=0
# On a busy machine one scrape in a while takes longer than its second.
until [ "$(query 'count(up == 1)' | cut -d' ' -f3)" = 4 ]; do
  [ "$((waited += 1))" -le 30 ] || fail "Prometheus does not reach 4 of 4 jobs: $(query 'up == 0')"
  sleep 1
done
waited=0
moved 'shed_requests_total{outcome="admitted"}'
moved shed_rejections_total
moved 'car_requests_total{route=~"/v1/.*"}'
moved 'car_dependency_seconds_count{dependency="gateway"}'
# Toxiproxy counts the bytes of a connection when it closes; the target keeps its connections.
compose stop --timeout 10 target
until [ -n "$(query 'sum(toxiproxy_proxy_received_bytes_total{proxy="gateway"}) > 0')" ]; do
  [ "$((waited += 1))" -le 30 ] || fail "Prometheus has no bytes of the link gateway"
  sleep 1
done
say "Prometheus: toxiproxy counted the bytes of the link gateway"

# Columns: name, listen, upstream, enabled or disabled, number of toxics.
links=$(compose exec -T toxiproxy /toxiproxy-cli list)
[ "$(awk '$4 == "enabled" && $5 == 0' <<<"$links" | wc -l)" = 3 ] || fail "a fault is left: $links"
left=$(compose run --rm --no-deps -T launchday chaos clear) || true
[ "$left" = "nothing of launchday is left there" ] || fail "chaos clear found: $left"
say "PASSED, no fault is left"
