#!/usr/bin/env bash
# Starts Paddock with docker compose: makes .env with its secrets if it is missing, and chooses files and settings by mode.
#
#   docker/start.sh [options]
#
#   (none)               one instance, SQLite, named volumes
#   --bind-mounts [DIR]  folders of this machine instead of named volumes: DIR/data, DIR/workspaces (DIR: ./docker-data)
#   --postgres           two instances on PostgreSQL, behind nginx
#   --namespaces         lets agents have namespaces of their own (docs/DOCKER.md, The fence in containers)
#   --tenant-users       the server stays root in its container, and agents of each tenant have a user of their own
#   --scripted           answers come from the built-in scripted model: no credential, no cost
#   --build              builds the image, also if there is one
#   --stop               stops the containers; --down removes them. Volumes stay
#   --dry-run            prints the command and changes nothing
#   -h, --help           this
#
# Options go together. Secrets are in .env (mode 0600) and on no command line.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf 'start.sh: %s\n' "$*" >&2; }
fail() { say "$@"; exit 1; }

postgres='' bind='' namespaces='' tenant_users='' scripted='' build='' action=up dry=''
while [ $# -gt 0 ]; do
  case "$1" in
    --postgres) postgres=yes ;;
    --bind-mounts)
      bind=./docker-data
      if [ $# -gt 1 ] && [ "${2#-}" = "$2" ]; then bind="$2"; shift; fi
      ;;
    --namespaces) namespaces=yes ;;
    --tenant-users) tenant_users=yes ;;
    --scripted) scripted=yes ;;
    --build) build=yes ;;
    --stop) action=stop ;;
    --down) action=down ;;
    --dry-run) dry=yes ;;
    -h | --help) sed -n '2,/^set /{/^set /d;s/^# \{0,1\}//p}' "$0"; exit 0 ;;
    *) fail "unknown option $1 (see --help)" ;;
  esac
  shift
done

# The volumes' names are told apart from paths by Compose by how they begin.
case "$bind" in
  '' | ./* | ../* | /*) ;;
  *) bind="./$bind" ;;
esac

files=(-f docker-compose.yml)
[ -z "$postgres" ] && [ "$action" = up ] || files+=(-f docker-compose.postgres.yml)
if [ "$action" = up ] && [ -n "$namespaces" ]; then
  files+=(-f docker/compose.namespaces.yml)
  [ -z "$postgres" ] || files+=(-f docker/compose.namespaces.postgres.yml)
fi
# What you add yourself (docs/DOCKER.md). Compose reads it by itself only where no files are named.
[ ! -e docker-compose.override.yml ] || files+=(-f docker-compose.override.yml)

# Settings of the mode, which come before those in .env. None is a secret.
settings=()
[ -z "$scripted" ] || settings+=(PADDOCK_SCRIPTED=true)
[ -z "$namespaces" ] || settings+=(PADDOCK_ISOLATION_LEVEL=namespaces)
if [ -n "$bind" ]; then
  settings+=("PADDOCK_DATA=$bind/data" "PADDOCK_WORKSPACES=$bind/workspaces")
  [ -z "$postgres" ] || settings+=("PADDOCK_DATA_2=$bind/data-2" "PADDOCK_DATABASE=$bind/database")
  settings+=(PADDOCK_USER=0:0)
  # Files then belong to who starts this; to the image's own user, where that is root.
  if [ -z "$tenant_users" ] && [ "$(id -u)" != 0 ]; then settings+=("PADDOCK_UID=$(id -u)" "PADDOCK_GID=$(id -g)"); fi
elif [ -n "$tenant_users" ]; then
  settings+=(PADDOCK_USER=0:0)
fi
[ -z "$tenant_users" ] || settings+=(PADDOCK_RUN_AS=root)

command=(docker compose --env-file .env "${files[@]}")
case "$action" in
  up)
    command+=(up --detach --wait)
    [ -z "$build" ] || command+=(--build)
    ;;
  *) command+=("$action") ;;
esac
[ "${#settings[@]}" = 0 ] || command=(env "${settings[@]}" "${command[@]}")

if [ -n "$dry" ]; then
  printf '%q ' "${command[@]}"
  echo
  exit 0
fi

command -v docker >/dev/null || fail "docker is not installed: https://docs.docker.com/engine/install/"
version="$(docker compose version --short 2>/dev/null || true)"
[ -n "$version" ] || fail "docker compose (version 2.24 or later) is not installed: https://docs.docker.com/compose/install/"
version="${version#v}"
major="${version%%.*}" minor="${version#*.}" minor="${minor%%.*}"
if [ "$major" -lt 2 ] || { [ "$major" = 2 ] && [ "$minor" -lt 24 ]; }; then
  fail "docker compose is $version; 2.24 or later is needed"
fi
docker info >/dev/null 2>&1 || fail "the Docker engine does not answer: is it running, and may $(id -un) use it (group docker)?"

# .env: made from its example, and empty secrets filled in. What is there is never changed.
umask 077
secret() { head -c "$1" /dev/urandom | od -An -tx1 | tr -d ' \n'; }
[ -e .env ] || [ "$action" = up ] || fail "there is no .env: nothing was started from here"
[ -e .env ] || { cp .env.example .env; say "made .env from .env.example"; }
chmod 600 .env || fail ".env cannot be made private; it must belong to $(id -un)"
filled=''
new="$(mktemp .env.XXXXXX)"
trap 'rm -f "$new"' EXIT
while IFS= read -r line || [ -n "$line" ]; do
  case "$line" in
    PADDOCK_ADMIN_KEY= | PADDOCK_SEALING_KEY=) line="$line$(secret 32)"; filled="$filled ${line%%=*}" ;;
    POSTGRES_PASSWORD=) line="$line$(secret 16)"; filled="$filled ${line%%=*}" ;;
  esac
  printf '%s\n' "$line"
done <.env >"$new"
if [ -n "$filled" ]; then
  mv "$new" .env
  say "made these secrets in .env:$filled. Keep the file as you keep the data"
fi

if [ "$action" = up ]; then
  credential="$scripted"
  for name in ANTHROPIC_API_KEY ANTHROPIC_AUTH_TOKEN CLAUDE_CODE_OAUTH_TOKEN; do
    if [ -n "${!name:-}" ] || grep -q "^$name=." .env; then credential=yes; fi
  done
  if [ "${PADDOCK_SCRIPTED:-}" = true ] || grep -q '^PADDOCK_SCRIPTED=true' .env; then credential=yes; fi
  [ -n "$credential" ] ||
    fail "there is no credential for the model: set ANTHROPIC_API_KEY (or another) in .env, or start with --scripted"
  if [ -n "$bind" ]; then
    # Made here, so that they belong to who starts this, and not to root.
    mkdir -p "$bind/data" "$bind/workspaces"
    [ -z "$postgres" ] || mkdir -p "$bind/data-2" "$bind/database"
  fi
fi

"${command[@]}" || fail "docker compose failed; docker compose logs tells more, and docs/DOCKER.md has a table of what may be wrong"
if [ "$action" = up ]; then
  say "Paddock answers at http://${PADDOCK_BIND:-127.0.0.1}:${PADDOCK_PORT:-8000} (unless .env says another); its key is PADDOCK_ADMIN_KEY in .env"
fi
