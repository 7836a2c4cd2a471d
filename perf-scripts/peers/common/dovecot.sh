# shellcheck shell=bash disable=SC2154,SC2034
# Sourced: starts Dovecot with the mail_location given; the variant says what STORE does.
start_dovecot() {
    local location="$1" variant="$2"
    {
        echo "mail_location = $location"
        # Dovecot does not flush a STORE unless told (perf.md and its page "mail_fsync").
        [[ $variant != fsync-always ]] || echo "mail_fsync = always"
        [[ $variant != filling ]] || echo "mail_fsync = never"
    } >"$data/differs.conf"
    [[ -f $data/cert.pem ]] || openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 30 \
        -subj /CN=mail.example.org -keyout "$data/key.pem" -out "$data/cert.pem" 2>/dev/null
    dovecot -F -c /srv/peer/dovecot.conf &
}
