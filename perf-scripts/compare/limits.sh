# shellcheck shell=bash disable=SC2154,SC2034
# Sourced by compare.sh: what the machine can do without a mail server, measured in the same run.
measure_limits() {
    local seconds=2
    [[ $mode == quick ]] || seconds=5
    is_wanted limits "$chosen" || return 0
    say "physical limits"
    mkdir -p "$work/limits"
    limit "raw write 4 KB, flushed" raw-write --folder "$work/limits" -d "$seconds"
    limit "loopback 64 B, 1 connection" echo --self-check -s 64 -c 1 -d "$seconds"
    limit "loopback 4 KB, 32 connections" echo --self-check -s 4K -c 32 -d "$seconds"
    limit "loopback 16 KB, 32 connections" echo --self-check -s 16K -c 32 -d "$seconds"
    fio_limit "fio 4 KB writes, fdatasync each" --bs=4k --fdatasync=1 --runtime="$seconds"
    fio_limit "fio 1 MB writes, direct" --bs=1m --direct=1 --runtime="$seconds"
    memory_limit
    rm -rf "$work/limits"
}

limit() { # NAME, then what the bench is told
    local name="$1" line
    shift
    if line="$(timeout 60 "$bench" --json --peer machine --case "$name" "$@" 2>>"$log")"; then
        printf '%s\n' "$line" >>"$results"
        printf '    %-34s %s\n' "$name" "$(brief "$line")"
    else
        echo "    $name: failed"
        trouble=1
    fi
}

fio_limit() { # NAME, then what fio is told
    local name="$1"
    shift
    if ! fio --name=limit --directory="$work/limits" --rw=write --size=512m --ioengine=psync --time_based \
        --output-format=json "$@" >"$work/fio.json" 2>>"$log"; then
        echo "    $name: failed"
        trouble=1
        return
    fi
    python3 - "$work/fio.json" "$name" <<'END' >>"$results"
import json, sys
write = json.load(open(sys.argv[1]))["jobs"][0]
sync, write = write.get("sync", {}), write["write"]
latency = {}
for kind in (sync.get("lat_ns", {}), write["clat_ns"]):
    for place, value in kind.get("percentile", {}).items():
        name = {"50.000000": "p50", "99.000000": "p99"}.get(place)
        if name:
            latency[name] = latency.get(name, 0) + round(value / 1000, 1)
print(json.dumps({"scenario": "fio", "peer": "machine", "case": sys.argv[2], "round": 1, "figures": {
    "rate_per_s": round(write["iops"], 1), "mb_per_s": round(write["bw_bytes"] / 1e6, 1), "latency_us": latency}}))
END
    printf '    %-34s %s\n' "$name" "$(brief "$(tail -n 1 "$results")")"
}

memory_limit() {
    python3 - <<'END' >>"$results"
import json, time
source, target = bytes(range(256)) * 262144, bytearray(67108864)
best = 0
for _ in range(20):
    began = time.perf_counter()
    memoryview(target)[:] = source
    best = max(best, len(source) / (time.perf_counter() - began) / 1e6)
print(json.dumps({"scenario": "memory-copy", "peer": "machine", "case": "memory copy, 64 MB", "round": 1, "figures": {
    "mb_per_s": round(best)}}))
END
    printf '    %-34s %s MB/s\n' "memory copy, 64 MB" "$(tail -n 1 "$results" | grep -o '[0-9]*}}' | tr -d '}')"
}
