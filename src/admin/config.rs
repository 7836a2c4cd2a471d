//! The configuration file: one TOML document, read whole and checked before anything starts.
//! Every error names the line and the way out. `docs/operate/configure.md` lists the settings.

mod check;
mod dns;
mod filters;
mod inbound;
mod listen;
mod outbound;
mod reports;
mod routes;
mod sts;
mod submission;

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Deserialize;
use shard::Settings;
use toml::Spanned;

pub(crate) use self::check::parse_cpus;
use self::check::{parse_address, parse_mode};
pub use self::listen::Listeners;
pub(crate) use self::outbound::parse_host;
use crate::Exit;
use crate::limits::{CONTENT_BYTES_DEFAULT, FRAME_ROOM_BYTES};

/// Everything an operator can set. A table or key that is not there has its usual value.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Who we are and where the store is.
    pub server: Server,
    /// Certificates.
    pub tls: Tls,
    /// What to listen on.
    pub listen: Listeners,
    /// Bounds.
    pub limits: Limits,
    /// Logins.
    pub auth: Auth,
    /// Name resolution.
    pub dns: self::dns::Dns,
    /// What is looked at before mail is taken.
    pub inbound: self::inbound::Inbound,
    /// Rules of the operator's.
    pub policy: self::inbound::Rules,
    /// The organisation's rules; read with the others.
    pub mailflow: self::inbound::Rules,
    /// Programs that are asked about mail, in this order.
    pub filter: Vec<self::filters::Filter>,
    /// What users may say of themselves.
    pub submission: self::submission::Submission,
    /// Mail that goes elsewhere.
    pub outbound: self::outbound::Outbound,
    /// Reports about mail.
    pub reports: self::reports::Reports,
    /// The MTA-STS policies of our domains.
    pub mta_sts: self::sts::MtaSts,
    /// The store's own settings.
    pub store: Store,
    /// What an operator can look at.
    pub metrics: Metrics,
    /// Where it was read from: a reload reads it again.
    #[serde(skip)]
    pub file: Option<PathBuf>,
    /// What the command line said instead of the file.
    #[serde(skip)]
    pub overrides: Overrides,
}

/// Settings of the command line that win over the file's, also when that is read again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides {
    /// In place of `server.shards`.
    pub shards: Option<u16>,
    /// In place of `server.cpus`.
    pub cpus: Option<String>,
}

/// `[server]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Server {
    /// Our name in greetings and Received.
    pub hostname: String,
    /// The store's folder.
    pub data: PathBuf,
    /// Shards; 0 is one per core.
    pub shards: u16,
    /// Cores for them, such as `0-3,6`; empty is all.
    pub cpus: String,
    /// The domain of login names without one; empty is none.
    pub default_domain: String,
    /// Who `Postmaster` is; empty is postmaster@hostname.
    pub postmaster: String,
}

impl Default for Server {
    fn default() -> Self {
        Self {
            hostname: "localhost".to_owned(),
            data: PathBuf::from("/var/lib/angarium"),
            shards: 0,
            cpus: String::new(),
            default_domain: String::new(),
            postmaster: String::new(),
        }
    }
}

/// `[tls]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Certificates by name; the first serves clients that name none of them. Without any, a
    /// self-signed one is made.
    pub certificates: Vec<Certificate>,
    /// PEM file of the authorities that are trusted as other servers' issuers; empty is the system's.
    pub authorities: PathBuf,
}

/// A certificate and its key, in PEM files. Read again at reload.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Certificate {
    /// The chain, ours first.
    pub certificate: PathBuf,
    /// The private key.
    pub key: PathBuf,
    /// The names it serves, such as `mail.example.org` or `*.example.org`.
    #[serde(default)]
    pub names: Vec<String>,
}

/// `[limits]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_field_names, reason = "these are the names an operator writes")]
pub struct Limits {
    /// The largest message, in bytes.
    pub message_bytes_max: Spanned<usize>,
    /// Bytes of messages that one shard holds while they come in and are stored.
    pub content_bytes_max: usize,
    /// Recipients of one message.
    pub recipients_max: usize,
    /// Messages a minute on one SMTP connection.
    pub messages_per_minute_max: u32,
    /// Connections, all protocols and shards together.
    pub connections_max: usize,
    /// Connections from one source: an IPv4 address, or an IPv6 network of 64 bits.
    pub connections_per_source_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        let smtp = smtp::Limits::default();
        Self {
            message_bytes_max: Spanned::new(0..0, smtp.message_bytes_max),
            content_bytes_max: CONTENT_BYTES_DEFAULT,
            recipients_max: smtp.recipients_max,
            messages_per_minute_max: smtp.messages_per_minute_max,
            connections_max: 50_000,
            connections_per_source_max: 1_000,
        }
    }
}

/// `[auth]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Auth {
    /// Whether passwords may cross the network in clear. For loopback only.
    pub allow_plaintext_without_tls: bool,
}

/// `[store]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Store {
    /// Partitions; fixed when the store is made.
    pub partitions: Spanned<u16>,
    /// Bytes of a log segment.
    pub segment_bytes: Spanned<u32>,
    /// Bytes of changes a shard keeps in memory before it writes an index run.
    pub fresh_bytes_max: usize,
    /// Bytes of summaries of the latest messages that a shard keeps in memory; 0 is none.
    pub recent_bytes_max: usize,
}

impl Default for Store {
    fn default() -> Self {
        let options = storage_engine::Options::default();
        Self {
            partitions: Spanned::new(0..0, options.partitions),
            segment_bytes: Spanned::new(0..0, options.segment_bytes),
            fresh_bytes_max: options.fresh_bytes_max,
            recent_bytes_max: options.recent_bytes_max,
        }
    }
}

/// `[metrics]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Metrics {
    /// Where Prometheus may fetch them, `IP:PORT`; empty is nowhere.
    pub listen: Spanned<String>,
    /// The flight recorder takes down what takes so many milliseconds.
    pub slow_ms: u32,
    /// So many operations of it are kept by each shard.
    pub slow_operations_max: Spanned<usize>,
}

impl Default for Metrics {
    fn default() -> Self {
        let slow = shard::SlowSettings::default();
        Self {
            listen: Spanned::new(0..0, String::new()),
            slow_ms: slow.slow_ms,
            slow_operations_max: Spanned::new(0..0, slow.operations_max),
        }
    }
}

/// Where to listen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListenAddress {
    /// TCP.
    Tcp(SocketAddr),
    /// A Unix socket.
    Unix(PathBuf),
}

/// What is spoken on a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Listen {
    /// SMTP from other servers.
    Smtp,
    /// SMTP from users.
    Submission,
    /// SMTP from users, TLS from the start.
    Submissions,
    /// LMTP.
    Lmtp,
    /// IMAP.
    Imap,
    /// IMAP, TLS from the start.
    Imaps,
    /// POP3.
    Pop3,
    /// POP3, TLS from the start.
    Pop3s,
    /// HTTP, TLS from the start.
    Https,
}

impl Listen {
    /// Whether TLS comes first.
    pub const fn is_implicit_tls(self) -> bool {
        matches!(self, Self::Submissions | Self::Imaps | Self::Pop3s | Self::Https)
    }
}

/// What is wrong with the file: where, what, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; 0 when it is about the file as a whole.
    pub line: usize,
    /// What is wrong and how to mend it.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file.display(), self.message),
            line => write!(f, "{}:{line}: {}", self.file.display(), self.message),
        }
    }
}

impl std::error::Error for ConfigError {}

impl From<ConfigError> for crate::Failure {
    fn from(error: ConfigError) -> Self {
        Self::new(Exit::Config, error.to_string())
    }
}

impl Config {
    /// Reads and checks the file.
    pub fn read(file: &Path) -> Result<Self, ConfigError> {
        let text = std::fs::read_to_string(file).map_err(|error| ConfigError {
            file: file.to_owned(),
            line: 0,
            message: format!(
                "{error}; `angarium init` writes a first configuration, `--config FILE` names another"
            ),
        })?;
        Self::parse(file, &text)
    }

    /// Reads and checks a text; `file` is for the errors.
    pub fn parse(file: &Path, text: &str) -> Result<Self, ConfigError> {
        let line = |span: Range<usize>| text.get(..span.start).map(|before| before.matches('\n').count() + 1);
        let at = |span: Option<Range<usize>>, message: String| ConfigError {
            file: file.to_owned(),
            line: span.and_then(line).unwrap_or(0),
            message,
        };
        let mut config: Self =
            toml::from_str(text).map_err(|error| at(error.span(), error.message().to_owned()))?;
        if let Some((span, message)) = config.fault(text) {
            return Err(at(span, message));
        }
        config.policy = self::inbound::Rules::read(file, text)?;
        if let Some((span, message)) = config.routes_fault() {
            return Err(at(span, message));
        }
        config.file = Some(file.to_owned());
        Ok(config)
    }

    /// With what the command line says instead of the file.
    #[must_use]
    pub fn overridden(mut self, overrides: Overrides) -> Self {
        self.server.shards = overrides.shards.unwrap_or(self.server.shards);
        self.server.cpus = overrides.cpus.clone().unwrap_or(self.server.cpus);
        self.overrides = overrides;
        self
    }

    /// What the file says now; a configuration that came from no file stays as it is.
    pub fn read_again(&self) -> Result<Self, ConfigError> {
        match &self.file {
            Some(file) => Self::read(file).map(|config| config.overridden(self.overrides.clone())),
            None => Ok(self.clone()),
        }
    }

    /// The settings that `new` has otherwise and that a reload does not take.
    pub fn waits_for_restart(&self, new: &Self) -> Vec<&'static str> {
        let (old, limits, store) = (&self.server, &self.limits, self.store_options());
        let listens = |config: &Self| (config.addresses(), config.unix_socket_mode(), config.submit_socket());
        let changed = [
            ("server.data", old.data != new.server.data),
            ("server.shards", old.shards != new.server.shards),
            ("server.cpus", old.cpus != new.server.cpus),
            ("server.default_domain", old.default_domain != new.server.default_domain),
            ("listen", listens(self) != listens(new)),
            ("limits.connections_max", limits.connections_max != new.limits.connections_max),
            (
                "limits.connections_per_source_max",
                limits.connections_per_source_max != new.limits.connections_per_source_max,
            ),
            ("tls.authorities", self.tls.authorities != new.tls.authorities),
            ("dns", !self.dns.is_same(&new.dns)),
            ("store", store != new.store_options()),
            ("metrics.listen", self.metrics_address() != new.metrics_address()),
        ];
        changed.into_iter().filter(|(_, is_changed)| *is_changed).map(|(setting, _)| setting).collect()
    }

    /// The mode of Unix sockets.
    pub fn unix_socket_mode(&self) -> u32 {
        parse_mode(&self.listen.unix_socket_mode).unwrap_or(0o600)
    }

    fn spanned_addresses(&self) -> impl Iterator<Item = (Listen, &Spanned<String>)> {
        let all = &self.listen;
        [
            (Listen::Smtp, &all.smtp),
            (Listen::Submission, &all.submission),
            (Listen::Submissions, &all.submissions),
            (Listen::Lmtp, &all.lmtp),
            (Listen::Imap, &all.imap),
            (Listen::Imaps, &all.imaps),
            (Listen::Pop3, &all.pop3),
            (Listen::Pop3s, &all.pop3s),
            (Listen::Https, &all.https),
        ]
        .into_iter()
        .flat_map(|(listen, addresses)| addresses.iter().map(move |address| (listen, address)))
    }

    /// Every listener with its address.
    pub fn addresses(&self) -> Vec<(Listen, ListenAddress)> {
        let parsed = self.spanned_addresses();
        parsed
            .filter_map(|(listen, address)| Some((listen, parse_address(address.get_ref()).ok()?)))
            .collect()
    }

    /// Where metrics are served, if anywhere.
    pub fn metrics_address(&self) -> Option<SocketAddr> {
        self.metrics.listen.get_ref().parse().ok()
    }

    /// The cores to use; `None` is all of them.
    pub fn cpus(&self) -> Option<Vec<usize>> {
        parse_cpus(&self.server.cpus).ok().filter(|cpus| !cpus.is_empty())
    }

    /// The store's options.
    pub fn store_options(&self) -> storage_engine::Options {
        storage_engine::Options {
            partitions: *self.store.partitions.get_ref(),
            segment_bytes: *self.store.segment_bytes.get_ref(),
            fresh_bytes_max: self.store.fresh_bytes_max,
            recent_bytes_max: self.store.recent_bytes_max,
            ..storage_engine::Options::default()
        }
    }

    /// The settings of the services.
    pub fn settings(&self) -> Arc<Settings> {
        let policy = auth::Policy { allow_plaintext_without_tls: self.auth.allow_plaintext_without_tls };
        let message_bytes_max = *self.limits.message_bytes_max.get_ref();
        let smtp = |mode| {
            let mut config = smtp::Config::new(&self.server.hostname, mode);
            config.auth = policy;
            config.limits.message_bytes_max = message_bytes_max;
            config.limits.recipients_max = self.limits.recipients_max;
            config.limits.messages_per_minute_max = self.limits.messages_per_minute_max;
            config.limits.hold_s_max = self.outbound.hold_s_max();
            config.offers_verp = self.outbound.verp && self.outbound.enabled;
            if !self.server.postmaster.is_empty() {
                config.postmaster.clone_from(&self.server.postmaster);
            }
            Arc::new(config)
        };
        let mut imap = imap::Config::new(&self.server.hostname);
        imap.auth = policy;
        imap.limits.append_bytes_max = message_bytes_max;
        imap.limits.append_command_bytes_max =
            imap.limits.append_command_bytes_max.max(message_bytes_max.saturating_add(FRAME_ROOM_BYTES));
        let mut pop3 = pop3::Config::new(&self.server.hostname);
        pop3.auth = policy;
        Arc::new(Settings {
            hostname: self.server.hostname.clone(),
            default_domain: Some(self.server.default_domain.clone()).filter(|domain| !domain.is_empty()),
            content_bytes_max: self.limits.content_bytes_max,
            slow: shard::SlowSettings {
                slow_ms: self.metrics.slow_ms,
                operations_max: *self.metrics.slow_operations_max.get_ref(),
            },
            inbound: self.inbound.settings(
                self.submission.check(),
                &self.policy,
                self::filters::settings(&self.filter, message_bytes_max),
                &self.listen,
            ),
            outbound: self.outbound.settings(self),
            reporting: self.reports.settings(),
            policies: Arc::new(self.mta_sts.policies(&self.server.hostname)),
            mx: smtp(smtp::Mode::Mx),
            submission: smtp(smtp::Mode::Submission),
            lmtp: smtp(smtp::Mode::Lmtp),
            imap: Arc::new(imap),
            pop3: Arc::new(pop3),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_file_is_a_whole_configuration() {
        let config = Config::parse(Path::new("a.toml"), "").unwrap();
        assert_eq!(config.addresses().len(), 14);
        assert_eq!(config.cpus(), None);
    }

    #[test]
    fn a_reload_says_what_it_does_not_take() {
        let parse = |text| Config::parse(Path::new("a.toml"), text).unwrap();
        let before = parse("");
        assert_eq!(before.waits_for_restart(&parse("[server]\nhostname = \"x\"\n")), [""; 0]);
        let after = parse(
            "[server]\ndefault_domain = \"example.org\"\n[listen]\npop3 = []\n[limits]\nconnections_max = 3\n[store]\npartitions = 16\n",
        );
        let waiting = ["server.default_domain", "listen", "limits.connections_max", "store"];
        assert_eq!(before.waits_for_restart(&after), waiting);
    }

    #[test]
    fn what_the_command_line_overrides_stays_overridden_at_a_reload() {
        let file = std::env::temp_dir().join(format!("angarium-config-{}.toml", std::process::id()));
        std::fs::write(&file, "[server]\nshards = 1\ncpus = \"0\"\n").unwrap();
        let overrides = Overrides { shards: Some(2), cpus: None };
        let config = Config::read(&file).unwrap().overridden(overrides);
        assert_eq!((config.server.shards, config.server.cpus.as_str()), (2, "0"));
        let again = config.read_again().unwrap();
        assert_eq!(again.server.shards, 2);
        assert_eq!(config.waits_for_restart(&again), [""; 0]);
        std::fs::remove_file(file).unwrap();
    }
}
