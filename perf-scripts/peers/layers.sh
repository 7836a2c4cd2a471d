#!/usr/bin/env bash
# Installs the peers' Debian packages, each into a layer of its own over this machine's root: what apt writes goes
# into a folder of the cache and the machine itself stays as it is. So Postfix, Exim and OpenSMTPD, which Debian
# allows one of, and Dovecot and Cyrus, are all there at the same time, no service unit of theirs is ever
# started, and their users exist inside the layer alone. README.md says more.
#   layers.sh [NAME..]    all, or those named; root only. What is there already is kept.
set -euo pipefail

cache="${ANGARIUM_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/angarium-peers}"

declare -A packages=(
    [dovecot]="dovecot-imapd dovecot-lmtpd dovecot-pop3d"
    [postfix]="postfix"
    [exim]="exim4-daemon-light"
    [opensmtpd]="opensmtpd"
    [cyrus]="cyrus-imapd cyrus-pop3d sasl2-bin openssl libeatmydata1"
)
# The layer that another one begins as a copy of. (A folder of the root cannot be mounted between the root and a third one.)
declare -A below=([postfix]=dovecot [exim]=dovecot [opensmtpd]=dovecot)
order="dovecot postfix exim opensmtpd cyrus"

fail() {
    echo "layers.sh: $*" >&2
    exit 69
}

# A layer is stale when Debian has newer packages for it or a layer below was made anew.
stamp() {
    local name="$1" package
    cat /etc/debian_version
    for package in ${packages[$name]}; do
        apt-cache policy "$package" | sed -n "s/^ *Candidate:/$package/p"
    done
    [[ -z ${below[$name]:-} ]] || cat "$cache/${below[$name]}/stamp"
}

# Runs in a mount namespace of its own, so that nothing has to be unmounted.
install_into() {
    local name="$1" root="$cache/$1/root"
    mount -t overlay overlay -o "lowerdir=/,upperdir=$cache/$name/upper,workdir=$cache/$name/work" "$root" ||
        fail "no overlay in $cache: name a folder on ext4, XFS or tmpfs in ANGARIUM_PEERS"
    mount --rbind /proc "$root/proc"
    mount --rbind /dev "$root/dev"
    mount --rbind /sys "$root/sys"
    mount -t tmpfs tmpfs "$root/tmp"
    mount -t tmpfs tmpfs "$root/run"
    mkdir -p "$root/var/cache/apt/archives"
    mount --bind "$cache/archives" "$root/var/cache/apt/archives"
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
    chmod 755 "$root/usr/sbin/policy-rc.d"
    # shellcheck disable=SC2086
    DEBIAN_FRONTEND=noninteractive chroot "$root" apt-get install -y -qq --no-install-recommends \
        -o APT::Sandbox::User=root ${packages[$name]} >"$cache/$name/log" 2>&1 ||
        { tail -n 20 "$cache/$name/log" >&2; fail "apt-get could not install ${packages[$name]}"; }
}

make_layer() {
    local name="$1" wanted
    wanted="$(stamp "$name")"
    if [[ -f $cache/$name/stamp && "$(cat "$cache/$name/stamp")" == "$wanted" ]]; then
        echo "layers: $name is there"
        return
    fi
    echo "layers: installing ${packages[$name]}"
    rm -rf "${cache:?}/$name"
    mkdir -p "$cache/$name"/{upper,work,root} "$cache/archives/partial"
    [[ -z ${below[$name]:-} ]] || cp -a "$cache/${below[$name]}/upper/." "$cache/$name/upper/"
    unshare --mount bash "$0" --inside "$name"
    printf '%s\n' "$wanted" >"$cache/$name/stamp"
}

[[ "$(id -u)" -eq 0 ]] || fail "a layer needs root, for its users and mounts"
if [[ "${1:-}" == --inside ]]; then
    install_into "$2"
    exit 0
fi
# A fresh machine knows of no package yet.
[[ "$(apt-cache policy dovecot-imapd 2>/dev/null)" == *"Candidate: "[0-9]* ]] || apt-get update -qq
for name in $order; do
    [[ $# -eq 0 || " $* " == *" $name "* ]] || continue
    make_layer "$name"
done
