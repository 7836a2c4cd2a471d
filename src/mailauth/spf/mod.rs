//! SPF (RFC 7208): whether a domain says that this address may send for it.

mod check;
mod macros;
mod record;

use std::net::IpAddr;

use base::Timestamp;

pub use check::check;

/// What the evaluation came to (RFC 7208 §2.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpfResult {
    /// No record, or no domain that could have one.
    None,
    /// The record says nothing about this address.
    Neutral,
    /// The address may send.
    Pass,
    /// The address may not.
    Fail,
    /// The address probably may not.
    SoftFail,
    /// The name server did not answer; a later check may.
    TempError,
    /// The record cannot be understood or asks for too much.
    PermError,
}

impl SpfResult {
    /// The word of RFC 8601 §2.7.2.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Neutral => "neutral",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::SoftFail => "softfail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// Which of the two names was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Identity {
    /// The name given with HELO or EHLO (RFC 7208 §2.3).
    Helo,
    /// The envelope's sender (RFC 7208 §2.4).
    MailFrom,
}

/// Who sends, and to whom.
#[derive(Clone, Copy, Debug)]
pub struct Sender<'a> {
    /// The peer's address.
    pub ip: IpAddr,
    /// What it said with HELO or EHLO.
    pub helo: &'a str,
    /// The envelope's sender, without brackets; empty for a null sender.
    pub mail_from: &'a str,
    /// Our own name, for the macro `%{r}` in an explanation.
    pub receiver: &'a str,
    /// For the macro `%{t}`.
    pub now: Timestamp,
}

/// The outcome for one identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spf {
    /// The result.
    pub result: SpfResult,
    /// The identity it is about.
    pub identity: Identity,
    /// The domain whose record was looked for, as it was given.
    pub domain: String,
    /// The mechanism that matched, as its record has it.
    pub mechanism: Option<String>,
    /// What the domain wants a refused sender to be told (`exp=`). A stranger's text: printable ASCII only.
    pub explanation: Option<String>,
}

/// What is wrong with the texts at a domain, for its owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordState {
    /// One record, which can be read.
    Good,
    /// No SPF record.
    Missing,
    /// More than one: receivers take them for an error (RFC 7208 §4.5).
    Several,
    /// It cannot be read.
    Malformed,
}

/// Looks at the texts that stand at a domain, without asking for what they name.
pub fn record_state(records: &[Vec<u8>]) -> RecordState {
    let mut ours = records.iter().filter(|record| record::is_spf(record));
    match (ours.next(), ours.next()) {
        (None, _) => RecordState::Missing,
        (Some(_), Some(_)) => RecordState::Several,
        (Some(record), None) if record::parse(record).is_ok() => RecordState::Good,
        (Some(_), None) => RecordState::Malformed,
    }
}

/// Checks the name given with HELO (RFC 7208 §2.3).
pub async fn check_helo<L: crate::Lookup>(lookup: &L, sender: &Sender<'_>) -> Spf {
    let postmaster = format!("postmaster@{}", sender.helo);
    check(lookup, sender, Identity::Helo, &postmaster).await
}

/// Checks the envelope's sender; for a null sender, `postmaster` at the HELO name stands in (RFC 7208 §2.4).
pub async fn check_mail_from<L: crate::Lookup>(lookup: &L, sender: &Sender<'_>) -> Spf {
    if sender.mail_from.is_empty() {
        let postmaster = format!("postmaster@{}", sender.helo);
        return check(lookup, sender, Identity::MailFrom, &postmaster).await;
    }
    check(lookup, sender, Identity::MailFrom, sender.mail_from).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_told_what_is_wrong() {
        let state = |records: &[&str]| {
            record_state(&records.iter().map(|record| record.as_bytes().to_vec()).collect::<Vec<_>>())
        };
        assert_eq!(state(&["other", "v=spf1 -all"]), RecordState::Good);
        assert_eq!(state(&["other"]), RecordState::Missing);
        assert_eq!(state(&["v=spf1 -all", "v=spf1"]), RecordState::Several);
        assert_eq!(state(&["v=spf1 all=x -al"]), RecordState::Malformed);
    }
}
