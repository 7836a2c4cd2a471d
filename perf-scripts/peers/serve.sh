#!/usr/bin/env bash
# Runs one peer in the foreground, from its layer (layers.sh) with the configuration in its folder here. The peer sees
# a root, a mount table and process numbers of its own; its spool and mail are in FOLDER, which is not behind the
# layer. When the ports answer, one line of JSON with them and the process number goes to standard output, like
# that of `angarium demo --json`. SIGKILL to that process ends the peer and all that it started.
#   serve.sh NAME FOLDER [VARIANT]    VARIANT: usual, fsync-always (STORE flushed before OK), filling (nothing
#                                     flushed: to fill mailboxes, never to measure), or relay (all mail for
#                                     elsewhere goes to 127.0.0.1:2600)
#   serve.sh --again FOLDER           as it was when it ended; says nothing
#   SERVE_CGROUP=FOLDER serve.sh ..   in this control group
set -euo pipefail
here="$(cd "$(dirname "$0")" && pwd)"
cache="${ANGARIUM_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/angarium-peers}"

# The first process of the peer's own process and mount namespaces.
inside() {
    local folder="$1" variant="$2" root="$1/root"
    mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/upper,workdir=$folder/work" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount --rbind /sys "$root/sys"
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    mount --bind "$folder/data" "$root/srv/peer/data"
    # Bash as the first process takes in those whose parents have ended, and their processor time with them.
    exec chroot "$root" /bin/bash /srv/peer/run.sh "$variant"
}

answers() {
    (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# Waits for every port, then prints the line.
announce() {
    local pid="$1" name port end=$((SECONDS + 60)) list=""
    shift
    for name in "$@"; do
        port="${name#*=}"
        until answers "$port"; do
            kill -0 "$pid" 2>/dev/null || return 0
            ((SECONDS < end)) || { echo "serve.sh: nothing listens on port $port" >&2; kill -KILL "$pid"; return 0; }
            sleep 0.02
        done
        list+="${list:+, }\"${name%=*}\": $port"
    done
    printf '{"pid": %s, "ports": {%s}}\n' "$pid" "$list"
}

if [[ "${1:-}" == --inside ]]; then
    inside "$2" "$3"
fi
ulimit -n "$(ulimit -Hn)"
if [[ "${1:-}" == --again ]]; then
    exec unshare --mount --pid --fork --kill-child -- bash "$here/serve.sh" --inside "$2" usual
fi
name="$1" folder="$2" variant="${3:-usual}"
layer="" ports=""
# shellcheck source=/dev/null
source "$here/$name/peer.conf"
[[ -f $cache/$layer/stamp ]] || { echo "serve.sh: no layer $layer: run layers.sh" >&2; exit 69; }
rm -rf "${folder:?}/upper" "$folder/work"
mkdir -p "$folder"/{upper,work,root,data}
cp -a "$cache/$layer/upper/." "$folder/upper/"
mkdir -p "$folder/upper/srv/peer/data"
cp -rL --no-preserve=ownership "$here/common/." "$folder/upper/srv/peer/"
cp -rL --no-preserve=ownership "$here/$name/." "$folder/upper/srv/peer/"
if [[ -n "${SERVE_CGROUP:-}" ]]; then
    echo $$ >"$SERVE_CGROUP/cgroup.procs"
fi
# shellcheck disable=SC2086
announce $$ $ports &
exec unshare --mount --pid --fork --kill-child -- bash "$here/serve.sh" --inside "$folder" "$variant" >&2
