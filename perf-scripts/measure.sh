#!/usr/bin/env bash
# The figures of docs/performance.md: each scenario on a fresh demo server on loopback, load generator
# and server on the same machine. One JSON line a scenario goes to the file named (results.jsonl unless
# told), a table to the terminal. Both programs are built by `cargo build --release` before.
#   perf-scripts/measure.sh [FILE]
#   SHARDS=1 SECONDS_EACH=3 perf-scripts/measure.sh
set -euo pipefail
cd "$(dirname "$0")/.."

results="${1:-results.jsonl}"
shards="${SHARDS:-1}"
seconds="${SECONDS_EACH:-3}"
release="${CARGO_TARGET_DIR:-target}/release"
angarium="${ANGARIUM:-$release/angarium}"
bench="${BENCH:-$release/angarium-bench}"
ulimit -n "$(ulimit -Hn)"
commit="$(git describe --always --dirty)"
source perf-scripts/one-server.sh

# The figures of a run, a line each.
show() {
    python3 -c '
import json, sys
for line in sys.stdin:
    for key, value in json.loads(line)["figures"].items():
        print(f"    {key:<32} {value}")'
}

# What the demo server is told beside what it always is.
more=()

# measure NAME SCENARIO [OPTION...]
measure() {
    local name="$1"
    shift
    "$angarium" demo --json --data "$folder/data" --shards "$shards" --accounts 64 --password benchmark "${more[@]}" \
        >"$folder/demo.json" 2>"$folder/demo.log" &
    server=$!
    for _ in $(seq 300); do
        [[ -s $folder/demo.json ]] && break
        sleep 0.1
    done
    printf '%s: %s\n' "$name" "$*"
    "$bench" --demo "$folder/demo.json" --data-folder "$folder" --label "$commit $name shards=$shards" --json "$@" |
        tee -a "$results" | show
    stop
    : >"$folder/demo.json"
}

measure idle-10000-plain idle-connections --connections 10000
measure idle-10000-tls idle-connections --connections 10000 --tls
measure list-flags-100000 imap-list --messages 100000 --items flags --count 10
measure list-envelope-100000 imap-list --messages 100000 --items envelope --count 10
measure search-rare-100000 imap-search --messages 100000 --key rare --count 5
measure append-4k-1-into-100000 imap-append --messages 100000 --duration "$seconds"
measure append-4k-1 imap-append --duration "$seconds"
measure raw-write-4k raw-write --duration "$seconds" --folder "$folder"
measure smtp-4k-1 smtp-deliver --duration "$seconds" --connections 1
measure smtp-4k-32 smtp-deliver --duration "$seconds" --connections 32 --until-held
measure smtp-4k-256 smtp-deliver --duration "$seconds" --connections 256 --until-held
measure smtp-4k-32-starttls smtp-deliver --duration "$seconds" --connections 32 --starttls
measure smtp-4k-20-recipients smtp-deliver --duration "$seconds" --connections 32 --recipients 20
measure smtp-64k-32 smtp-deliver --duration "$seconds" --connections 32 --size 64K --until-held
measure lmtp-4k-32 lmtp-deliver --duration "$seconds" --connections 32
measure append-4k-32 imap-append --duration "$seconds" --connections 32
measure store-32 imap-store --duration "$seconds" --connections 32
measure body-4k-8 imap-body --duration "$seconds" --connections 8 --messages 500
measure body-64k-8 imap-body --duration "$seconds" --connections 8 --size 64K --messages 100
measure login-8 login --duration "$seconds" --connections 8
measure idle-notify idle-notify --duration "$seconds" --connections 8
measure pop3-4k-8 pop3-retr --duration "$seconds" --connections 8
measure pop3-64k-8 pop3-retr --duration "$seconds" --connections 8 --size 64K

# All mail for elsewhere goes to the sink that the scenario runs.
more=(--smarthost 127.0.0.1:2600)
measure relay-4k-1 smtp-relay --duration "$seconds" --connections 1
measure relay-4k-32 smtp-relay --duration "$seconds" --connections 32
measure relay-4k-32-no-chunking smtp-relay --duration "$seconds" --connections 32 --no-chunking
measure relay-4k-20-domains smtp-relay --duration "$seconds" --connections 8 --recipients 20 --domains 20
measure relay-64k-32 smtp-relay --duration "$seconds" --connections 32 --size 64K
more=()

# The server's own starts: with a million messages, and after kill -9 under load.
started() {
    local name="$1"
    shift
    printf '%s: %s\n' "$name" "$*"
    "$bench" "$@" --label "$commit $name shards=$shards" --json \
        --serve-command "exec $angarium demo --data $folder/data --shards $shards --accounts 64 --password benchmark" |
        tee -a "$results" | show
    rm -rf "$folder/data"
}
started start-up-1000000 start-up --runs 5 --messages 1000000 --size 512
started recovery-1000000 recovery --runs 3 --connections 32 --duration 1.5 --messages 1000000 --size 512
