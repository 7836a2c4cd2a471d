//! What a session is told before it starts: the listener's settings, the peer, and chance.

use alloc::format;
use alloc::string::String;

use base::Secret;

use crate::limits::{AUTH_ATTEMPTS_MAX, Limits};

/// Which of the three protocols a listener speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Mode {
    /// Mail from anyone to our own recipients (RFC 5321).
    Mx,
    /// Mail from our own users, who log in first (RFC 6409).
    Submission,
    /// Final delivery from a mail system beside us, one answer a recipient (RFC 2033).
    Lmtp,
}

/// A listener's settings, shared by its connections.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our name in the greeting, in EHLO and in Received.
    pub hostname: String,
    /// Which protocol.
    pub mode: Mode,
    /// Bounds.
    pub limits: Limits,
    /// What may be said without TLS.
    pub auth: auth::Policy,
    /// Whether STARTTLS is there (RFC 3207); of no meaning once a connection is under TLS.
    pub tls_offered: bool,
    /// Whether XVERP is offered to those who may use it: on submission, and to whom [`Rights::may_verp`] allows it.
    pub offers_verp: bool,
    /// Who `RCPT TO:<Postmaster>` without a domain is (RFC 5321 §4.5.1).
    pub postmaster: String,
}

impl Config {
    /// Usual settings for a mode: STARTTLS offered, passwords under TLS only, the postmaster at `hostname`.
    pub fn new(hostname: &str, mode: Mode) -> Self {
        Self {
            hostname: hostname.into(),
            mode,
            limits: Limits::default(),
            auth: auth::Policy { allow_plaintext_without_tls: false },
            tls_offered: true,
            offers_verp: false,
            postmaster: format!("postmaster@{hostname}"),
        }
    }
}

/// Who connected.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// The text of an IPv4 or IPv6 address without brackets or port, or `unix`.
    pub address: String,
    /// A system of ours (a gateway, a local socket): the limits against guessing and flooding do not apply.
    /// It gets no right to relay by that.
    pub is_trusted: bool,
}

/// What a peer may do beyond others. Where it is says that; see [`crate::Smtp::with_rights`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rights {
    /// Its messages may go before others' (RFC 6710 §4.1), without a login.
    pub may_prioritise: bool,
    /// Its messages may have a return path for each recipient, without a login.
    pub may_verp: bool,
    /// It may say by XCLIENT for whom it speaks.
    pub may_announce: bool,
}

/// Chance for one connection, drawn outside. It never comes from a fixed seed in service.
#[derive(Clone, Debug)]
pub struct Entropy {
    /// Where transaction ids begin; not a secret, but different for each connection.
    pub ids: u64,
    /// One fresh nonce for each try at AUTH, from the system's generator.
    pub nonces: Secret<[[u8; 18]; AUTH_ATTEMPTS_MAX]>,
}
