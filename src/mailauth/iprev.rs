//! Whether an address has a name that leads back to it (RFC 8601 §3).

use std::net::IpAddr;

use crate::Lookup;
use crate::limits::PTR_NAMES_MAX;
use crate::lookup::{Gap, Questions};
use crate::name;

/// What the check came to (RFC 8601 §2.7.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IprevResult {
    /// A name leads back.
    Pass,
    /// There are names, and none does.
    Fail,
    /// The name server did not answer.
    TempError,
    /// There is no name.
    PermError,
}

impl IprevResult {
    /// The word.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

/// The result, and the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Iprev {
    /// The result.
    pub result: IprevResult,
    /// The name that leads back.
    pub name: Option<String>,
}

/// Looks at the first [`PTR_NAMES_MAX`] names of the address.
pub async fn check<L: Lookup>(lookup: &L, ip: IpAddr) -> Iprev {
    let ip = ip.to_canonical();
    let names = match lookup.names(ip).await {
        Ok(names) => names,
        Err(Gap::Temporary) => return Iprev { result: IprevResult::TempError, name: None },
        Err(Gap::NoSuchName | Gap::NoRecords) => return Iprev { result: IprevResult::PermError, name: None },
    };
    let mut result = IprevResult::Fail;
    for host in names.iter().take(PTR_NAMES_MAX).filter_map(|host| name::normal(host)) {
        match lookup.addresses(&host, ip).await {
            Ok(addresses) if addresses.contains(&ip) => {
                return Iprev { result: IprevResult::Pass, name: Some(host) };
            }
            Err(Gap::Temporary) => result = IprevResult::TempError,
            Ok(_) | Err(_) => {}
        }
    }
    Iprev { result, name: None }
}
