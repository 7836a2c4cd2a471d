//! What an operator sets for one filter.

use std::path::PathBuf;
use std::time::Duration;

use base::Secret;
use filter::{FailurePolicy, HookShare, HookStage, OnVirus, Reuse, Url};
use smtp::Mode;

/// One filter, as an operator sets it.
#[derive(Clone, Debug)]
pub struct FilterSettings {
    /// Its name in logs and metrics; no two are the same.
    pub name: String,
    /// What it is.
    pub kind: FilterKind,
    /// Where it listens.
    pub place: FilterPlace,
    /// It is asked at these stages; a milter at RCPT is told of all that comes before it too.
    pub stages: Vec<HookStage>,
    /// Mail of these listeners goes through it.
    pub modes: Vec<Mode>,
    /// Mail from networks that may relay does not.
    pub skips_trusted: bool,
    /// What its failure means.
    pub on_failure: FailurePolicy,
    /// The longest time for one address until it can be talked to.
    pub connect: Duration,
    /// The longest time for a message, from the wish to ask to the answer.
    pub timeout: Duration,
    /// Messages that one shard asks about at the same time; the others wait.
    pub connections_max: usize,
    /// The largest message that it is asked about, in bytes; a larger one is a failure.
    pub message_bytes_max: usize,
}

impl FilterSettings {
    /// Whether it is asked at a stage about mail that comes in so.
    pub(super) fn is_for(&self, stage: HookStage, mode: Mode, is_trusted: bool) -> bool {
        self.stages.contains(&stage) && self.modes.contains(&mode) && !(is_trusted && self.skips_trusted)
    }
}

/// The kinds, each with what only it has.
#[derive(Clone, Debug)]
pub enum FilterKind {
    /// A milter.
    Milter {
        /// Whether its connections serve more than one message.
        reuse: Reuse,
    },
    /// rspamd, over HTTP.
    Rspamd(RspamdSettings),
    /// clamd.
    Clamd {
        /// What becomes of a message with something bad in it.
        on_virus: OnVirus,
    },
    /// An HTTP hook.
    Hook(HookSettings),
}

/// What only rspamd has.
#[derive(Clone, Debug)]
pub struct RspamdSettings {
    /// Its address, with the path.
    pub url: Url,
    /// The password, where its worker wants one.
    pub password: Option<Secret<String>>,
    /// The name of settings that it has.
    pub settings_id: Option<String>,
    /// A word of the operator's for this server.
    pub tag: Option<String>,
}

/// What only a hook has.
#[derive(Clone, Debug)]
pub struct HookSettings {
    /// Its address, with the path.
    pub url: Url,
    /// Header fields of the operator's.
    pub fields: Vec<(String, Secret<String>)>,
    /// How much of the message it is sent.
    pub share: HookShare,
}

/// Where a filter listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FilterPlace {
    /// TCP.
    Tcp {
        /// A name or an address.
        host: String,
        /// The port.
        port: u16,
        /// Whether TLS goes around it.
        is_tls: bool,
    },
    /// A Unix socket.
    Unix(PathBuf),
}
