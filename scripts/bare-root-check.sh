#!/usr/bin/env bash
# Follows README.md's native path, word for word, on a Debian that has nothing: a bare root made by debootstrap, with the
# prerequisites that the README names and no more, and an ordinary user. It ends well only if the agent answered, and wrote the file
# that the README says it writes.
#
#   sudo scripts/bare-root-check.sh [--folder DIR] [--base DIR] [--worktree] [--binary FILE] [--keep]
#
#     --folder DIR    where the root is made (about 4 GB); a temporary folder if it is not given
#     --base DIR      a bare root of debootstrap's to copy, instead of making one
#     --worktree      takes the files as they lie here; else what is committed
#     --binary FILE   skips the build: this program is taken in its place. For work on this script; not the check
#     --keep          leaves the root where it is
#
# How this machine reaches registries (apt's sources, proxies, certificates, cargo's and npm's settings) is taken along. It serves on
# port 8000, as the README says, in this machine's network.
set -euo pipefail
here="$(cd "$(dirname "$0")/.." && pwd)"
fail() { echo "bare-root-check: $*" >&2; exit 1; }
say() { echo "bare-root-check: $*"; }

folder='' base='' worktree='' binary='' keep=''
arguments=("$@")
while [ $# -gt 0 ]; do
  case "$1" in
    --folder | --base | --binary)
      [ $# -ge 2 ] || fail "$1 needs a path"
      path="$(realpath -m "$2")"
      case "$1" in --folder) folder="$path" ;; --base) base="$path" ;; --binary) binary="$path" ;; esac
      shift ;;
    --worktree) worktree=yes ;;
    --keep) keep=yes ;;
    -h | --help) sed -n '2,/^set -euo/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) fail "unknown option $1; --help lists them" ;;
  esac
  shift
done

[ "$(uname -s)" = Linux ] || fail "this needs Linux"
[ "$(id -u)" = 0 ] || fail "this needs root: run it with sudo"
for tool in debootstrap cargo rustc node npm git unshare setpriv curl; do
  command -v "$tool" >/dev/null || fail "$tool is needed; install it (on Debian: apt-get install debootstrap git util-linux curl; Rust; Node.js)"
done
[ -z "$binary" ] || [ -x "$binary" ] || fail "$binary is not a program"
[ -z "$base" ] || [ -x "$base/bin/bash" ] || fail "$base is not a root"

# Mounts and processes of its own: nothing of either outlives this script, however it ends.
if [ -z "${BARE_ROOT_INSIDE:-}" ]; then
  exec env BARE_ROOT_INSIDE=yes unshare --mount --propagation private --pid --fork --kill-child --mount-proc "$0" "${arguments[@]}"
fi
if curl -s -o /dev/null --max-time 2 http://127.0.0.1:8000/; then fail "port 8000 is taken; stop what listens there"; fi

if [ -z "$folder" ]; then folder="$(mktemp -d "${TMPDIR:-/tmp}/bare-root.XXXXXX")"; else mkdir -p "$folder"; fi
root="$folder/root"
[ ! -e "$root" ] || fail "$root is there already; remove it first"
finish() {
  code=$?
  # In this mount namespace the root has mounts in it: those first, so that nothing but the root is removed.
  for mount in dev/pts dev/shm dev proc; do umount -l "$root/$mount" 2>/dev/null || true; done
  if grep -q " $root/" /proc/self/mounts; then
    echo "bare-root-check: $root has mounts; it is left" >&2
    exit "$code"
  fi
  if [ -z "$keep" ]; then rm -rf "$root"; rmdir "$folder" 2>/dev/null || true; else say "kept: $root"; fi
  exit "$code"
}
trap finish EXIT
trap 'exit 130' INT TERM

# --- What the README says, taken out of it -------------------------------------------------------------------------------------
# The first sh block that has `make run`, whatever else its fence says.
first_start="$(awk '
  !inside && /^```sh([[:space:]]|$)/ { inside = 1; block = ""; next }
  /^```/ { if (inside && block ~ /(^|\n)make run[ \t\n]/) { printf "%s", block; exit } inside = 0; next }
  inside { block = block $0 "\n" }' "$here/README.md")"
# Every sh block of the section whose heading speaks of the first turn, up to the next heading of its rank or above.
first_turn="$(awk '
  /^```/ { if (inside) { inside = 0 } else { inside = 1; plain = ($0 ~ /^```sh([[:space:]]|$)/ && $0 !~ /no-run/) } next }
  !inside && /^#+ / { rank = length($1)
    if (section && rank <= section) exit
    if (!section && tolower($0) ~ /first turn/) section = rank
    next }
  inside && plain && section { print }' "$here/README.md")"
[ -n "$first_start" ] || fail "README.md has no sh block with 'make run'"
[ -n "$first_turn" ] || fail "README.md has no section about a first turn with an sh block"
# The tree is there already, and the tests are another matter.
left_out="$(grep -E '^(git clone|cd |make test)' <<<"$first_start" || true)"
first_start="$(grep -vE '^(git clone|cd |make test)' <<<"$first_start")"
[ -z "$left_out" ] || say "left out of the README's first block: ${left_out//$'\n'/; }"
# shellcheck disable=SC1003 # A backslash, not a quote.
expected="$(grep -o '% write notes.txt [^\\"]*' <<<"$first_turn" | head -n 1 | cut -d' ' -f4- || true)"
[ -n "$expected" ] || fail "README.md's first turn has no '% write notes.txt TEXT'; this script looks for that file"

# --- A bare root -----------------------------------------------------------------------------------------------------------------
mirror="$(sed -n 's/^URIs: *//p' /etc/apt/sources.list.d/debian.sources 2>/dev/null | head -n 1)"
suite="$(sed -n 's/^VERSION_CODENAME=//p' /etc/os-release)"
[ "$(sed -n 's/^ID=//p' /etc/os-release)" = debian ] || { suite=bookworm mirror=; }
if [ -n "$base" ]; then
  say "copying $base"
  cp -a "$base" "$root"
else
  say "debootstrap --variant=minbase $suite"
  debootstrap --variant=minbase "$suite" "$root" "${mirror:-http://deb.debian.org/debian}" >"$folder/debootstrap.log" 2>&1 ||
    { tail -n 20 "$folder/debootstrap.log" >&2; fail "debootstrap failed"; }
  rm -f "$folder/debootstrap.log"
fi
mount -t proc proc "$root/proc"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
mkdir "$root/dev/pts" "$root/dev/shm"
for device in null zero full random urandom tty; do
  touch "$root/dev/$device"
  mount --bind "/dev/$device" "$root/dev/$device"
done
mount -t devpts -o newinstance,ptmxmode=0666 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"

# --- How this machine reaches registries -----------------------------------------------------------------------------------------
along=()
take() { if [ -e "$1" ]; then mkdir -p "$root$(dirname "$1")"; rm -rf "${root:?}$1"; cp -aL "$1" "$root$1"; fi; }
take /etc/resolv.conf
take /etc/hosts
if [ -n "$mirror" ]; then
  rm -f "$root/etc/apt/sources.list"
  for name in sources.list sources.list.d auth.conf.d keyrings trusted.gpg.d; do take "/etc/apt/$name"; done
fi
for path in /etc/apt/apt.conf.d/*; do
  if grep -qE 'Acquire|Dir::' "$path"; then take "$path"; fi
done
for name in http_proxy https_proxy no_proxy HTTP_PROXY HTTPS_PROXY NO_PROXY; do
  if [ -n "${!name:-}" ]; then along+=("$name=${!name}"); fi
done
for name in SSL_CERT_FILE SSL_CERT_DIR NODE_EXTRA_CA_CERTS CARGO_HTTP_CAINFO CURL_CA_BUNDLE; do
  if [ -n "${!name:-}" ]; then along+=("$name=${!name}"); take "${!name}"; fi
done

# --- The prerequisites: Rust, Node, a C compiler; make and curl, by which the README's commands run ------------------------------
say "Rust $(rustc --version | cut -d' ' -f2), Node $(node --version), gcc, make, curl"
chroot "$root" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive "${along[@]}" /bin/sh -c \
  'apt-get update -qq && apt-get install -y -qq --no-install-recommends gcc libc6-dev make curl ca-certificates' \
  >"$folder/apt.log" 2>&1 || { tail -n 20 "$folder/apt.log" >&2; fail "apt-get failed in the root"; }
rm -f "$folder/apt.log"
for name in SSL_CERT_FILE SSL_CERT_DIR NODE_EXTRA_CA_CERTS; do if [ -n "${!name:-}" ]; then take "${!name}"; fi; done
sysroot="$(rustc --print sysroot)"
mkdir -p "$root/opt/rust" "$root/opt/node/bin" "$root/opt/node/lib/node_modules"
tar -C "$sysroot" --exclude=./share/doc --exclude=./lib/rustlib/src -cf - . | tar -C "$root/opt/rust" -xf -
node="$(readlink -f "$(command -v node)")"
cp "$node" "$root/opt/node/bin/node"
cp -a "$(npm root -g)/npm" "$root/opt/node/lib/node_modules/npm"
ln -s ../lib/node_modules/npm/bin/npm-cli.js "$root/opt/node/bin/npm"

# --- An ordinary user with the tree ----------------------------------------------------------------------------------------------
chroot "$root" useradd --create-home --shell /bin/bash visitor
home="$root/home/visitor"
tree="$home/paddock"
if [ -n "$worktree" ]; then
  mkdir "$tree"
  (cd "$here" && git ls-files -z --cached --others --exclude-standard | while IFS= read -r -d '' file; do
    if [ -e "$file" ]; then printf '%s\0' "$file"; fi
  done | tar --null -T - -cf -) | tar -C "$tree" -xf -
else
  git clone -q --no-hardlinks "$here" "$tree"
fi
cargo_settings="${CARGO_HOME:-$HOME/.cargo}/config.toml"
if [ -e "$cargo_settings" ]; then mkdir -p "$home/.cargo"; cp "$cargo_settings" "$home/.cargo/"; fi
if [ -e "$HOME/.npmrc" ]; then install -m 600 "$HOME/.npmrc" "$home/.npmrc"; fi
search=/opt/rust/bin:/opt/node/bin:/usr/local/bin:/usr/bin:/bin
if [ -n "$binary" ]; then
  say "NOT THE CHECK: the build is skipped, $binary is taken"
  install -D -m 755 "$binary" "$tree/target/release/paddock"
  mkdir "$root/opt/skipped"
  printf '#!/bin/sh\necho "cargo is skipped: $*"\n' >"$root/opt/skipped/cargo"
  chmod 755 "$root/opt/skipped/cargo"
  search="/opt/skipped:$search"
fi
chroot "$root" chown -R visitor:visitor /home/visitor
# As in a new login, in the tree; the block comes by standard input.
as_visitor() {
  chroot --userspec=visitor:visitor --groups=visitor "$root" /usr/bin/env -i --chdir=/home/visitor/paddock HOME=/home/visitor USER=visitor \
    LANG=C.UTF-8 TERM=dumb PATH="$search" "${along[@]}" "$@"
}

# --- The README's path -------------------------------------------------------------------------------------------------------------
say "as the user visitor: ${first_start//$'\n'/; }"
printf '%s\n' "$first_start" >"$root/tmp/first-start"
printf '%s\n' "$first_turn" >"$root/tmp/first-turn"
began=$SECONDS
# A session of its own, to be sent what Ctrl-C sends; a shell's background jobs would not be told of it.
as_visitor setsid env --default-signal=INT,QUIT bash -eu /tmp/first-start >"$root/tmp/first-start.log" 2>&1 </dev/null &
start=$!
until grep -q 'Paddock listens on' "$root/tmp/first-start.log"; do
  kill -0 "$start" 2>/dev/null || { tail -n 40 "$root/tmp/first-start.log" >&2; fail "make run ended before it served"; }
  [ $((SECONDS - began)) -lt "${BARE_ROOT_TIMEOUT:-10800}" ] ||
    { tail -n 20 "$root/tmp/first-start.log" >&2; fail "make run did not serve in time (BARE_ROOT_TIMEOUT, in seconds)"; }
  sleep 1
done
say "it serves, after $((SECONDS - began)) s; isolation: $(curl -s http://127.0.0.1:8000/health | grep -o '"isolation":"[a-z]*"' | cut -d'"' -f4)"

say "the first turn:"
# Its last command may follow the session for ever; it is ended when all is there.
as_visitor timeout 120 bash -u /tmp/first-turn >"$root/tmp/first-turn.log" 2>&1 </dev/null &
turn=$!
notes=
for _ in $(seq 120); do
  if ! kill -0 "$turn" 2>/dev/null; then break; fi
  notes="$(find "$tree/data/workspaces" -name notes.txt -type f 2>/dev/null | head -n 1)"
  if [ -n "$notes" ] && grep -q '"type":"done"' "$root/tmp/first-turn.log"; then sleep 3; break; fi
  sleep 1
done
pkill -TERM -P "$turn" 2>/dev/null || true
wait "$turn" 2>/dev/null || true
cut -c1-160 "$root/tmp/first-turn.log" | sed 's/^/    /' | head -n 60
notes="$(find "$tree/data/workspaces" -name notes.txt -type f 2>/dev/null | head -n 1)"
grep -q '"stop_reason":"end_turn"' "$root/tmp/first-turn.log" || fail "no turn was answered; what the README's commands printed is above"
[ -n "$notes" ] || fail "the agent wrote no notes.txt"
[ "$(cat "$notes")" = "$expected" ] || fail "notes.txt holds '$(cat "$notes")', and not '$expected'"
say "answered; ${notes#"$tree"/} holds '$expected'"

# Ctrl-C, to the whole group of the terminal.
kill -INT -- "-$(pgrep -P "$start")"
for _ in $(seq 60); do kill -0 "$start" 2>/dev/null || break; sleep 0.5; done
visitor="$(chroot "$root" id -u visitor)"
if pgrep -u "$visitor" >/dev/null; then
  ps -fu "$visitor" >&2
  fail "processes are left after Ctrl-C"
fi
say "ended by Ctrl-C, nothing is left"
if [ -n "$binary" ]; then say "well so far; the build was skipped"; else say "well"; fi
