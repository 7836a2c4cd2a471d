//! Complaints and reports of failed authentication: `message/feedback-report` (RFC 5965 §3, RFC 6591 §3).

use base::Timestamp;
use mime::{Headers, parse_date};

use crate::limits::REPEATED_FIELDS_MAX;
use crate::read::{Returned, text, typed, word};

/// What a report is about (RFC 5965 §7.3 and its registry).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum FeedbackKind {
    /// Unwanted mail, or mail that somebody called so.
    Abuse,
    /// Mail that tries to deceive.
    Fraud,
    /// A virus was found in it.
    Virus,
    /// It is no spam though it was taken for it (RFC 6430).
    NotSpam,
    /// An authentication check failed (RFC 6591).
    AuthFailure,
    /// `other`, another word, or none.
    #[default]
    Other,
}

/// What a feedback report says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedbackReport {
    /// Feedback-Type.
    pub kind: FeedbackKind,
    /// User-Agent: what made the report.
    pub user_agent: Option<String>,
    /// Incidents: how many it stands for; 1 unless it says so.
    pub incidents: u32,
    /// Original-Envelope-Id.
    pub envelope_id: Option<String>,
    /// Original-Mail-From, without its brackets.
    pub sender: Option<String>,
    /// Original-Rcpt-To, each without its brackets.
    pub recipients: Vec<String>,
    /// Arrival-Date or, as it was once called, Received-Date.
    pub arrived_at: Option<Timestamp>,
    /// Source-IP: where the message came from.
    pub source_ip: Option<String>,
    /// Reporting-MTA, without its type.
    pub reporting_mta: Option<String>,
    /// Reported-Domain: whom the reporter holds responsible.
    pub reported_domains: Vec<String>,
    /// Reported-URI.
    pub reported_uris: Vec<String>,
    /// Authentication-Results.
    pub authentication_results: Vec<String>,
    /// Auth-Failure (RFC 6591 §3.1): `dkim`, `spf`, `dmarc` or another word, in lower case.
    pub auth_failure: Option<String>,
    /// Delivery-Result (RFC 6591 §3.2.2): what became of the message, in lower case.
    pub delivery_result: Option<String>,
    /// Identity-Alignment, in lower case (RFC 7489 §7.3).
    pub identity_alignment: Option<String>,
    /// DKIM-Domain (RFC 6591 §3.2.3).
    pub dkim_domain: Option<String>,
    /// DKIM-Identity.
    pub dkim_identity: Option<String>,
    /// DKIM-Selector.
    pub dkim_selector: Option<String>,
    /// SPF-DNS: the record that was looked at.
    pub spf_dns: Option<String>,
    /// What it gives back of the original.
    pub returned: Returned,
}

impl FeedbackKind {
    fn named(word: &str) -> Self {
        const ALL: [(&str, FeedbackKind); 5] = [
            ("abuse", FeedbackKind::Abuse),
            ("fraud", FeedbackKind::Fraud),
            ("virus", FeedbackKind::Virus),
            ("not-spam", FeedbackKind::NotSpam),
            ("auth-failure", FeedbackKind::AuthFailure),
        ];
        ALL.into_iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(word))
            .map_or(Self::Other, |(_, kind)| kind)
    }

    /// Its name in metrics and logs: as RFC 5965 §3.5 has it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Abuse => "abuse",
            Self::Fraud => "fraud",
            Self::Virus => "virus",
            Self::NotSpam => "not-spam",
            Self::AuthFailure => "auth-failure",
            Self::Other => "other",
        }
    }
}

pub(crate) fn feedback(fields: &[u8]) -> FeedbackReport {
    let mut report = FeedbackReport { incidents: 1, ..FeedbackReport::default() };
    // One block; whoever writes an empty line first has it skipped.
    for field in Headers::of(fields.trim_ascii_start()) {
        let name = String::from_utf8_lossy(field.name).to_ascii_lowercase();
        report.read(&name, field.value);
    }
    report
}

impl FeedbackReport {
    /// Takes a field, its name in lower case. The first counts of what may stand once.
    fn read(&mut self, name: &str, value: &[u8]) {
        match name {
            "feedback-type" => {
                self.kind = word(value).map(|word| FeedbackKind::named(&word)).unwrap_or_default();
            }
            "incidents" => self.incidents = word(value).and_then(|word| word.parse().ok()).unwrap_or(1),
            "arrival-date" | "received-date" => {
                self.arrived_at = self.arrived_at.or_else(|| parse_date(value));
            }
            "original-rcpt-to" => push(&mut self.recipients, bare(value)),
            "reported-domain" => push(&mut self.reported_domains, text(value)),
            "reported-uri" => push(&mut self.reported_uris, text(value)),
            "authentication-results" => push(&mut self.authentication_results, text(value)),
            "auth-failure" => once(&mut self.auth_failure, lower(value)),
            "delivery-result" => once(&mut self.delivery_result, lower(value)),
            "identity-alignment" => {
                once(&mut self.identity_alignment, text(value).map(|text| text.to_ascii_lowercase()));
            }
            "original-mail-from" => once(&mut self.sender, bare(value)),
            "reporting-mta" => once(&mut self.reporting_mta, typed(value)),
            "user-agent" => once(&mut self.user_agent, text(value)),
            "original-envelope-id" => once(&mut self.envelope_id, text(value)),
            "source-ip" => once(&mut self.source_ip, word(value)),
            "dkim-domain" => once(&mut self.dkim_domain, word(value)),
            "dkim-identity" => once(&mut self.dkim_identity, word(value)),
            "dkim-selector" => once(&mut self.dkim_selector, word(value)),
            "spf-dns" => once(&mut self.spf_dns, text(value)),
            _ => {}
        }
    }
}

fn once(place: &mut Option<String>, value: Option<String>) {
    *place = place.take().or(value);
}

fn push(list: &mut Vec<String>, value: Option<String>) {
    if list.len() < REPEATED_FIELDS_MAX {
        list.extend(value);
    }
}

fn lower(value: &[u8]) -> Option<String> {
    word(value).map(|word| word.to_ascii_lowercase())
}

/// An address without its brackets; `None` for `<>`.
fn bare(value: &[u8]) -> Option<String> {
    let text = text(value)?;
    let address = text.trim_start_matches('<').trim_end_matches('>');
    if address.is_empty() { None } else { Some(address.to_owned()) }
}
