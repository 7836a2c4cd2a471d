#!/bin/bash
# Started by serve.sh inside this peer's own root.
# shellcheck disable=SC1091,SC2154
set -eu
source /srv/peer/users.sh
source /srv/peer/dovecot.sh
# The spool's place is fixed when OpenSMTPD is built.
mkdir -p "$data/spool" /var/spool/smtpd
chmod 711 "$data/spool"
mount --bind "$data/spool" /var/spool/smtpd
user_names | sed "s,.*,&@$domain mail," >/srv/peer/data/mailboxes
start_dovecot maildir:/srv/peer/data/mail/%n/Maildir "$1"
config=smtpd.conf
[[ $1 != relay ]] || config=relay.conf
smtpd -F -f "/srv/peer/$config" &
stay
