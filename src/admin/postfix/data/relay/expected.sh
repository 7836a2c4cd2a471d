#!/bin/sh
# Domains, accounts and aliases of the Postfix in /etc/postfix.
# May be run again: what is there already (73) is left as it is.
set -eu
angarium() { command angarium --config /etc/angarium/angarium.toml "$@" || [ "$?" -eq 73 ]; }

# The password for the smarthost, into a file that only the server's user reads:
(umask 077; postmap -q '[smtp.provider.example]:submission' texthash:/etc/postfix/sasl_passwd | sed 's/^[^:]*://' > /etc/angarium/smarthost.password; chown angarium: /etc/angarium/smarthost.password)
