#!/bin/bash
# Started by serve.sh inside this peer's own root.
# shellcheck disable=SC1091,SC2154
set -eu
source /srv/peer/users.sh
source /srv/peer/dovecot.sh
source /srv/peer/postfix.sh
start_dovecot maildir:/srv/peer/data/mail/%n/Maildir "$1"
start_postfix "$1"
stay
