//! What a list says of a report: kept in front of it, so that a list reads no reports.

use aws_lc_rs::digest::{SHA256, digest};
use base::{Timestamp, parse_rfc3339};
use queue::{Reader, Writer};
use transport::report::Report as TlsReport;

use crate::seen::cut;
use crate::{Kind, Report};

const VERSION: u8 = 1;

/// A report in a few words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// What it is about.
    pub kind: Kind,
    /// The domain that it is about, in lower case; empty when it does not say.
    pub domain: String,
    /// Who reports.
    pub reporter: String,
    /// Its name, given by whoever reports.
    pub report_id: String,
    /// Of which time, from.
    pub begin: Timestamp,
    /// To.
    pub end: Timestamp,
    /// Messages or connections that it tells of.
    pub total: u64,
    /// Those of them that failed; of feedback, all.
    pub failed: u64,
    /// The sender of the mail that it came in, or the address that posted it.
    pub sender: String,
    /// When it came.
    pub received: Timestamp,
    /// How it came, and who vouches for it.
    pub origin: Origin,
    /// The message of ours that it is about, if that is known.
    pub about: Option<About>,
}

/// How a report came, and who vouches for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origin {
    /// By mail that nobody vouches for.
    #[default]
    Mail,
    /// By mail that passed DMARC for a domain of this one, the organisation's.
    Proven(String),
    /// By HTTPS, where nobody vouches for anything.
    Posted,
}

/// A message that went out here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// Its id, as it stands in its Received field.
    pub id: u64,
    /// The address of the account that submitted it.
    pub account: Option<String>,
    /// Its sender.
    pub sender: String,
}

impl Summary {
    /// Of a report that came in a message with this Message-ID.
    pub fn of(report: &Report, message_id: &str, received: Timestamp) -> Self {
        let mut summary = Self {
            kind: report.kind(),
            domain: String::new(),
            reporter: String::new(),
            report_id: String::new(),
            begin: received,
            end: received,
            total: 0,
            failed: 0,
            sender: String::new(),
            received,
            origin: Origin::default(),
            about: None,
        };
        match report {
            Report::Dmarc(report) => {
                summary.domain.clone_from(&report.published.domain);
                summary.reporter.clone_from(&report.reporter);
                summary.report_id.clone_from(&report.id);
                summary.begin = Timestamp::from_s(report.period.begin_s);
                summary.end = Timestamp::from_s(report.period.end_s);
                for row in &report.rows {
                    summary.total = summary.total.saturating_add(row.count);
                    if !row.has_aligned_dkim && !row.has_aligned_spf {
                        summary.failed = summary.failed.saturating_add(row.count);
                    }
                }
            }
            Report::Tls(report) => summary.tls(report),
            Report::Feedback(report) => {
                let of_address =
                    |address: &String| address.rsplit_once('@').map(|(_, domain)| domain.to_owned());
                let from = report.returned.from.as_ref().and_then(of_address);
                let named = from.or_else(|| report.reported_domains.first().cloned());
                let domain = named.or_else(|| report.sender.as_ref().and_then(of_address));
                summary.domain = domain.unwrap_or_default();
                let reporter = report.reporting_mta.as_ref().or(report.user_agent.as_ref());
                summary.reporter = reporter.cloned().unwrap_or_default();
                message_id.clone_into(&mut summary.report_id);
                summary.begin = report.arrived_at.unwrap_or(received);
                (summary.total, summary.failed) = (report.incidents.into(), report.incidents.into());
            }
        }
        summary.domain = base::dns::normal(&summary.domain);
        summary.trim();
        summary
    }

    fn tls(&mut self, report: &TlsReport) {
        let first = report.policies.first();
        self.domain = first.map(|policy| policy.policy.policy_domain.clone()).unwrap_or_default();
        self.reporter.clone_from(&report.organization_name);
        self.report_id.clone_from(&report.report_id);
        self.begin = parse_rfc3339(&report.date_range.start_datetime).unwrap_or(self.received);
        self.end = parse_rfc3339(&report.date_range.end_datetime).unwrap_or(self.received);
        for policy in &report.policies {
            let (good, bad) =
                (policy.summary.total_successful_session_count, policy.summary.total_failure_session_count);
            self.failed = self.failed.saturating_add(bad);
            self.total = self.total.saturating_add(good).saturating_add(bad);
        }
    }

    /// Strangers wrote them: each text has a bound, and no control characters.
    fn trim(&mut self) {
        for text in [&mut self.domain, &mut self.reporter, &mut self.report_id] {
            cut(text);
            *text = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        }
    }

    /// Whether somebody vouches for its sender.
    pub const fn is_authenticated(&self) -> bool {
        matches!(self.origin, Origin::Proven(_))
    }

    /// What tells it from other reports: a second one with the same takes its place. What is proven about its sender
    /// belongs to it, or anybody could take the place of anybody's; and it is a hash for which nobody finds another text.
    pub(crate) fn identity(&self) -> u64 {
        let by = match &self.origin {
            Origin::Mail => "mail",
            Origin::Proven(domain) => domain,
            Origin::Posted => "https",
        };
        let text = [self.kind.name(), &self.reporter, &self.domain, &self.report_id, by].join("\n");
        let hash = digest(&SHA256, text.to_ascii_lowercase().as_bytes());
        hash.as_ref().first_chunk().map_or(0, |first| u64::from_le_bytes(*first))
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(VERSION);
        out.u8(self.kind as u8).text(&self.domain).text(&self.reporter).text(&self.report_id);
        out.time(self.begin).time(self.end).u64(self.total).u64(self.failed);
        out.text(&self.sender).time(self.received);
        match &self.origin {
            Origin::Mail => out.u8(0),
            Origin::Proven(domain) => out.u8(1).text(domain),
            Origin::Posted => out.u8(2),
        };
        match &self.about {
            None => out.u8(0),
            Some(about) => out.u8(1).u64(about.id).maybe(about.account.as_deref()).text(&about.sender),
        };
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes, VERSION)?;
        let kind = *Kind::ALL.get(usize::from(from.u8()?))?;
        let (domain, reporter, report_id) = (from.text()?, from.text()?, from.text()?);
        let (begin, end, total, failed) = (from.time()?, from.time()?, from.u64()?, from.u64()?);
        let (sender, received) = (from.text()?, from.time()?);
        let origin = match from.u8()? {
            0 => Origin::Mail,
            1 => Origin::Proven(from.text()?),
            _ => Origin::Posted,
        };
        let about = match from.u8()? {
            0 => None,
            _ => Some(About { id: from.u64()?, account: from.maybe()?, sender: from.text()? }),
        };
        Some(Self {
            kind,
            domain,
            reporter,
            report_id,
            begin,
            end,
            total,
            failed,
            sender,
            received,
            origin,
            about,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_comes_back_as_it_was() {
        let mut summary = Summary {
            kind: Kind::Feedback,
            domain: "d.example".to_owned(),
            reporter: "r".to_owned(),
            report_id: "<1@r>".to_owned(),
            begin: Timestamp::from_s(1),
            end: Timestamp::from_s(2),
            total: 3,
            failed: 3,
            sender: "a@r".to_owned(),
            received: Timestamp::from_s(4),
            origin: Origin::Proven("r".to_owned()),
            about: Some(About { id: 7, account: Some("x@d.example".to_owned()), sender: String::new() }),
        };
        let bytes = summary.encode();
        assert_eq!(Summary::decode(&bytes).as_ref(), Some(&summary));
        for end in 0..bytes.len() {
            assert_eq!(Summary::decode(&bytes[..end]), None);
        }
        summary.about = None;
        for origin in [Origin::Mail, Origin::Posted] {
            summary.origin = origin;
            assert_eq!(Summary::decode(&summary.encode()).as_ref(), Some(&summary));
        }
    }
}
