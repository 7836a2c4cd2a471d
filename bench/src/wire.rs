//! What the scenarios say in IMAP. SMTP, LMTP and POP3 have clients in their own folders.

mod imap;
mod responses;

pub(crate) use imap::{Event, Imap, Step, quoted};
