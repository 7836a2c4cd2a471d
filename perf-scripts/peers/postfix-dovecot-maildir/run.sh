#!/bin/bash
# Started by serve.sh inside this peer's own root.
set -eu
source /srv/peer/users.sh
source /srv/peer/dovecot.sh
source /srv/peer/postfix.sh
start_dovecot maildir:/srv/peer/data/mail/%n/Maildir "$1"
start_postfix
while :; do wait; sleep 1; done
