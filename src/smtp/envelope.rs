//! A message and its envelope, as they leave the session.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use auth::Identity;
use base::{Notify, Return, Timestamp, TlsInfo};

use crate::config::{Mode, Peer};
use crate::path::Path;
use crate::terms::Terms;

/// A message that has been received in full and not yet acknowledged.
pub struct Message {
    /// From whom, to whom, and how it came.
    pub envelope: Envelope,
    /// Our Received field and the content as it came, dots unstuffed, nothing else changed. Lines end at
    /// CRLF unless [`BodyKind::BinaryMime`] was declared. Return-Path is for whoever delivers
    /// ([`crate::return_path_header`]).
    pub data: Vec<u8>,
}

/// Without the content, which is somebody's mail.
impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Message");
        shown.field("envelope", &self.envelope).field("data_bytes", &self.data.len()).finish()
    }
}

/// What was said before the content (RFC 5321 §2.3.1).
#[derive(Clone, Debug)]
pub struct Envelope {
    /// The id in our Received field, and in logs.
    pub id: TransactionId,
    /// The listener's mode.
    pub mode: Mode,
    /// The client's name for itself in HELO, EHLO or LHLO, not verified.
    pub helo: Arc<str>,
    /// Whether it said EHLO or LHLO.
    pub is_extended: bool,
    /// Who connected.
    pub peer: Arc<Peer>,
    /// How the connection is protected, if it is.
    pub tls: Option<Arc<TlsInfo>>,
    /// Who logged in, if anybody.
    pub identity: Option<Identity>,
    /// The reverse-path; `None` is the null path `<>` of bounces.
    pub sender: Option<Path>,
    /// The accepted recipients in the order they were given; never empty. A repeated one is repeated.
    pub recipients: Vec<Recipient>,
    /// The BODY parameter.
    pub body: BodyKind,
    /// Whether SMTPUTF8 was asked for: addresses and header fields may be UTF-8 (RFC 6531 §3.4).
    pub is_smtputf8: bool,
    /// The RET parameter: how much of the message a bounce gives back (RFC 3461 §4.3).
    pub ret: Option<Return>,
    /// The ENVID parameter, decoded (RFC 3461 §4.4).
    pub envid: Option<String>,
    /// How it is to go.
    pub terms: Terms,
    /// When the content began; the moment in our Received field.
    pub received: Timestamp,
    /// Length of our Received field at the front of the data, in bytes.
    pub received_field_bytes: usize,
}

/// An accepted recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipient {
    /// `local@domain` as the client wrote it.
    pub address: String,
    /// The ORCPT parameter, `type;xtext`, still encoded (RFC 3461 §4.2).
    pub orcpt: Option<String>,
    /// The NOTIFY parameter; `None` when it was not given (RFC 3461 §4.1).
    pub notify: Option<Notify>,
}

/// What the content may hold (RFC 6152 §3, RFC 3030 §3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BodyKind {
    /// Declared 7-bit, or nothing declared.
    #[default]
    SevenBit,
    /// Lines of any octet but NUL.
    EightBitMime,
    /// Any octets; only by BDAT.
    BinaryMime,
}

/// Names one message transaction in logs and in Received; shown as 16 hex digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TransactionId(pub u64);

impl fmt::Display for TransactionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}
