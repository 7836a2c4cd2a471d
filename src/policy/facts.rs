//! What rules at the stages of SMTP can know, and what they can ask.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

/// A point in an SMTP session at which rules are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// A client has connected; nothing was said yet.
    Connect,
    /// HELO, EHLO or LHLO was said.
    Helo,
    /// MAIL was said.
    Mail,
    /// RCPT was said; once for each recipient.
    Rcpt,
    /// The content is here, the answer to it is not given yet.
    Data,
}

impl Stage {
    /// All of them, in their order.
    pub const ALL: [Self; 5] = [Self::Connect, Self::Helo, Self::Mail, Self::Rcpt, Self::Data];

    /// Its name in rules.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Helo => "helo",
            Self::Mail => "mail",
            Self::Rcpt => "rcpt",
            Self::Data => "data",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The result of a check of who a message is from, as RFC 8601 §2.7 names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthResult {
    /// There was nothing to check.
    None,
    /// Checked and right.
    Pass,
    /// Checked and wrong.
    Fail,
    /// Probably wrong (SPF).
    SoftFail,
    /// The domain says nothing either way.
    Neutral,
    /// Right, but not in a way that is accepted here (DKIM).
    Policy,
    /// It cannot be checked now.
    TempError,
    /// What is published cannot be used.
    PermError,
}

impl AuthResult {
    /// All of them with their names in rules.
    pub const NAMES: [(&'static str, Self); 8] = [
        ("none", Self::None),
        ("pass", Self::Pass),
        ("fail", Self::Fail),
        ("softfail", Self::SoftFail),
        ("neutral", Self::Neutral),
        ("policy", Self::Policy),
        ("temperror", Self::TempError),
        ("permerror", Self::PermError),
    ];
}

/// A DNS list of the policy, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DnsListId(pub u32);

/// A limit of the policy, by its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LimitId(pub u32);

/// What rules need to know and nobody has said yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Question {
    /// The source's name in DNS, confirmed or not: [`Answer::ReverseName`].
    ReverseName,
    /// Whether name and address confirm each other: [`Answer::Iprev`].
    Iprev,
    /// SPF of the sender, or of the HELO name where there is none: [`Answer::Spf`].
    Spf,
    /// The message's DKIM signatures: [`Answer::Dkim`].
    Dkim,
    /// DMARC of its From: [`Answer::Dmarc`].
    Dmarc,
    /// The addresses (A records) of a name: [`Answer::Listed`].
    Listed {
        /// The list it is about.
        list: DnsListId,
        /// The name to look up.
        name: String,
    },
    /// What the source's earlier mail was like: [`Answer::Reputation`].
    Reputation,
    /// Whether the triplet has waited: [`Answer::Greylist`]. Asking takes it down.
    Greylist,
    /// Whether a limit is reached: [`Answer::Limit`]. Asking counts.
    Limit(LimitId),
}

/// What was found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// The name in lower case, if there is one.
    ReverseName(Option<String>),
    /// RFC 8601 §2.7.3.
    Iprev(AuthResult),
    /// RFC 7208 §2.6.
    Spf(AuthResult),
    /// The best of the signatures, and the domains (d=) of those that are right.
    Dkim {
        /// Pass when one is right.
        result: AuthResult,
        /// In lower case.
        domains: Vec<String>,
    },
    /// The result and the policy that applies: `none`, `quarantine` or `reject`.
    Dmarc {
        /// Pass, fail, none or an error.
        result: AuthResult,
        /// The published policy that holds for this message.
        policy: String,
    },
    /// The addresses found; none when the name does not exist or nobody answered.
    Listed(DnsListId, Vec<Ipv4Addr>),
    /// From -100 (nothing but bad) to 100; 0 for a stranger.
    Reputation(i32),
    /// How many seconds are left to wait; 0 when mail may pass.
    Greylist {
        /// Seconds.
        wait_s: u32,
    },
    /// Whether that limit is exceeded.
    Limit(LimitId, bool),
}

/// What has been answered so far on a connection. Answers live as long as what they are about.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Empty when there is none.
    pub(crate) reverse_name: Option<String>,
    pub(crate) iprev: Option<AuthResult>,
    pub(crate) spf: Option<AuthResult>,
    pub(crate) dkim: Option<(AuthResult, Vec<String>)>,
    pub(crate) dmarc: Option<(AuthResult, String)>,
    pub(crate) listed: Vec<(DnsListId, Vec<Ipv4Addr>)>,
    pub(crate) reputation: Option<i32>,
    pub(crate) greylist_wait_s: Option<u32>,
    pub(crate) limits: Vec<(LimitId, bool)>,
}

/// Addresses of one answer that are kept.
const ADDRESSES_MAX: usize = 16;

impl Known {
    /// Keeps an answer; a later one to the same question replaces it.
    pub fn answer(&mut self, answer: Answer) {
        match answer {
            Answer::ReverseName(name) => {
                self.reverse_name = Some(name.unwrap_or_default().to_lowercase());
            }
            Answer::Iprev(result) => self.iprev = Some(result),
            Answer::Spf(result) => self.spf = Some(result),
            Answer::Dkim { result, domains } => self.dkim = Some((result, domains)),
            Answer::Dmarc { result, policy } => self.dmarc = Some((result, policy)),
            Answer::Listed(list, mut addresses) => {
                addresses.truncate(ADDRESSES_MAX);
                put(&mut self.listed, list, addresses);
            }
            Answer::Reputation(score) => self.reputation = Some(score),
            Answer::Greylist { wait_s } => self.greylist_wait_s = Some(wait_s),
            Answer::Limit(limit, is_over) => put(&mut self.limits, limit, is_over),
        }
    }

    /// A stage came to its verdict: greylisting and limits are asked anew by the next one, because each asking
    /// is about another recipient or counts once more.
    pub fn end_of_stage(&mut self) {
        self.greylist_wait_s = None;
        self.limits.clear();
    }

    /// A message came to its end, or RSET or HELO was said. What is known of the source stays, names that
    /// the client gave do not: DNS lists are asked anew, which a resolver's cache makes cheap.
    pub fn end_of_message(&mut self) {
        self.end_of_stage();
        self.spf = None;
        self.dkim = None;
        self.dmarc = None;
        self.listed.clear();
    }
}

fn put<K: PartialEq, V>(list: &mut Vec<(K, V)>, key: K, value: V) {
    match list.iter_mut().find(|(known, _)| *known == key) {
        Some((_, old)) => *old = value,
        None => list.push((key, value)),
    }
}

pub(crate) fn found<K: PartialEq + Copy, V>(list: &[(K, V)], key: K) -> Option<&V> {
    list.iter().find(|(known, _)| *known == key).map(|(_, value)| value)
}

/// What is known at a stage without asking. Names and addresses are taken as they were said; case does
/// not count, and domains are in their ASCII form.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The client's address; behind a proxy the one that the proxy tells.
    pub source: IpAddr,
    /// Which listener: `smtp`, `submission`, `submissions`, `lmtp`.
    pub listener: &'a str,
    /// Whether the connection is encrypted by now.
    pub is_tls: bool,
    /// The account that has logged in.
    pub account: Option<&'a str>,
    /// Whether the client spoke before our greeting.
    pub is_early_talker: bool,
    /// What HELO, EHLO or LHLO said; from [`Stage::Helo`] on.
    pub helo: Option<&'a str>,
    /// The reverse path without brackets, empty for `<>`; from [`Stage::Mail`] on.
    pub sender: Option<&'a str>,
    /// At [`Stage::Rcpt`] the one recipient that is asked about, at [`Stage::Data`] all that were accepted.
    pub recipients: &'a [&'a str],
    /// Recipients that were accepted so far, with the one asked about.
    pub recipient_count: u32,
    /// Bytes: what SIZE declared at [`Stage::Mail`] and [`Stage::Rcpt`], the real size at [`Stage::Data`].
    pub size: Option<u64>,
    /// The header of the message, at [`Stage::Data`]. Any more bytes behind it are not looked at.
    pub header: &'a [u8],
    /// Messages that this connection has delivered before.
    pub message_count: u32,
    /// Commands of this connection that were refused.
    pub error_count: u32,
    /// The score of earlier stages: the sum of [`crate::Verdict::score`] that concern this message.
    pub score: i32,
    /// What was asked and answered.
    pub known: &'a Known,
}

impl<'a> Facts<'a> {
    /// The facts of a connection that has said nothing.
    pub fn of_connection(source: IpAddr, listener: &'a str, known: &'a Known) -> Self {
        Self {
            source,
            listener,
            is_tls: false,
            account: None,
            is_early_talker: false,
            helo: None,
            sender: None,
            recipients: &[],
            recipient_count: 0,
            size: None,
            header: b"",
            message_count: 0,
            error_count: 0,
            score: 0,
            known,
        }
    }

    /// The sender's domain; empty for `<>` and where there is none.
    pub(crate) fn sender_domain(&self) -> &'a str {
        domain(self.sender.unwrap_or_default())
    }
}

pub(crate) fn domain(address: &str) -> &str {
    address.rsplit_once('@').map_or("", |(_, domain)| domain)
}
