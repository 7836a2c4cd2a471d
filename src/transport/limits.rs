//! Every bound of this crate.

use std::time::Duration;

/// Mail hosts of one domain that are looked at, the most preferred first. RFC 5321 §5.1 asks for at least
/// two attempts and lets a client bound them.
pub const HOSTS_MAX: usize = 16;

/// Addresses of one host that are tried.
pub const ADDRESSES_MAX: usize = 8;

/// TLSA records of one host that are looked at.
pub(crate) const TLSA_RECORDS_MAX: usize = 32;

/// Certificates of one chain that are looked at.
pub(crate) const CHAIN_MAX: usize = 16;

/// Domains whose MTA-STS policies a shard remembers.
pub(crate) const STS_DOMAINS_MAX: usize = 16_384;

/// Host names of one MTA-STS policy that are looked at.
pub const STS_HOSTS_MAX: usize = 64;

/// The longest time for which a policy counts, in seconds: a year (RFC 8461 §3.2).
pub const STS_MAX_AGE_S: u32 = 31_557_600;

/// How long after a policy could not be fetched it is tried again (RFC 8461 §3.3 asks for a limit).
pub(crate) const STS_RETRY: Duration = Duration::from_mins(5);

/// Bytes of a policy's file: RFC 8461 §3.3 suggests this bound.
pub(crate) const HTTP_BODY_BYTES_MAX: usize = 64 * 1024;

/// Bytes of the head in front of it.
pub(crate) const HTTP_HEAD_BYTES_MAX: usize = 16 * 1024;

/// Pieces in which a response may come.
pub(crate) const HTTP_PIECES_MAX: usize = 4096;

/// Addresses to which reports about one domain go.
pub(crate) const REPORT_ADDRESSES_MAX: usize = 8;

/// Policies of a report that is read.
pub(crate) const READ_POLICIES_MAX: usize = 1000;

/// Kinds of failures under one policy of it.
pub(crate) const READ_FAILURES_MAX: usize = 10_000;

/// Texts in one list of it: lines of a policy, hosts.
pub(crate) const READ_TEXTS_MAX: usize = 1000;

/// Domains, by day, whose connections a shard counts.
pub(crate) const REPORT_DOMAINS_MAX: usize = 4096;

/// Policies of one domain on one day that are counted apart.
pub(crate) const REPORT_POLICIES_MAX: usize = 16;

/// Kinds of failures under one policy that are counted apart.
pub(crate) const REPORT_FAILURES_MAX: usize = 64;
