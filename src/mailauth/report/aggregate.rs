//! Aggregate reports as values (RFC 9990 §3.1).

use std::net::IpAddr;

use crate::Verdicts;
use crate::dmarc::{Dmarc, DmarcResult, Policy, Record};
use crate::limits::AGGREGATE_LIST_MAX;
use crate::name;

/// What one receiver saw of one domain in one period.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Aggregate {
    /// Who reports.
    pub reporter: String,
    /// Where to ask.
    pub email: String,
    /// More about that.
    pub contact: Option<String>,
    /// Unlike all others of this reporter.
    pub id: String,
    /// When.
    pub period: Period,
    /// What went wrong while the report was made; written as one.
    pub errors: Vec<String>,
    /// What made it.
    pub generator: Option<String>,
    /// The policy that was found.
    pub published: Published,
    /// What was seen.
    pub rows: Vec<Row>,
}

/// A span of time in seconds since 1970, both ends in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Period {
    /// The first second.
    pub begin_s: i64,
    /// The last second.
    pub end_s: i64,
}

/// A policy as a reporter found it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Published {
    /// The domain with the record.
    pub domain: String,
    /// `p=`.
    pub policy: Option<Policy>,
    /// `sp=`.
    pub subdomains: Option<Policy>,
    /// `np=`.
    pub missing: Option<Policy>,
    /// `adkim=s`.
    pub is_dkim_strict: bool,
    /// `aspf=s`.
    pub is_spf_strict: bool,
    /// `t=y`.
    pub is_test: bool,
    /// `fo=`.
    pub failure_options: Option<String>,
    /// How the record was found: `treewalk` or `psl`.
    pub discovery: Option<String>,
}

impl Published {
    /// What one message's evaluation found; nothing when no record was used.
    pub fn of(dmarc: &Dmarc) -> Option<Self> {
        let (domain, _) = dmarc.policy_domain.as_ref()?;
        let record: &Record = dmarc.record.as_ref()?;
        Some(Self {
            domain: domain.clone(),
            policy: record.policy,
            subdomains: record.subdomains,
            missing: record.missing,
            is_dkim_strict: record.is_dkim_strict,
            is_spf_strict: record.is_spf_strict,
            is_test: record.is_test,
            failure_options: Some(record.failure_options.clone()),
            discovery: Some("treewalk".to_owned()),
        })
    }
}

/// Messages that are alike. Whoever counts takes a row with a count of 0 as the key.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// Where they came from.
    pub source_ip: IpAddr,
    /// How many.
    pub count: u64,
    /// What was done with them.
    pub disposition: Disposition,
    /// DKIM passed and was aligned.
    pub has_aligned_dkim: bool,
    /// SPF passed and was aligned.
    pub has_aligned_spf: bool,
    /// Why something else was done than the policy says.
    pub reasons: Vec<Reason>,
    /// The domain in From.
    pub header_from: String,
    /// The domain of the envelope's sender.
    pub envelope_from: Option<String>,
    /// The domain of the envelope's recipient.
    pub envelope_to: Option<String>,
    /// The signatures.
    pub dkim: Vec<DkimSeen>,
    /// SPF's results; the first that is not of the HELO name is written.
    pub spf: Vec<SpfSeen>,
}

impl Row {
    /// One message: what was found out about it, and what was done with it if it failed.
    pub fn of(verdicts: &Verdicts, source_ip: IpAddr, done: Disposition) -> Self {
        let dmarc = &verdicts.dmarc;
        let disposition = match dmarc.result {
            DmarcResult::Pass => Disposition::Pass,
            DmarcResult::Fail => done,
            DmarcResult::None | DmarcResult::TempError | DmarcResult::PermError => Disposition::None,
        };
        let dkim = verdicts.dkim.iter().filter(|dkim| !dkim.domain.is_empty()).map(|dkim| DkimSeen {
            domain: dkim.domain.clone(),
            selector: Some(dkim.selector.clone()),
            result: dkim.result.word().to_owned(),
            human_result: dkim.trouble.map(|trouble| trouble.words().to_owned()),
        });
        let envelope_from = name::normal(&verdicts.spf.domain);
        Self {
            source_ip: source_ip.to_canonical(),
            count: 1,
            disposition,
            has_aligned_dkim: dmarc.has_aligned_dkim,
            has_aligned_spf: dmarc.has_aligned_spf,
            reasons: Vec::new(),
            header_from: dmarc.author.clone(),
            envelope_from: envelope_from.clone(),
            envelope_to: None,
            dkim: dkim.take(AGGREGATE_LIST_MAX).collect(),
            spf: vec![SpfSeen {
                domain: envelope_from.unwrap_or_default(),
                scope: Some("mfrom".to_owned()),
                result: verdicts.spf.result.word().to_owned(),
            }],
        }
    }
}

/// What was done with messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Disposition {
    /// Nothing: the policy asks for nothing.
    None,
    /// Nothing: they passed. RFC 9990 tells it from `None`; RFC 7489 did not.
    Pass,
    /// Marked or put aside.
    Quarantine,
    /// Refused.
    Reject,
}

impl Disposition {
    /// The word of the report.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }

    pub(super) fn parse(word: &str) -> Option<Self> {
        let all = [Self::None, Self::Pass, Self::Quarantine, Self::Reject];
        all.into_iter().find(|disposition| disposition.word().eq_ignore_ascii_case(word))
    }
}

/// Why the policy was not followed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reason {
    /// `local_policy`, `mailing_list`, `trusted_forwarder`, `policy_test_mode`, `other`, or an older word.
    pub kind: String,
    /// More about it.
    pub comment: Option<String>,
}

/// One signature.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DkimSeen {
    /// `d=`.
    pub domain: String,
    /// `s=`.
    pub selector: Option<String>,
    /// The result's word.
    pub result: String,
    /// More about it.
    pub human_result: Option<String>,
}

/// One SPF check.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SpfSeen {
    /// The domain that was checked.
    pub domain: String,
    /// `mfrom` or `helo`.
    pub scope: Option<String>,
    /// The result's word.
    pub result: String,
}
