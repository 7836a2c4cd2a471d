#!/bin/bash
# Started by serve.sh inside this peer's own root.
# shellcheck disable=SC1091,SC2154
set -eu
source /srv/peer/users.sh
for folder in lib spool; do install -d -o cyrus -g mail -m 750 "$data/$folder"; done
install -d -o cyrus -g mail -m 755 /run/cyrus /run/cyrus/{proc,lock,socket}
cp /srv/peer/imapd.conf /srv/peer/cyrus.conf /etc/
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=mail.example.org \
    -keyout "$data/key.pem" -out "$data/cert.pem" 2>/dev/null
chown cyrus "$data/key.pem"
/usr/lib/cyrus/bin/makedirs >/dev/null

# Users and their mailboxes, once: by the administrator on a port of its own. Cyrus can make mailboxes at the first
# delivery, but then gives each a quota, whose file is written and flushed again with every message.
make_users() {
    local user answer
    printf benchmark | saslpasswd2 -p -c -f "$data/sasldb2" cyrus
    for user in $(user_names | head -n 128); do
        printf benchmark | saslpasswd2 -p -c -f "$data/sasldb2" -u "$domain" "$user"
    done
    chown cyrus "$data/sasldb2"
    cyrmaster -M /srv/peer/setup.conf &
    until { exec 3<>/dev/tcp/127.0.0.1/18999; } 2>/dev/null; do sleep 0.05; done
    {
        echo "a LOGIN cyrus benchmark"
        for user in $(user_names | head -n 128); do echo "b CREATE user/$user@$domain"; done
        echo "c LOGOUT"
    } | sed 's/$/\r/' >&3
    while read -r -u 3 answer; do
        [[ $answer != *" NO "* && $answer != *" BAD "* ]] || echo "cyrus: $answer" >&2
    done
    exec 3>&-
    kill -TERM $!
    wait $! || true
}
[[ -f $data/sasldb2 ]] || make_users
# Cyrus has no setting for it.
if [[ $1 == filling ]]; then export LD_PRELOAD=libeatmydata.so; fi
# master(8): 32 connections wait to be taken unless told.
cyrmaster -l 1024 &
stay
