//! Every bound of this folder: its name, its unit, and the clause it comes from.

use core::time::Duration;

/// The head of a request with its empty line, in bytes: RFC 9112 §3 asks for 8000 octets of request line at least,
/// and nothing that is served here has a long name.
pub(crate) const HEAD_BYTES_MAX: usize = 8 * 1024;

/// Fields of a head.
pub(crate) const FIELDS_MAX: usize = 64;

/// Requests on one connection.
pub(crate) const REQUESTS_MAX: usize = 100;

/// How long a connection may wait for its next request.
pub(crate) const IDLE: Duration = Duration::from_secs(30);

/// How long a head may take from its first byte to its last.
pub(crate) const HEAD: Duration = Duration::from_secs(10);

/// How long content may take, from the end of its head to its last byte.
pub(crate) const CONTENT: Duration = Duration::from_mins(1);
