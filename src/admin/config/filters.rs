//! `[[filter]]`: programs of their own that are asked about mail.

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base::Secret;
use filter::{FailurePolicy, HookShare, HookStage, OnVirus, Reuse, Url};
use serde::Deserialize;
use shard::{FilterKind, FilterPlace, FilterSettings, HookSettings, RspamdSettings};
use smtp::Mode;
use toml::Spanned;
use transport::Destination;

use super::parse_host;
use crate::limits::{
    CLAMD_BYTES_DEFAULT, FILTER_CONNECT_S_DEFAULT, FILTER_CONNECTIONS_DEFAULT, FILTER_NAME_BYTES_MAX,
    FILTER_TIMEOUT_S_DEFAULT, FILTER_TIMEOUT_S_MAX,
};

/// `[[filter]]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// What it is.
    pub kind: Kind,
    /// Where it listens: `inet:HOST:PORT` or `unix:/PATH` of a milter or clamd, an address of rspamd or a hook.
    pub address: Spanned<String>,
    /// Its name in logs and metrics; the kind's unless it is set.
    #[serde(default)]
    pub name: Option<Spanned<String>>,
    /// The listeners whose mail goes through it.
    #[serde(default)]
    pub listeners: Option<Spanned<Vec<Listener>>>,
    /// Of a hook or a milter: at which stages of a session it is asked.
    #[serde(default)]
    pub stages: Option<Spanned<Vec<AtStage>>>,
    /// Whether mail from networks that may relay does not.
    #[serde(default)]
    pub skip_trusted: bool,
    /// What follows when it does not answer.
    #[serde(default)]
    pub on_failure: OnFailure,
    /// Seconds until it can be talked to.
    #[serde(default)]
    pub connect_s: Option<Spanned<u64>>,
    /// Seconds for a message in all.
    #[serde(default)]
    pub timeout_s: Option<Spanned<u64>>,
    /// Messages that a shard asks it about at the same time.
    #[serde(default)]
    pub connections_max: Option<Spanned<usize>>,
    /// The largest message that it is asked about, in bytes.
    #[serde(default)]
    pub message_bytes_max: Option<Spanned<usize>>,
    /// Of a milter: when a connection serves another message.
    #[serde(default)]
    pub reuse: Option<Spanned<AtReuse>>,
    /// Of clamd: what becomes of a message with something bad in it.
    #[serde(default)]
    pub on_virus: Option<Spanned<AtVirus>>,
    /// Of rspamd: a file with the password of its worker.
    #[serde(default)]
    pub password_file: Option<Spanned<PathBuf>>,
    /// Of rspamd: the name of settings that it has.
    #[serde(default)]
    pub settings_id: Option<Spanned<String>>,
    /// Of rspamd: a word that tells this server from others.
    #[serde(default)]
    pub mta_tag: Option<Spanned<String>>,
    /// Of a hook: header fields of its request.
    #[serde(default)]
    pub fields: Option<Spanned<BTreeMap<String, FieldValue>>>,
    /// Of a hook: how much of the message it is sent.
    #[serde(default)]
    pub share: Option<Spanned<Share>>,
}

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A milter.
    Milter,
    /// rspamd over HTTP.
    Rspamd,
    /// ClamAV.
    Clamd,
    /// An HTTP hook of the operator's.
    Hook,
}

/// A listener of mail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Listener {
    /// Mail from other servers.
    Smtp,
    /// Mail from users.
    Submission,
    /// Mail from systems beside us.
    Lmtp,
}

/// A stage of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AtStage {
    /// A client has connected.
    Connect,
    /// It has said its name.
    Helo,
    /// It has named a sender.
    Mail,
    /// It has named a recipient.
    Rcpt,
    /// The content is there.
    Data,
}

/// What a filter's failure means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnFailure {
    /// As if it were not there.
    Accept,
    /// Refuse for now.
    #[default]
    Defer,
    /// Refuse for good.
    Reject,
}

/// When a milter's connection serves another message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AtReuse {
    /// Never.
    Never,
    /// After *continue*.
    AfterContinue,
    /// Always.
    Always,
}

/// What becomes of a message with something bad in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AtVirus {
    /// It is refused.
    Reject,
    /// It is accepted and dropped.
    Discard,
    /// It is held.
    Quarantine,
}

/// How much of a message a hook is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Share {
    /// Its size.
    Size,
    /// Its header fields too.
    Header,
    /// All of it.
    All,
}

/// The value of a field, which may be a password.
#[derive(Clone, Debug)]
pub struct FieldValue(Secret<String>);

impl<'de> Deserialize<'de> for FieldValue {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|value| Self(Secret::new(value)))
    }
}

type Fault = (Range<usize>, String);

/// The first thing that is wrong with any of them, and where.
pub(super) fn fault(filters: &[Filter]) -> Option<Fault> {
    for (at, filter) in filters.iter().enumerate() {
        if let Some(fault) = filter.fault() {
            return Some(fault);
        }
        if filters.iter().take(at).any(|other| other.name() == filter.name()) {
            let remedy = format!("filter.name: there are two of {:?}; give each its own name", filter.name());
            return Some((filter.name_span(), remedy));
        }
    }
    None
}

/// In the form the services need. What is wrong has been found before.
pub(super) fn settings(filters: &[Filter], message_bytes_max: usize) -> Vec<FilterSettings> {
    filters.iter().filter_map(|filter| filter.settings(message_bytes_max)).collect()
}

impl Kind {
    const fn word(self) -> &'static str {
        match self {
            Self::Milter => "milter",
            Self::Rspamd => "rspamd",
            Self::Clamd => "clamd",
            Self::Hook => "hook",
        }
    }
}

impl Filter {
    fn name(&self) -> &str {
        self.name.as_ref().map_or(self.kind.word(), |name| name.get_ref())
    }

    fn name_span(&self) -> Range<usize> {
        self.name.as_ref().map_or_else(|| self.address.span(), Spanned::span)
    }

    fn fault(&self) -> Option<Fault> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
        let name = self.name();
        if name.is_empty() || name.len() > FILTER_NAME_BYTES_MAX || !name.bytes().all(is_plain) {
            let remedy = format!(
                "filter.name must be 1 to {FILTER_NAME_BYTES_MAX} letters, digits, dots, hyphens or underscores"
            );
            return Some((self.name_span(), remedy));
        }
        if let Err(remedy) = self.place() {
            return Some((self.address.span(), format!("filter.address {remedy}")));
        }
        if let Some(listeners) = self.listeners.as_ref().filter(|listeners| listeners.get_ref().is_empty()) {
            let remedy = "filter.listeners must name at least one of \"smtp\", \"submission\", \"lmtp\"";
            return Some((listeners.span(), remedy.to_owned()));
        }
        self.stages_fault()
            .or_else(|| self.numbers_fault())
            .or_else(|| self.foreign_fault())
            .or_else(|| self.values_fault())
    }

    fn stages_fault(&self) -> Option<Fault> {
        let stages = self.stages.as_ref()?;
        let is_right = match self.kind {
            Kind::Hook => !stages.get_ref().is_empty(),
            Kind::Milter => {
                let may_be = |stage: &AtStage| matches!(stage, AtStage::Rcpt | AtStage::Data);
                stages.get_ref().contains(&AtStage::Data) && stages.get_ref().iter().all(may_be)
            }
            Kind::Rspamd | Kind::Clamd => false,
        };
        let remedy = match self.kind {
            Kind::Hook => "must name at least one of \"connect\", \"helo\", \"mail\", \"rcpt\", \"data\"",
            Kind::Milter => "of a milter is [\"rcpt\", \"data\"] or [\"data\"]",
            Kind::Rspamd | Kind::Clamd => {
                "is for hooks and milters: this one is asked when the content is there; take it out"
            }
        };
        (!is_right).then(|| (stages.span(), format!("filter.stages {remedy}")))
    }

    /// Where it is asked.
    fn stages(&self) -> Vec<HookStage> {
        let usual = match self.kind {
            Kind::Milter => &[AtStage::Rcpt, AtStage::Data][..],
            Kind::Rspamd | Kind::Clamd | Kind::Hook => &[AtStage::Data],
        };
        let stages = self.stages.as_ref().map_or(usual, |stages| stages.get_ref().as_slice());
        let stage = |stage: &AtStage| match stage {
            AtStage::Connect => HookStage::Connect,
            AtStage::Helo => HookStage::Helo,
            AtStage::Mail => HookStage::Mail,
            AtStage::Rcpt => HookStage::Rcpt,
            AtStage::Data => HookStage::Data,
        };
        stages.iter().map(stage).collect()
    }

    fn numbers_fault(&self) -> Option<Fault> {
        for (setting, value) in [("connect_s", &self.connect_s), ("timeout_s", &self.timeout_s)] {
            let Some(value) = value else { continue };
            if !(1..=FILTER_TIMEOUT_S_MAX).contains(value.get_ref()) {
                let remedy = format!(
                    "filter.{setting} must be from 1 to {FILTER_TIMEOUT_S_MAX}: clients wait ten minutes for an answer"
                );
                return Some((value.span(), remedy));
            }
        }
        let sizes =
            [("connections_max", &self.connections_max), ("message_bytes_max", &self.message_bytes_max)];
        for (setting, value) in sizes {
            if let Some(value) = value.as_ref().filter(|value| *value.get_ref() == 0) {
                return Some((value.span(), format!("filter.{setting} must be at least 1")));
            }
        }
        None
    }

    /// Settings that this kind does not have would be ignored.
    fn foreign_fault(&self) -> Option<Fault> {
        let all = [
            ("reuse", self.reuse.as_ref().map(Spanned::span), Kind::Milter),
            ("on_virus", self.on_virus.as_ref().map(Spanned::span), Kind::Clamd),
            ("password_file", self.password_file.as_ref().map(Spanned::span), Kind::Rspamd),
            ("settings_id", self.settings_id.as_ref().map(Spanned::span), Kind::Rspamd),
            ("mta_tag", self.mta_tag.as_ref().map(Spanned::span), Kind::Rspamd),
            ("fields", self.fields.as_ref().map(Spanned::span), Kind::Hook),
            ("share", self.share.as_ref().map(Spanned::span), Kind::Hook),
        ];
        all.into_iter().filter(|(.., kind)| *kind != self.kind).find_map(|(setting, span, kind)| {
            let (own, other) = (self.kind.word(), kind.word());
            let remedy = format!(
                "filter.{setting} is for filters of kind \"{other}\", and this is a \"{own}\": take it out"
            );
            Some((span?, remedy))
        })
    }

    fn values_fault(&self) -> Option<Fault> {
        if let Some(file) = &self.password_file
            && let Err(error) = password(file.get_ref())
        {
            return Some((file.span(), format!("filter.password_file: {error}")));
        }
        let fields = self.fields.as_ref()?;
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
        };
        let is_value = |value: &FieldValue| !value.0.reveal().chars().any(char::is_control);
        let bad = fields.get_ref().iter().find(|(name, value)| !is_name(name) || !is_value(value))?;
        let remedy = format!("filter.fields: {:?} is no header field of a request", bad.0);
        Some((fields.span(), remedy))
    }

    /// Where it listens, or what is wrong with that.
    fn place(&self) -> Result<FilterPlace, String> {
        let address = self.address.get_ref();
        match self.kind {
            Kind::Milter | Kind::Clamd => socket(address),
            Kind::Rspamd | Kind::Hook => {
                let url = self.url()?;
                Ok(FilterPlace::Tcp { host: url.host().to_owned(), port: url.port(), is_tls: url.is_tls() })
            }
        }
    }

    fn url(&self) -> Result<Url, String> {
        let url = Url::parse(self.address.get_ref()).map_err(|error| format!("is no address: {error}"))?;
        if self.kind == Kind::Rspamd && url.target() == "/" {
            return Err("needs rspamd's path, such as \"http://127.0.0.1:11333/checkv2\"".to_owned());
        }
        Ok(url)
    }

    fn settings(&self, message_bytes_max: usize) -> Option<FilterSettings> {
        let kind = self.settings_of_kind()?;
        let usual_bytes = match self.kind {
            Kind::Clamd => CLAMD_BYTES_DEFAULT,
            Kind::Milter | Kind::Rspamd | Kind::Hook => message_bytes_max,
        };
        let seconds = |value: &Option<Spanned<u64>>, usual| {
            Duration::from_secs(value.as_ref().map_or(usual, |value| *value.get_ref()))
        };
        let listeners = self.listeners.as_ref().map(Spanned::get_ref);
        let listeners = listeners.map_or(&[Listener::Smtp, Listener::Submission][..], Vec::as_slice);
        Some(FilterSettings {
            name: self.name().to_owned(),
            kind,
            place: self.place().ok()?,
            stages: self.stages(),
            modes: listeners.iter().map(|listener| listener.mode()).collect(),
            skips_trusted: self.skip_trusted,
            on_failure: match self.on_failure {
                OnFailure::Accept => FailurePolicy::Accept,
                OnFailure::Defer => FailurePolicy::TempFail,
                OnFailure::Reject => FailurePolicy::Reject,
            },
            connect: seconds(&self.connect_s, FILTER_CONNECT_S_DEFAULT),
            timeout: seconds(&self.timeout_s, FILTER_TIMEOUT_S_DEFAULT),
            connections_max: self
                .connections_max
                .as_ref()
                .map_or(FILTER_CONNECTIONS_DEFAULT, |most| *most.get_ref()),
            message_bytes_max: self.message_bytes_max.as_ref().map_or(usual_bytes, |most| *most.get_ref()),
        })
    }

    fn settings_of_kind(&self) -> Option<FilterKind> {
        let text = |value: &Option<Spanned<String>>| value.as_ref().map(|value| value.get_ref().clone());
        Some(match self.kind {
            Kind::Milter => FilterKind::Milter {
                reuse: match self.reuse.as_ref().map(Spanned::get_ref) {
                    None | Some(AtReuse::Never) => Reuse::Never,
                    Some(AtReuse::AfterContinue) => Reuse::AfterContinue,
                    Some(AtReuse::Always) => Reuse::Always,
                },
            },
            Kind::Clamd => FilterKind::Clamd {
                on_virus: match self.on_virus.as_ref().map(Spanned::get_ref) {
                    None | Some(AtVirus::Reject) => OnVirus::Reject,
                    Some(AtVirus::Discard) => OnVirus::Discard,
                    Some(AtVirus::Quarantine) => OnVirus::Quarantine,
                },
            },
            Kind::Rspamd => FilterKind::Rspamd(RspamdSettings {
                url: self.url().ok()?,
                password: self.password_file.as_ref().and_then(|file| password(file.get_ref()).ok()),
                settings_id: text(&self.settings_id),
                tag: text(&self.mta_tag),
            }),
            Kind::Hook => FilterKind::Hook(HookSettings {
                url: self.url().ok()?,
                fields: self
                    .fields
                    .iter()
                    .flat_map(Spanned::get_ref)
                    .map(|(name, value)| (name.clone(), value.0.clone()))
                    .collect(),
                share: match self.share.as_ref().map(Spanned::get_ref) {
                    None | Some(Share::Header) => HookShare::Header,
                    Some(Share::Size) => HookShare::Size,
                    Some(Share::All) => HookShare::All,
                },
            }),
        })
    }
}

impl Listener {
    const fn mode(self) -> Mode {
        match self {
            Self::Smtp => Mode::Mx,
            Self::Submission => Mode::Submission,
            Self::Lmtp => Mode::Lmtp,
        }
    }
}

/// `inet:HOST:PORT` or `unix:/PATH`.
fn socket(address: &str) -> Result<FilterPlace, String> {
    let remedy = "must be \"inet:HOST:PORT\" or \"unix:/PATH\", such as \"inet:127.0.0.1:8891\"";
    if let Some(path) = address.strip_prefix("unix:").filter(|path| path.starts_with('/')) {
        return Ok(FilterPlace::Unix(PathBuf::from(path)));
    }
    let (host, port) = address.strip_prefix("inet:").and_then(parse_host).ok_or(remedy)?;
    let host = match host {
        Destination::Address(address) => address.to_string(),
        Destination::Domain(name) => name,
    };
    Ok(FilterPlace::Tcp { host, port, is_tls: false })
}

fn password(file: &Path) -> Result<Secret<String>, String> {
    let text = std::fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    Ok(Secret::new(text.trim().to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    fn parse(text: &str) -> Result<Vec<FilterSettings>, String> {
        let config = Config::parse(Path::new("a.toml"), text).map_err(|error| error.to_string())?;
        Ok(config.settings().inbound.filters.clone())
    }

    #[test]
    fn few_words_are_enough() {
        let filters = parse(
            "[[filter]]\nkind = \"milter\"\naddress = \"unix:/run/opendkim.sock\"\n\
             [[filter]]\nkind = \"rspamd\"\naddress = \"http://[::1]:11333/checkv2\"\n\
             [[filter]]\nkind = \"clamd\"\naddress = \"inet:localhost:3310\"\nlisteners = [\"lmtp\"]\non_failure = \"accept\"\n\
             [[filter]]\nkind = \"hook\"\naddress = \"https://hook.example/mail\"\nfields = { Authorization = \"x\" }\n",
        );
        let filters = filters.expect("valid");
        let names: Vec<_> = filters.iter().map(|filter| filter.name.as_str()).collect();
        assert_eq!(names, ["milter", "rspamd", "clamd", "hook"]);
        let tcp = |host: &str, port, is_tls| FilterPlace::Tcp { host: host.to_owned(), port, is_tls };
        let places: Vec<_> = filters.iter().map(|filter| filter.place.clone()).collect();
        let opendkim = FilterPlace::Unix(PathBuf::from("/run/opendkim.sock"));
        let others =
            [tcp("::1", 11333, false), tcp("localhost", 3310, false), tcp("hook.example", 443, true)];
        assert_eq!((&places[0], &places[1..]), (&opendkim, &others[..]));
        assert_eq!(filters[0].modes, [Mode::Mx, Mode::Submission]);
        assert_eq!(
            (&filters[2].modes[..], filters[2].on_failure),
            (&[Mode::Lmtp][..], FailurePolicy::Accept)
        );
        assert_eq!((filters[2].message_bytes_max, filters[1].message_bytes_max), (25 << 20, 50 << 20));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let milter = "kind = \"milter\"\naddress = \"inet:127.0.0.1:8891\"\n";
        let hook = "kind = \"hook\"\naddress = \"http://127.0.0.1/\"\n";
        for (text, line, message) in [
            (
                "kind = \"milter\"\naddress = \"8891\"\n".to_owned(),
                3,
                "filter.address must be \"inet:HOST:PORT\"",
            ),
            ("kind = \"milter\"\naddress = \"unix:run\"\n".to_owned(), 3, "filter.address must be"),
            ("kind = \"rspamd\"\naddress = \"http://127.0.0.1:11333\"\n".to_owned(), 3, "rspamd's path"),
            ("kind = \"hook\"\naddress = \"ftp://x\"\n".to_owned(), 3, "must begin with http://"),
            (format!("{milter}name = \"a b\"\n"), 4, "filter.name must be 1 to 64"),
            (format!("{milter}listeners = []\n"), 4, "filter.listeners must name"),
            (format!("{milter}listeners = [\"imap\"]\n"), 4, "unknown variant `imap`"),
            (format!("{milter}timeout_s = 0\n"), 4, "filter.timeout_s must be from 1 to 540"),
            (format!("{milter}connections_max = 0\n"), 4, "filter.connections_max must be at least 1"),
            (format!("{milter}on_virus = \"reject\"\n"), 4, "is for filters of kind \"clamd\""),
            (format!("{hook}reuse = \"always\"\n"), 4, "is for filters of kind \"milter\""),
            (format!("{hook}fields = {{ \"a b\" = \"x\" }}\n"), 4, "is no header field"),
            (format!("{milter}[[filter]]\n{milter}"), 6, "there are two of \"milter\""),
        ] {
            let error = parse(&format!("[[filter]]\n{text}")).expect_err(&text);
            assert!(
                error.starts_with(&format!("a.toml:{line}: ")) && error.contains(message),
                "{text}: {error}"
            );
        }
        let rspamd =
            "[[filter]]\nkind = \"rspamd\"\naddress = \"http://x/checkv2\"\npassword_file = \"/nowhere\"\n";
        assert!(parse(rspamd).expect_err("no file").starts_with("a.toml:4: filter.password_file: /nowhere"));
    }

    #[test]
    fn a_hooks_password_is_not_printed() {
        let text = "[[filter]]\nkind = \"hook\"\naddress = \"http://x/\"\nfields = { Authorization = \"swordfish\" }\n";
        let config = Config::parse(Path::new("a.toml"), text).expect("valid");
        assert!(!format!("{config:?}").contains("swordfish"));
        assert!(!format!("{:?}", config.settings()).contains("swordfish"));
    }
}
