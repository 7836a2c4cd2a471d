//! What is asked of the domain name system and what it answers, as values: the words that mail
//! authentication, transport and the shards share. Who asks, and how, is `runtime`'s.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use core::net::{Ipv4Addr, Ipv6Addr};

/// Bytes of a name in its usual form, without the last dot (RFC 1035 §2.3.4 counts two more on the wire).
pub const NAME_BYTES_MAX: usize = 253;

/// The kinds of records that mail asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordKind {
    /// IPv4 addresses.
    A,
    /// IPv6 addresses.
    Aaaa,
    /// The hosts that take a domain's mail.
    Mx,
    /// Texts.
    Txt,
    /// The name of an address.
    Ptr,
    /// Certificates and keys (RFC 6698).
    Tlsa,
    /// The name that this one stands for.
    Cname,
    /// Where a service is (RFC 2782).
    Srv,
}

/// One question.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Query {
    /// Lower case, letters of other scripts as A-labels, without the last dot.
    pub name: String,
    /// Records of this kind.
    pub kind: RecordKind,
}

impl Query {
    /// The question for this name in any case, with or without its last dot. A name that cannot
    /// exist may be asked for; the answer is that it does not.
    pub fn new(name: &str, kind: RecordKind) -> Self {
        Self { name: normal(name), kind }
    }
}

/// A name as [`Query`] and [`Record`] hold it: lower case, without the last dot; the root is empty.
pub fn normal(name: &str) -> String {
    let mut name = name.strip_suffix('.').unwrap_or(name).to_owned();
    name.make_ascii_lowercase();
    name
}

/// The data of one record. Names are as in [`Query`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Record {
    /// An IPv4 address.
    A(Ipv4Addr),
    /// An IPv6 address.
    Aaaa(Ipv6Addr),
    /// A host that takes the domain's mail.
    Mx {
        /// Lower goes first.
        preference: u16,
        /// Empty (the root) says that the domain takes no mail (RFC 7505).
        host: String,
    },
    /// A text, its strings joined without anything between them.
    Txt(Vec<u8>),
    /// The name of an address.
    Ptr(String),
    /// A certificate or key (RFC 6698 §2.1), its fields as they came.
    Tlsa {
        /// Certificate usage.
        usage: u8,
        /// Selector.
        selector: u8,
        /// Matching type.
        matching: u8,
        /// Certificate association data.
        data: Vec<u8>,
    },
    /// The name that this one stands for.
    Cname(String),
    /// Where a service is (RFC 2782).
    Srv {
        /// Lower goes first.
        priority: u16,
        /// The share among those of one priority.
        weight: u16,
        /// Where it listens.
        port: u16,
        /// Empty (the root) says that there is no such service.
        host: String,
    },
}

/// Records that exist.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// At least one, all of the kind that was asked for; aliases on the way are not among them. Their
    /// order means nothing.
    pub records: Vec<Record>,
    /// The name that holds the records: the one asked for, or where its aliases end.
    pub name: String,
    /// DNSSEC proves all of it, aliases too.
    pub is_secure: bool,
    /// For how long it may be kept, in seconds.
    pub ttl_s: u32,
}

/// How sure it is that nothing is there, and for how long.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Absence {
    /// DNSSEC proves it.
    pub is_secure: bool,
    /// For how long it may be kept, in seconds; 0 when the answer did not say.
    pub ttl_s: u32,
}

/// No records. The first two are answers; the others are not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// There is no such name (NXDOMAIN).
    NoSuchName(Absence),
    /// The name has none of this kind.
    NoRecords(Absence),
    /// Nobody answered usably in time: ask again later.
    Temporary,
    /// The answer contradicts its signatures, or they are missing where they have to be. It must be
    /// treated as no answer (RFC 4035 §5.5): later it may be right.
    Bogus,
}

impl Failure {
    /// What is proven or said not to exist, if that is what happened.
    pub const fn absence(self) -> Option<Absence> {
        match self {
            Self::NoSuchName(absence) | Self::NoRecords(absence) => Some(absence),
            Self::Temporary | Self::Bogus => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_compared_in_one_form() {
        assert_eq!(Query::new("MX.Example.", RecordKind::A), Query::new("mx.example", RecordKind::A));
        assert_eq!(normal("."), "");
    }

    #[test]
    fn only_answers_tell_what_is_absent() {
        let absence = Absence { is_secure: true, ttl_s: 60 };
        assert_eq!(Failure::NoRecords(absence).absence(), Some(absence));
        assert_eq!(Failure::Bogus.absence(), None);
    }
}
