//! What tests share that run shards without the runtime: no network, and the settings of a server that relays nothing.

use std::sync::Arc;

use shard::Settings;
use smtp::Mode;

/// The part of a `World` that nobody asks for where nothing is relayed.
macro_rules! without_network {
    () => {
        fn spawn(&self, _: shard::LocalFuture<()>) {
            unreachable!("nothing is relayed here");
        }

        fn spawn_aside(&self, _: shard::LocalFuture<()>) {
            unreachable!("nothing is relayed here");
        }

        fn is_stopping(&self) -> bool {
            false
        }

        fn sleep_until(&self, _: base::Timestamp) -> shard::LocalFuture<()> {
            unreachable!("nothing is relayed here");
        }

        fn open(
            &self,
            _: shard::Hop,
        ) -> shard::LocalFuture<Result<Box<dyn shard::Carrier>, shard::Unopened>> {
            unreachable!("nothing is relayed here");
        }
    };
}

pub(crate) use without_network;

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
