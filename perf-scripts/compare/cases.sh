# shellcheck shell=bash disable=SC2154,SC2034
# Sourced by compare.sh: what is measured. One case a line: its name, the protocol a peer must offer, and what
# angarium-bench is told. SECONDS_EACH, LARGE and MIDDLE are filled in by `cases`.
list_cases() {
    cat <<'END'
smtp-4k-1            smtp smtp-deliver --until-held -c 1 -d SECONDS_EACH
smtp-4k-32           smtp smtp-deliver --until-held -c 32 -d SECONDS_EACH
smtp-64k-32          smtp smtp-deliver --until-held -c 32 -s 64K -d SECONDS_EACH
lmtp-4k-1            lmtp lmtp-deliver --until-held -c 1 -d SECONDS_EACH
lmtp-4k-32           lmtp lmtp-deliver --until-held -c 32 -d SECONDS_EACH
lmtp-64k-32          lmtp lmtp-deliver --until-held -c 32 -s 64K -d SECONDS_EACH
append-4k-1          imap imap-append -c 1 -d SECONDS_EACH
append-4k-32         imap imap-append -c 32 -d SECONDS_EACH
list-flags           imap imap-list --messages LARGE --items flags -n 5 --quick-ack
list-envelope-first  imap imap-list --messages LARGE --items envelope -n 1 --quick-ack
list-envelope        imap imap-list --messages LARGE --items envelope -n 3 --quick-ack
search-rare          imap imap-search --messages LARGE --key rare -n 2
body-4k-1            imap imap-body --messages MIDDLE -c 1 -d SECONDS_EACH --quick-ack
body-64k-8           imap imap-body --messages MIDDLE -c 8 -s 64K -d SECONDS_EACH --quick-ack
login-8              imap login -c 8 -d SECONDS_EACH
pop3-4k-8            pop3 pop3-retr --messages MIDDLE -c 8 -d SECONDS_EACH --quick-ack
idle-notify-8        idle idle-notify --via VIA -c 8 -r 8 -d SECONDS_EACH
idle-1000            imap idle-connections -c 1000
store-32             imap imap-store -c 32 -d SECONDS_EACH
relay-4k-1           relay smtp-relay -c 1 -d SECONDS_EACH
relay-4k-32          relay smtp-relay -c 32 -d SECONDS_EACH
relay-64k-32         relay smtp-relay -c 32 -s 64K -d SECONDS_EACH
relay-4k-20-domains  relay smtp-relay -c 8 --recipients 20 --domains 20 -d SECONDS_EACH
start-up             imap start-up --runs 3
END
    # Only --full: they take long, or say the same on a smaller scale.
    [[ $mode == full ]] || return 0
    cat <<'END'
mixed-day            day  mixed-day --no-submission --population 20000 -c 64 -d 6
append-into-large    imap imap-append --messages LARGE -c 1 -d SECONDS_EACH
search-common        imap imap-search --messages LARGE --key common -n 2
idle-1000-tls        imap idle-connections -c 1000 --tls
END
}

# The cases of a round in order; those that need the server started anew come last. To fill the large mailboxes takes
# longer than what is done with them, which differs little from one time to the next: even rounds go without.
cases() { # ROUND
    local seconds=1.5
    [[ $mode == quick ]] || seconds=2
    list_cases | awk -v round="$1" 'round % 2 == 1 || !/LARGE/' |
        sed -e "s/SECONDS_EACH/$seconds/; s/LARGE/$(large)/; s/MIDDLE/50/" |
        awk '{ last = $1 == "store-32" ? 1 : $1 ~ /^relay-/ ? 2 : $1 == "start-up" ? 3 : 0; print last, NR, $0 }' |
        sort -s -n -k1,1 -k2,2 | cut -d' ' -f3- | tr -s ' '
}

# Messages in the large mailbox.
large() {
    if [[ $mode == quick ]]; then echo 10000; else echo 100000; fi
}

# About how many seconds a run takes, all in all: those measured, and what comes before and after.
cost() { # CASE
    local more=1
    [[ $mode == quick ]] || more=3
    case "$1" in
        start-up) echo 5 ;;
        idle-1000*) echo 12 ;;
        mixed-day) echo 8 ;;
        list-flags | search-* | append-into-large) echo "$((4 + (more - 1) * 8))" ;;
        smtp-*) echo "$((3 + more))" ;;
        relay-*) echo "$((6 + more))" ;;
        *) echo "$((1 + more))" ;;
    esac
}

# How long a run may take before it counts as failed, its filling included, in seconds.
patience() {
    if [[ $mode == quick ]]; then echo 90; else echo 400; fi
}
