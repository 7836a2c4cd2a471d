//! Whether an address may be sent reports: who lives elsewhere must have agreed (RFC 9990 §4).

use super::discover::record_at;
use super::{Record, ReportAddress};
use crate::Lookup;
use crate::name;

/// An address that a record names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// The address, and how much it takes.
    pub to: ReportAddress,
    /// Whether reports may go there; not known when the name server did not answer.
    pub may_receive: Option<bool>,
}

/// Checks the addresses of a record for aggregate reports (`record.aggregate_to`) or for failure reports. The
/// domain is the one that has the record.
pub async fn report_targets<L: Lookup>(lookup: &L, domain: &str, addresses: &[ReportAddress]) -> Vec<Target> {
    let mut targets = Vec::<Target>::new();
    for to in addresses {
        // Who is named twice gets it once.
        if targets.iter().any(|target| target.to.address == to.address) {
            continue;
        }
        let host = to.address.rsplit_once('@').and_then(|(_, host)| name::normal(host));
        let may_receive = match host {
            None => Some(false),
            Some(host) if name::is_within(&host, domain) || name::is_within(domain, &host) => Some(true),
            Some(host) => {
                let prefix = format!("{domain}._report._dmarc.");
                let record: Result<Option<Result<Record, _>>, _> = record_at(lookup, &prefix, &host).await;
                record.ok().map(|record| record.is_some())
            }
        };
        targets.push(Target { to: to.clone(), may_receive });
    }
    targets
}
