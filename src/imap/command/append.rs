//! APPEND (RFC 9051 §6.3.12, RFC 3502 MULTIAPPEND, RFC 3516 literal8, RFC 6855 UTF8).

use alloc::sync::Arc;
use alloc::vec::Vec;

use base::Timestamp;

use crate::limits::MESSAGES_PER_APPEND_MAX;
use crate::parse::{Cursor, FlagList, ParseError};

/// Messages for a mailbox: all of them or none.
#[derive(Clone, Debug)]
pub struct Append {
    /// The mailbox's name as sent.
    pub mailbox: Vec<u8>,
    /// One or more, but for those counted in `refused`.
    pub messages: Vec<AppendMessage>,
    /// Messages that had a NUL where none may be, and so are not kept.
    pub refused: usize,
}

/// One message of an APPEND.
#[derive(Clone, Debug)]
pub struct AppendMessage {
    /// Its flags.
    pub flags: FlagList,
    /// Its INTERNALDATE, if not now.
    pub received: Option<Timestamp>,
    /// Its bytes.
    pub data: Arc<Vec<u8>>,
}

/// `append = "APPEND" SP mailbox 1*append-message`
pub(super) fn append(cursor: &mut Cursor<'_>) -> Result<Append, ParseError> {
    cursor.sp()?;
    let mailbox = cursor.mailbox()?;
    let (mut messages, mut refused) = (Vec::new(), 0);
    while messages.len() + refused == 0 || !cursor.is_end() {
        if messages.len() + refused == MESSAGES_PER_APPEND_MAX {
            return cursor.fail("fewer messages");
        }
        match message(cursor)? {
            Some(message) => messages.push(message),
            None => refused += 1,
        }
    }
    Ok(Append { mailbox, messages, refused })
}

/// `append-message = [SP flag-list] [SP date-time] SP append-data`, where
/// `append-data = literal / literal8 / "UTF8" SP "(" literal8 ")"` (RFC 6855 §4).
/// `None` for a message with a NUL in a `literal`.
fn message(cursor: &mut Cursor<'_>) -> Result<Option<AppendMessage>, ParseError> {
    cursor.sp()?;
    let mut flags = FlagList::default();
    if cursor.peek() == Some(b'(') {
        flags = cursor.append_flag_list()?;
        cursor.sp()?;
    }
    let mut received = None;
    if cursor.peek() == Some(b'"') {
        received = Some(cursor.date_time()?);
        cursor.sp()?;
    }
    let is_utf8 = cursor.skip_word("UTF8 (");
    let data = cursor.message()?;
    if is_utf8 {
        cursor.close()?;
    }
    Ok(data.map(|data| AppendMessage { flags, received, data }))
}
