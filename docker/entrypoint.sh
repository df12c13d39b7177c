#!/bin/sh
# Starts Paddock in its container.
#
# As an ordinary user (the image's own is 10001:10001) it looks whether the volumes can be written, and says what to do if not.
# As root it takes volumes that are empty over for that user and goes on as it; PADDOCK_RUN_AS=root stays root, so that the
# agents of each tenant get a user of their own (docs/SECURITY.md). It never changes the owner of files that lie there already.
set -eu

data=/var/lib/paddock
workspaces=${PADDOCK__USER__BASE_DIR:-/workspaces}
uid=${PADDOCK_UID:-10001}
gid=${PADDOCK_GID:-10001}

fail() {
  printf 'paddock-entrypoint: %s\n' "$*" >&2
  exit 78
}

case "$uid:$gid" in
  *[!0-9:]* | :* | *:) fail "PADDOCK_UID ($uid) and PADDOCK_GID ($gid) must be numbers" ;;
esac

if [ "$(id -u)" = 0 ]; then
  case ${PADDOCK_RUN_AS:-paddock} in
    root)
      chmod 0711 "$data" "$workspaces" ||
        fail "$data and $workspaces must let the users of tenants pass; add the capabilities of docker-compose.yml (FOWNER)"
      exec paddock "$@"
      ;;
    paddock) ;;
    *) fail "PADDOCK_RUN_AS is paddock or root, not ${PADDOCK_RUN_AS}" ;;
  esac
  [ "$uid" != 0 ] || fail "PADDOCK_UID is 0; to stay root, set PADDOCK_RUN_AS=root"
  for folder in "$data" "$workspaces"; do
    owner=$(stat -c %u "$folder") || fail "$folder is missing; mount a volume there"
    if [ "$owner" = "$uid" ]; then continue; fi
    if [ -n "$(ls -A "$folder")" ]; then
      fail "$folder is not empty and belongs to user $owner, not $uid. Give it away on the host (chown -R $uid:$gid, on the" \
        "folder that is mounted there), or set PADDOCK_UID and PADDOCK_GID to its owner. Files are not changed unasked"
    fi
    if ! chown "$uid:$gid" "$folder" || ! chmod 0711 "$folder"; then
      fail "$folder cannot be given to user $uid; add the capabilities of docker-compose.yml (CHOWN, FOWNER)"
    fi
  done
  exec setpriv --reuid "$uid" --regid "$gid" --clear-groups --inh-caps=-all --no-new-privs "$0" "$@"
fi

if [ "${1:-}" = serve ]; then
  refused=
  for folder in "$data" "$workspaces" "${TMPDIR:-/tmp}"; do
    if ! [ -w "$folder" ] || ! [ -x "$folder" ]; then refused="$refused $folder"; fi
  done
  [ -z "$refused" ] ||
    fail "user $(id -u) cannot write:$refused. Give what is mounted there to it on the host (chown -R $(id -u):$(id -g)), or" \
      "start the container as root (PADDOCK_USER=0:0), which takes over volumes that are empty. With a read-only root," \
      "/tmp must be a tmpfs. See docs/DOCKER.md, Volumes and permissions"
fi
exec paddock "$@"
