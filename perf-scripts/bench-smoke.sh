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
# shellcheck disable=SC2317 # the trap calls it
finish() {
    if [[ -n $server ]] && kill -0 "$server" 2>/dev/null; then
        kill -TERM "$server"
        wait "$server" || true
    fi
    rm -rf "$folder"
}
trap finish EXIT

# start_demo FOLDER [OPTION...]: what it prints goes to demo.json.
start_demo() {
    local data="$1"
    shift
    : >"$folder/demo.json"
    "$angarium" demo --json --data "$data" --shards 1 --accounts 8 --password benchmark "$@" \
        >"$folder/demo.json" 2>"$folder/demo.log" &
    server=$!
    for _ in $(seq 300); do
        [[ -s $folder/demo.json ]] && return
        kill -0 "$server" 2>/dev/null || { cat "$folder/demo.log" >&2; exit 70; }
        sleep 0.1
    done
    echo "bench-smoke: the server does not start" >&2
    exit 70
}
start_demo "$folder/data"

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
run smtp-deliver --count 20 --connections 2 --size 64K --until-held
run smtp-deliver --count 100 --connections 4 --size mixed
run smtp-deliver --count 20 --connections 2 --recipients 8
run smtp-deliver --count 20 --connections 2 --starttls
run smtp-deliver --count 20 --connections 2 --submit --starttls
run smtp-deliver --count 20 --connections 2 --submit --tls
run smtp-deliver --duration 0.5 --rate 100 --connections 4
run lmtp-deliver --count 20 --connections 2 --recipients 3
run imap-session --count 8 --connections 4 --think 10
run imap-session --count 4 --connections 2 --think 0 --tls
run imap-append --count 40 --connections 4
run imap-append --count 8 --connections 2 --size 64K --tls
run imap-append --count 20 --messages 200
run imap-list --count 4 --connections 2 --messages 100
run imap-list --count 4 --messages 100 --items envelope
run imap-body --count 40 --connections 4
run imap-body --count 20 --connections 2 --size 64K --tls
run imap-search --count 4 --connections 2 --messages 100
run imap-search --count 4 --messages 100 --key common
run imap-search --count 4 --messages 100 --key subject
run imap-store --count 40 --connections 4
run login --count 20 --connections 4
run login --count 8 --connections 2 --tls
run idle-notify --count 20 --connections 4
run idle-notify --count 20 --connections 4 --via smtp
run idle-connections --connections 40
run idle-connections --connections 20 --tls --selected
run pop3-retr --count 40 --connections 4
run pop3-retr --count 8 --connections 2 --tls
run mixed-day --duration 1.5 --connections 64 --idle 0.2
run echo --self-check --count 200 --connections 4 --size 64
run echo --self-check --count 50 --connections 4 --size 16K
run raw-write --count 20 --folder "$folder"

# The sink is a server itself: it runs beside the load, says where it listens, and counts what it took.
"$bench" smtp-sink --listen 127.0.0.1:0 --json >"$folder/sink.json" &
sink=$!
for _ in $(seq 100); do
    [[ -s $folder/sink.json ]] && break
    sleep 0.1
done
port=$(sed -n 's/.*"listening":"127.0.0.1:\([0-9]*\)".*/\1/p' "$folder/sink.json")
timeout 60 "$bench" smtp-deliver --smtp "$port" --uncounted --count 50 --connections 4 --json >/dev/null || failed=1
kill -TERM "$sink"
if wait "$sink" && grep -q '"messages":50,' "$folder/sink.json"; then
    echo "ok      smtp-sink"
else
    echo "FAILED  smtp-sink"
    failed=1
fi

# A run with the wrong password has to fail, or the checks above mean nothing.
if timeout 60 "$bench" --demo "$folder/demo.json" --users 8 --password wrong login --count 1 >/dev/null 2>&1; then
    echo "FAILED  a wrong password went unnoticed"
    failed=1
fi
kill -0 "$server" 2>/dev/null || { echo "FAILED  the server is gone"; cat "$folder/demo.log"; failed=1; }

# Out again: another demo sends all mail for elsewhere to a sink on a port that the system gives to no connection by itself.
port=$((20000 + $$ % 10000))
kill -TERM "$server"
wait "$server" || true
server=""
start_demo "$folder/relay" --smarthost "127.0.0.1:$port"
for options in "" "--size 64K" "--recipients 20 --domains 20" "--no-chunking --sink-threads 2" "--rate 200"; do
    # shellcheck disable=SC2086
    run smtp-relay --sink "127.0.0.1:$port" --count 40 --connections 4 $options
done

# These start the server themselves, on the ports and with the store of the first demo.
kill -TERM "$server"
wait "$server" || true
server=""
serve="exec '$angarium' demo --data '$folder/data' --shards 1 --accounts 8 --password benchmark"
run start-up --serve-command "$serve" --runs 2 --messages 800
run recovery --serve-command "$serve" --runs 1 --messages 800 --connections 8 --duration 0.3
exit "$failed"
