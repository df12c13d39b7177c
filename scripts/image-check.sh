#!/usr/bin/env bash
# Builds docker/Dockerfile, unchanged, where there is no Docker engine and no registry of images, and tries the image in containers.
#
#   scripts/image-check.sh [--clean] [--fresh] [--binary FILE]
#
#   --clean         removes what earlier runs left (the stand-ins for the bases, the layers), and ends
#   --fresh         builds every layer anew
#   --binary FILE   puts this server into the image instead of building it: for work on the rest of the image
#
# Debian's buildah builds it. The bases stand in for the registry's under the very tags that the Dockerfile names: a Debian made
# by debootstrap, with this machine's own Rust, and with Node from npm. The builds' settings for registries (certificates,
# ~/.cargo/config.toml, ~/.npmrc, *_proxy) are this machine's and go into the two stages that are thrown away, never into the image.
# docker/check-image.py then runs the image. Needs root, and Debian's buildah, crun and debootstrap (installed if missing).
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'image-check: %s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

folder="${PADDOCK_IMAGE_FOLDER:-$PWD/target/image-check}"
mirror="${PADDOCK_IMAGE_MIRROR:-http://deb.debian.org}"
driver="${STORAGE_DRIVER:-}"
binary=
fresh=
while [ $# -gt 0 ]; do
  case "$1" in
    --clean) rm -rf --one-file-system "$folder"; say "removed $folder"; exit 0 ;;
    --fresh) fresh=--no-cache ;;
    --binary) binary="$(realpath "${2:?--binary needs a file}")"; shift ;;
    -h | --help) sed -n '2,/^set /s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) fail "unknown option $1 (see --help)" ;;
  esac
  shift
done

[ "$(uname -s)" = Linux ] || fail "only Linux builds an image for Linux"
[ "$(id -u)" = 0 ] || fail "root is needed for debootstrap and chroot; run it with sudo -E"
missing=()
for tool in buildah crun debootstrap; do command -v "$tool" >/dev/null || missing+=("$tool"); done
if [ "${#missing[@]}" -gt 0 ]; then
  command -v apt-get >/dev/null || fail "these are needed; install them: ${missing[*]}"
  say "installing ${missing[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >&2
fi

mkdir -p "$folder"
# Layers lie on each other where the kernel and the file system let them, and are whole copies (vfs) elsewhere.
if [ -z "$driver" ]; then
  driver=vfs
  probe="$(mktemp -d "$folder/probe.XXXXXX")"
  mkdir "$probe"/{lower,upper,work,merged}
  if mount -t overlay overlay -o "lowerdir=$probe/lower,upperdir=$probe/upper,workdir=$probe/work" "$probe/merged" 2>/dev/null; then
    umount "$probe/merged"
    driver=overlay
  fi
  rm -rf "$probe"
fi
bases() { sed -n 's/^FROM \([^ ]*\).*/\1/p' docker/Dockerfile | sort -u; }
base() { bases | grep "^$1:" || fail "docker/Dockerfile has no base $1"; }
debian="$(base debian)" rust="$(base rust)" node="$(base node)"
b() { nice -n 10 buildah --root "$folder/storage" --runroot "$folder/run" --storage-driver "$driver" "$@"; }
inside() { nice -n 10 buildah --root "$folder/storage" --runroot "$folder/run" --storage-driver "$driver" run --isolation chroot "$@"; }
there() { b inspect --type image "$1" >/dev/null 2>&1; }
certificates="${SSL_CERT_FILE:-/etc/ssl/certs/ca-certificates.crt}"
[ -f "$certificates" ] || fail "there are no certificates in $certificates; install ca-certificates"

# debian: what debootstrap makes, with the base's sources, and like the base's slim kind without manuals.
if ! there "$debian"; then
  say "making a stand-in for $debian"
  started=$SECONDS
  rm -rf "$folder/debian"
  nice -n 10 debootstrap --variant=minbase bookworm "$folder/debian" "$mirror/debian" >"$folder/debootstrap.log" 2>&1 ||
    fail "debootstrap failed; see $folder/debootstrap.log"
  made="$(cat "$folder/debian/etc/debian_version")"
  [ "debian:$made-slim" = "$debian" ] || say "the archive's bookworm is $made, the Dockerfile names $debian"
  cat >"$folder/debian/etc/apt/sources.list" <<SOURCES
deb $mirror/debian bookworm main
deb $mirror/debian bookworm-updates main
deb $mirror/debian-security bookworm-security main
SOURCES
  printf 'path-exclude /usr/share/%s/*\n' doc man locale info >"$folder/debian/etc/dpkg/dpkg.cfg.d/slim"
  printf 'path-include /usr/share/doc/*/copyright\n' >>"$folder/debian/etc/dpkg/dpkg.cfg.d/slim"
  find "$folder/debian/usr/share/doc" -type f ! -name copyright -delete
  rm -rf "$folder"/debian/{usr/share/{man,locale,info},var/lib/apt/lists,var/log}/* "$folder"/debian/var/cache/apt/*
  # The machine's own resolver is given to each step; it is no part of the base.
  : >"$folder/debian/etc/resolv.conf"
  : >"$folder/debian/etc/hostname"
  c="$(b from scratch)"
  b copy -q "$c" "$folder/debian" / >/dev/null
  b config --env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin --cmd bash "$c"
  b commit -q --rm "$c" "$debian" >/dev/null
  rm -rf "$folder/debian"
  say "made it in $((SECONDS - started)) s"
fi

# rust: that Debian with this machine's toolchain, which must be the one that the tag says.
if ! there "$rust" && [ -z "$binary" ]; then
  say "making a stand-in for $rust"
  started=$SECONDS
  wanted="${rust#rust:}" wanted="${wanted%%-*}"
  for rustc in "rustc +$wanted" rustc none; do
    [ "$rustc" != none ] || fail "Rust $wanted is needed for $rust; install it: rustup toolchain install $wanted"
    if [ "$($rustc --version 2>/dev/null | cut -d' ' -f2)" = "$wanted" ]; then sysroot="$($rustc --print sysroot)"; break; fi
  done
  c="$(b from --pull-never "$debian")"
  inside "$c" sh -c 'apt-get update -qq && apt-get install -y -qq --no-install-recommends ca-certificates gcc libc6-dev' \
    >"$folder/rust.log" 2>&1 || fail "gcc could not be installed; see $folder/rust.log"
  b copy -q "$c" "$sysroot/bin" /usr/local/bin >/dev/null
  mkdir -p "$folder/toolchain/lib/rustlib"
  tar -C "$(realpath "$sysroot")" --exclude=lib/rustlib/src -cf - lib | tar -C "$folder/toolchain" -xf -
  b copy -q "$c" "$folder/toolchain/lib" /usr/local/lib >/dev/null
  rm -rf "$folder/toolchain"
  b copy -q "$c" "$certificates" /etc/ssl/certs/ca-certificates.crt >/dev/null
  for config in "${CARGO_HOME:-$HOME/.cargo}"/config{,.toml}; do
    [ ! -f "$config" ] || b copy -q "$c" "$config" "/usr/local/cargo/${config##*/}" >/dev/null
  done
  b config --env CARGO_HOME=/usr/local/cargo "$c"
  b commit -q --rm "$c" "$rust" >/dev/null
  say "made it in $((SECONDS - started)) s"
fi

# node: that Debian with the tag's version of Node, as the registry of npm has it.
if ! there "$node"; then
  say "making a stand-in for $node"
  started=$SECONDS
  command -v npm >/dev/null || fail "npm is needed (install Node.js)"
  wanted="${node#node:}" wanted="${wanted%%-*}"
  case "$(uname -m)" in
    x86_64) arch=x64 ;;
    aarch64) arch=arm64 ;;
    *) fail "npm has no Node for $(uname -m)" ;;
  esac
  rm -rf "$folder/node"
  mkdir -p "$folder/node"
  (cd "$folder/node" && npm install --silent --ignore-scripts --no-audit --no-fund --prefix . \
    "node-linux-$arch@$wanted" npm@10.9.9 >&2) || fail "npm has no node-linux-$arch@$wanted, or could not be reached"
  c="$(b from --pull-never "$debian")"
  b copy -q "$c" "$folder/node/node_modules/node-linux-$arch/bin/node" /usr/local/bin/node >/dev/null
  b copy -q "$c" "$folder/node/node_modules/npm" /usr/local/lib/node_modules/npm >/dev/null
  b copy -q "$c" "$certificates" /etc/ssl/certs/ca-certificates.crt >/dev/null
  inside "$c" ln -s ../lib/node_modules/npm/bin/npm-cli.js /usr/local/bin/npm
  npmrc="$(npm config get userconfig)"
  [ ! -f "$npmrc" ] || b copy -q "$c" "$npmrc" /root/.npmrc >/dev/null
  # Node has authorities of its own; the machine's come besides.
  b config --env NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt "$c"
  b commit -q --rm "$c" "$node" >/dev/null
  rm -rf "$folder/node"
  say "made it in $((SECONDS - started)) s"
fi

# The build. With --binary, the stages that build are replaced by one that has the file already: a stage's name may be a
# context of its own for that.
started=$SECONDS
options=(--isolation chroot --format docker --pull-never --layers -t paddock)
[ -z "$fresh" ] || options+=("$fresh")
[ -z "${CARGO_BUILD_JOBS:-}" ] || options+=(--build-arg "CARGO_BUILD_JOBS=$CARGO_BUILD_JOBS")
options+=(--build-arg "REVISION=$(git rev-parse HEAD 2>/dev/null || echo unknown)")
file=docker/Dockerfile
if [ -n "$binary" ]; then
  say "the server in the image is $binary, not one built in it"
  rm -rf "$folder/binary"
  mkdir "$folder/binary"
  cp "$binary" "$folder/binary/paddock"
  c="$(b from scratch)"
  b copy -q "$c" "$folder/binary" / >/dev/null
  b commit -q --rm "$c" localhost/paddock-build >/dev/null
  rm -rf "$folder/binary"
  # All but the stages that build is the real file.
  { echo 'FROM localhost/paddock-build AS build'; awk '/^FROM /{building = / AS (web|build)$/; begun = 1} begun && !building' docker/Dockerfile; } >"$folder/Dockerfile"
  file="$folder/Dockerfile"
fi
b bud "${options[@]}" -f "$file" . >"$folder/build.log" 2>&1 || { tail -n 40 "$folder/build.log" >&2; fail "the build failed; see $folder/build.log"; }
say "built in $((SECONDS - started)) s"

# What was built, as files; and what it says of itself.
container="$(b from --pull-never paddock)"
trap 'b rm "$container" >/dev/null' EXIT
root="$(b mount "$container")"
b inspect --type image paddock >"$folder/image.json"
say "the image's files: $(du -sxm --apparent-size "$root" | cut -f1) MB, of which the server $(du -m --apparent-size "$root/usr/local/bin/paddock" | cut -f1) MB and the CLI $(du -m --apparent-size "$root/usr/local/bin/claude" | cut -f1) MB"

# A mount namespace of its own: crun refuses a machine that has control groups of both kinds.
unshare --mount --propagation private -- bash -euc '
  if [ -d /sys/fs/cgroup/unified ]; then umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; fi
  exec python3 docker/check-image.py "$@"' check "$root" "$folder/image.json"
