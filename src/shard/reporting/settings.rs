//! What an operator sets for reports.

use std::time::Duration;

/// Settings of reports, shared by all shards.
#[derive(Clone, Debug)]
pub struct Reporting {
    /// Domains that ask for it are told about mail with their From (RFC 9990).
    pub sends_dmarc: bool,
    /// Domains that ask for it are told how connections to them were protected (RFC 8460).
    pub sends_tls: bool,
    /// Domains that ask for it are sent the header of each message that failed (RFC 9991): so many an hour to one domain,
    /// from each shard; 0 is none.
    pub failures_per_hour_max: u32,
    /// The address in From; `None` is the postmaster.
    pub from: Option<String>,
    /// Who we are; `None` is the host's name.
    pub organization: Option<String>,
    /// Addresses of ours at which reports of others come in.
    pub receive: Vec<String>,
    /// TLS reports are taken by HTTPS too.
    pub https: Option<Taking>,
    /// Mail with a report is delivered too.
    pub keeps_mail: bool,
    /// How long reports of others are kept.
    pub keep: Duration,
}

/// Where TLS reports are posted to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taking {
    /// The address, as others have it.
    pub url: String,
    /// Its path.
    pub path: String,
    /// So many an hour from one network.
    pub per_hour_max: u32,
}

impl Default for Reporting {
    fn default() -> Self {
        Self {
            sends_dmarc: true,
            sends_tls: true,
            failures_per_hour_max: 0,
            from: None,
            organization: None,
            receive: Vec::new(),
            https: None,
            keeps_mail: true,
            keep: Duration::from_hours(90 * 24),
        }
    }
}

impl Reporting {
    /// Whether reports come in at an address.
    pub fn receives(&self, address: &str) -> bool {
        self.receive.iter().any(|own| own.eq_ignore_ascii_case(address))
    }
}
