//! What a client can say: one complete command to one value. No state, no account; whether a command
//! is legal now, the session judges.

pub mod any;
pub mod append;
pub mod auth;
pub mod copy;
pub mod fetch;
pub mod mailbox;
pub mod search;
pub mod store;
pub mod urlauth;

use alloc::string::{String, ToString};
use alloc::vec::Vec;

use base::Secret;

pub use self::append::Append;
pub use self::auth::{Authenticate, Enable, Login};
pub use self::mailbox::{Create, List, ListReturn, ListSelect, Select, Status, StatusItems, SyncFrom};
pub use self::urlauth::{ResetKey, Rump};

use crate::limits::TAG_BYTES_MAX;
use crate::parse::{Cursor, ParseError, SequenceSet, Text};

/// A command with its tag.
#[derive(Clone, Debug)]
pub struct Tagged {
    /// What the answer to it begins with.
    pub tag: String,
    /// The command, or why it is none.
    pub command: Result<Command, ParseError>,
}

/// Every command (RFC 9051 §6, RFC 3501 §6, and the extensions' own).
#[derive(Clone, Debug)]
pub enum Command {
    /// CAPABILITY
    Capability,
    /// NOOP
    Noop,
    /// LOGOUT
    Logout,
    /// ID (RFC 2971): what the client says of itself is not kept.
    Id,
    /// STARTTLS
    StartTls,
    /// AUTHENTICATE
    Authenticate(Authenticate),
    /// LOGIN
    Login(Login),
    /// ENABLE (RFC 5161)
    Enable(Enable),
    /// SELECT and EXAMINE
    Select(Select),
    /// CREATE
    Create(Create),
    /// DELETE
    Delete(Vec<u8>),
    /// RENAME
    Rename {
        /// The name it has.
        from: Vec<u8>,
        /// The name it gets.
        to: Vec<u8>,
    },
    /// SUBSCRIBE
    Subscribe(Vec<u8>),
    /// UNSUBSCRIBE
    Unsubscribe(Vec<u8>),
    /// LIST, and LSUB, which is a LIST of subscriptions in other words
    List(List),
    /// NAMESPACE (RFC 2342)
    Namespace,
    /// STATUS
    Status(Status),
    /// APPEND
    Append(Append),
    /// IDLE (RFC 2177)
    Idle,
    /// CHECK (RFC 3501 §6.4.1)
    Check,
    /// CLOSE
    Close,
    /// UNSELECT (RFC 3691)
    Unselect,
    /// EXPUNGE; with a set, UID EXPUNGE (RFC 4315)
    Expunge(Option<SequenceSet>),
    /// FETCH and UID FETCH
    Fetch(fetch::Fetch),
    /// SEARCH and UID SEARCH
    Search(search::Search),
    /// STORE and UID STORE
    Store(store::Store),
    /// COPY and UID COPY
    Copy(copy::Copy),
    /// MOVE and UID MOVE (RFC 6851)
    Move(copy::Copy),
    /// RESETKEY (RFC 4467 §7)
    ResetKey(ResetKey),
    /// GENURLAUTH (RFC 4467 §7)
    GenUrlAuth(Vec<Rump>),
    /// URLFETCH (RFC 4467 §7) with its URLs as sent
    UrlFetch(Vec<Secret<Vec<u8>>>),
}

/// Reads one complete command. `Err` when there is not even a tag to answer to.
pub fn parse(text: &Text) -> Result<Tagged, ParseError> {
    let mut cursor = Cursor::of(text);
    let tag = cursor.tag()?;
    if tag.len() > TAG_BYTES_MAX {
        return Err(ParseError { at: 0, expected: "a shorter tag" });
    }
    let tag = tag.to_string();
    let command = cursor.sp().and_then(|()| command(&mut cursor));
    // Nothing may stand between a command and its CRLF.
    let command = command.and_then(|command| cursor.end().map(|()| command));
    Ok(Tagged { tag, command })
}

fn command(cursor: &mut Cursor<'_>) -> Result<Command, ParseError> {
    let start = cursor.position();
    let name = cursor.word()?.to_ascii_uppercase();
    if name != "UID" {
        return arguments(cursor, &name, false, start);
    }
    cursor.sp()?;
    let start = cursor.position();
    let name = cursor.word()?.to_ascii_uppercase();
    match name.as_str() {
        "FETCH" | "SEARCH" | "STORE" | "COPY" | "MOVE" | "EXPUNGE" => arguments(cursor, &name, true, start),
        _ => Err(ParseError { at: start, expected: "a command that UID can stand before" }),
    }
}

fn arguments(cursor: &mut Cursor<'_>, name: &str, is_uid: bool, start: usize) -> Result<Command, ParseError> {
    Ok(match name {
        "CAPABILITY" => Command::Capability,
        "NOOP" => Command::Noop,
        "LOGOUT" => Command::Logout,
        "STARTTLS" => Command::StartTls,
        "NAMESPACE" => Command::Namespace,
        "IDLE" => Command::Idle,
        "CHECK" => Command::Check,
        "CLOSE" => Command::Close,
        "UNSELECT" => Command::Unselect,
        "EXPUNGE" if is_uid => Command::Expunge(Some(any::after_space(cursor, Cursor::sequence_set)?)),
        "EXPUNGE" => Command::Expunge(None),
        "ID" => any::id(cursor)?,
        "AUTHENTICATE" => Command::Authenticate(auth::authenticate(cursor)?),
        "LOGIN" => Command::Login(auth::login(cursor)?),
        "ENABLE" => Command::Enable(auth::enable(cursor)?),
        "SELECT" => Command::Select(mailbox::select(cursor, false)?),
        "EXAMINE" => Command::Select(mailbox::select(cursor, true)?),
        "CREATE" => Command::Create(mailbox::create(cursor)?),
        "DELETE" => Command::Delete(any::after_space(cursor, Cursor::mailbox)?),
        "RENAME" => mailbox::rename(cursor)?,
        "SUBSCRIBE" => Command::Subscribe(any::after_space(cursor, Cursor::mailbox)?),
        "UNSUBSCRIBE" => Command::Unsubscribe(any::after_space(cursor, Cursor::mailbox)?),
        "LIST" => Command::List(mailbox::list(cursor)?),
        "LSUB" => Command::List(mailbox::lsub(cursor)?),
        "STATUS" => Command::Status(mailbox::status(cursor)?),
        "APPEND" => Command::Append(append::append(cursor)?),
        "FETCH" => Command::Fetch(any::after_space(cursor, |cursor| fetch::parse(cursor, is_uid))?),
        "SEARCH" => Command::Search(any::after_space(cursor, |cursor| search::parse(cursor, is_uid))?),
        "STORE" => Command::Store(any::after_space(cursor, |cursor| store::parse(cursor, is_uid))?),
        "COPY" => Command::Copy(any::after_space(cursor, |cursor| copy::parse(cursor, is_uid))?),
        "MOVE" => Command::Move(any::after_space(cursor, |cursor| copy::parse(cursor, is_uid))?),
        "RESETKEY" => Command::ResetKey(urlauth::reset_key(cursor)?),
        "GENURLAUTH" => Command::GenUrlAuth(urlauth::gen_url_auth(cursor)?),
        "URLFETCH" => Command::UrlFetch(urlauth::url_fetch(cursor)?),
        _ => return Err(ParseError { at: start, expected: "a command" }),
    })
}
