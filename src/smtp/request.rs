//! What the session asks of the outside, and what it may hear. The codes for these are in `reply.rs`.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use auth::Identity;
use base::{Secret, TlsInfo};

use crate::config::Mode;
use crate::envelope::{Message, TransactionId};
use crate::path::Path;

/// A question; the session waits for its answer.
#[derive(Debug)]
pub enum Request {
    /// Whether the peer is greeted, and when; answered by [`Reply::Greeting`]. See [`crate::Smtp::with_test`].
    Greeting(Waited),
    /// A login; answered by [`Reply::Auth`].
    Auth(auth::Query),
    /// A login by proof has succeeded, which the session alone can see; answered by [`Reply::LoggedIn`].
    LoggedIn(Identity),
    /// Whether a recipient would be accepted; answered by [`Reply::Recipient`].
    Recipient(Box<RecipientCheck>),
    /// The bytes that a URL means; answered by [`Reply::Url`].
    Url(Box<UrlRequest>),
    /// Make this message durable for all its recipients; answered by [`Reply::Delivered`].
    Deliver(Box<Message>),
}

/// What a peer has done before it was greeted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Waited {
    /// It has just come.
    NotYet,
    /// It was silent for as long as it was asked to be.
    Silent,
    /// It spoke first.
    Spoke,
}

/// One RCPT command.
#[derive(Clone, Debug)]
pub struct RecipientCheck {
    /// `local@domain` as the client wrote it.
    pub address: String,
    /// The reverse-path; `None` is `<>`.
    pub sender: Option<Path>,
    /// Who logged in, if anybody.
    pub identity: Option<Identity>,
    /// The listener's mode.
    pub mode: Mode,
    /// The SIZE the client promised, in bytes (RFC 1870 §6.1): would it go over quota?
    pub size_bytes: Option<u64>,
    /// Of which message it is.
    pub id: TransactionId,
    /// The client's name for itself, not verified.
    pub helo: Arc<str>,
    /// Whether the client said EHLO or LHLO.
    pub is_extended: bool,
    /// What protects the connection, if it is under TLS.
    pub tls: Option<Arc<TlsInfo>>,
    /// Recipients of this message that were accepted before.
    pub accepted: u32,
    /// Recipients and commands of this connection that were refused.
    pub refused: u32,
    /// Messages of this connection that were begun before this one.
    pub messages: u32,
}

/// One BURL command (RFC 4468).
#[derive(Clone, Debug)]
pub struct UrlRequest {
    /// As the client wrote it; it may give access.
    pub url: Secret<String>,
    /// Who logged in.
    pub identity: Identity,
    /// The name by which the client came, if it said one (RFC 6066 §3).
    pub server_name: Option<String>,
    /// The most that its message has room for, in bytes.
    pub bytes_max: usize,
}

/// Why a URL gives nothing (RFC 4468 §6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UrlFault {
    /// It is none, or none of a message.
    Malformed,
    /// It is another server's.
    Foreign,
    /// It is not proven, has run out, or is not for whoever logged in.
    Denied,
    /// What it means is not there.
    Missing,
    /// It is more than its message has room for.
    TooLarge,
    /// There is no memory for it now.
    NoMemory,
    /// It cannot be asked for now.
    Unavailable,
}

/// An answer, of the kind that the request names.
#[derive(Debug)]
pub enum Reply {
    /// To [`Request::Greeting`]: the peer is greeted after so many milliseconds of silence, 0 for now.
    Greeting(u32),
    /// To [`Request::Auth`].
    Auth(auth::Answer),
    /// To [`Request::LoggedIn`].
    LoggedIn,
    /// To [`Request::Recipient`].
    Recipient(Verdict),
    /// To [`Request::Url`].
    Url(Result<Vec<u8>, UrlFault>),
    /// To [`Request::Deliver`]: one outcome a recipient, in the envelope's order.
    Delivered(Vec<Outcome>),
    /// To [`Request::Recipient`] or [`Request::Deliver`]: the recipient, or the whole message, is refused in these words.
    /// To [`Request::Greeting`]: so is the peer, and the connection ends.
    Refused(Box<Refused>),
}

/// An operator's or a filter's own words for a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// 400 to 599 (RFC 5321 §4.2).
    pub code: u16,
    /// RFC 3463; its class is the code's.
    pub enhanced: (u8, u16, u16),
    /// Printable ASCII, no line ends; anything else is replaced when it is said.
    pub text: String,
}

/// What becomes of a recipient at RCPT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Ours, and open.
    Accept,
    /// The domain is ours, the user is not.
    UnknownUser,
    /// The domain is not ours.
    NotLocal,
    /// The address is grammatical and still none the directory can have.
    BadAddress,
    /// The mailbox is full; later it may not be.
    OverQuota,
    /// The account is switched off.
    Disabled,
    /// The aliases go round in a circle: an operator must mend them.
    AliasLoop,
    /// Whoever logged in may not send as this sender (RFC 6409 §6.1).
    SenderDenied,
    /// Too much is asked of this recipient or by this client; later is fine.
    TooMany,
    /// The directory cannot be asked now.
    Unavailable,
}

/// What became of a message for one recipient. All but `Stored` mean: not stored for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Durable: it will outlive a crash.
    Stored,
    /// The mailbox is full.
    OverQuota,
    /// The message is larger than this mailbox takes, ever.
    TooLarge,
    /// The account went away or was switched off since RCPT.
    Disabled,
    /// The recipient's rules refuse the message.
    Rejected,
    /// The server is out of disk or memory for it now.
    NoSpace,
    /// The message has more recipients, aliases counted out, than one message may.
    TooManyRecipients,
    /// The store cannot take it now.
    Unavailable,
}
