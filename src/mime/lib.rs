//! Internet messages (RFC 5322) and MIME (RFC 2045 to 2049, 2231) as read-only views of bytes that
//! are never changed: where the parts lie, what the fields say, what the text means.
//!
//! ```text
//! bytes ─ scan ──> PartTree ── section([2, 1]) ──> Part { header, body, content_type, .. }
//!   │                 └─ serialize / deserialize: the cache beside the message
//!   ├─ Headers::of ─> fields ── unfold, decode_words, addresses, envelope, parse_date
//!   ├─ text_matches, body_matches, header_matches (a Needle)
//!   └─ convert: another message, for a host that takes no 8-bit or binary content
//! ```
//!
//! Everything here is total: any bytes give an answer, in linear time and bounded memory
//! (`limits.rs`). Layer L0: no I/O, no clock, no threads; `no_std` keeps it so.

#![cfg_attr(not(test), no_std)]

extern crate alloc;

mod address;
mod cache;
mod charset;
mod content;
mod convert;
mod date;
mod encode;
mod envelope;
mod header;
mod lex;
mod limits;
mod needle;
mod part;
mod scan;
mod search;
mod transfer;
mod words;
mod write;

pub use address::{Address, addresses};
pub use charset::{charset_known, decode_text};
pub use content::{ContentType, Disposition, Params, decode_param};
pub use convert::{Target, Unconvertible, convert};
pub use date::{Date, DateTime, imap_date_time, parse_date, parse_imap_date_time, sent_on};
pub use encode::{base64_lines, is_line_safe, quoted_printable};
pub use envelope::{Envelope, envelope};
pub use header::{Header, Headers, end_of_headers, field, unfold};
pub use limits::{ADDRESSES_MAX, BOUNDARY_BYTES_MAX, DEPTH_MAX, MESSAGE_BYTES_MAX, PARAMS_MAX, PARTS_MAX};
pub use needle::Needle;
pub use part::{Part, PartId, PartTree};
pub use scan::scan;
pub use search::{body_matches, header_matches, text_matches};
pub use transfer::{Encoding, TransferError, decode_transfer, decode_transfer_strictly};
pub use words::decode_words;
pub use write::{encode_word, fold, rfc5322_date};
