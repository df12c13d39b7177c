#!/usr/bin/env bash
# Makes a release in dist/: the archive for this machine's kind of system, its bill of materials, and their checksums.
#
#   scripts/dist.sh [--dirty]     builds and packs what is committed; --dirty packs the files as they lie here, for trying out
#   scripts/dist.sh --verify      checks what is in dist/: checksums, content, that the program runs and the installer installs it
#
# The archive depends on the program and the commit alone: files are sorted, of owner 0, and as old as the commit.
set -euo pipefail
cd "$(dirname "$0")/.."
fail() { echo "dist: $*" >&2; exit 1; }
sbom_version=0.5.9
sbom_tool="tools/cargo-cyclonedx-$sbom_version"

verify='' dirty=''
while [ $# -gt 0 ]; do
  case "$1" in
    --verify) verify=yes ;;
    --dirty) dirty=yes ;;
    -h | --help) sed -n '2,/^set -euo/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) fail "unknown option $1; --help lists them" ;;
  esac
  shift
done
if tar --version | grep -q GNU; then tar=tar; else tar=gtar; fi
command -v "$tar" >/dev/null || fail "GNU tar is needed (brew install gnu-tar)"
sum=(sha256sum)
command -v sha256sum >/dev/null || sum=(shasum -a 256)

# What must be in an archive, whatever else is.
required=(paddock LICENSE README.md README_CN.md CHANGELOG.md THIRD-PARTY-LICENSES.md THIRD-PARTY-LICENSES-CONSOLE.txt config.yaml docs/INSTALL.md docs/SECURITY.md
  deploy/systemd/paddock.service deploy/systemd/paddock-in-control-groups deploy/launchd/dev.paddock.server.plist
  deploy/supervisord/paddock.conf scripts/install.sh scripts/install-cli.sh tools/claude-cli/package.json
  tools/claude-cli/package-lock.json)

if [ -n "$verify" ]; then
  [ -f dist/SHA256SUMS ] || fail "there is no dist/SHA256SUMS; run scripts/dist.sh first"
  (cd dist && "${sum[@]}" -c SHA256SUMS) || fail "dist/ is not what SHA256SUMS says"
  listed="$(awk '{print $2}' dist/SHA256SUMS | sort)"
  there="$(cd dist && find . -type f ! -name SHA256SUMS | sed 's|^\./||' | sort)"
  [ "$listed" = "$there" ] || fail "dist/ holds other files than SHA256SUMS lists: $there"
  folder="$(mktemp -d)"
  trap 'rm -rf "$folder"' EXIT
  archives=(dist/paddock-*.tar.gz)
  [ -f "${archives[0]}" ] || fail "there is no archive in dist/"
  for archive in "${archives[@]}"; do
    name="$(basename "$archive" .tar.gz)"
    [ "$("$tar" -tzf "$archive" | cut -d/ -f1 | sort -u)" = "$name" ] || fail "$archive does not unpack into $name/ alone"
    "$tar" -C "$folder" -xzf "$archive"
    for path in "${required[@]}"; do [ -f "$folder/$name/$path" ] || fail "$archive lacks $path"; done
    printed="$("$folder/$name/paddock" --version)" || fail "the program of $archive does not run here"
    case "$name" in "${printed/ /-}-"*) ;; *) fail "the program of $archive is '$printed'" ;; esac
    "$folder/$name/scripts/install.sh" --root "$folder/root" --cli /bin/true >/dev/null || fail "install.sh of $archive fails"
    [ "$("$folder/root/usr/local/bin/paddock" --version)" = "$printed" ] || fail "install.sh of $archive installs another program"
    scripts/bill-of-materials.py --check "dist/$name.cdx.json" "$folder/$name/THIRD-PARTY-LICENSES.md" ||
      fail "the bill of materials of $archive is not right"
    echo "dist: $archive: $printed, unpacks, installs, bill of materials valid"
  done
  exit 0
fi

changed="$(git status --porcelain)"
if [ -n "$changed" ] && [ -z "$dirty" ]; then
  echo "$changed" | head -n 10 >&2
  fail "the tree is not clean; commit, or --dirty"
fi
version="$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)"
target="$(rustc -vV | sed -n 's/^host: //p')"
name="paddock-$version-$target"
SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)"
export SOURCE_DATE_EPOCH

scripts/build-web.sh
cargo build --release --locked --bin paddock
binary="${CARGO_TARGET_DIR:-target}/release/paddock"
grep -q /console/assets/index "$binary" || fail "the web console is not in $binary"
printed="$("$binary" --version)"
[ "$printed" = "paddock $version" ] || fail "$binary is '$printed', and Cargo.toml says $version"

[ -x "$sbom_tool/bin/cargo-cyclonedx" ] || cargo install --locked --quiet --root "$sbom_tool" "cargo-cyclonedx@$sbom_version"
rm -rf dist
stage="dist/$name"
mkdir -p "$stage"
cp "$binary" "$stage/paddock"
# Of what is bundled into the web console; what is linked into the program has its own list.
cp web/dist/licenses.txt "$stage/THIRD-PARTY-LICENSES-CONSOLE.txt"
# Only files that git knows, so that nothing that lies about here gets in.
others=()
[ -z "$dirty" ] || others=(--others --exclude-standard)
git ls-files -z --cached "${others[@]}" -- LICENSE README.md README_CN.md CHANGELOG.md config.yaml docs deploy \
  scripts/install.sh scripts/install-cli.sh tools/claude-cli/package.json tools/claude-cli/package-lock.json |
  while IFS= read -r -d '' file; do
    if [ -e "$file" ]; then mkdir -p "$stage/$(dirname "$file")"; cp "$file" "$stage/$file"; fi
  done
PATH="$PWD/$sbom_tool/bin:$PATH" scripts/bill-of-materials.py --target "$target" "dist/$name.cdx.json" "$stage/THIRD-PARTY-LICENSES.md"
for path in "${required[@]}"; do [ -f "$stage/$path" ] || fail "$path is missing (is it committed?)"; done

"$tar" -C dist --sort=name --format=ustar --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" \
  --mode='u+rwX,go=rX' -cf - "$name" | gzip -9n >"dist/$name.tar.gz"
rm -rf "$stage"
(cd dist && "${sum[@]}" "$name.cdx.json" "$name.tar.gz" >SHA256SUMS)
(cd dist && ls -l "$name.tar.gz" "$name.cdx.json" && cat SHA256SUMS)
