#!/usr/bin/env bash
# Every scenario of angarium-bench, small, against a demo server: are the answers right? Seconds in all, and
# no word about speed. Both programs are built by `cargo build --release` before.
#   perf-scripts/bench-smoke.sh
#   ANGARIUM=FILE BENCH=FILE perf-scripts/bench-smoke.sh    other builds than those in target/release
set -euo pipefail
cd "$(dirname "$0")/.."

release="${CARGO_TARGET_DIR:-target}/release"
angarium="${ANGARIUM:-$release/angarium}"
bench="${BENCH:-$release/angarium-bench}"
for program in "$angarium" "$bench"; do
    [[ -x $program ]] || { echo "bench-smoke: $program is not built" >&2; exit 69; }
done

folder="$(mktemp -d)"
server=""
finish() {
    if [[ -n $server ]] && kill -0 "$server" 2>/dev/null; then
        kill -TERM "$server"
        wait "$server" || true
    fi
    rm -rf "$folder"
}
trap finish EXIT

"$angarium" demo --json --data "$folder/data" --shards 1 --accounts 8 --password benchmark \
    >"$folder/demo.json" 2>"$folder/demo.log" &
server=$!
for _ in $(seq 300); do
    [[ -s $folder/demo.json ]] && break
    kill -0 "$server" 2>/dev/null || { cat "$folder/demo.log" >&2; exit 70; }
    sleep 0.1
done
[[ -s $folder/demo.json ]] || { echo "bench-smoke: the server does not start" >&2; exit 70; }

failed=0
# run SCENARIO [OPTION...]: its whole answer is one line of JSON.
run() {
    local line
    if line=$(timeout 60 "$bench" --demo "$folder/demo.json" --users 8 --json "$@") &&
        [[ $line == '{'*'"figures"'*'}' ]]; then
        echo "ok      $*"
    else
        echo "FAILED  $*"
        failed=1
    fi
}

run smtp-deliver --count 40 --connections 4
run smtp-deliver --count 20 --connections 2 --size 64K
run smtp-deliver --duration 0.5 --rate 100 --connections 4
run lmtp-deliver --count 20 --connections 2 --recipients 3
run imap-append --count 40 --connections 4
run imap-append --count 8 --connections 2 --size 64K --tls
run imap-list --count 4 --connections 2 --messages 100
run imap-list --count 4 --messages 100 --items envelope
run imap-store --count 40 --connections 4
run login --count 20 --connections 4
run login --count 8 --connections 2 --tls
run idle-notify --count 20 --connections 4
run idle-connections --connections 40
run idle-connections --connections 20 --tls --selected
run pop3-retr --count 40 --connections 4
run pop3-retr --count 8 --connections 2 --tls
run raw-write --count 20 --folder "$folder"

# A run with the wrong password has to fail, or the checks above mean nothing.
if timeout 60 "$bench" --demo "$folder/demo.json" --users 8 --password wrong login --count 1 >/dev/null 2>&1; then
    echo "FAILED  a wrong password went unnoticed"
    failed=1
fi
kill -0 "$server" 2>/dev/null || { echo "FAILED  the server is gone"; cat "$folder/demo.log"; failed=1; }
exit "$failed"
