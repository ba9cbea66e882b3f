# What compose_test.sh is made of: the engine, the stack under a name of its own, and questions to it.
# Sourced, in the directory of the repository.

sandbox=${LAUNCHDAY_COMPOSE_SANDBOX:-../shared/compose-sandbox.sh}
project=launchday-test-$$
export TARGET_PUBLISHED_PORT=0 PROMETHEUS_PUBLISHED_PORT=0 GRAFANA_PUBLISHED_PORT=0
export LOCUST_PUBLISHED_PORT=0 REPORTS_PUBLISHED_PORT=0
# A fifth of the default: two cores have to carry generator, target and database at once.
export TARGET_SLOTS=4 TARGET_SHEDDING=on
export LOCUST_WORKERS=2 # the last one's death ends a test of Locust
export COMPOSE_SANDBOX_STANDINS=$PWD/tests/compose/standins

say() { printf 'compose-test %3d s: %s\n' "$SECONDS" "$*"; }
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
  # As docs/compose.md says it, which has to be enough; the images are ours to remove.
  compose down --volumes --timeout 5 >/dev/null 2>&1 || true
  local label=label=com.docker.compose.project=$project left
  left=$(docker ps --all --quiet --filter "$label"
         docker volume ls --quiet --filter "$label"; docker network ls --quiet --filter "$label")
  compose --profile '*' down --volumes --remove-orphans --rmi local --timeout 5 >/dev/null 2>&1 || true
  left+=$(docker image ls --quiet --filter "$label")
  if [ -n "$left" ]; then
    say "FAILED: something of $project was left:" $left
    status=1
  fi
  [ "$status" != 0 ] || say "PASSED, and nothing is left"
  exit "$status"
}

up() { limit=200 compose up --detach --no-recreate --wait --wait-timeout 180 "$@" >/dev/null 2>&1; }

query() { compose exec -T prometheus promtool query instant http://127.0.0.1:9090 "$1"; }
# The number that a query finds, 0 if nothing.
number() {
  local found
  found=$(query "$1" | sed -n '1s/.* => \([^ ]*\) @.*/\1/p') || fail "Prometheus refused the query $1"
  printf '%.0f\n' "${found:-0}"
}

# until_true SECONDS WORDS COMMAND...: tries it every second.
until_true() {
  local end=$((SECONDS + $1)) words=$2
  shift 2
  until "$@"; do
    [ "$SECONDS" -lt "$end" ] || fail "not within the time: $words"
    sleep 1
  done
}
more_than() { [ "$(number "$1")" -gt "$2" ]; }

moved() {
  local rise
  rise=$(number "sum(increase($1[10m]))")
  [ "$rise" -gt 0 ] || fail "Prometheus has no movement in $1"
  say "Prometheus: $1 rose by $rise"
}

# swarm NAME=VALUE...: Locust's web UI starts launch_day with these.
swarm() {
  compose exec -T locust-master python -c '
import sys, urllib.parse, urllib.request
form = {"user_count": 1, "spawn_rate": 1, "host": "http://balancer:8000"}
form |= dict(pair.split("=") for pair in sys.argv[1:])
urllib.request.urlopen("http://127.0.0.1:8089/swarm", urllib.parse.urlencode(form).encode())' "$@"
}
end_swarm() {
  compose exec -T locust-master python -c '
import urllib.request
urllib.request.urlopen("http://127.0.0.1:8089/stop", b"")'
}

# connects SERVICE HOST PORT: can a process in the service's container?
connects() {
  compose exec -T "$1" python -c '
import socket, sys
socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)' "$2" "$3" >/dev/null 2>&1
}
