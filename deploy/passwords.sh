#!/bin/sh
# Make the passwords and keys of this stack once: random, or taken from the environment.
# Nobody has to choose one, none is in the repository, and there is no default.
# usage: passwords.sh DIRECTORY
set -eu
umask 077
random() { python3 -c 'import secrets; print(secrets.token_urlsafe(24))'; }

cd "$1"
if [ ! -s pgpass ]; then
  postgres=${POSTGRES_PASSWORD:-$(random)}
  printf '%s' "$postgres" >postgres
  printf '*:*:car:car:%s\n' "$(printf '%s' "$postgres" | sed 's/[\\:]/\\&/g')" >pgpass
fi
[ -s grafana ] || printf '%s' "${GRAFANA_ADMIN_PASSWORD:-$(random)}" >grafana
for key in admin_token session_key; do
  [ -s "$key" ] || random >"$key"
done
# PostgreSQL and Grafana run under users of their own; the volume is mounted nowhere else.
chmod 0444 postgres grafana
