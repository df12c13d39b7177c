#!/usr/bin/env bash
# Fuzzes every operation of the OpenAPI document with schemathesis (from PyPI), with a valid key and with none: no answer
# may be a server error, and every one must be as the document says.
#
#   scripts/fuzz-api.sh [examples an operation]      FUZZ_SEED=n repeats a run
set -euo pipefail
cd "$(dirname "$0")/.."
examples="${1:-50}"
seed="${FUZZ_SEED:-$RANDOM}"
version=4.32.5
tools="tools/schemathesis-$version"

if [ ! -x "$tools/bin/schemathesis" ]; then
  if ! python3 -c 'import ensurepip, venv' 2>/dev/null; then
    command -v apt-get >/dev/null || { echo "fuzz-api: python3 with venv is needed; install it" >&2; exit 1; }
    as_root=(); [ "$(id -u)" = 0 ] || as_root=(sudo)
    "${as_root[@]}" apt-get update -qq
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends python3 python3-venv >&2
  fi
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet "schemathesis==$version"
fi

cargo build --locked --quiet --bin paddock --bin fake-claude
folder="$(mktemp -d)"
key="a-key-for-fuzzing-only"
server=
finish() {
  if [ -n "$server" ]; then kill -INT "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
  rm -rf "$folder"
}
trap finish EXIT
binaries="${CARGO_TARGET_DIR:-target}/debug"
binaries="$(cd "$binaries" && pwd)"
# The stand-in for the CLI: what is fuzzed is the API.
(cd "$folder" && exec env PADDOCK__API__PORT=0 PADDOCK__AUTH__ADMIN_KEY="$key" PADDOCK__MODEL__SCRIPTED=true \
  PADDOCK__AUTH__SEALING_KEY="$(printf 'ab%.0s' {1..32})" PADDOCK__AGENT__CLI_PATH="$binaries/fake-claude" \
  PADDOCK__ISOLATION__LEVEL=none PADDOCK__ISOLATION__REQUIRED=false PADDOCK__LIMITS__IDEMPOTENCY_WAIT=1s \
  PADDOCK__TELEMETRY__LOG_FILTER=warn "$binaries/paddock" serve >"$folder/out" 2>"$folder/log") &
server=$!
for _ in $(seq 200); do
  url="$(grep -o 'http://127.0.0.1:[0-9]*' "$folder/out" 2>/dev/null | head -n 1 || true)"
  [ -z "$url" ] || break
  sleep 0.1
done
[ -n "${url:-}" ] || { cat "$folder/log" >&2; exit 1; }

checks=not_a_server_error,status_code_conformance,content_type_conformance,response_headers_conformance
# What a stream's schema describes is the data of its events; the tool takes it for whole frames. The tests hold each event.
streams='(/stream|^/api/stream/.*|^/api/execute|^/v1/chat/completions|^/v1/conversations/.*/events)$'
run() {
  echo "fuzz-api: $1, $examples examples an operation, seed $seed"
  checked="$2"
  shift 2
  "$tools/bin/schemathesis" run "$url/openapi.json" --checks "$checked" --max-examples "$examples" --seed "$seed" \
    --phases examples,coverage,fuzzing --mode all --workers 1 --request-timeout 30 --no-color --warnings off \
    --suppress-health-check all --generation-database none --continue-on-failure "$@" || {
      echo "fuzz-api: what the server said last:" >&2
      tail -n 20 "$folder/log" >&2
      exit 1
    }
}
valid=(--header "Authorization: Bearer $key")
schema=response_schema_conformance
run "with a valid key" "$checks,$schema" --exclude-path-regex "$streams" "${valid[@]}"
run "streams, with a valid key" "$checks" --include-path-regex "$streams" "${valid[@]}"
run "without a key" "$checks,$schema"
