//! The contract between a line protocol (SMTP, LMTP, IMAP, POP3) and whoever drives it: a socket,
//! a transcript, a fuzzer or a simulation.

use alloc::string::String;
use alloc::vec::Vec;

use crate::{Secret, Timestamp};

/// What a session wants next.
#[derive(Debug)]
pub enum Next<R> {
    /// Everything complete has been consumed: write the output, then give it more bytes.
    Read,
    /// Write the output, then have a handler run this request and hand its reply to
    /// [`Session::reply`]. No input is taken meanwhile: one request at a time per connection.
    Run(R),
    /// Write the output, drop whatever input was read before the handshake, do the TLS handshake,
    /// then call [`Session::secured`] (RFC 3207 §4.2, RFC 9051 §6.2.1).
    StartTls,
    /// As `Read`, but a change of the session's account also ends the wait: then
    /// [`Session::changed`] is called (IMAP IDLE, RFC 2177).
    Watch,
    /// Write what is left of the output, then close.
    Close,
}

/// One side of a line protocol, as a plain `Send` value that owns no handle: bytes and moments in,
/// bytes and requests out. It moves between cores by being moved.
pub trait Session: Send {
    /// What handlers are asked to do.
    type Request;
    /// What handlers answer.
    type Reply;

    /// Takes bytes from the peer. Never more than [`Session::room`] of them.
    fn input(&mut self, bytes: &[u8]);

    /// How many bytes of input the session would take now; 0 is back-pressure on the peer.
    fn room(&self) -> usize;

    /// Works on the input until something must be done outside. Call again after doing it.
    fn next(&mut self, now: Timestamp) -> Next<Self::Request>;

    /// The answer to the last [`Next::Run`].
    fn reply(&mut self, reply: Self::Reply);

    /// When to call [`Session::next`] even if nothing arrives: the session then ends itself with
    /// the protocol's words for a time-out.
    fn deadline(&self) -> Timestamp;

    /// Bytes for the peer; the driver takes them all.
    fn output(&mut self) -> &mut Vec<u8>;

    /// The connection is now protected by TLS, after [`Next::StartTls`] or from its start.
    fn secured(&mut self, tls: TlsInfo);

    /// The watched account has changed, after [`Next::Watch`].
    fn changed(&mut self) {}

    /// The server is about to stop: say so and end at the next safe point (421, BYE).
    fn drain(&mut self);
}

/// What a session may know about its TLS connection.
#[derive(Clone, Debug, Default)]
pub struct TlsInfo {
    /// For the Received header and logs, e.g. `TLS1.3`.
    pub version: String,
    /// For the Received header and logs, e.g. `TLS13_AES_256_GCM_SHA384`.
    pub cipher: String,
    /// The name the client asked for (RFC 6066 §3).
    pub server_name: Option<String>,
    /// Channel bindings that SCRAM-*-PLUS can use on this connection.
    pub bindings: Vec<ChannelBinding>,
}

/// A channel binding's registered name and its bytes.
#[derive(Clone, Debug)]
pub struct ChannelBinding {
    /// `tls-exporter` (RFC 9266) or `tls-server-end-point` (RFC 5929 §4).
    pub name: &'static str,
    /// The binding's data.
    pub data: Secret<Vec<u8>>,
}
