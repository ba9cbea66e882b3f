#!/bin/bash
# What the Job of a run starts: deploy/conduct.sh, in a process group that gets every signal.
#
# Kubernetes tells the first process of a container to end, and nobody else. launchday has to hear
# it, or it is killed with its faults in; compose has an init that passes signals on (tini).
# usage: conduct.sh FILE COMMAND [ARGUMENT...]
set -um # -m: the child gets a process group of its own
"$(dirname "$0")/../conduct.sh" "$@" &
child=$!
trap 'kill -TERM -- "-$child"' TERM INT
status=0
wait "$child" || status=$?
# A signal ends the first wait, not the child.
while kill -0 "$child" 2>/dev/null; do
  status=0
  wait "$child" || status=$?
done
exit "$status"
