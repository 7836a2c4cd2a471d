//! Reports about mail: what is counted for those that we send, and those that we are sent, kept in the log.
//!
//! ```text
//! a message's verdicts ──▶ Seen, in memory ──pieces──▶ CountStore ──a day's pieces──▶ a report to the domain
//! a report by mail ── read_mail ──▶ Report + Summary ──▶ Kept ──▶ lists, and a Digest of many
//! ```
//!
//! - `seen`: what was seen of the mail of From domains (RFC 9990), bounded; `counts`: pieces of that and of TLS counts
//!   (RFC 8460) in the store, so that a restart loses none; `begun`: reports that not all have who are to have them.
//! - `received`: reports of others, read; `kept`: their place in the store; `digest`: many of them added up.
//!
//! Layer L2: no sockets and no clock. The format is `docs/formats/reports.md`.

mod begun;
mod counts;
mod digest;
mod kept;
mod limits;
mod received;
mod seen;
mod summary;

pub use begun::Begun;
pub use counts::{COUNTS_ACCOUNT, CountKind, CountStore, Part, Piece, Pieces};
pub use digest::{Digest, SourceDigest};
pub use kept::{Filter, Kept, Listed, Put, RECEIVED_ACCOUNT};
pub use limits::{
    COUNT_BYTES_MAX, DIGEST_SOURCES_MAX, MERGED_ROWS_MAX, POSTED_JSON_BYTES_MAX, POSTED_KEPT_MAX,
    POSTED_PACKED_BYTES_MAX, RECEIVED_KEPT_MAX, STORED_BYTES_A_DAY_MAX,
};
pub use received::{Found, Kind, Report, read_mail, read_posted, unpack_report};
pub use seen::{Counts, Seen};
pub use summary::{About, Origin, Summary};
