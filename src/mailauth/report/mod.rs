//! Reports about what was checked: DMARC's daily ones (RFC 9990, and RFC 7489 before it), sent and received, and
//! those about single messages (RFC 6591, 9991), sent. Received ones of the second kind are feedback reports
//! like others (RFC 5965) and are read where those are.

mod aggregate;
mod failure;
mod mail;
mod packed;
mod read;
mod write;
mod xml;

pub use aggregate::{Aggregate, Disposition, DkimSeen, Period, Published, Reason, Row, SpfSeen};
pub use failure::{Failed, failure_report};
pub use mail::{Envelope, aggregate_mail, aggregate_name, aggregate_of_mail};
pub use packed::{UnpackError, pack, unpack, unpack_gzip};
pub use read::{ReadError, read};
pub use write::write;
