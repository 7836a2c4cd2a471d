//! Changes of a message that rules order: pure functions from bytes to bytes. What they do not name
//! stays as it is, byte for byte.

mod disclaimer;
mod encode;
mod fields;
mod html;
mod part;
mod wrap;

pub use disclaimer::{Disclaimed, Disclaimer, Fallback, Place, disclaim};
pub use fields::{FieldEdit, edit_fields, header_addresses};
pub(crate) use html::text_of;
pub use wrap::{Journal, JournalRecipient, RecipientKind, journal_report, wrap};
