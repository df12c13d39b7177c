#!/usr/bin/env bash
# Installs Paddock on this machine, from an unpacked release or from a source tree; brings an older one up to date; takes it away.
#
#   sudo scripts/install.sh [--dry-run] [--uninstall [--purge]] [--prefix DIR] [--no-service] [--cli FILE] [--root DIR]
#
#     --dry-run      prints every change, and makes none
#     --uninstall    removes the program, the CLI, the documents and the service; settings and data stay
#     --purge        with --uninstall: removes /etc/paddock, /var/lib/paddock and the user, too
#     --prefix DIR   where bin, lib and share are (/usr/local)
#     --no-service   no unit for systemd, no plist for launchd
#     --cli FILE     a Claude Code CLI that is there already; else the pinned one is installed by npm
#     --root DIR     installs below a folder, for a package or an image: no user, no owners, no service started
#
# Running it again changes nothing, and says so. An edited /etc/paddock/config.yaml is never replaced: what is new lies beside it, as
# config.yaml.new. docs/INSTALL.md has the rest.
set -euo pipefail
here="$(cd "$(dirname "$0")/.." && pwd)"
fail() { echo "install: $*" >&2; exit 1; }

dry='' uninstall='' purge='' service=yes cli='' root='' prefix=/usr/local
while [ $# -gt 0 ]; do
  case "$1" in
    --dry-run) dry=yes ;;
    --uninstall) uninstall=yes ;;
    --purge) purge=yes ;;
    --no-service) service='' ;;
    --prefix | --cli | --root)
      [ $# -ge 2 ] || fail "$1 needs a path"
      [[ "$2" =~ ^/[A-Za-z0-9/._+-]*$ ]] || fail "$1 needs an absolute path of plain characters, not '$2'"
      path="${2%/}"
      case "$1" in --prefix) prefix="$path" ;; --cli) cli="$path" ;; --root) root="$path" ;; esac
      shift ;;
    -h | --help) sed -n '2,/^set -euo/s/^# \{0,1\}//p' "$0"; exit 0 ;;
    *) fail "unknown option $1; --help lists them" ;;
  esac
  shift
done
[ -z "$purge" ] || [ -n "$uninstall" ] || fail "--purge goes with --uninstall"
system="$(uname -s)"
case "$system" in Linux | Darwin) ;; *) fail "there is nothing for $system here" ;; esac
# Where it is this machine that is changed, and not a folder.
live=''
if [ -z "$root" ]; then
  live=yes
  [ "$(id -u)" = 0 ] || [ -n "$dry" ] || fail "this needs root: run it with sudo (or --dry-run, to see what it would do)"
fi

lib="$prefix/lib/paddock" share="$prefix/share/doc/paddock" etc=/etc/paddock data=/var/lib/paddock
unit=/etc/systemd/system/paddock.service plist=/Library/LaunchDaemons/dev.paddock.server.plist
user=paddock
[ "$system" = Linux ] || user=_paddock

changes=0 changed_program=''
# Says what is done, and does it unless this is a dry run.
change() {
  local what="$1"
  shift
  changes=$((changes + 1))
  if [ -n "$dry" ]; then echo "would: $what"; else echo "$what"; "$@"; fi
}
mode_of() { if [ "$system" = Linux ]; then stat -c %a "$1"; else stat -f %Lp "$1"; fi; }
owner_of() { if [ "$system" = Linux ]; then stat -c %U:%G "$1"; else stat -f %Su:%Sg "$1"; fi; }
root_group=root
[ "$system" = Linux ] || root_group=wheel

# folder PATH MODE OWNER:GROUP
folder() {
  local path="$root$1"
  if [ ! -d "$path" ]; then change "make the folder $path" mkdir -p "$path"; fi
  attributes "$path" "$2" "$3"
}
# attributes PATH MODE OWNER:GROUP
attributes() {
  if [ -n "$dry" ] && [ ! -e "$1" ]; then return; fi
  if [ "$(mode_of "$1")" != "$2" ]; then change "mode $2 for $1" chmod "$2" "$1"; fi
  if [ -n "$live" ] && [ "$(owner_of "$1")" != "$3" ]; then change "owner $3 for $1" chown "$3" "$1"; fi
}
# In one step: a program that runs keeps the file that it has.
put() { cp "$1" "$2.installing" && chmod "$3" "$2.installing" && mv -f "$2.installing" "$2"; }
# file SOURCE PATH MODE [OWNER:GROUP]
file() {
  local path="$root$2"
  if ! cmp -s "$1" "$path"; then
    # What a running server has read.
    case "$2" in "$prefix/bin/paddock" | "$etc/config.yaml" | "$unit") changed_program=yes ;; esac
    if [ -e "$path" ]; then change "replace $path" put "$1" "$path" "$3"; else change "install $path" put "$1" "$path" "$3"; fi
  fi
  attributes "$path" "$3" "${4:-root:$root_group}"
}
gone() { if [ -e "$root$1" ] || [ -L "$root$1" ]; then change "remove $root$1" rm -rf "$root$1"; fi; }

has_systemd() { [ "$system" = Linux ] && { [ -z "$live" ] || [ -d /run/systemd/system ]; }; }

if [ -n "$uninstall" ]; then
  if [ -n "$live" ] && [ -e "$unit" ] && [ -d /run/systemd/system ]; then
    change "stop paddock.service and take it out of the start" systemctl disable --now paddock.service
  fi
  if [ -n "$live" ] && [ "$system" = Darwin ] && [ -e "$plist" ]; then
    change "stop dev.paddock.server" launchctl bootout system "$plist"
  fi
  for path in "$unit" "$plist" "$prefix/bin/paddock" "$lib" "$share"; do gone "$path"; done
  if [ -n "$live" ] && [ -d /run/systemd/system ] && [ "$changes" -gt 0 ]; then
    change "have systemd read its units again" systemctl daemon-reload
  fi
  if [ -n "$purge" ]; then
    for path in "$etc" "$data"; do gone "$path"; done
    if [ -n "$live" ] && id "$user" >/dev/null 2>&1; then
      if [ "$system" = Linux ]; then change "remove the user $user" userdel "$user"
      else change "remove the user $user" dscl . -delete "/Users/$user"; fi
    fi
  elif [ -e "$root$etc" ] || [ -e "$root$data" ]; then
    echo "kept: $root$etc, $root$data (--purge removes them, and the user $user)"
  fi
  [ "$changes" -gt 0 ] || echo "nothing to do"
  exit 0
fi

# --- What is installed -------------------------------------------------------------------------------------------------------------
if [ -x "$here/paddock" ]; then binary="$here/paddock"
elif [ -f "$here/Cargo.toml" ]; then
  binary="$here/target/release/paddock"
  if [ ! -x "$binary" ]; then
    command -v cargo >/dev/null ||
      fail "$binary is not there, and neither is cargo: run 'cargo build --release --locked --bin paddock' as yourself first"
    if command -v npm >/dev/null; then change "build the web console" "$here/scripts/build-web.sh"
    else echo "install: without npm the web console is not built; the program will be without it" >&2; fi
    change "build the program" cargo build --manifest-path "$here/Cargo.toml" --release --locked --bin paddock
  fi
else
  fail "there is no program beside $0: run the install.sh of an unpacked release, or of a source tree"
fi
if [ -n "$live" ] && [ -x "$binary" ]; then
  "$binary" --version >/dev/null || fail "$binary does not run on this machine; take the release for $(uname -m), or build it here"
fi

missing=()
if [ "$system" = Linux ]; then command -v bwrap >/dev/null || missing+=(bubblewrap); fi
command -v git >/dev/null || missing+=(git)
command -v rg >/dev/null || missing+=(ripgrep)
wanted_cli="$(sed -n 's/.*"@anthropic-ai\/claude-code": "\(.*\)".*/\1/p' "$here/tools/claude-cli/package.json")"
installed_cli="$(cat "$root$lib/claude-version" 2>/dev/null || true)"
needs_npm=''
if [ -z "$cli" ] && { [ "$installed_cli" != "$wanted_cli" ] || [ ! -x "$root$lib/claude" ]; }; then
  needs_npm=yes
  command -v npm >/dev/null || missing+=(npm)
fi
if [ "${#missing[@]}" -gt 0 ]; then
  packages=("${missing[@]}")
  if command -v apt-get >/dev/null; then line="apt-get install -y ${packages[*]}"
  elif command -v dnf >/dev/null; then line="dnf install -y ${packages[*]/#npm/nodejs npm}"
  elif command -v brew >/dev/null; then line="brew install ${packages[*]/#npm/node}"
  else line="(the system's package manager) ${packages[*]}"; fi
  echo "install: missing: ${missing[*]}. To have them:  $line" >&2
  case " ${missing[*]} " in
    *" npm "*) [ -n "$dry" ] || fail "the Claude Code CLI is installed by npm; install npm, or name a CLI by --cli" ;;
  esac
  case " ${missing[*]} " in
    *" bubblewrap "*) echo "install: without bubblewrap agents are fenced in by Landlock alone (docs/SECURITY.md)" >&2 ;;
  esac
fi
[ -z "$cli" ] || [ -x "$cli" ] || fail "$cli is not a program (--cli)"
case "$cli" in
  /home/* | /root/* | /tmp/*) echo "install: the unit for systemd hides $cli from the service; better a CLI elsewhere (--cli)" >&2 ;;
esac

scratch="$(mktemp -d)"
trap 'rm -rf "$scratch"' EXIT

# --- The user ------------------------------------------------------------------------------------------------------------------------
make_mac_user() {
  local id=300
  while { dscl . -list /Users UniqueID; dscl . -list /Groups PrimaryGroupID; } | awk '{print $2}' | grep -qx "$id"; do
    id=$((id + 1))
  done
  dscl . -create "/Groups/$user" PrimaryGroupID "$id"
  dscl . -create "/Users/$user" UniqueID "$id"
  dscl . -create "/Users/$user" PrimaryGroupID "$id"
  dscl . -create "/Users/$user" NFSHomeDirectory "$data"
  dscl . -create "/Users/$user" UserShell /usr/bin/false
}
if [ -n "$live" ] && ! id "$user" >/dev/null 2>&1; then
  if [ "$system" = Linux ]; then
    change "make the user $user" useradd --system --user-group --home-dir "$data" --no-create-home --shell /usr/sbin/nologin "$user"
  else
    change "make the user $user" make_mac_user
  fi
fi

# --- The program, the CLI, the documents ---------------------------------------------------------------------------------------------
for path in "$prefix/bin" "$prefix/lib" "$prefix/share" "$prefix/share/doc"; do
  if [ ! -d "$root$path" ]; then folder "$path" 755 "root:$root_group"; fi
done
for path in "$lib" "$lib/scripts" "$lib/tools" "$lib/tools/claude-cli" "$share" "$share/docs"; do
  folder "$path" 755 "root:$root_group"
done
file "$binary" "$prefix/bin/paddock" 755
file "$here/scripts/install.sh" "$lib/scripts/install.sh" 755
file "$here/scripts/install-cli.sh" "$lib/scripts/install-cli.sh" 755
file "$here/deploy/systemd/paddock-in-control-groups" "$lib/paddock-in-control-groups" 755
for name in package.json package-lock.json; do file "$here/tools/claude-cli/$name" "$lib/tools/claude-cli/$name" 644; done
for path in "$here"/{LICENSE,README.md,README_CN.md,CHANGELOG.md,THIRD-PARTY-LICENSES.md,THIRD-PARTY-LICENSES-CONSOLE.txt} "$here"/docs/*.md; do
  name="${path#"$here/"}"
  if [ -f "$path" ]; then file "$path" "$share/$name" 644; fi
done

install_cli() {
  local program
  program="$("$root$lib/scripts/install-cli.sh")"
  # By a name that stays over versions; the same file, so it takes no room.
  ln -f "$program" "$root$lib/claude.installing"
  mv -f "$root$lib/claude.installing" "$root$lib/claude"
  printf '%s\n' "$wanted_cli" >"$root$lib/claude-version"
}
if [ -n "$needs_npm" ]; then
  change "install the Claude Code CLI $wanted_cli into $root$lib (npm ci)" install_cli
  changed_program=yes
fi

# --- Settings ------------------------------------------------------------------------------------------------------------------------
folder "$etc" 750 "root:$user"
# The settings as delivered, with this installation's paths.
sed -e "s|^  base_dir: data/workspaces\$|  base_dir: $data/workspaces|" \
  -e "s|^  sqlite_path: data/paddock.db\$|  sqlite_path: $data/paddock.db|" \
  -e "s|^  homes_dir: data/homes\$|  homes_dir: $data/homes|" -e "s|^  cli_path: claude\$|  cli_path: ${cli:-$lib/claude}|" \
  "$here/config.yaml" >"$scratch/config.yaml"
[ "$(diff "$here/config.yaml" "$scratch/config.yaml" | grep -c '^>')" = 4 ] ||
  fail "config.yaml does not have the four paths that are set here"
config="$root$etc/config.yaml" delivered="$root$lib/config.yaml.delivered"
if [ ! -e "$config" ] || cmp -s "$config" "$delivered"; then
  # Never edited, or not there.
  file "$scratch/config.yaml" "$etc/config.yaml" 640 "root:$user"
elif ! cmp -s "$config" "$scratch/config.yaml" && ! cmp -s "$delivered" "$scratch/config.yaml"; then
  file "$scratch/config.yaml" "$etc/config.yaml.new" 640 "root:$user"
  echo "note: $config was edited and is kept; what is new is in config.yaml.new"
fi
file "$scratch/config.yaml" "$lib/config.yaml.delivered" 644
if [ ! -e "$root$etc/paddock.env" ]; then
  cat >"$scratch/paddock.env" <<'ENV'
# Credentials and secrets of Paddock: NAME='value', one a line. Mode 0600, of root. This file is never changed by an upgrade.
# One of these, for the model:
#ANTHROPIC_API_KEY=''
#CLAUDE_CODE_OAUTH_TOKEN=''
# The platform's own key, of role admin; needed where others can connect:
#PADDOCK__AUTH__ADMIN_KEY=''
# What tenants' own credentials are sealed with (openssl rand -hex 32):
#PADDOCK__AUTH__SEALING_KEY=''
ENV
  file "$scratch/paddock.env" "$etc/paddock.env" 600
else
  attributes "$root$etc/paddock.env" 600 "root:$root_group"
fi
folder "$data" 700 "$user:$user"

# --- The service -----------------------------------------------------------------------------------------------------------------------
by_hand="run  $prefix/bin/paddock --config $etc/config.yaml serve  as the user $user, in $data"
if [ -z "$service" ]; then
  echo "no service, as asked for: $by_hand"
elif has_systemd; then
  if [ ! -d "$root${unit%/*}" ]; then folder "${unit%/*}" 755 root:root; fi
  sed "s|/usr/local/|$prefix/|g" "$here/deploy/systemd/paddock.service" >"$scratch/paddock.service"
  if ! cmp -s "$scratch/paddock.service" "$root$unit"; then
    file "$scratch/paddock.service" "$unit" 644
    if [ -n "$live" ]; then change "have systemd read its units again" systemctl daemon-reload; fi
  fi
  if [ -n "$live" ]; then
    if ! systemctl is-enabled -q paddock.service 2>/dev/null; then
      change "start paddock.service with the machine" systemctl enable -q paddock.service
    fi
    if systemctl is-active -q paddock.service && [ -n "$changed_program" ]; then
      change "restart paddock.service (running turns may end first)" systemctl restart paddock.service
    fi
  fi
elif [ "$system" = Darwin ]; then
  if [ ! -d "$root${plist%/*}" ]; then folder "${plist%/*}" 755 "root:$root_group"; fi
  sed "s|/usr/local/|$prefix/|g" "$here/deploy/launchd/dev.paddock.server.plist" >"$scratch/plist"
  file "$scratch/plist" "$plist" 644
  echo "note: the service for macOS was never tried; start it by  sudo launchctl bootstrap system $plist"
else
  echo "systemd does not run here (a container, or another init), so there is no service: $by_hand, or take deploy/supervisord"
fi

if [ "$changes" = 0 ]; then echo "nothing to do"; exit 0; fi
if [ -z "$dry" ] && [ -n "$live" ]; then
  echo "installed. Put a credential into $etc/paddock.env; then, under systemd:  sudo systemctl start paddock"
fi
