#!/bin/sh
# Domains, accounts and aliases of the Postfix in /etc/postfix.
# May be run again: what is there already (73) is left as it is.
set -eu
angarium() { command angarium --config /etc/angarium/angarium.toml "$@" || [ "$?" -eq 73 ]; }

# Domains
angarium domain add web3.example.org

# Accounts. They take mail, and nobody can log in until there is a password: angarium account set ADDRESS --password-file FILE
angarium account add ann@web3.example.org
angarium account add bob@web3.example.org
angarium account add carl@web3.example.org

# Aliases
angarium alias set root@web3.example.org ann@web3.example.org
angarium alias set postmaster@web3.example.org root@web3.example.org
angarium alias set www-data@web3.example.org root@web3.example.org ops@example.org
angarium alias set mailer-daemon@web3.example.org postmaster@web3.example.org
