#!/bin/bash
# Health check: does http://127.0.0.1:PORT/PATH answer 200? Bash, because starting Python every few
# seconds in six containers would take CPU from the run that is being measured.
# usage: answers.sh PORT /PATH
set -eu
exec 3<>"/dev/tcp/127.0.0.1/$1"
printf 'GET %s HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n' "$2" >&3
read -r _ status _ <&3
cat <&3 >/dev/null # to the end, or the server logs a reset connection
[ "$status" = 200 ]
