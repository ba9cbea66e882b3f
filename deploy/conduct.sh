#!/bin/sh
# Run launchday with the admin token of the target, so that it can audit what the target stored.
# usage: conduct.sh FILE COMMAND [ARGUMENT...]
set -eu
LAUNCHDAY_TARGET__ADMIN_TOKEN=$(cat "$1")
export LAUNCHDAY_TARGET__ADMIN_TOKEN
shift
exec launchday "$@"
