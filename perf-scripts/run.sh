#!/usr/bin/env bash
# One command from a fresh checkout to a running server: installs the system packages that the build
# needs, builds the release binary and runs it with the arguments given here.
#   perf-scripts/run.sh demo             a whole server on loopback, nothing to configure
#   perf-scripts/run.sh --help           anything else the binary can do
# What this script has to say goes to standard error, so that the binary's own output stays clean.
set -euo pipefail
cd "$(dirname "$0")/.."
[[ $# -gt 0 ]] || set -- demo

say() { printf 'run.sh: %s\n' "$*" >&2; }

if command -v apt-get >/dev/null 2>&1; then
    say "system packages for the build"
    bash perf-scripts/packages.sh build >&2
else
    say "no apt-get here: a C and C++ compiler, make, perl and git must be installed already"
fi
if ! command -v cargo >/dev/null 2>&1; then
    say "cargo is not installed: install Rust 1.95 or later (https://rustup.rs), then run this again"
    exit 69
fi

say "building the release binary; the first time this takes some minutes"
cargo build --release --quiet >&2

binary="${CARGO_TARGET_DIR:-target}/release/angarium"
say "running $binary $*"
exec "$binary" "$@"
