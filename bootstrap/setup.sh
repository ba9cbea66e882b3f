#!/bin/sh
# Make .venv from a lock file: `bootstrap/setup.sh requirements.lock`. A second call does nothing
# and needs no network. Works without uv, pip, ensurepip and root (bare Debian, PEP 668): the one
# thing that it needs is a Python >= 3.11; pip comes from the wheel beside this file.
set -eu
cd "$(dirname "$0")/.."
lock=$1
stamp=.venv/installed-$lock
digest=$(cat "$lock" pyproject.toml bootstrap/setup.sh | cksum)
[ -x .venv/bin/launchday ] && [ "$(cat "$stamp" 2>/dev/null)" = "$digest" ] && exit 0

python=
for candidate in "${PYTHON:-python3}" python3 python3.14 python3.13 python3.12 python3.11; do
  if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
    python=$candidate
    break
  fi
done
if [ -z "$python" ]; then
  echo "launchday needs Python 3.11 or newer, found: $(python3 --version 2>&1 || true). Install one, or name it: make PYTHON=/path/to/python3.12" >&2
  exit 2
fi

echo "Setting up .venv from $lock ($("$python" --version)); about a minute, once." >&2
# A .venv that another Python made, or that an interrupted set-up left, is made anew.
if ! .venv/bin/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  rm -rf .venv
  "$python" -m venv --without-pip .venv
fi
rm -f .venv/installed-*
if command -v uv >/dev/null 2>&1; then
  uv pip install --quiet --python .venv/bin/python --no-deps --require-hashes -r "$lock"
  uv pip install --quiet --python .venv/bin/python --no-deps --no-build-isolation -e .
else
  pip() { .venv/bin/python bootstrap/pip-26.3-py3-none-any.whl/pip --disable-pip-version-check "$@"; }
  pip install --quiet --no-deps --require-hashes --only-binary :all: -r "$lock"
  pip install --quiet --no-deps --no-build-isolation -e .
fi
# What the development lock brings holds for the smaller one too.
[ "$lock" != requirements-dev.lock ] || cat requirements.lock pyproject.toml bootstrap/setup.sh | cksum >.venv/installed-requirements.lock
echo "$digest" >"$stamp"
