#!/bin/bash
# The stack of docker-compose.yml on a real engine: starts it under a name of its own, waits until
# every service is healthy, makes a plan, conducts a short surge with a fault, asks Prometheus whether
# the series moved, the fault was seen and every query of every board has an answer, and Toxiproxy
# whether the fault is gone; has a run refuse to break what is not steady; makes an alert fire and go;
# kills a worker and the database while another surge runs; adds replicas under load; and removes
# everything again.
#
# Exit: 0 passed, 1 failed, 77 not possible here (the reason is printed).
# LAUNCHDAY_COMPOSE_SANDBOX names a script that provides an engine and images where no image
# registry is reachable: it is called as `SCRIPT images DIRECTORY`, 77 meaning "not possible".
set -euo pipefail
cd "$(dirname "$0")/../.."
# shellcheck source=tests/compose/stack.sh
. tests/compose/stack.sh

quick=(-p baseline_rps=24 -p quiet_seconds=6 -p decay_seconds=2 -p tail_seconds=8)
good='sum(rate(car_requests_total{route=~"/v1/.*",code=~"2.."}[8s]))'

# Between runs the conductor's series are stale: what they last said is asked for over time.
fault_was_seen() {
  local active='chaos_fault_active{job="launchday",link="gateway"}' worst last
  worst=$(query "max(max_over_time(${active}[10m]))" | cut -d' ' -f3)
  last=$(query "max(last_over_time(${active}[10m]))" | cut -d' ' -f3)
  [ "$worst/$last" = 1/0 ] ||
    fail "chaos_fault_active was at most '$worst' and '$last' in the end, not 1 and then 0"
  no_conductor() { [ -z "$(query chaos_fault_active)" ]; }
  until_true 10 "chaos_fault_active ends with its conductor" no_conductor
  say "Prometheus: chaos_fault_active was 1, then 0, and ended with its conductor"
}

# conduct ARGUMENT...: a surge, its whole record and its audit.
conduct() {
  local status=0 run
  limit=200 compose run --rm -T surge launch_day "$@" "${quick[@]}" || status=$?
  # Breached (1) and inconclusive (2) are verdicts about a busy machine, and then a record exists.
  [ "$status" -le 2 ] || fail "the run ended with exit code $status"
  run=$(compose exec -T reports sh -c 'ls -d runs/*-launch_day | tail -n 1')
  compose exec -T reports sh -c "
    cd $run && test -s run.json && test -s verdict.json && test -s report.html" ||
    fail "the run left no complete record"
  compose run --rm -T launchday audit "$run" || fail "something was lost or doubled, or nobody can tell"
  say "the surge was conducted, exit code $status"
}

# At the peak the target is not steady: a run whose experiment wants it steady injects nothing.
an_unsteady_target_is_left_alone() {
  local status=0 steady='chaos_steady_state_ok{job="launchday"}' least most
  limit=120 compose run --rm -T surge launch_day --experiment gateway_very_slow \
    -p peak_seconds=40 "${quick[@]}" || status=$?
  [ "$status" = 3 ] || fail "the run at an unsteady target ended with exit code $status, not 3"
  least=$(number "min(min_over_time(${steady}[2m]))")
  most=$(number "max(max_over_time(${steady}[2m]))")
  [ "$least/$most" = 0/1 ] || fail "chaos_steady_state_ok was between '$least' and '$most', not 0 and 1"
  say "an unsteady target was left alone; Prometheus: chaos_steady_state_ok was 1, then 0"
}

# The capacity board has nothing to show before a plan, so there is one, of a record that was made up.
plan_a_launch() {
  local folder
  folder=$(mktemp -d)
  "${python[@]}" tests.compose.planned_record "$folder/planned"
  tar -C "$folder" -c planned | compose run --rm --no-deps -T --entrypoint sh launchday -c '
    tar -x -C runs && launchday plan runs/planned --forecast 50' >/dev/null || fail "no plan could be made"
  rm -r "$folder"
  say "a plan was made"
}

# boards_show START END: what every board asks has an answer between these two moments.
boards_show() {
  local address
  address=$(compose port prometheus 9090)
  "${python[@]}" tests.compose.board_queries "http://$address" "$1" "$2" || fail "a board would show a gap"
  say "every query of every board has an answer"
}

# alert NAME: the state that Prometheus has it in, nothing when it has none.
alert() {
  compose exec -T reports python -c '
import json, sys, urllib.request
answer = json.load(urllib.request.urlopen("http://prometheus:9090/api/v1/alerts"))
named = (each for each in answer["data"]["alerts"] if each["labels"]["alertname"] == sys.argv[1])
print(*sorted({each["state"] for each in named}))' "$1"
}

# A paused target keeps its address, and answers no scrape.
an_alert_fires_and_resolves() {
  local began=$SECONDS
  target_down_is() { [ "$(alert TargetDown)" = "$1" ]; }
  target_down_is '' || fail "TargetDown is there while the target answers"
  compose pause target
  until_true 40 "TargetDown fires" target_down_is firing
  compose unpause target
  until_true 30 "TargetDown goes" target_down_is ''
  say "the alert TargetDown fired and went within $((SECONDS - began)) s"
}

memory_is_small() {
  local ids total
  ids=$(compose ps --quiet)
  # shellcheck disable=SC2086
  total=$(docker stats --no-stream --format '{{.MemUsage}}' $ids | awk '
    { n = $1 + 0; if ($1 ~ /GiB/) n *= 1024; if ($1 ~ /KiB/) n /= 1024; sum += n }
    END { printf "%d", sum }')
  say "idle, it takes $total MiB of memory"
  [ "$total" -le 1536 ] || fail "that is more than 1.5 GiB"
}

database_is_behind_its_link() {
  local address
  connects target toxiproxy 5432 || fail "the target does not reach the link of the database"
  ! connects target postgres 5432 || fail "the target reaches the database beside its link"
  address=$(docker inspect --format '{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}' \
    "$(compose ps --quiet postgres)")
  [ "$address" ] || fail "nobody knows the address of the database"
  ! connects target "$address" 5432 || fail "the target reaches the database by its address"
  say "the database is reached through Toxiproxy only"
}

roots_are_read_only() {
  local service
  for service in $(compose ps --services); do
    [ "$(docker inspect --format '{{.HostConfig.ReadonlyRootfs}}' "$(compose ps --quiet "$service" | head -n 1)")" = true ] ||
      fail "the root file system of $service can be written"
  done
}

front_door_is_open() {
  compose exec -T reports python -c '
import urllib.request
page = urllib.request.urlopen("http://127.0.0.1:8090/").read().decode()
assert "Status page" in page and "@" not in page, page
urllib.request.urlopen("http://127.0.0.1:8090/runs/")
urllib.request.urlopen("http://balancer:8000/status")
urllib.request.urlopen("http://locust-master:8089/")' || fail "a page of the start page does not open"
}

# While owners come: a worker of Locust dies, and the database. Both come back, and all is kept.
survives_deaths() {
  local conducting
  swarm baseline_rps=10 multiple=1 peak_seconds=300 owners=20
  until_true 20 "the web UI's Locust sends" more_than 'sum(launchday_arrivals_total{job="locust",outcome="started"})' 20
  conduct -p multiple=2 -p peak_seconds=16 &
  conducting=$!
  until_true 40 "the run is at its peak" more_than 'launchday_phase{phase="peak"}' 0
  compose exec -T postgres sh -c 'kill -QUIT 1' || fail "the database cannot be killed" # no time to store
  compose exec -T --index 2 locust-worker sh -c 'kill -KILL -1' || true # the shell dies with it
  say "killed the database and the Locust worker"
  wait "$conducting" || fail "the run under deaths did not end well"
  up "${services[@]}" || fail "not everything came back"
  until_true 30 "both workers send" more_than \
    'count(rate(launchday_arrivals_total{job="locust",outcome="started"}[5s]) > 1)' 1
  end_swarm
  say "both are back"
}

# Two and a half times what one replica can do comes all the time; then there are three of them.
more_replicas_do_more() {
  local one three
  swarm baseline_rps=200 multiple=1 peak_seconds=300 owners=50
  until_true 40 "one replica is overloaded" more_than 'sum(rate(shed_rejections_total[5s]))' 60
  sleep 9
  one=$(number "$good")
  up --scale target=3 "${services[@]}" || fail "two more replicas do not become healthy"
  until_true 20 "three replicas are scraped" more_than 'count(up{job="target"} == 1)' 2
  until_true 30 "three replicas do more than one and a half times of $one/s" more_than "$good" $((one * 3 / 2))
  sleep 4
  three=$(number "$good")
  end_swarm
  compose run --rm -T launchday curves >/dev/null || fail "no command of launchday runs"
  [ "$(compose ps --quiet target | wc -l)" = 3 ] || fail "a run changed the number of replicas"
  say "goodput with one replica $one/s, with three $three/s"
}

alone_the_balancer_says_when_to_come_back() {
  compose exec -T reports python -c '
import json, urllib.error, urllib.request
try:
    urllib.request.urlopen("http://balancer:8000/status")
except urllib.error.HTTPError as answer:
    assert answer.code == 503 and int(answer.headers["retry-after"]) > 0, answer.headers
    assert answer.headers["unavailable-cause"] == "dependency", answer.headers
    assert json.load(answer)["reason"] == "no_replica"
else:
    raise SystemExit("somebody answers")' || fail "without a replica the balancer does not say when to come back"
  say "without a replica the balancer answers 503 with Retry-After"
}

provide_engine
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
mapfile -t services < <(startable)
limit=400 compose build --quiet
began=$SECONDS
up "${services[@]}" || fail "not every service became healthy"
say "healthy after $((SECONDS - began)) s (bar: 60): ${services[*]}"
memory_is_small
roots_are_read_only
database_is_behind_its_link
front_door_is_open

python=(.venv/bin/python -m)
boards=yes
"${python[@]}" launchday --version >/dev/null 2>&1 || {
  boards=
  say "SKIPPED: the boards' queries, there is no .venv with launchday (make setup)"
}
[ ! "$boards" ] || plan_a_launch
run_began=$(date +%s)
conduct --experiment slow_gateway -p peak_seconds=24
compose exec -T reports sh -c 'grep -q "\"undone\"" runs/*-launch_day/faults.jsonl' || fail "no fault was undone"
fault_was_seen
an_unsteady_target_is_left_alone
an_alert_fires_and_resolves
# On a busy machine one scrape in a while takes longer than its second.
all_are_scraped() {
  [ "$(number 'count(up{job=~"target|balancer|gateway|toxiproxy|prometheus|locust"} == 1)')" = 7 ]
}
until_true 30 "Prometheus reaches the services and both workers" all_are_scraped
[ ! "$boards" ] || boards_show "$run_began" "$(date +%s)"
moved 'shed_requests_total{outcome="admitted"}'
moved shed_rejections_total
moved 'car_requests_total{route=~"/v1/.*"}'
moved 'car_dependency_seconds_count{dependency="gateway"}'
moved 'launchday_arrivals_total{job="generator"}'
moved 'haproxy_backend_http_responses_total{proxy="ready",code="2xx"}'

series=$(number prometheus_tsdb_head_series)
[ "$series" -le 20000 ] || fail "$series series are more than 20000"
say "Prometheus holds $series series"

survives_deaths
more_replicas_do_more

# Toxiproxy counts the bytes of a connection when it closes; the target keeps its connections.
compose stop --timeout 10 target
until_true 30 "Prometheus has bytes of the link gateway" \
  more_than 'sum(toxiproxy_proxy_received_bytes_total{proxy="gateway"})' 0
say "Prometheus: toxiproxy counted the bytes of the link gateway"
alone_the_balancer_says_when_to_come_back

# Columns: name, listen, upstream, enabled or disabled, number of toxics.
links=$(compose exec -T toxiproxy /toxiproxy-cli list)
[ "$(awk '$4 == "enabled" && $5 == 0' <<<"$links" | wc -l)" = 3 ] || fail "a fault is left: $links"
left=$(compose run --rm --no-deps -T launchday chaos clear) || true
[ "$left" = "nothing of launchday is left there" ] || fail "chaos clear found: $left"
say "no fault is left"
