#!/usr/bin/env bash
# Installs bubblewrap, which makes namespaces for agents, where that can be done without asking. Without it, agents are fenced
# in by Landlock alone; the server says which it is, and refuses to start where neither holds.
set -euo pipefail

if command -v bwrap >/dev/null || [ "$(uname -s)" != Linux ]; then exit 0; fi
as_root=()
if [ "$(id -u)" != 0 ]; then as_root=(sudo -n); fi
if command -v apt-get >/dev/null && { [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; then
  echo "install-fence-tools: installing bubblewrap" >&2
  "${as_root[@]}" apt-get update -qq &&
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends bubblewrap >&2 && exit 0
fi
echo "install-fence-tools: bubblewrap is not installed; install it for namespaces around agents" >&2
