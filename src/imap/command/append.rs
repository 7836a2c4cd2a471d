//! APPEND (RFC 9051 §6.3.12, RFC 3502 MULTIAPPEND, RFC 3516 literal8, RFC 4469 CATENATE, RFC 6855 UTF8).

use alloc::sync::Arc;
use alloc::vec::Vec;

use base::Timestamp;

use crate::limits::{MESSAGES_PER_APPEND_MAX, PARTS_PER_MESSAGE_MAX};
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
    pub data: AppendData,
}

/// Where the bytes of a message are.
#[derive(Clone, Debug)]
pub enum AppendData {
    /// They came with the command.
    Whole(Arc<Vec<u8>>),
    /// They are put together (RFC 4469 §3).
    Parts(Vec<CatPart>),
}

/// One piece of a message that is put together.
#[derive(Clone, Debug)]
pub enum CatPart {
    /// TEXT
    Text(Arc<Vec<u8>>),
    /// URL, as sent
    Url(Vec<u8>),
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

/// `append-message = [SP flag-list] [SP date-time] SP append-data`, where `append-data = literal / literal8 /
/// "UTF8" SP "(" literal8 ")"` (RFC 6855 §4) `/ "CATENATE" SP "(" cat-part *(SP cat-part) ")"` (RFC 4469 §5).
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
    let data = if cursor.skip_word("CATENATE (") {
        parts(cursor)?.map(AppendData::Parts)
    } else {
        let is_utf8 = cursor.skip_word("UTF8 (");
        let data = cursor.message()?;
        if is_utf8 {
            cursor.close()?;
        }
        data.map(AppendData::Whole)
    };
    Ok(data.map(|data| AppendMessage { flags, received, data }))
}

/// `cat-part *(SP cat-part) ")"`, where `cat-part = "TEXT" SP literal / "URL" SP astring`. `None` when a text has a NUL.
fn parts(cursor: &mut Cursor<'_>) -> Result<Option<Vec<CatPart>>, ParseError> {
    let (mut parts, mut is_refused) = (Vec::new(), false);
    loop {
        if parts.len() == PARTS_PER_MESSAGE_MAX {
            return cursor.fail("fewer parts");
        }
        if cursor.skip_word("TEXT ") {
            let text = cursor.message()?;
            is_refused |= text.is_none();
            parts.push(CatPart::Text(text.unwrap_or_default()));
        } else if cursor.skip_word("URL ") {
            parts.push(CatPart::Url(cursor.astring()?.into_owned()));
        } else {
            return cursor.fail("TEXT or URL");
        }
        if !cursor.skip(b' ') {
            break;
        }
    }
    cursor.close()?;
    Ok(Some(parts).filter(|_| !is_refused))
}
