#!/usr/bin/env bash
# Installs the pinned Claude Code CLI into tools/claude-cli and prints the path of its binary.
#
# npm may hold back the package's install script, which would only link the binary; so scripts are never run, and the
# binary is taken from the platform's own package.
set -euo pipefail
cd "$(dirname "$0")/../tools/claude-cli"

case "$(uname -s)" in
  Linux) os=linux ;;
  Darwin) os=darwin ;;
  *) echo "install-cli: no Claude Code CLI for $(uname -s)" >&2; exit 1 ;;
esac
case "$(uname -m)" in
  x86_64 | amd64) arch=x64 ;;
  aarch64 | arm64) arch=arm64 ;;
  *) echo "install-cli: no Claude Code CLI for $(uname -m)" >&2; exit 1 ;;
esac
libc=
if [ "$os" = linux ] && ls /lib/ld-musl-* >/dev/null 2>&1; then libc=-musl; fi

binary="$PWD/node_modules/@anthropic-ai/claude-code-$os-$arch$libc/claude"
wanted=$(sed -n 's/.*"@anthropic-ai\/claude-code": "\(.*\)".*/\1/p' package.json)
installed=$(sed -n 's/.*"version": "\(.*\)".*/\1/p' "$(dirname "$binary")/package.json" 2>/dev/null || true)

if [ "$installed" != "$wanted" ] || [ ! -x "$binary" ]; then
  command -v npm >/dev/null || { echo "install-cli: npm is needed (install Node.js)" >&2; exit 1; }
  echo "install-cli: installing Claude Code CLI $wanted" >&2
  npm ci --ignore-scripts --no-audit --no-fund --loglevel=error >&2
  [ -x "$binary" ] || { echo "install-cli: $binary is missing after npm ci" >&2; exit 1; }
fi
printf '%s\n' "$binary"
