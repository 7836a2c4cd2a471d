//! DMARC (RFC 9989, which obsoletes RFC 7489 and 9091): what an author's domain wants done with mail that nobody
//! it trusts answers for.

mod discover;
mod evaluate;
mod record;
mod targets;

pub use evaluate::{Evidence, authors, evaluate, evaluate_all};
pub use record::{Malformed, Policy, Record, ReportAddress};
pub use targets::{Target, report_targets};

/// What the check came to (RFC 8601 §2.7.5 and RFC 9989 §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DmarcResult {
    /// The domain has no policy.
    None,
    /// SPF or DKIM passed for a domain that is the author's.
    Pass,
    /// Neither did.
    Fail,
    /// The name server did not answer where it mattered.
    TempError,
    /// The record or the message cannot be understood.
    PermError,
}

impl DmarcResult {
    /// The word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// Whose record was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Found {
    /// The author domain's own.
    Author,
    /// Its organisational domain's.
    Organisation,
    /// The public suffix's above it.
    PublicSuffix,
}

/// What was found out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dmarc {
    /// The result.
    pub result: DmarcResult,
    /// The author's domain (from From), empty when there is none.
    pub author: String,
    /// The organisational domain of the author's.
    pub organisation: String,
    /// The domain whose record was used, and how it was found.
    pub policy_domain: Option<(String, Found)>,
    /// What the domain owner asks for if the result is `Fail`, with `t=` considered.
    pub policy: Policy,
    /// The record.
    pub record: Option<Record>,
    /// SPF passed for a domain that is the author's.
    pub has_aligned_spf: bool,
    /// DKIM passed for a domain that is the author's.
    pub has_aligned_dkim: bool,
}

impl Dmarc {
    /// What the domain owner wants done with this message. The receiver decides: RFC 9989 §7.4 warns of
    /// refusing mail for this alone.
    pub fn disposition(&self) -> Policy {
        if self.result == DmarcResult::Fail { self.policy } else { Policy::None }
    }
}
