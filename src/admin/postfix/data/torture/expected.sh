#!/bin/sh
# Domains, accounts and aliases of the Postfix in /etc/postfix.
# May be run again: what is there already (73) is left as it is.
set -eu
angarium() { command angarium --config /etc/angarium/angarium.toml "$@" || [ "$?" -eq 73 ]; }

# Domains
angarium domain add mx-a.example.org
angarium domain add example.org

# Accounts. They take mail, and nobody can log in until there is a password: angarium account set ADDRESS --password-file FILE
angarium account add ann@example.org

# Aliases
angarium alias set -- -rf@example.org ann@example.org
angarium alias set 'odd`touch'\''x@example.org' ann@example.org
angarium alias set postmaster@example.org ann@example.org
