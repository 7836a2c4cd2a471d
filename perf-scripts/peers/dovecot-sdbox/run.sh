#!/bin/bash
# Started by serve.sh inside this peer's own root.
set -eu
source /srv/peer/users.sh
source /srv/peer/dovecot.sh
start_dovecot sdbox:/srv/peer/data/mail/%n/sdbox "$1"
while :; do wait; sleep 1; done
