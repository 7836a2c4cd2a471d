//! What a sender wants to be told of, and given back (RFC 3461 §4): the words that sessions, the queue and notices share.

/// When the sender wants to be told (RFC 3461 §4.1). All false is `NEVER`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    /// After delivery.
    pub on_success: bool,
    /// After the last failure.
    pub on_failure: bool,
    /// While it waits.
    pub on_delay: bool,
}

/// How much of a message a bounce gives back (RFC 3461 §4.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Return {
    /// All of it.
    Full,
    /// The header section.
    Headers,
}
