#!/bin/sh
# Run launchday with the admin token of the target, so that it can audit what the target stored.
# usage: conduct.sh FILE COMMAND [ARGUMENT...]
#
# Exits as launchday does, once no janitor is left: the container ends with this script, and with
# it whoever still undoes the faults of a launchday that was killed. A janitor stays for 5 s after
# the last fault has gone, for 30 s when a request was on its way; one that cannot undo tries for an
# hour, and nobody waits that long: `launchday chaos clear` is for what is left then.
set -eu
LAUNCHDAY_TARGET__ADMIN_TOKEN=$(cat "$1")
export LAUNCHDAY_TARGET__ADMIN_TOKEN
shift
trap : INT TERM # launchday gets them too (TINI_KILL_PROCESS_GROUP) and ends in its own time
status=0
launchday "$@" || status=$?
# The brackets keep grep from finding itself.
janitor="${XDG_STATE_HOME:-$HOME/.local/state}[/]launchday/leases/lease-"
tries=0
while [ "$tries" -lt 200 ] && grep -aqs "$janitor" /proc/[0-9]*/cmdline; do
  tries=$((tries + 1))
  sleep 0.2
done
exit "$status"
