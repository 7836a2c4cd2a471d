//! The settings of a server that relays nothing.

use std::sync::Arc;

use shard::Settings;
use smtp::Mode;

/// Of `mail.example.org`: messages of so many bytes, and passwords in the clear or not.
pub(crate) fn settings(content_bytes_max: usize, allow_plaintext_without_tls: bool) -> Settings {
    let auth = auth::Policy { allow_plaintext_without_tls };
    let smtp = |mode| Arc::new(smtp::Config { auth, ..smtp::Config::new("mail.example.org", mode) });
    Settings {
        hostname: "mail.example.org".to_owned(),
        default_domain: Some("example.org".to_owned()),
        content_bytes_max,
        inbound: Arc::default(),
        reporting: Arc::default(),
        outbound: Arc::new(shard::Outbound { is_enabled: false, ..shard::Outbound::new("mail.example.org") }),
        slow: shard::SlowSettings::default(),
        policies: Arc::new(shard::OwnPolicies::new("mail.example.org")),
        mx: smtp(Mode::Mx),
        submission: smtp(Mode::Submission),
        lmtp: smtp(Mode::Lmtp),
        imap: Arc::new(imap::Config { auth, ..imap::Config::new("mail.example.org") }),
        pop3: Arc::new(pop3::Config { auth, ..pop3::Config::new("mail.example.org") }),
    }
}
