//! STORE and UID STORE (RFC 9051 §6.4.6, RFC 7162 §3.1.3).

use account::{FlagChange, FlagMode};
use base::ChangeNumber;

use crate::parse::{Cursor, ParseError, SequenceSet};

/// Which flags to change of which messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Store {
    /// Which messages.
    pub set: SequenceSet,
    /// UID STORE: the set means UIDs.
    pub is_uid: bool,
    /// Leave messages alone that changed after it.
    pub unchanged_since: Option<ChangeNumber>,
    /// `.SILENT`: the client does not want to be told.
    pub is_silent: bool,
    /// What to do.
    pub change: FlagChange,
}

impl Store {
    /// Whether it has UNCHANGEDSINCE, which enables CONDSTORE (RFC 7162 §3.1).
    pub const fn enables_condstore(&self) -> bool {
        self.unchanged_since.is_some()
    }
}

/// Reads what follows `STORE `: `sequence-set [store-modifiers] SP store-att-flags`.
pub(super) fn parse(cursor: &mut Cursor<'_>, is_uid: bool) -> Result<Store, ParseError> {
    let set = cursor.sequence_set()?;
    cursor.sp()?;
    let mut unchanged_since = None;
    if cursor.skip(b'(') {
        if !cursor.skip_word("UNCHANGEDSINCE ") {
            return cursor.fail("UNCHANGEDSINCE");
        }
        unchanged_since = Some(ChangeNumber(cursor.number64()?));
        cursor.close()?;
        cursor.sp()?;
    }
    let mode = if cursor.skip(b'+') {
        FlagMode::Add
    } else if cursor.skip(b'-') {
        FlagMode::Remove
    } else {
        FlagMode::Replace
    };
    if !cursor.skip_word("FLAGS") {
        return cursor.fail("FLAGS, +FLAGS or -FLAGS");
    }
    let is_silent = cursor.skip_word(".SILENT");
    cursor.sp()?;
    let list = if cursor.peek() == Some(b'(') { cursor.flag_list()? } else { cursor.flags()? };
    let change = FlagChange { mode, flags: list.flags, keywords: list.keywords };
    Ok(Store { set, is_uid, unchanged_since, is_silent, change })
}

#[cfg(test)]
mod tests {
    use super::*;
    use account::Flags;

    fn read(text: &str) -> Result<Store, ParseError> {
        let mut cursor = Cursor::new(text.as_bytes());
        let store = parse(&mut cursor, false)?;
        cursor.end()?;
        Ok(store)
    }

    #[test]
    fn the_forms_of_store_are_read() {
        let store = read("2:4 +FLAGS (\\Deleted $x)").unwrap();
        assert_eq!((store.change.mode, store.is_silent), (FlagMode::Add, false));
        assert_eq!(store.change.flags, Flags::DELETED);
        assert_eq!(store.change.keywords, ["$x"]);
        let store = read("* -flags.silent \\Seen \\Draft").unwrap();
        assert_eq!((store.change.mode, store.is_silent), (FlagMode::Remove, true));
        assert_eq!(store.change.flags, Flags::SEEN.with(Flags::DRAFT));
        let store = read("1 (UNCHANGEDSINCE 0) FLAGS ()").unwrap();
        assert_eq!((store.change.mode, store.unchanged_since), (FlagMode::Replace, Some(ChangeNumber(0))));
        assert!(store.enables_condstore());
    }

    #[test]
    fn nonsense_is_refused() {
        for text in [
            "1",
            "1 FLAGS",
            "1 FLAGS ",
            "1 *FLAGS (\\Seen)",
            "1 FLAGS (\\Recent)",
            "1 FLAGS.LOUD ()",
            "1 () FLAGS ()",
            "1 (UNCHANGEDSINCE) FLAGS ()",
            "x FLAGS ()",
            "1 FLAGS () ()",
        ] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
