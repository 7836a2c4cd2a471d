//! What the checks ask of the name system. Whoever composes the server answers, out of a cache or from a
//! resolver elsewhere: nothing here opens a socket.

use std::future::Future;
use std::net::IpAddr;

use base::dns::{Answer, Failure, Query, Record, RecordKind};

/// The name system, as the caller has it. An implementation bounds its time.
///
/// The futures stay on the shard that polls them.
pub trait Lookup {
    /// Answers one question.
    fn ask(&self, query: Query) -> impl Future<Output = Result<Answer, Failure>>;
}

/// Why a question has no records for an answer, as far as a check cares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Gap {
    NoSuchName,
    NoRecords,
    /// No answer, or one whose signatures are wrong: a later check may have one.
    Temporary,
}

impl Gap {
    /// A definite answer that there is nothing.
    pub(crate) const fn is_void(self) -> bool {
        matches!(self, Self::NoSuchName | Self::NoRecords)
    }
}

impl From<Failure> for Gap {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoSuchName(_) => Self::NoSuchName,
            Failure::NoRecords(_) => Self::NoRecords,
            Failure::Temporary | Failure::Bogus => Self::Temporary,
        }
    }
}

/// The questions that the checks have, in their own words. Every list has something in it.
pub(crate) trait Questions {
    /// The texts of a name.
    async fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, Gap>;
    /// The addresses of a name, of the same family as `like`.
    async fn addresses(&self, name: &str, like: IpAddr) -> Result<Vec<IpAddr>, Gap>;
    /// The hosts that take a domain's mail, best first; the empty name of a null MX is not among them.
    async fn exchanges(&self, name: &str) -> Result<Vec<String>, Gap>;
    /// The names of an address.
    async fn names(&self, ip: IpAddr) -> Result<Vec<String>, Gap>;
    /// Whether a name exists, with whatever records (RFC 8020).
    async fn exists(&self, name: &str) -> Result<bool, Gap>;
}

impl<L: Lookup> Questions for L {
    async fn txt(&self, name: &str) -> Result<Vec<Vec<u8>>, Gap> {
        let pick = |record| if let Record::Txt(text) = record { Some(text) } else { None };
        collect(self, Query::new(name, RecordKind::Txt), pick).await
    }

    async fn addresses(&self, name: &str, like: IpAddr) -> Result<Vec<IpAddr>, Gap> {
        let kind = if like.is_ipv4() { RecordKind::A } else { RecordKind::Aaaa };
        let pick = |record| match record {
            Record::A(ip) => Some(IpAddr::V4(ip)),
            Record::Aaaa(ip) => Some(IpAddr::V6(ip)),
            _ => None,
        };
        collect(self, Query::new(name, kind), pick).await
    }

    async fn exchanges(&self, name: &str) -> Result<Vec<String>, Gap> {
        let pick = |record| {
            if let Record::Mx { preference, host } = record { Some((preference, host)) } else { None }
        };
        let mut hosts = collect(self, Query::new(name, RecordKind::Mx), pick).await?;
        hosts.sort();
        Ok(hosts.into_iter().map(|(_, host)| host).filter(|host| !host.is_empty()).collect())
    }

    async fn names(&self, ip: IpAddr) -> Result<Vec<String>, Gap> {
        let pick = |record| if let Record::Ptr(name) = record { Some(name) } else { None };
        collect(self, Query::new(&reverse_name(ip), RecordKind::Ptr), pick).await
    }

    async fn exists(&self, name: &str) -> Result<bool, Gap> {
        match self.ask(Query::new(name, RecordKind::A)).await.map_err(Gap::from) {
            Ok(_) | Err(Gap::NoRecords) => Ok(true),
            Err(Gap::NoSuchName) => Ok(false),
            Err(Gap::Temporary) => Err(Gap::Temporary),
        }
    }
}

async fn collect<T>(
    lookup: &impl Lookup,
    query: Query,
    pick: impl FnMut(Record) -> Option<T>,
) -> Result<Vec<T>, Gap> {
    let answer = lookup.ask(query).await?;
    let records: Vec<T> = answer.records.into_iter().filter_map(pick).collect();
    if records.is_empty() { Err(Gap::NoRecords) } else { Ok(records) }
}

/// The name under which an address's names stand (RFC 1035 §3.5, RFC 3596 §2.5).
pub fn reverse_name(ip: IpAddr) -> String {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, d] = ip.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(ip) => {
            let nibbles = ip.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            let mut name = String::with_capacity(72);
            for nibble in nibbles {
                name.extend([char::from_digit(u32::from(nibble), 16).unwrap_or('0'), '.']);
            }
            name.push_str("ip6.arpa");
            name
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_names_backwards() {
        assert_eq!(reverse_name("192.0.2.3".parse().unwrap()), "3.2.0.192.in-addr.arpa");
        assert_eq!(reverse_name("::ffff:192.0.2.3".parse().unwrap()), "3.2.0.192.in-addr.arpa");
        let name = reverse_name("2001:db8::1".parse().unwrap());
        assert!(name.starts_with("1.0.0.0.") && name.ends_with(".8.b.d.0.1.0.0.2.ip6.arpa"), "{name}");
    }
}
