//! Many reports added up.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use mailauth::report::{Aggregate, Disposition};
use transport::report::Report as TlsReport;

use crate::Report;
use crate::limits::DIGEST_SOURCES_MAX;

/// What reports say together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digest {
    /// How many they were.
    pub reports: u64,
    /// Who sent them.
    pub reporters: BTreeSet<String>,
    /// Mail by where it came from.
    pub sources: BTreeMap<IpAddr, SourceDigest>,
    /// Messages of sources for which there was no room.
    pub left_out: u64,
    /// Connections that were protected.
    pub sessions_good: u64,
    /// Connections that were not.
    pub sessions_failed: u64,
    /// The same by what went wrong.
    pub failures: BTreeMap<&'static str, u64>,
    /// Complaints and failure reports by their kind.
    pub feedback: BTreeMap<&'static str, u64>,
}

/// What was seen of one source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SourceDigest {
    /// Messages.
    pub count: u64,
    /// With DKIM for the author's domain.
    pub dkim: u64,
    /// With SPF for the author's domain.
    pub spf: u64,
    /// With neither.
    pub failed: u64,
    /// Put aside.
    pub quarantined: u64,
    /// Refused.
    pub rejected: u64,
}

impl Digest {
    /// Adds a report.
    pub fn add(&mut self, report: &Report) {
        self.reports += 1;
        match report {
            Report::Dmarc(report) => self.dmarc(report),
            Report::Tls(report) => self.tls(report),
            Report::Feedback(report) => {
                let count = self.feedback.entry(report.kind.as_str()).or_default();
                *count = count.saturating_add(report.incidents.into());
            }
        }
    }

    fn dmarc(&mut self, report: &Aggregate) {
        self.name(&report.reporter);
        for row in &report.rows {
            if self.sources.len() >= DIGEST_SOURCES_MAX && !self.sources.contains_key(&row.source_ip) {
                self.left_out = self.left_out.saturating_add(row.count);
                continue;
            }
            let source = self.sources.entry(row.source_ip).or_default();
            let add = |place: &mut u64, is_so: bool| {
                *place = place.saturating_add(if is_so { row.count } else { 0 });
            };
            add(&mut source.count, true);
            add(&mut source.dkim, row.has_aligned_dkim);
            add(&mut source.spf, row.has_aligned_spf);
            add(&mut source.failed, !row.has_aligned_dkim && !row.has_aligned_spf);
            add(&mut source.quarantined, row.disposition == Disposition::Quarantine);
            add(&mut source.rejected, row.disposition == Disposition::Reject);
        }
    }

    fn tls(&mut self, report: &TlsReport) {
        self.name(&report.organization_name);
        for policy in &report.policies {
            let summary = &policy.summary;
            self.sessions_good = self.sessions_good.saturating_add(summary.total_successful_session_count);
            self.sessions_failed = self.sessions_failed.saturating_add(summary.total_failure_session_count);
            for details in &policy.failure_details {
                let count = self.failures.entry(details.result_type.word()).or_default();
                *count = count.saturating_add(details.failed_session_count);
            }
        }
    }

    fn name(&mut self, reporter: &str) {
        if self.reporters.len() < DIGEST_SOURCES_MAX {
            self.reporters.insert(reporter.to_owned());
        }
    }
}
