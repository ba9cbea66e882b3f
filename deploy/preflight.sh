#!/bin/bash
# Say what would stop `docker compose up`, before anything is started; silent if nothing would.
# usage: deploy/preflight.sh [COMPOSE-OPTION...]      e.g. deploy/preflight.sh --project-name eu
#
# Exit: 0 nothing, 1 something, each in a line. It starts, pulls and builds nothing.
set -euo pipefail
cd "$(dirname "$0")/.."
LEAST_ENGINE=25
LEAST_COMPOSE=2.23
found=0
wanted_images=()

problem() {
  printf 'preflight: %s\n' "$*" >&2
  found=1
}
last() {
  problem "$@"
  exit 1
}
at_least() { printf '%s\n' "$1" "$2" | sort -V -C; }

command -v docker >/dev/null || last "there is no docker here; without it: make demo"
compose=$(docker compose version --short 2>/dev/null) ||
  last "docker has no compose plugin; install docker-compose-plugin"
at_least "$LEAST_COMPOSE" "${compose#v}" || last "compose is $compose, $LEAST_COMPOSE or newer is needed"
engine=$(docker version --format '{{.Server.Version}}' 2>&1) ||
  last "the engine does not answer: $(tail -n 1 <<<"$engine")"
at_least "$LEAST_ENGINE" "$engine" || last "the engine is $engine, $LEAST_ENGINE or newer is needed"
stack=$(docker compose "$@" config 2>&1) || last "the settings are wrong: $(tail -n 1 <<<"$stack")"

# Ports: those of this stack, should it run already, are no obstacle.
own=$(docker compose "$@" ps --format '{{range .Publishers}}{{.PublishedPort}} {{end}}' 2>/dev/null) || own=
wanted=$(sed -n 's/^ *published: "\([0-9]*\)"$/\1/p' <<<"$stack" | grep -vx 0) || wanted=
for port in $(sort <<<"$wanted" | uniq -d); do
  problem "port $port is wanted by two services; set one of the *_PUBLISHED_PORT"
done
for port in $(sort -u <<<"$wanted"); do
  case " $(tr '\n' ' ' <<<"$own") " in *" $port "*) continue ;; esac
  ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || problem "port $port of 127.0.0.1 is in use;" \
    "end what has it, or set another *_PUBLISHED_PORT (docs/compose.md)"
done

# Images: what is neither here nor to be had would end `up` only after minutes of downloading.
here() { docker image inspect "$1" >/dev/null 2>&1; }
base=
for image in $(docker compose "$@" config --images | sort -u); do
  case $image in *-target | *-gateway | *-locust-* | *-reports | *-passwords | *-launchday)
    here "$image" || base=$(sed -n 's/^FROM \([^ ]*\).*/\1/p' Dockerfile) # to be built
    continue ;;
  esac
  wanted_images+=("$image")
done
for image in "${wanted_images[@]}" $base; do
  here "$image" || timeout 20 docker manifest inspect "$image" >/dev/null 2>&1 ||
    problem "image $image is not here, and no registry that answers has it"
done

# A password that is given must be one; one that is not given is made.
for name in POSTGRES_PASSWORD GRAFANA_ADMIN_PASSWORD; do
  given=$(sed -n "s/^ *$name: *//p" <<<"$stack" | head -n 1 | tr -d "\"'")
  [ -z "$given" ] || [ "${#given}" -ge 8 ] || problem "$name is shorter than 8 characters"
done
exit "$found"
