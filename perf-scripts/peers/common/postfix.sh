# shellcheck shell=bash disable=SC2154,SC2034
# Sourced: starts Postfix with /srv/peer/main.cf after /srv/peer/postfix.cf, which all peers with Postfix share, and
# with /srv/peer/relay.cf after them for the variant `relay`.
start_postfix() { # [VARIANT]
    mkdir -p "$data/spool" "$data/postfix"
    chown postfix "$data/postfix"
    cat /srv/peer/postfix.cf /srv/peer/main.cf >/etc/postfix/main.cf
    [[ ${1:-} != relay ]] || cat /srv/peer/relay.cf >>/etc/postfix/main.cf
    cp /srv/peer/master.cf /etc/postfix/master.cf
    user_names | sed "s,.*,&@$domain &/Maildir/," >"$data/mailboxes"
    postmap "hash:$data/mailboxes"
    postfix start-fg &
}
