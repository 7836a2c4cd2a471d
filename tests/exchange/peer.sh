#!/usr/bin/env bash
# Runs one mail server of Debian's in the foreground, behind a layer over this machine's root, as perf-scripts/peers does:
# what it writes is in memory and goes with it. FOLDER/setup is /srv/peer there, and its run.sh is what is run.
#   peer.sh FOLDER [LAYER]    LAYER: a folder that perf-scripts/peers/layers.sh has made
# The caller gives it mount and process namespaces of its own.
set -euo pipefail
folder="$1" layer="${2:-}" over="$1/over" root="$1/over/root"
mkdir -p "$over"
mount -t tmpfs tmpfs "$over"
mkdir -p "$over"/{upper,work,root}
[[ -z $layer ]] || cp -a "$layer/upper/." "$over/upper/"
mkdir -p "$over/upper/srv/peer"
mount -t overlay overlay -o "lowerdir=/,upperdir=$over/upper,workdir=$over/work" "$root"
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount --bind "$folder/setup" "$root/srv/peer"
exec chroot "$root" /bin/bash /srv/peer/run.sh
