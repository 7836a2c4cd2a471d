# shellcheck shell=bash disable=SC2154,SC2034
# Sourced by each run.sh inside the peer's root: names and folders that all have in common.
# The mail belongs to Debian's own user `mail` (8), so that no user has to be made.
users_max=1024
domain=demo.example.org
data=/srv/peer/data
mkdir -p "$data/mail" "$data/log"
chown mail:mail "$data/mail"
# Names are looked up in files alone: no network is asked anything.
printf 'hosts: files\npasswd: files\ngroup: files\nshadow: files\n' >/etc/nsswitch.conf
printf 'nameserver 127.0.0.1\noptions timeout:1 attempts:1\n' >/etc/resolv.conf
printf '127.0.0.1 localhost mail.example.org\n' >/etc/hosts

# u000 .. u1023, one a line.
user_names() {
    seq -f u%03g 0 $((users_max - 1))
}

# Until one of the servers ends, which is an error, or SIGTERM comes, which ends them in order. The process that
# calls this is the first of its process namespace, so that all others end with it.
stay() {
    trap 'end_in_order; exit 0' TERM
    wait -n || true
    echo "a server ended by itself" >&2
    exit 70
}

end_in_order() {
    local waited=0
    trap '' TERM
    kill -TERM -1 2>/dev/null || true
    while ((waited++ < 100)) && [[ -n $(jobs -r) ]]; do sleep 0.05; done
}
