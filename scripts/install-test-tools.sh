#!/usr/bin/env bash
# Installs what the tests need and the machine lacks: PostgreSQL's server binaries, from Debian's packages.
set -euo pipefail

if command -v initdb >/dev/null || ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then exit 0; fi

command -v apt-get >/dev/null || {
  echo "install-test-tools: PostgreSQL's server binaries (initdb, postgres) are needed; install them" >&2
  exit 1
}
as_root=()
if [ "$(id -u)" != 0 ]; then as_root=(sudo); fi
echo "install-test-tools: installing PostgreSQL" >&2
"${as_root[@]}" apt-get update -qq
# The tests start clusters of their own; the package is not to start one.
"${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends postgresql >&2
