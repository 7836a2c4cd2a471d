#!/bin/bash
# Started by serve.sh inside this peer's own root.
set -eu
source /srv/peer/users.sh
for folder in lib spool; do install -d -o cyrus -g mail -m 750 "$data/$folder"; done
install -d -o cyrus -g mail -m 755 /run/cyrus /run/cyrus/{proc,lock,socket}
cp /srv/peer/imapd.conf /srv/peer/cyrus.conf /etc/
openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 -subj /CN=mail.example.org \
    -keyout "$data/key.pem" -out "$data/cert.pem" 2>/dev/null
chown cyrus "$data/key.pem"
if [[ ! -f $data/sasldb2 ]]; then
    user_names | head -n 128 | while read -r user; do
        printf benchmark | saslpasswd2 -p -c -f "$data/sasldb2" -u "$domain" "$user"
    done
    chown cyrus "$data/sasldb2"
fi
/usr/lib/cyrus/bin/makedirs >/dev/null
cyrmaster &
while :; do wait; sleep 1; done
