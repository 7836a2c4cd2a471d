#!/usr/bin/env bash
# Installs the Debian packages that a purpose needs and that are not there yet, and says which.
#   packages.sh build   what `cargo build` needs beside the Rust toolchain
#   packages.sh test    the real mail programs that the black-box tests run, prometheus for its promtool, and valgrind,
#                       which counts instructions; Exim, for which there is no room beside Postfix, into a layer of its own
#   packages.sh peers   what compare.sh runs: fio, and the other mail servers, which go into layers of their own
#                       (peers/layers.sh) and not onto the machine
set -euo pipefail

declare -A lists=(
    [build]="gcc g++ make perl git ca-certificates"
    [test]="swaks curl isync fetchmail offlineimap3 interimap postfix python3 python3-pip python3-venv nodejs npm strace openssl procps prometheus valgrind nsd ldnsutils unbound opendkim rspamd clamav-daemon clamav-milter python3-milter bsd-mailx s-nail mutt iproute2 util-linux libmail-srs-perl postsrsd"
    [peers]="fio iproute2 procps python3 util-linux"
)

wanted=""
for purpose in "$@"; do
    [[ -n "${lists[$purpose]:-}" ]] || { echo "packages.sh: no list named $purpose" >&2; exit 64; }
    wanted+=" ${lists[$purpose]}"
done

# What follows once the packages are there.
finish() {
    local layers
    layers="$(dirname "$0")/peers/layers.sh"
    case " $* " in
    *" peers "*) bash "$layers" ;;
    *" test "*) bash "$layers" dovecot exim || echo "packages: without a layer for Exim tests/exchange is left out" ;;
    esac
}

missing=""
for package in $wanted; do
    # A program of that name counts too: some machines have a newer one than Debian's.
    command -v "$package" >/dev/null 2>&1 && continue
    dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q "install ok installed" && continue
    missing+=" $package"
done
if [[ -z "$missing" ]]; then
    echo "packages: nothing to install"
    finish "$@"
    exit 0
fi

echo "packages: installing$missing"
sudo=""
if [[ "$(id -u)" -ne 0 ]]; then
    command -v sudo >/dev/null || { echo "packages.sh: not root, and no sudo: have root run \`apt-get install$missing\`" >&2; exit 69; }
    sudo="sudo"
fi
export DEBIAN_FRONTEND=noninteractive
$sudo apt-get update -qq
# Mail servers among them must not start by themselves.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
    printf '#!/bin/sh\nexit 101\n' | $sudo tee $policy >/dev/null
    $sudo chmod +x $policy
    trap '$sudo rm -f $policy' EXIT
fi
# shellcheck disable=SC2086
$sudo apt-get install -y -qq --no-install-recommends $missing >/dev/null
finish "$@"
