#!/usr/bin/env bash
# Starts Paddock for a first look: SQLite in ./data, the pinned CLI, the real model if there is a credential.
set -euo pipefail
cd "$(dirname "$0")/.."

export PADDOCK__AGENT__CLI_PATH="${PADDOCK__AGENT__CLI_PATH:-$(scripts/install-cli.sh)}"

credential=
for name in ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN CLAUDE_CODE_OAUTH_TOKEN CLAUDE_CODE_AUTH_JSON \
  PADDOCK__MODEL__API_KEY PADDOCK__MODEL__AUTH_TOKEN PADDOCK__MODEL__OAUTH_TOKEN; do
  file="${name}_FILE"
  if [ -n "${!name:-}" ] || [ -n "${!file:-}" ]; then credential=yes; fi
done
if [ -z "$credential" ]; then export PADDOCK__MODEL__SCRIPTED="${PADDOCK__MODEL__SCRIPTED:-true}"; fi

exec target/release/paddock serve
