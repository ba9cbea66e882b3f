#!/bin/sh
# Serve the start page, with the ports that this stack has, and below it the reports of all runs.
# usage: front.sh PORT
set -eu
front=${FRONT_DIRECTORY:-/tmp/front}
mkdir -p "$front"
here=$(dirname "$0")
sed -e "s/@TARGET@/${TARGET_PUBLISHED_PORT:-8000}/g" \
  -e "s/@GRAFANA@/${GRAFANA_PUBLISHED_PORT:-3000}/g" \
  -e "s/@PROMETHEUS@/${PROMETHEUS_PUBLISHED_PORT:-9090}/g" \
  -e "s/@LOCUST@/${LOCUST_PUBLISHED_PORT:-8089}/g" \
  -e "s/@REGION@/${TARGET_REGION:-us}/g" "$here/start.html" >"$front/index.html"
ln -sfn "$PWD/runs" "$front/runs"
ln -sfn "$PWD/runs/capacity.prom" "$front/capacity.prom" # for Prometheus, once there is a plan
exec python3 -m http.server --directory "$front" "$1"
