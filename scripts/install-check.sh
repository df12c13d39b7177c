#!/usr/bin/env bash
# Holds scripts/install.sh to what it says, in a folder in the place of this machine's root: seconds, no network, no root needed.
# What it does not reach: users and owners, npm, a running systemd, macOS.
set -euo pipefail
cd "$(dirname "$0")/.."
folder="$(mktemp -d)"
trap 'rm -rf "$folder"' EXIT
fail() { echo "install-check: $*" >&2; [ ! -e "$folder/said" ] || sed 's/^/    /' "$folder/said" >&2; exit 1; }

# An unpacked release, but for the program, which is a stand-in that can be told from its next version.
release="$folder/release"
mkdir -p "$release/scripts" "$release/tools/claude-cli" "$release/deploy"
cp -R config.yaml LICENSE README.md CHANGELOG.md docs "$release/"
cp -R deploy/systemd deploy/launchd "$release/deploy/"
cp scripts/install.sh scripts/install-cli.sh "$release/scripts/"
cp tools/claude-cli/package.json tools/claude-cli/package-lock.json "$release/tools/claude-cli/"
printf '#!/bin/sh\necho "paddock 1"\n' >"$release/paddock"
printf '#!/bin/sh\necho "a CLI"\n' >"$folder/claude"
chmod +x "$release/paddock" "$folder/claude"

root="$folder/root"
mkdir "$root"
# Everything that is there, with modes, and of files the content.
state() { (cd "$root" && find . -printf '%y %m %p\n' | sort && find . -type f -exec sha256sum {} + | sort -k2); }
install() { "$release/scripts/install.sh" --root "$root" --cli "$folder/claude" "$@" >"$folder/said" 2>&1; }
says() { grep -q -- "$1" "$folder/said" || fail "it did not say '$1'"; }

install --dry-run || fail "a dry run failed"
says '^would: install .*/usr/local/bin/paddock$'
says '^would: install .*/etc/paddock/paddock.env$'
[ -z "$(ls -A "$root")" ] || fail "a dry run left files: $(find "$root" -mindepth 1 | head -n 3)"

install || fail "installing failed"
promised="$("$release/scripts/install.sh" --root "$folder/other" --cli "$folder/claude" --dry-run 2>/dev/null | grep -c '^would: install')"
[ "$promised" = "$(grep -c '^install ' "$folder/said")" ] || fail "a dry run told of $promised files, and others were installed"
[ "$("$root/usr/local/bin/paddock")" = "paddock 1" ] || fail "the program is not there"
[ "$(stat -c %a "$root/etc/paddock/paddock.env")" = 600 ] || fail "paddock.env can be read by others"
[ "$(stat -c %a "$root/var/lib/paddock")" = 700 ] || fail "the data's folder is open"
grep -qx "  cli_path: $folder/claude" "$root/etc/paddock/config.yaml" || fail "the CLI is not in the settings"
grep -qx '  sqlite_path: /var/lib/paddock/paddock.db' "$root/etc/paddock/config.yaml" || fail "the database is not in the settings"
grep -qx 'ExecStart=/usr/local/bin/paddock serve' "$root/etc/systemd/system/paddock.service" || fail "there is no unit"

before="$(state)"
install || fail "installing again failed"
says '^nothing to do$'
[ "$(state)" = "$before" ] || fail "installing again changed something"

echo 'ANTHROPIC_API_KEY=planted' >>"$root/etc/paddock/paddock.env"
echo '# edited' >>"$root/etc/paddock/config.yaml"
mkdir -p "$root/var/lib/paddock/workspaces" && echo data >"$root/var/lib/paddock/workspaces/file"
before="$(state)"
install || fail "installing over edited settings failed"
says '^nothing to do$'
[ "$(state)" = "$before" ] || fail "edited settings changed"

# The next version: another program, other settings.
printf '#!/bin/sh\necho "paddock 2"\n' >"$release/paddock"
echo '# of version 2' >>"$release/config.yaml"
install --dry-run || fail "a dry run of an upgrade failed"
says "^would: replace $root/usr/local/bin/paddock$"
[ "$(state)" = "$before" ] || fail "a dry run of an upgrade changed something"
install || fail "an upgrade failed"
[ "$("$root/usr/local/bin/paddock")" = "paddock 2" ] || fail "an upgrade left the old program"
[ "$(tail -n 1 "$root/etc/paddock/config.yaml")" = '# edited' ] || fail "an upgrade changed edited settings"
[ "$(tail -n 1 "$root/etc/paddock/config.yaml.new")" = '# of version 2' ] || fail "an upgrade did not lay the new settings beside"
grep -q planted "$root/etc/paddock/paddock.env" || fail "an upgrade changed paddock.env"
install || fail "installing again after an upgrade failed"
says '^nothing to do$'
# Settings that nobody edited follow.
cp "$root/etc/paddock/config.yaml.new" "$root/etc/paddock/config.yaml"
echo '# of version 3' >>"$release/config.yaml"
install || fail "a second upgrade failed"
[ "$(tail -n 1 "$root/etc/paddock/config.yaml")" = '# of version 3' ] || fail "settings that nobody edited did not follow"

before="$(state)"
install --uninstall --dry-run || fail "a dry run of uninstalling failed"
says "^would: remove $root/usr/local/bin/paddock$"
[ "$(state)" = "$before" ] || fail "a dry run of uninstalling changed something"
install --uninstall || fail "uninstalling failed"
left="$(find "$root" -type f ! -path "$root/etc/paddock/*" ! -path "$root/var/lib/paddock/*")"
[ -z "$left" ] || fail "uninstalling left $left"
[ "$(cat "$root/var/lib/paddock/workspaces/file")" = data ] || fail "uninstalling removed data"
grep -q planted "$root/etc/paddock/paddock.env" || fail "uninstalling removed paddock.env"
install --uninstall --purge || fail "purging failed"
left="$(find "$root" -type f; ls -d "$root/var/lib/paddock" "$root/etc/paddock" 2>/dev/null || true)"
[ -z "$left" ] || fail "purging left $left"
install --uninstall --purge || fail "purging again failed"
says '^nothing to do$'

# Another prefix, no service.
install --prefix /opt/paddock --no-service || fail "installing elsewhere failed"
if [ ! -x "$root/opt/paddock/bin/paddock" ] || [ -e "$root/usr/local/bin/paddock" ]; then fail "--prefix was not kept to"; fi
[ ! -e "$root/etc/systemd/system/paddock.service" ] || fail "--no-service was not kept to"

for wrong in --frobnicate "--prefix relative" --root --purge "--prefix /a;b" "--cli /nowhere/claude"; do
  # shellcheck disable=SC2086 # Two words where there are two.
  if install $wrong; then fail "$wrong was taken"; fi
done
says '^install: /nowhere/claude is not a program'
rm "$release/paddock"
if install; then fail "it installed without a program"; fi
says 'there is no program beside'
echo "install-check: well"
