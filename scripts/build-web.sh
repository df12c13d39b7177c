#!/usr/bin/env bash
# Builds the web console of web/ into web/dist, from where build.rs takes it into the binary.
#
#   scripts/build-web.sh            installs what web/package-lock.json lists and builds; does nothing when nothing has changed
#   scripts/build-web.sh --force    builds in any case
set -euo pipefail
cd "$(dirname "$0")/../web"
fail() { echo "build-web: $*" >&2; exit 1; }

force=''
case "${1:-}" in
  '') ;;
  --force) force=yes ;;
  -h | --help) sed -n '2,/^set -euo/s/^# \{0,1\}//p' "../scripts/build-web.sh"; exit 0 ;;
  *) fail "unknown option $1" ;;
esac
sum=(sha256sum)
command -v sha256sum >/dev/null || sum=(shasum -a 256)

# Of what it is built from: names and contents of all files but what is installed, built, or only tests.
sources() { find . \( -name node_modules -o -path ./dist -o -path ./tests -o -name '*.test.*' -o -name '*.md' \) -prune -o -type f -print | LC_ALL=C sort; }
# What is taken from the client, which is outside.
others=(../clients/typescript/src)
state="$( { sources; find "${others[@]}" -type f | LC_ALL=C sort; } | while IFS= read -r file; do "${sum[@]}" "$file"; done | "${sum[@]}" | cut -d' ' -f1)"
# Beside what is built, not in it: that is all put into the binary.
mark=node_modules/.console-built
if [ -z "$force" ] && [ -f dist/index.html ] && [ "$(cat "$mark" 2>/dev/null)" = "$state" ]; then exit 0; fi

command -v npm >/dev/null || fail "npm is needed (install Node.js, 20.19 or later)"
if ! cmp -s package-lock.json node_modules/.installed; then
  echo "build-web: installing what web/package-lock.json lists" >&2
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2
  cp package-lock.json node_modules/.installed
fi
echo "build-web: building the web console" >&2
npm run --silent build >&2
printf '%s' "$state" >"$mark"
