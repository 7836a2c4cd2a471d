//! What a session asks of the outside, and what it is answered.

use alloc::boxed::Box;

use base::Uid;

use crate::Maildrop;

/// What a handler is asked to do.
#[derive(Debug)]
pub enum Request {
    /// Who is this? The answer is [`Reply::Auth`].
    Auth(auth::Query),
    /// Lock and open the maildrop of [`crate::Pop3::identity`] (RFC 1939 §4). The composition keeps the
    /// set of locked accounts, gives the lock back when the connection ends, and calls [`crate::open`]
    /// where the account is; a connection that had to be carried there first is answered
    /// [`Reply::Moved`], and the session asks again. The answer is [`Reply::Opened`].
    Open,
    /// Do this to the open maildrop: [`crate::handle`].
    Act(Act),
}

/// A command that needs the account, with the maildrop, which comes back in [`Reply::Done`].
#[derive(Debug)]
pub struct Act {
    /// What to do.
    pub action: Action,
    /// The snapshot it is about.
    pub maildrop: Box<Maildrop>,
}

/// What to do. Numbers have been turned into UIDs of messages that are there and not marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// `LIST`: sizes of all.
    List,
    /// `LIST n`: the size of one.
    ListOne(Uid),
    /// `UIDL`: names of all.
    Uidl,
    /// `RETR n`
    Retr(Uid),
    /// `TOP n lines`
    Top(Uid, u32),
    /// `DELE n`: marks it.
    Dele(Uid),
    /// `QUIT`: removes what is marked (RFC 1939 §6).
    Quit,
}

/// A handler's answer.
#[derive(Debug)]
pub enum Reply {
    /// To [`Request::Auth`].
    Auth(auth::Answer),
    /// To [`Request::Open`].
    Opened(Result<Box<Maildrop>, OpenError>),
    /// To [`Request::Open`]: the connection is now where the account is; ask again.
    Moved,
    /// To [`Request::Act`].
    Done(Box<Maildrop>, Outcome),
    /// To any request after a login: the account is gone or switched off, the connection ends.
    Closed,
}

/// Why a maildrop is not open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// Another POP3 session has it (RFC 1939 §4).
    InUse,
    /// The account refused.
    Account(account::Error),
}

/// What came of an [`Act`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All has been said through `out`.
    Said,
    /// The size of the message asked for, in bytes.
    Size(Uid, u32),
    /// The message is marked.
    Marked(Uid),
    /// So many messages have been removed, durably.
    Removed(usize),
    /// Not all of them have been removed, and this is why.
    NotRemoved(account::Error),
    /// Nothing has been said, and this is why.
    Failed(account::Error),
    /// The peer has gone, or the answer broke off after its start: nothing more can be said.
    Broken,
}
