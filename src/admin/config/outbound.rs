//! `[outbound]`: mail that goes elsewhere.

use std::net::{IpAddr, SocketAddr};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use base::Secret;
use dsn::Templates;
use serde::Deserialize;
use shard::{Smarthost, SmarthostTls, TellPostmaster};
use toml::Spanned;
use transport::{AddressOrder, Destination, Ourselves};

use super::routes::{self, OfDestination, Pool, Route};
use super::{Config, ListenAddress};
use crate::limits::HOLD_HOURS_MAX;

/// `[outbound]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "settings are independent of each other")]
pub struct Outbound {
    /// Whether mail for other domains is taken at all.
    pub enabled: bool,
    /// Where all mail for other domains goes, `HOST:PORT`; empty asks for each domain's mail hosts.
    pub smarthost: Spanned<String>,
    /// `never`, `if-offered`, `required` (STARTTLS with a valid certificate) or `implicit` (TLS from the start).
    pub smarthost_tls: Tls,
    /// The name to log in with; empty is none.
    pub smarthost_user: String,
    /// The file with its password.
    pub smarthost_password_file: Spanned<PathBuf>,
    /// Networks that may send to anybody without a login, such as `192.0.2.0/24`.
    pub relay_from: Vec<Spanned<String>>,
    /// Whether those and users may ask for a return path for each recipient (XVERP).
    pub verp: bool,
    /// Minutes to wait after the first, second, .. failed attempt; the last one repeats.
    pub retry_minutes: Spanned<Vec<u64>>,
    /// Hours after which a message is given up.
    pub expire_hours: Spanned<u64>,
    /// Hours after which the sender is told that it is late; 0 is never.
    pub late_hours: u64,
    /// Hours for which users may have a message held before it goes; 0 offers them nothing of that.
    pub hold_hours_max: Spanned<u64>,
    /// Connections to one destination.
    pub connections_max: Spanned<usize>,
    /// Messages on one connection.
    pub messages_per_connection_max: Spanned<u32>,
    /// Seconds that a connection is kept after a message.
    pub idle_s: u64,
    /// Messages that one shard sends at the same time.
    pub attempts_max: Spanned<usize>,
    /// Entries that one shard's queue takes: one for each destination of a message.
    pub entries_max: usize,
    /// `both`, `ipv4` or `ipv6`.
    pub addresses: Addresses,
    /// A file with the texts of bounces and other notices; empty has our own.
    pub notices_file: Spanned<PathBuf>,
    /// Of what the postmaster is told.
    pub tell_postmaster: Vec<Trouble>,
    /// Whether mail that aliases and accounts send on gets a return path of ours (SRS).
    pub srs: bool,
    /// The domain of these return paths; empty is `server.hostname`.
    pub srs_domain: Spanned<String>,
    /// A file with the secrets that sign them, one a line, the first signs; empty is one of the server's own.
    pub srs_secret_file: Spanned<PathBuf>,
    /// Whether such mail is sealed (ARC).
    pub arc_seal: bool,
    /// The port of other mail systems. Another than 25 is for tests.
    pub port: u16,
    /// The pool of addresses that mail goes from whose route names none; empty leaves it to the machine.
    pub default_pool: Spanned<String>,
    /// `[[outbound.route]]`
    pub route: Vec<Route>,
    /// `[[outbound.pool]]`
    pub pool: Vec<Pool>,
    /// `[[outbound.destination]]`
    pub destination: Vec<OfDestination>,
}

/// What the postmaster may be told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trouble {
    /// Mail from `<>` that failed.
    Undeliverable,
    /// Copies of what senders are told of failures.
    Bounce,
    /// Copies of what senders are told of delays.
    Delay,
}

/// Which kinds of address are connected to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Addresses {
    /// IPv6 and IPv4.
    #[default]
    Both,
    /// IPv4 only.
    Ipv4,
    /// IPv6 only.
    Ipv6,
}

/// How the connection to the smarthost is protected.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Tls {
    /// Not at all.
    Never,
    /// Where it is offered.
    #[default]
    IfOffered,
    /// STARTTLS, with a valid certificate.
    Required,
    /// From the start, with a valid certificate.
    Implicit,
}

impl Default for Outbound {
    fn default() -> Self {
        let usual = shard::Outbound::new("");
        let unnamed = |text: &str| Spanned::new(0..0, text.to_owned());
        Self {
            enabled: usual.is_enabled,
            smarthost: unnamed(""),
            smarthost_tls: Tls::default(),
            smarthost_user: String::new(),
            smarthost_password_file: Spanned::new(0..0, PathBuf::new()),
            relay_from: Vec::new(),
            verp: usual.verp,
            retry_minutes: Spanned::new(
                0..0,
                usual.retry.waits.iter().map(|wait| wait.as_secs() / 60).collect(),
            ),
            expire_hours: Spanned::new(0..0, usual.retry.expires_after.as_secs() / 3600),
            late_hours: usual.retry.late_after.map_or(0, |late| late.as_secs() / 3600),
            hold_hours_max: Spanned::new(0..0, u64::from(smtp::Limits::default().hold_s_max) / 3600),
            connections_max: Spanned::new(0..0, usual.connections_max),
            messages_per_connection_max: Spanned::new(0..0, usual.messages_per_connection_max),
            idle_s: usual.idle.as_secs(),
            attempts_max: Spanned::new(0..0, usual.attempts_max),
            entries_max: usual.entries_max,
            addresses: Addresses::default(),
            notices_file: Spanned::new(0..0, PathBuf::new()),
            tell_postmaster: vec![Trouble::Undeliverable],
            srs: true,
            srs_domain: unnamed(""),
            srs_secret_file: Spanned::new(0..0, PathBuf::new()),
            arc_seal: usual.seals,
            port: usual.port,
            default_pool: unnamed(""),
            route: Vec::new(),
            pool: Vec::new(),
            destination: Vec::new(),
        }
    }
}

impl Outbound {
    /// The first thing that is wrong, and where.
    pub(super) fn fault(&self) -> Option<(Range<usize>, String)> {
        let numbers = [
            ("outbound.connections_max", self.connections_max.span(), *self.connections_max.get_ref() as u64),
            (
                "outbound.messages_per_connection_max",
                self.messages_per_connection_max.span(),
                u64::from(*self.messages_per_connection_max.get_ref()),
            ),
            ("outbound.attempts_max", self.attempts_max.span(), *self.attempts_max.get_ref() as u64),
        ];
        if let Some((setting, span, _)) = numbers.into_iter().find(|(.., value)| *value == 0) {
            return Some((span, format!("{setting} must be at least 1")));
        }
        let fault = retry_fault("outbound", Some(&self.retry_minutes), Some(&self.expire_hours));
        if let Some(fault) = fault.or_else(|| self.hop().and_then(|hop| hop.fault("outbound"))) {
            return Some(fault);
        }
        if *self.hold_hours_max.get_ref() > HOLD_HOURS_MAX {
            let message = format!("outbound.hold_hours_max must be at most {HOLD_HOURS_MAX}");
            return Some((self.hold_hours_max.span(), message));
        }
        let fault = networks_fault("outbound.relay_from", &self.relay_from);
        fault.or_else(|| self.files_fault()).or_else(|| routes::fault(self))
    }

    fn files_fault(&self) -> Option<(Range<usize>, String)> {
        let domain = self.srs_domain.get_ref();
        if !domain.is_empty() && !matches!(Destination::parse(domain), Some(Destination::Domain(_))) {
            let message =
                "outbound.srs_domain must be a domain that mail comes to us for, such as \"example.org\"";
            return Some((self.srs_domain.span(), message.to_owned()));
        }
        if let Err(message) = secrets(self.srs_secret_file.get_ref()) {
            return Some((self.srs_secret_file.span(), format!("outbound.srs_secret_file: {message}")));
        }
        let file = self.notices_file.get_ref();
        if !file.as_os_str().is_empty()
            && let Err(message) = templates(file)
        {
            return Some((self.notices_file.span(), format!("outbound.notices_file: {message}")));
        }
        None
    }

    /// The same as seconds.
    pub(super) fn hold_s_max(&self) -> u32 {
        u32::try_from(self.hold_hours_max.get_ref() * 3600).unwrap_or(u32::MAX)
    }

    /// In the form the services need. What is wrong has been found before.
    pub(super) fn settings(&self, config: &Config) -> Arc<shard::Outbound> {
        let mut outbound = shard::Outbound::new(&config.server.hostname);
        outbound.is_enabled = self.enabled;
        outbound.smarthost = self.hop().and_then(|hop| hop.smarthost()).map(Arc::new);
        outbound.relay_from = networks(&self.relay_from);
        outbound.verp = self.verp;
        outbound.retry.waits =
            self.retry_minutes.get_ref().iter().map(|minutes| Duration::from_secs(minutes * 60)).collect();
        outbound.retry.expires_after = Duration::from_secs(self.expire_hours.get_ref() * 3600);
        outbound.retry.late_after =
            (self.late_hours > 0).then(|| Duration::from_secs(self.late_hours * 3600));
        outbound.connections_max = *self.connections_max.get_ref();
        outbound.window.max = u32::try_from(2 * outbound.connections_max).unwrap_or(u32::MAX);
        outbound.messages_per_connection_max = *self.messages_per_connection_max.get_ref();
        outbound.idle = Duration::from_secs(self.idle_s);
        outbound.attempts_max = *self.attempts_max.get_ref();
        outbound.entries_max = self.entries_max;
        outbound.order = match self.addresses {
            Addresses::Both => AddressOrder::ByTurns,
            Addresses::Ipv4 => AddressOrder::Ipv4Only,
            Addresses::Ipv6 => AddressOrder::Ipv6Only,
        };
        let file = self.notices_file.get_ref();
        if !file.as_os_str().is_empty()
            && let Ok(templates) = templates(file)
        {
            outbound.templates = Arc::new(templates);
        }
        let tells = |trouble| self.tell_postmaster.contains(&trouble);
        outbound.tell_postmaster = TellPostmaster {
            undeliverable: tells(Trouble::Undeliverable),
            bounce: tells(Trouble::Bounce),
            delay: tells(Trouble::Delay),
        };
        let srs_domain = Some(self.srs_domain.get_ref()).filter(|domain| !domain.is_empty());
        let srs_domain = srs_domain.unwrap_or(&config.server.hostname);
        (outbound.is_srs, outbound.srs_domain) = (self.srs, srs_domain.to_lowercase());
        outbound.srs_secrets = secrets(self.srs_secret_file.get_ref()).unwrap_or_default();
        outbound.seals = self.arc_seal;
        outbound.port = self.port;
        outbound.ourselves = ourselves(config, self.port);
        routes::settings(self, &mut outbound);
        Arc::new(outbound)
    }

    fn hop(&self) -> Option<Hop<'_>> {
        let host = Some(&self.smarthost).filter(|host| !host.get_ref().is_empty())?;
        let password_file = Some(&self.smarthost_password_file);
        Some(Hop { host, tls: self.smarthost_tls, user: &self.smarthost_user, password_file })
    }
}

/// A system that mail is handed to, as the file has it.
pub(super) struct Hop<'a> {
    pub(super) host: &'a Spanned<String>,
    pub(super) tls: Tls,
    pub(super) user: &'a str,
    pub(super) password_file: Option<&'a Spanned<PathBuf>>,
}

impl Hop<'_> {
    /// What is wrong with it.
    pub(super) fn fault(&self, table: &str) -> Option<(Range<usize>, String)> {
        if parse_host(self.host.get_ref()).is_none() {
            let message = format!(
                "{table}.smarthost must be HOST:PORT, such as \"mail.example.org:587\" or \"[::1]:25\""
            );
            return Some((self.host.span(), message));
        }
        if self.user.is_empty() {
            return None;
        }
        let Some(file) = self.password_file else {
            return Some((
                self.host.span(),
                format!("{table}.smarthost_password_file is needed for the login"),
            ));
        };
        let message = read(file.get_ref()).err()?;
        Some((file.span(), format!("{table}.smarthost_password_file: {message}")))
    }

    /// In the form the services need.
    pub(super) fn smarthost(&self) -> Option<Smarthost> {
        let (host, port) = parse_host(self.host.get_ref())?;
        let tls = match self.tls {
            Tls::Never => SmarthostTls::Never,
            Tls::IfOffered => SmarthostTls::IfOffered,
            Tls::Required => SmarthostTls::Required,
            Tls::Implicit => SmarthostTls::Implicit,
        };
        let file = self.password_file.filter(|_| !self.user.is_empty());
        let login = file
            .and_then(|file| read(file.get_ref()).ok())
            .map(|password| (self.user.to_owned(), Secret::new(password.trim().to_owned())));
        Some(Smarthost { host, port, tls, login })
    }
}

/// What is wrong with a retry schedule.
pub(super) fn retry_fault(
    table: &str,
    minutes: Option<&Spanned<Vec<u64>>>,
    expire_hours: Option<&Spanned<u64>>,
) -> Option<(Range<usize>, String)> {
    if let Some(minutes) = minutes.filter(|all| all.get_ref().is_empty() || all.get_ref().contains(&0)) {
        let message =
            format!("{table}.retry_minutes must be a list of minutes, each at least 1, such as [5, 30, 120]");
        return Some((minutes.span(), message));
    }
    let hours = expire_hours.filter(|hours| *hours.get_ref() == 0)?;
    Some((hours.span(), format!("{table}.expire_hours must be at least 1")))
}

/// Who we are to mail that would come back: our name, and the addresses at which we take mail from others at the
/// port that others have.
fn ourselves(config: &Config, port: u16) -> Ourselves {
    let mut ourselves = Ourselves { names: vec![config.server.hostname.clone()], ..Ourselves::default() };
    for (listen, address) in config.addresses() {
        let ListenAddress::Tcp(address) = address else { continue };
        if listen != super::Listen::Smtp || address.port() != port {
            continue;
        }
        if address.ip().is_unspecified() {
            ourselves.is_loopback = true;
        } else {
            ourselves.addresses.push(address.ip());
        }
    }
    ourselves
}

/// `HOST:PORT`, where the host is a name or an address.
pub(crate) fn parse_host(text: &str) -> Option<(Destination, u16)> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Some((Destination::Address(address.ip()), address.port()));
    }
    let (host, port) = text.rsplit_once(':')?;
    Some((Destination::parse(host)?, port.parse().ok().filter(|port| *port > 0)?))
}

/// The first of some networks that is none.
pub(super) fn networks_fault(setting: &str, networks: &[Spanned<String>]) -> Option<(Range<usize>, String)> {
    let wrong = networks.iter().find(|network| parse_network(network.get_ref()).is_none())?;
    let text = wrong.get_ref();
    let remedy =
        format!("{setting}: {text:?} is no network; write one as \"192.0.2.0/24\" or \"2001:db8::1\"");
    Some((wrong.span(), remedy))
}

/// Networks in the form the services need.
pub(super) fn networks(networks: &[Spanned<String>]) -> Vec<(IpAddr, u8)> {
    networks.iter().filter_map(|network| parse_network(network.get_ref())).collect()
}

fn parse_network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
        None => (text, None),
    };
    let address: IpAddr = address.parse().ok()?;
    let most = if address.is_ipv4() { 32 } else { 128 };
    let bits = bits.unwrap_or(most);
    (bits <= most).then_some((address, bits))
}

fn read(file: &Path) -> Result<String, String> {
    std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))
}

/// The lines of a file of secrets; none for no file.
fn secrets(file: &Path) -> Result<Vec<Secret<Vec<u8>>>, String> {
    if file.as_os_str().is_empty() {
        return Ok(Vec::new());
    }
    let text = read(file)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let secrets: Vec<_> = lines.map(|line| Secret::new(line.as_bytes().to_vec())).collect();
    if secrets.is_empty() {
        Err(format!("{}: there is no secret in it", file.display()))
    } else {
        Ok(secrets)
    }
}

fn templates(file: &Path) -> Result<Templates, String> {
    Templates::parse(&read(file)?).map_err(|error| format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(text: &str) -> String {
        Config::parse(Path::new("a.toml"), text).expect_err("it is wrong").to_string()
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (line, message) in [
            ("smarthost = \"mail.example.org\"", "outbound.smarthost must be HOST:PORT"),
            ("relay_from = [\"192.0.2.0/33\"]", "is no network"),
            ("retry_minutes = []", "outbound.retry_minutes must be a list"),
            ("connections_max = 0", "outbound.connections_max must be at least 1"),
            ("hold_hours_max = 300000", "outbound.hold_hours_max must be at most 87600"),
            ("notices_file = \"/nowhere/at/all\"", "outbound.notices_file: /nowhere/at/all"),
            (
                "smarthost = \"a:25\"\nsmarthost_user = \"x\"\nsmarthost_password_file = \"/nowhere/at/all\"",
                "smarthost_password_file: /nowhere",
            ),
        ] {
            let text = fault(&format!("[server]\nhostname = \"x\"\n[outbound]\n{line}\n"));
            let expected = format!("a.toml:{}: ", 4 + line.matches('\n').count());
            assert!(text.starts_with(&expected) && text.contains(message), "{text}");
        }
    }

    #[test]
    fn the_postmaster_is_told_of_what_is_named() {
        let of = |line: &str| {
            let config = Config::parse(Path::new("a.toml"), &format!("[outbound]\n{line}\n")).expect("valid");
            config.settings().outbound.tell_postmaster
        };
        assert_eq!(of(""), TellPostmaster::default());
        assert_eq!(
            of("tell_postmaster = [\"bounce\", \"delay\"]"),
            TellPostmaster { undeliverable: false, bounce: true, delay: true }
        );
        assert!(fault("[outbound]\ntell_postmaster = [\"policy\"]\n").contains("`undeliverable`, `bounce`"));
    }

    #[test]
    fn a_smarthost_is_a_name_or_an_address_with_a_port() {
        let of = |text: &str| {
            let config = format!("[outbound]\nsmarthost = \"{text}\"\n");
            let config = Config::parse(Path::new("a.toml"), &config).expect("valid");
            let smarthost = config.settings().outbound.smarthost.clone().expect("it is set");
            (smarthost.host.clone(), smarthost.port)
        };
        assert_eq!(of("Mail.Example.org:587"), (Destination::Domain("mail.example.org".to_owned()), 587));
        assert_eq!(of("127.0.0.1:2525"), (Destination::Address([127, 0, 0, 1].into()), 2525));
        assert_eq!(of("[::1]:25"), (Destination::Address("::1".parse().expect("an address")), 25));
    }

    #[test]
    fn nothing_is_sent_to_the_addresses_we_take_mail_at() {
        let config =
            Config::parse(Path::new("a.toml"), "[listen]\nsmtp = [\"192.0.2.7:25\", \"0.0.0.0:2525\"]\n");
        let outbound = config.expect("valid").settings().outbound.clone();
        assert!(outbound.ourselves.is_address([192, 0, 2, 7].into()));
        assert!(!outbound.ourselves.is_address([127, 0, 0, 1].into()), "another port is another server");
    }
}
