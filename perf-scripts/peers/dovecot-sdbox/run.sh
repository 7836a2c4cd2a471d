#!/bin/bash
# Started by serve.sh inside this peer's own root.
# shellcheck disable=SC1091,SC2154
set -eu
source /srv/peer/users.sh
source /srv/peer/dovecot.sh
start_dovecot sdbox:/srv/peer/data/mail/%n/sdbox "$1"
stay
