#!/bin/bash
# Started by serve.sh inside this peer's own root.
# shellcheck disable=SC1091,SC2154
set -eu
source /srv/peer/users.sh
source /srv/peer/dovecot.sh
mkdir -p "$data/spool"
chown -R Debian-exim:Debian-exim "$data/spool" "$data/log"
user_names | sed 's,.*,&: &,' >/srv/peer/data/mailboxes
config=exim4.conf
[[ $1 != relay ]] || config=relay.conf
cp "/srv/peer/$config" /etc/exim4/exim4.conf
start_dovecot maildir:/srv/peer/data/mail/%n/Maildir "$1"
exim4 -bdf -q1m &
stay
