//! COPY, MOVE and their UID forms (RFC 9051 §6.4.7, §6.4.8, §6.4.9).

use alloc::vec::Vec;

use crate::parse::{Cursor, ParseError, SequenceSet};

/// Which messages go where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copy {
    /// Which messages.
    pub set: SequenceSet,
    /// UID COPY or UID MOVE: the set means UIDs.
    pub is_uid: bool,
    /// The target's name as sent.
    pub mailbox: Vec<u8>,
}

/// Reads what follows `COPY ` or `MOVE `: `sequence-set SP mailbox`.
pub(super) fn parse(cursor: &mut Cursor<'_>, is_uid: bool) -> Result<Copy, ParseError> {
    let set = cursor.sequence_set()?;
    cursor.sp()?;
    let mailbox = cursor.mailbox()?;
    Ok(Copy { set, is_uid, mailbox })
}
