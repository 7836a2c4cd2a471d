//! Commands that are legal in any state (RFC 9051 §6.1), and what commands share.

use super::Command;
use crate::parse::{Cursor, ParseError};

/// RFC 2971 §3.3: the longest field name and value, and how many fields.
const ID_FIELD_BYTES_MAX: usize = 30;
const ID_VALUE_BYTES_MAX: usize = 1024;
const ID_FIELDS_MAX: usize = 30;

/// A space, then what `parse` reads.
pub(super) fn after_space<'a, T>(
    cursor: &mut Cursor<'a>,
    parse: impl FnOnce(&mut Cursor<'a>) -> Result<T, ParseError>,
) -> Result<T, ParseError> {
    cursor.sp()?;
    parse(cursor)
}

/// `id = "ID" SP id-params-list` (RFC 2971 §4).
pub(super) fn id(cursor: &mut Cursor<'_>) -> Result<Command, ParseError> {
    cursor.sp()?;
    if cursor.skip_word("NIL") {
        return Ok(Command::Id);
    }
    cursor.open()?;
    if cursor.skip(b')') {
        return Ok(Command::Id);
    }
    for count in 0.. {
        if count == ID_FIELDS_MAX {
            return cursor.fail("fewer fields");
        }
        if cursor.string()?.len() > ID_FIELD_BYTES_MAX {
            return cursor.fail("a shorter field name");
        }
        cursor.sp()?;
        if cursor.nstring()?.is_some_and(|value| value.len() > ID_VALUE_BYTES_MAX) {
            return cursor.fail("a shorter value");
        }
        if !cursor.skip(b' ') {
            break;
        }
    }
    cursor.close()?;
    Ok(Command::Id)
}
