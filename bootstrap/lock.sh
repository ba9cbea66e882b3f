#!/bin/sh
# Resolve the two lock files anew (maintainers only; needs uv on PATH). Exact versions and hashes,
# no download addresses, one file for Linux and macOS and every Python that we support.
set -eu
cd "$(dirname "$0")/.."
compile() {
  out=$1; shift
  uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-annotate \
    --no-header --no-emit-package requests-kerberos --quiet --output-file "$out" "$@"
}
compile requirements.lock --extra harness --extra prometheus --group service --group build
compile requirements-dev.lock --extra harness --extra prometheus --group service --group build \
  --group dev --group bench --constraints requirements.lock
