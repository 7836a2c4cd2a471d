#!/usr/bin/env bash
# Where a scenario's time goes in the server: runs it against a fresh demo server under `perf record` and writes a
# flame graph (SVG), the folded stacks, and the 20 functions with the most time of their own.
#   perf-scripts/flamegraph.sh [--out PREFIX] [--shards N] SCENARIO [OPTION..]
#   perf-scripts/flamegraph.sh --out /tmp/smtp smtp-deliver -c 32 -d 5
# The release binary is used as it is built. It has no frame pointers unless built with them, so stacks are unwound
# by its debug information; FRAME_POINTERS=1 takes frame pointers, which costs less, after
#   RUSTFLAGS="-C force-frame-pointers=yes" cargo build --release
set -euo pipefail
cd "$(dirname "$0")/.."

out=flamegraph shards=1
while [[ ${1:-} == --* ]]; do
    case "$1" in
        --out) out="${2:?}" ;;
        --shards) shards="${2:?}" ;;
        *) sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 64 ;;
    esac
    shift 2
done
[[ $# -gt 0 ]] || { sed -n '2,9s/^# \{0,1\}//p' "$0" >&2; exit 64; }
release="${CARGO_TARGET_DIR:-target}/release"
angarium="${ANGARIUM:-$release/angarium}"
bench="${BENCH:-$release/angarium-bench}"
command -v perf >/dev/null || { echo "flamegraph.sh: perf is not installed (Debian: linux-perf)" >&2; exit 69; }

folder="$(mktemp -d)"
server="" recorder=""
finish() {
    if [[ -n $recorder ]]; then kill -INT "$recorder" 2>/dev/null || true; wait "$recorder" 2>/dev/null || true; fi
    if [[ -n $server ]]; then kill -TERM "$server" 2>/dev/null || true; wait "$server" 2>/dev/null || true; fi
    rm -rf "$folder"
}
trap finish EXIT

# A relay needs somewhere to send to: the sink of the scenario.
more=()
[[ " $* " != *" smtp-relay "* ]] || more=(--smarthost 127.0.0.1:2600)
"$angarium" demo --json --data "$folder/data" --shards "$shards" --accounts 64 --password benchmark "${more[@]}" \
    >"$folder/demo.json" 2>"$folder/log" &
server=$!
for _ in $(seq 300); do
    [[ ! -s $folder/demo.json ]] || break
    kill -0 "$server" 2>/dev/null || { cat "$folder/log" >&2; exit 70; }
    sleep 0.1
done

# Once unseen: mailboxes are filled, passwords are in the memory of those found right.
"$bench" --demo "$folder/demo.json" --users 64 --json "$@" >/dev/null
stacks=dwarf,16384 rate=499
[[ -z ${FRAME_POINTERS:-} ]] || stacks=fp rate=999
perf record --quiet -e cpu-clock -F "$rate" --call-graph "$stacks" -p "$server" -o "$folder/perf.data" 2>"$folder/perf.log" &
recorder=$!
sleep 0.5
"$bench" --demo "$folder/demo.json" --users 64 "$@"
kill -INT "$recorder"
wait "$recorder" || true
recorder=""
perf script --no-inline -i "$folder/perf.data" 2>/dev/null |
    python3 perf-scripts/flamegraph.py "$out" "angarium $(git describe --always --dirty), $shards shard(s): $*"
echo "written: $out.svg $out.folded $out.txt"
