//! What an operator decides about name resolution.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// `[dns]` of the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsSettings {
    /// Servers that resolve for us; none are the system's (`/etc/resolv.conf`).
    pub servers: Vec<SocketAddr>,
    /// Check signatures ourselves (RFC 4035 §5). `None`: if the servers pass them on.
    pub validate: Option<bool>,
    /// Believe a server that says it has checked them (the AD bit, RFC 6840 §5.8), where we do not
    /// ourselves. Right only for a server on this machine or behind a way that nobody else can write to.
    pub trust_ad: bool,
    /// The longest wait for an answer.
    pub timeout: Duration,
    /// Instead of the root's keys: DNSKEY records in zone file form.
    pub trust_anchor: Option<PathBuf>,
}

impl Default for DnsSettings {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            validate: None,
            trust_ad: false,
            timeout: Duration::from_secs(10),
            trust_anchor: None,
        }
    }
}
