#!/usr/bin/env bash
# Angarium beside other mail servers on this machine: the same scenarios, one server running at a time, in
# alternation. What is where is told in docs/performance.md, "Side by side", and peers/README.md.
#   perf-scripts/compare.sh [--quick|--full] [--out DIR] [--only PEER,..] [--case CASE,..] [--rounds N]
#                           [--shards N] [--peer NAME=HOST:PORTS]...
# --peer adds a server that runs already: NAME=HOST:smtp=25,lmtp=24,imap=143[,pop3=110][,imaps=993]
#   [,user=PATTERN][,password=..][,domain=..][,pid=..]; its users are those that PATTERN names, 64 of them.
# Exit code: 0, or 1 when a peer did not start or a run failed (the report says which), or 64 and above.
set -euo pipefail
scripts="$(cd "$(dirname "$0")" && pwd)"
cd "$scripts/.."
arguments=("$@")

fail() {
    echo "compare.sh: $*" >&2
    exit "${code:-69}"
}
say() { printf '[%4ds] %s\n' "$SECONDS" "$*"; }

mode=quick out="" only="" chosen="" rounds="" shards="" is_inside=""
declare -A external=()
external_names=()
while [[ $# -gt 0 ]]; do
    case "$1" in
        --quick | --full) mode="${1#--}" ;;
        --out | --only | --case | --rounds | --shards | --peer)
            [[ $# -ge 2 ]] || code=64 fail "$1 wants a value"
            case "$1" in
                --out) out="$2" ;;
                --only) only="$2" ;;
                --case) chosen="$2" ;;
                --rounds) rounds="$2" ;;
                --shards) shards="$2" ;;
                --peer)
                    [[ $2 == *=*:* ]] || code=64 fail "--peer wants NAME=HOST:PORTS"
                    external_names+=("${2%%=*}")
                    external["${2%%=*}"]="${2#*=}"
                    ;;
            esac
            shift
            ;;
        --inside) is_inside=1 ;;
        *)
            sed -n '2,9s/^# \{0,1\}//p' "$0" >&2
            exit 64
            ;;
    esac
    shift
done
peers_all="angarium postfix-dovecot-maildir postfix-dovecot-mdbox dovecot-sdbox postfix-maildir exim cyrus opensmtpd"
release="${CARGO_TARGET_DIR:-target}/release"
angarium="${ANGARIUM:-$release/angarium}"
bench="${BENCH:-$release/angarium-bench}"
# shellcheck source=compare/cases.sh
source "$scripts/compare/cases.sh"
# shellcheck source=compare/servers.sh
source "$scripts/compare/servers.sh"
# shellcheck source=compare/limits.sh
source "$scripts/compare/limits.sh"

# Builds and installs, then goes on in a network namespace of its own, so that ports are free and nothing but
# the servers and the load is on its loopback. A server that runs already is outside of that, so then not.
prepare() {
    [[ "$(id -u)" -eq 0 ]] || fail "run it as root: the peers are started in namespaces and as users of their own"
    if [[ -z ${ANGARIUM:-} || -z ${BENCH:-} ]]; then
        command -v cargo >/dev/null || fail "cargo is not installed: install Rust, or name the programs in ANGARIUM and BENCH"
        say "building angarium and angarium-bench"
        bash "$scripts/packages.sh" build
        cargo build --release --quiet -p angarium -p angarium-bench
    fi
    say "installing the peers"
    bash "$scripts/packages.sh" peers
    if [[ ${#external_names[@]} -eq 0 ]]; then
        exec unshare --net bash "$scripts/compare.sh" --inside "${arguments[@]}"
    fi
}

# The peers of a round: each begins one place later than in the round before.
rotated() {
    local round="$1" at list=()
    shift
    list=("$@")
    for at in "${!list[@]}"; do
        echo "${list[(at + round - 1) % ${#list[@]}]}"
    done
}

is_wanted() { # NAME LIST: an empty list is everything
    [[ -z $2 || ",$2," == *",$1,"* ]]
}

# Says what will be run, and about how long it takes.
announce() {
    local name round case family seconds=20 starting=6 offered
    local cases options via layer packages opening version
    [[ $mode == quick ]] || { seconds=45; starting=12; }
    for name in "${names[@]}"; do
        describe "$name"
        offered=""
        for ((round = 1; round <= rounds; round++)); do
            seconds=$((seconds + starting))
            while read -r case family _; do
                if ! is_wanted "$case" "$chosen" || [[ " $cases " != *" $family "* ]]; then continue; fi
                [[ " $offered " == *" $case "* ]] || offered+=" $case"
                seconds=$((seconds + $(cost "$case")))
            done < <(cases "$round")
        done
        echo "    $name:${offered:- nothing of what was asked for}"
    done
    say "about $(((seconds + 59) / 60)) minutes"
}

names=()
for name in $peers_all "${external_names[@]}"; do
    if is_wanted "$name" "$only" || [[ -n ${external[$name]:-} ]]; then names+=("$name"); fi
done
[[ ${#names[@]} -gt 0 ]] || code=64 fail "no peer of that name; there are: $peers_all"
[[ -n $is_inside ]] || prepare
[[ -z $is_inside ]] || ip link set lo up
ulimit -n "$(ulimit -Hn)"
[[ -n $rounds ]] || { rounds=3; [[ $mode == full ]] || rounds=1; }
: "${shards:=$((($(nproc) + 1) / 2))}"
out="${out:-compare-$(date -u +%Y%m%d-%H%M%S)}"
mkdir -p "$out"
results="$out/results.jsonl"
: >"$results"
log="$out/log"
: >"$log"
work="$(mktemp -d "${TMPDIR:-/var/tmp}/angarium-compare.XXXXXX")"
trouble=0
server=""
inotify="$(cat /proc/sys/fs/inotify/max_user_instances)"
trap end_all EXIT
trap 'exit 130' INT TERM
# Dovecot takes one for each idling process and polls every 30 s when there are none (its page "Inotify").
((inotify >= 8192)) || echo 8192 >/proc/sys/fs/inotify/max_user_instances || true
begin_group

say "$mode run of $rounds round(s); results in $out"
announce
measure_limits
for ((round = 1; round <= rounds; round++)); do
    while read -r name; do
        run_peer "$name" "$round" </dev/null
    done < <(rotated "$round" "${names[@]}")
done
say "done, the report:"
"$bench" report "$results" --html "$out/report.html" | tee "$out/report.txt"
"$bench" report "$results" --markdown >"$out/report.md"
say "page: $out/report.html, raw results: $results, servers' words: $log"
((trouble == 0)) || echo "compare.sh: a peer did not start or a run failed; see the end of the report" >&2
exit "$trouble"
