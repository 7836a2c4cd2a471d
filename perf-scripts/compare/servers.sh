# shellcheck shell=bash disable=SC2154,SC2034
# Sourced by compare.sh: starts and stops servers, and runs the cases against them.

# A control group counts processor time also of processes that nobody waited for. Where its books are not whole
# (no cgroup v2, or not ours to write), the bench adds up the process and its descendants.
group="" has_books=""
begin_group() {
    local base
    for base in /sys/fs/cgroup /sys/fs/cgroup/unified; do
        [[ -f $base/cgroup.controllers ]] || continue
        echo "+cpu +memory +io" >"$base/cgroup.subtree_control" 2>/dev/null || true
        mkdir "$base/angarium-compare.$$" 2>/dev/null || continue
        group="$base/angarium-compare.$$"
        if [[ -f $group/io.stat && -f $group/memory.stat ]]; then has_books=1; fi
        return
    done
}
end_group() {
    [[ -z $group ]] || rmdir "$group" 2>/dev/null || true
}

# Starts a command in the group, its output into a file, and waits for the line of JSON in it.
start_server() {
    local json="$1" waited=0
    shift
    : >"$json"
    (
        [[ -z $group ]] || echo "$BASHPID" >"$group/cgroup.procs"
        exec "$@" >"$json" 2>>"$log"
    ) &
    server=$!
    until [[ -s $json ]]; do
        if ! kill -0 "$server" 2>/dev/null || ((waited++ > 600)); then
            stop_server
            return 1
        fi
        sleep 0.1
    done
}

stop_server() {
    [[ -n $server ]] || return 0
    # A peer's first process goes at once and takes all of its namespace along; its data are done with.
    kill -KILL "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=""
}

# Children and all theirs, the youngest first.
descendants() {
    local child
    for child in $(ps -o pid= --ppid "$1"); do
        descendants "$child"
        echo "$child"
    done
}

end_all() {
    local pid
    stop_server
    for pid in $(descendants $$); do kill -KILL "$pid" 2>/dev/null || true; done
    end_group
    echo "$inotify" >/proc/sys/fs/inotify/max_user_instances
    rm -rf "$work"
}

# Angarium ends in order, like an operator would end it.
stop_angarium() {
    [[ -n $server ]] || return 0
    kill -TERM "$server" 2>/dev/null || true
    wait "$server" 2>/dev/null || true
    server=""
}

demo_command() { # [VARIANT]
    local more=""
    [[ ${1:-} != relay ]] || more=" --smarthost 127.0.0.1:2600"
    echo "$angarium demo --json --data $work/data/store --shards $shards --accounts 64 --password benchmark$more"
}

# What a peer is, into the variables of run_peer.
describe() {
    local name="$1" word
    layer="" ports="" cases="" packages="" opening="" left_out="" left_out_why="" options=()
    if [[ $name == angarium ]]; then
        cases="smtp lmtp imap pop3 relay"
        version="$("$angarium" --version | head -n 1) $(git describe --always --dirty 2>/dev/null || true), $shards shard(s)"
    elif [[ -n ${external[$name]:-} ]]; then
        describe_external "${external[$name]}"
    else
        # shellcheck source=/dev/null
        source "$scripts/peers/$name/peer.conf"
        version="$(versions "$layer" "$packages")"
    fi
    [[ " $cases " != *" smtp "* || " $cases " != *" pop3 "* ]] || cases+=" day"
    # Notifications need a way in and a way to see.
    for word in lmtp smtp; do
        [[ " $cases " != *" $word "* || " $cases " != *" imap "* ]] || { cases+=" idle" via="$word"; break; }
    done
}

# Debian's versions of some packages inside a layer.
versions() {
    local cache="${ANGARIUM_PEERS:-${XDG_CACHE_HOME:-$HOME/.cache}/angarium-peers}"
    # shellcheck disable=SC2086
    dpkg-query --admindir="$cache/$1/upper/var/lib/dpkg" -W -f='${Package} ${Version}, ' $2 | sed 's/, $//'
}

describe_external() {
    local text="$1" part parts
    version="as it runs at ${text%%:*}"
    options=(--host "${text%%:*}")
    IFS=, read -ra parts <<<"${text#*:}"
    for part in "${parts[@]}"; do
        case "$part" in
            smtp=* | lmtp=* | imap=* | pop3=*) options+=("--${part%%=*}" "${part#*=}") cases+=" ${part%%=*}" ;;
            imaps=* | pop3s=* | user=* | password=* | domain=* | pid=*) options+=("--${part%%=*}" "${part#*=}") ;;
            *) code=64 fail "--peer: what is $part?" ;;
        esac
    done
}

boot() { # VARIANT
    if [[ -n ${external[$name]:-} ]]; then
        return 0
    elif [[ $name == angarium ]]; then
        mkdir -p "$work/data"
        # shellcheck disable=SC2046
        start_server "$work/server.json" $(demo_command "$1")
    else
        start_server "$work/server.json" bash "$scripts/peers/serve.sh" "$name" "$work" "$1"
    fi
}

halt() {
    if [[ $name == angarium ]]; then stop_angarium; else stop_server; fi
}

# All cases of one peer in one round, on fresh data.
run_peer() {
    local name="$1" round="$2" layer ports cases packages opening version via="lmtp" options is_up="" is_filled=""
    local case family scenario left_out left_out_why
    describe "$name"
    say "round $round of $rounds: $name ($version)"
    rm -rf "${work:?}"/*
    while read -r case family scenario; do
        is_wanted "$case" "$chosen" || continue
        if [[ " $cases " != *" $family "* ]]; then
            not_offered "$(why_not "$family")"
        elif [[ " $left_out " == *" $case "* ]]; then
            not_offered "$left_out_why"
        elif [[ $case == start-up && -n ${external[$name]:-} ]]; then
            not_offered "it runs already, and is not ours to stop"
        else
            if [[ $scenario == *"--messages $(large)"* && -z $is_filled ]]; then fill_large; fi
            boot_for "$case" && run_case
        fi
    done < <(cases "$round")
    halt
    rm -rf "${work:?}"/*
}

# Brings the large mailbox to its size while a peer does not flush, which takes a tenth of the time. That run is not
# a result; all is on the disk before the next.
fill_large() {
    is_filled=1
    [[ $name != angarium && -z ${external[$name]:-} && $is_up != broken ]] || return 0
    halt
    is_up=""
    boot filling || return 0
    local began=$SECONDS
    # Each of these has a mailbox of its own.
    fill_for list-flags imap-list
    fill_for search-rare imap-search
    fill_for append-into-large imap-append
    halt
    sync
    echo "    filled without flushes ($((SECONDS - began))s)"
}

fill_for() { # CASE SCENARIO
    is_wanted "$1" "$chosen" && grep -q "^$1 " < <(cases 1) || return 0
    timeout -k 5 "$(patience)" "$bench" --json --users 64 --demo "$work/server.json" -n 1 \
        "$2" --messages "$(large)" >/dev/null 2>>"$log" || echo "    filling for $1: $name failed"
}

# The server as a case needs it; `is_up` is the variant that runs.
boot_for() {
    local wanted=usual
    # Flushed before OK is what Angarium does, so where Dovecot can, it does too.
    [[ $1 != store-32 || $name == angarium ]] || wanted=fsync-always
    # All mail goes to the sink of the load generator.
    [[ $1 != relay-* ]] || wanted=relay
    if [[ $1 == start-up ]]; then
        [[ -n $is_up ]] || { boot usual && halt; } || { broken "did not start"; return 1; }
        halt
        is_up=down
        return 0
    fi
    [[ $is_up != "$wanted" ]] || return 0
    [[ $is_up != broken ]] || { broken "did not start"; return 1; }
    halt
    if boot "$wanted"; then
        is_up="$wanted"
    else
        is_up=broken
        broken "did not start"
        return 1
    fi
}

why_not() {
    case "$1" in
        smtp) echo "it has no SMTP; see the LMTP cases" ;;
        lmtp) echo "it is measured by SMTP" ;;
        day) echo "it has not all of SMTP, IMAP and POP3" ;;
        relay) echo "it has no way out of its own: see postfix-maildir, exim and opensmtpd" ;;
        *) echo "its mail is in Dovecot's Maildir: see postfix-dovecot-maildir" ;;
    esac
}

not_offered() {
    printf '{"scenario": "%s", "peer": "%s", "peer_version": "%s", "case": "%s", "round": %s, "not_offered": "%s"}\n' \
        "${scenario%% *}" "$name" "$version" "$case" "$round" "$1" >>"$results"
}

broken() {
    trouble=1
    echo "    $case: $name $1"
    printf '{"scenario": "%s", "peer": "%s", "peer_version": "%s", "case": "%s", "round": %s, "wrong": "%s"}\n' \
        "${scenario%% *}" "$name" "$version" "$case" "$round" "$1" >>"$results"
}

# What the bench is told of the server beside its ports.
accounting() {
    if [[ -n ${external[$name]:-} ]]; then
        return
    elif [[ -n $group && $case != idle-1000* && $case != start-up ]]; then
        printf '%s\n' --cgroup "${group#/sys/fs/cgroup/}"
    fi
}

run_case() {
    local line command=() began=$SECONDS code=0
    if [[ -n ${external[$name]:-} ]]; then
        command=("${options[@]}")
    else
        command=(--demo "$work/server.json" --data-folder "$work/data")
        [[ " $cases " == *" smtp "* ]] || command+=(--smtp 0)
    fi
    [[ $name != angarium ]] || command+=(--shards "$shards")
    [[ -z $opening ]] || command+=(--opening "$opening")
    # shellcheck disable=SC2207,SC2206
    command+=($(accounting) ${scenario//VIA/$via})
    [[ $case != start-up ]] || command+=(--serve-command "$(serve_command)")
    # In the background, so that a signal to this script is not kept waiting.
    timeout -k 5 "$(patience)" "$bench" --json --users 64 --peer "$name" --peer-version "$version" \
        --case "$case" --round "$round" "${command[@]}" >"$out/line" 2>>"$log" &
    wait $! || code=$?
    line="$(<"$out/line")"
    rm -f "$out/line"
    if [[ $line != '{'* ]]; then
        if ((code == 124)); then broken "no result within $(patience) s"; else broken "the bench ended with $code"; fi
        return
    fi
    if [[ $line == *'"wrong":'* ]]; then trouble=1; fi
    # Without its controllers a group knows nothing of bytes and memory: no figure, rather than a zero.
    [[ -n $has_books ]] || line="$(sed -E 's/,"(server_written_bytes|server_rss_kib)":0\b//g; s/,"written_per_byte":0\.0\b//' <<<"$line")"
    printf '%s\n' "$line" >>"$results"
    printf '    %-20s %s (%ss)\n' "$case" "$(brief "$line")" "$((SECONDS - began))"
}

serve_command() {
    if [[ $name == angarium ]]; then
        echo "exec $(demo_command)"
    else
        echo "exec bash $scripts/peers/serve.sh --again $work"
    fi
}

# The figures of progress; the report has them all.
brief() {
    python3 -c '
import json, sys
line = json.loads(sys.argv[1])
figures = line.get("figures")
if figures is None:
    print("FAILED:", line.get("wrong", "?")[:140])
    sys.exit()
names = (("held_per_second", "{:,.0f}/s held"), ("arrived_per_second", "{:,.0f}/s arrived"), ("rate_per_s", "{:,.1f}/s"), ("server_cpu_us_each", "{:,.0f} us CPU each"),
         ("pss_kib_each", "{:,.1f} KiB more for each"), ("whole_pss_kib_each", "{:,.1f} KiB in all for each"))
parts = [form.format(figures[name]) for name, form in names if figures.get(name) is not None]
latency = figures.get("latency_us") or {}
if "p50" in latency:
    parts.append("p50 {:,.0f} p99 {:,.0f} us".format(latency["p50"], latency["p99"]))
print(", ".join(parts) or ", ".join(f"{name} {value}" for name, value in figures.items() if name.endswith("p50_us")))
' "$1"
}
