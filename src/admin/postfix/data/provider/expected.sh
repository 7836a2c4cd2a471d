#!/bin/sh
# Domains, accounts and aliases of the Postfix in /etc/postfix.
# May be run again: what is there already (73) is left as it is.
set -eu
angarium() { command angarium --config /etc/angarium/angarium.toml "$@" || [ "$?" -eq 73 ]; }

# Domains
angarium domain add example.org
angarium domain add example.com
angarium domain add shop.example.com
angarium domain add alias.example.net

# Accounts. They take mail, and nobody can log in until there is a password: angarium account set ADDRESS --password-file FILE
angarium account add ann@example.org
angarium account add bob@example.org
angarium account add careful@example.org
angarium account add carol@example.com

# Aliases
angarium alias set info@alias.example.net carol@example.com
angarium alias set 'o'\''neil@example.org' bob@example.org
angarium alias set postmaster@example.org ann@example.org
angarium alias set sales@example.com partner@elsewhere.example
angarium alias set team@example.org ann@example.org bob@example.org
angarium alias set chain@example.org team@example.org

# Who gets mail to addresses that nobody has
angarium domain set shop.example.com --catch-all carol@example.com

# Mail that is there already; take the # away when Postfix has stopped delivering
# angarium import ann@example.org /var/vmail/example.org/ann --mailbox INBOX
# angarium import careful@example.org /var/vmail/example.org/careful --mailbox INBOX
# angarium import carol@example.com /var/vmail/example.com/carol --mailbox INBOX
