//! `[reports]`: reports about mail, sent and received.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use directory::EmailAddress;
use filter::Url;
use serde::Deserialize;
use shard::{Reporting, Taking};
use toml::Spanned;
use transport::sts;

use crate::limits::{REPORT_DAYS_MAX, REPORT_FAILURES_DEFAULT, REPORT_POSTS_DEFAULT};

/// `[reports]`
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Reports {
    /// Whether domains that ask for it are told about mail with their From.
    pub dmarc: bool,
    /// Whether domains that ask for it are told how connections to them were protected.
    pub tls: bool,
    /// `never` or `header`: whether domains that ask for it are sent the header of each message that failed.
    pub failure: Failure,
    /// So many of those an hour to one domain, from each shard.
    pub failures_per_hour_max: u32,
    /// The address in From; empty is the postmaster.
    pub from: Spanned<String>,
    /// Who we are; empty is the host's name.
    pub organization: String,
    /// Addresses of ours at which reports of others come in.
    pub receive: Vec<Spanned<String>>,
    /// The address at which TLS reports are posted to us, as others have it; empty takes none.
    pub https: Spanned<String>,
    /// So many of those an hour from one network.
    pub https_per_hour_max: u32,
    /// Whether mail with a report is delivered too.
    pub keep: bool,
    /// How long reports of others are kept.
    pub keep_days: Spanned<u64>,
}

/// What is sent of single messages that failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Failure {
    /// Nothing.
    #[default]
    Never,
    /// Their headers.
    Header,
}

impl Default for Reports {
    fn default() -> Self {
        let usual = Reporting::default();
        Self {
            dmarc: usual.sends_dmarc,
            tls: usual.sends_tls,
            failure: Failure::default(),
            failures_per_hour_max: REPORT_FAILURES_DEFAULT,
            from: Spanned::new(0..0, String::new()),
            organization: String::new(),
            receive: Vec::new(),
            https: Spanned::new(0..0, String::new()),
            https_per_hour_max: REPORT_POSTS_DEFAULT,
            keep: usual.keeps_mail,
            keep_days: Spanned::new(0..0, usual.keep.as_secs() / 86_400),
        }
    }
}

impl Reports {
    /// The first thing that is wrong, and where.
    pub(super) fn fault(&self) -> Option<(Range<usize>, String)> {
        let is_wrong = |address: &&Spanned<String>| EmailAddress::parse(address.get_ref()).is_err();
        let from = Some(&self.from).filter(|from| !from.get_ref().is_empty());
        if let Some(from) = from.filter(is_wrong) {
            let message = "reports.from must be an e-mail address, such as \"reports@example.org\"";
            return Some((from.span(), message.to_owned()));
        }
        if let Some(address) = self.receive.iter().find(is_wrong) {
            let message =
                "reports.receive must be a list of e-mail addresses, such as [\"dmarc@example.org\"]";
            return Some((address.span(), message.to_owned()));
        }
        let https = self.https.get_ref();
        if !https.is_empty() && path(https).is_none() {
            let message = "reports.https must be an address of https with nothing behind its path, such as \
                           \"https://mail.example.org/tlsrpt\"";
            return Some((self.https.span(), message.to_owned()));
        }
        let days = *self.keep_days.get_ref();
        let remedy = format!("reports.keep_days must be from 1 to {REPORT_DAYS_MAX}");
        (!(1..=REPORT_DAYS_MAX).contains(&days)).then(|| (self.keep_days.span(), remedy))
    }

    /// In the form the services need.
    pub(super) fn settings(&self) -> Arc<Reporting> {
        let set = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
        Arc::new(Reporting {
            sends_dmarc: self.dmarc,
            sends_tls: self.tls,
            failures_per_hour_max: match self.failure {
                Failure::Never => 0,
                Failure::Header => self.failures_per_hour_max,
            },
            from: set(self.from.get_ref()),
            organization: set(&self.organization),
            https: path(self.https.get_ref()).map(|path| Taking {
                url: self.https.get_ref().clone(),
                path,
                per_hour_max: self.https_per_hour_max,
            }),
            receive: self.receive.iter().map(|address| address.get_ref().clone()).collect(),
            keeps_mail: self.keep,
            keep: Duration::from_hours(24 * self.keep_days.get_ref()),
        })
    }
}

/// The path of an address for reports: one that can stand in a record (RFC 8460 §3), and where nothing else is.
fn path(text: &str) -> Option<String> {
    let url = Url::parse(text).ok().filter(Url::is_tls)?;
    let path = url.target();
    let is_plain = !text.contains(['?', ',', ';', '!']) && path != sts::PATH;
    is_plain.then(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        for (line, words) in [
            ("receive = [\"nobody\"]", "2: reports.receive must be a list"),
            ("from = \"us\"", "2: reports.from must be an e-mail address"),
            ("keep_days = 0", "2: reports.keep_days must be from 1 to 3650"),
            ("https = \"http://a.example/x\"", "2: reports.https must be an address of https"),
            ("https = \"https://a.example/x?y\"", "2: reports.https must be an address of https"),
            ("https = \"https://a.example/x,y\"", "2: reports.https must be an address of https"),
            (
                "https = \"https://a.example/.well-known/mta-sts.txt\"",
                "2: reports.https must be an address of https",
            ),
            ("https = \"https://a.example/x\"", "2: reports.https needs listen.https"),
            ("failure = \"all\"", "2: unknown variant `all`"),
        ] {
            let said = Config::parse(Path::new("a.toml"), &format!("[reports]\n{line}\n"));
            let said = said.map(|_| ()).unwrap_err().to_string();
            assert!(said.starts_with(&format!("a.toml:{words}")), "{said}");
        }
    }

    #[test]
    fn settings_reach_the_services() {
        let text = "[listen]\nhttps = [\"[::]:443\"]\n[reports]\nfailure = \"header\"\nkeep = false\n\
                    receive = [\"Dmarc@example.org\"]\nhttps = \"https://mail.example.org/tls/rpt\"\n";
        let settings = Config::parse(Path::new("a.toml"), text).expect("valid").settings();
        let reporting = &settings.reporting;
        assert!(reporting.sends_dmarc && !reporting.keeps_mail);
        assert_eq!(reporting.failures_per_hour_max, 10);
        let taking = reporting.https.as_ref().expect("it is set");
        assert_eq!((taking.path.as_str(), taking.per_hour_max), ("/tls/rpt", 600));
        let usual = Config::parse(Path::new("a.toml"), "").expect("valid").settings();
        assert_eq!(usual.reporting.https, None);
        assert_eq!(usual.reporting.failures_per_hour_max, 0, "nothing of anybody's mail goes out unasked");
        assert!(reporting.receives("dmarc@EXAMPLE.org") && !reporting.receives("x@example.org"));
    }
}
