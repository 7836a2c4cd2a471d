#!/usr/bin/env bash
# What each knob of docs/operate/tuning.md does on this machine: the same load at each of its values, in rotation,
# on fresh stores. Prints the median of each figure for each value, with the least and the most beside it.
# Both programs are built by `cargo build --release` before.
#   perf-scripts/knobs.sh                    all knobs
#   perf-scripts/knobs.sh shards partitions  some of them
#   ROUNDS=5 SECONDS_EACH=3 perf-scripts/knobs.sh
set -euo pipefail
cd "$(dirname "$0")/.."

rounds="${ROUNDS:-3}"
seconds="${SECONDS_EACH:-2}"
release="${CARGO_TARGET_DIR:-target}/release"
angarium="$release/angarium"
bench="$release/angarium-bench"
source perf-scripts/one-server.sh
results="$folder/results.jsonl"
ulimit -n "$(ulimit -Hn)"

# A configuration with one setting that differs: TABLE NAME VALUE. The base is the demo's, on one shard.
configure() {
    local table="$1" name="$2" value="$3"
    local shards=1
    [[ $name == shards ]] && shards="$value"
    {
        printf '[server]\nhostname = "bench.demo.example.org"\ndata = "%s/data"\n' "$folder"
        printf 'default_domain = "demo.example.org"\nshards = %s\n' "$shards"
        [[ $table == server && $name != shards ]] && printf '%s = %s\n' "$name" "$value"
        printf '[listen]\nsmtp = ["127.0.0.1:2525"]\nlmtp = ["127.0.0.1:2424"]\nimap = ["127.0.0.1:2143"]\n'
        printf 'submission = []\nsubmissions = []\nimaps = []\npop3 = []\npop3s = []\n'
        printf '[auth]\nallow_plaintext_without_tls = true\n'
        [[ $table != server && $table != ulimit ]] && printf '[%s]\n%s = %s\n' "$table" "$name" "$value"
        printf '\n'
    } >"$folder/angarium.toml"
}

# Users as the load generator expects them. One password, so that each hash is made once by the server.
people() {
    "$angarium" --config "$folder/angarium.toml" domain add demo.example.org >"$folder/people.log"
    printf 'benchmark\n' >"$folder/password"
    local number
    for number in $(seq -f '%03g' 0 63); do
        "$angarium" --config "$folder/angarium.toml" account add "u$number@demo.example.org" \
            --password-file "$folder/password" >>"$folder/people.log"
    done
}

# Starts the server and waits until it takes commands.
start() {
    local locked="$1"
    (
        if [[ -n $locked ]]; then ulimit -l "$locked"; fi
        exec "$angarium" --config "$folder/angarium.toml" serve
    ) 2>"$folder/serve.log" &
    server=$!
    for _ in $(seq 100); do
        grep -q runtime.serving "$folder/serve.log" && return
        sleep 0.1
    done
    cat "$folder/serve.log" >&2
    return 1
}

# One value of a knob, once: measure KNOB VALUE TABLE NAME
measure() {
    local knob="$1" value="$2" table="$3" name="$4" locked=""
    [[ $table == ulimit ]] && locked="$value"
    configure "$table" "$name" "$value"
    start "$locked"
    people
    local cases=("smtp-4k-32 smtp-deliver --connections 32" "smtp-4k-1 smtp-deliver --connections 1"
        "append-4k-32 imap-append --connections 32" "login-8 login --connections 8")
    local case
    for case in "${cases[@]}"; do
        # shellcheck disable=SC2086  # a case is words
        "$bench" ${case#* } --pid "$server" --duration "$seconds" --json --label "$knob|$value|${case%% *}" >>"$results"
    done
    stop
}

# knob NAME TABLE SETTING VALUE...
knob() {
    local knob="$1" table="$2" name="$3" value
    shift 3
    if ((${#wanted[@]})) && [[ " ${wanted[*]} " != *" $knob "* ]]; then return; fi
    for _ in $(seq "$rounds"); do
        for value in "$@"; do
            printf '%s = %s\n' "$knob" "$value" >&2
            measure "$knob" "$value" "$table" "$name"
        done
    done
}

wanted=("$@")
knob shards server shards 1 2
knob partitions store partitions 16 64 1024
knob segment_bytes store segment_bytes 67108864 268435456 1073741824
knob fresh_bytes_max store fresh_bytes_max 1048576 16777216 67108864
knob memlock ulimit memlock 512 "$(ulimit -Hl | sed "s,unlimited,65536,")"

python3 - "$results" <<'PYTHON'
import collections, json, statistics, sys

runs = collections.defaultdict(list)
for line in open(sys.argv[1]):
    run = json.loads(line)
    runs[tuple(run["label"].split("|"))].append(run["figures"])
columns = {
    "rate/s": lambda figures: figures["rate_per_s"],
    "p50 us": lambda figures: figures["latency_us"]["p50"],
    "p99 us": lambda figures: figures["latency_us"]["p99"],
    "CPU us each": lambda figures: figures["server_cpu_us_each"],
    "RSS MiB": lambda figures: figures["server_rss_kib"] / 1024,
}
print("| knob | value | load | " + " | ".join(columns) + " |")
print("|---|---|---|" + "---|" * len(columns))
for (knob, value, case), figures in sorted(runs.items(), key=lambda run: (run[0][0], run[0][2])):
    cells = []
    for figure in columns.values():
        values = [figure(run) for run in figures]
        cells.append(f"{statistics.median(values):,.0f} ({min(values):,.0f} to {max(values):,.0f})")
    print(f"| {knob} | {value} | {case} | " + " | ".join(cells) + " |")
PYTHON
