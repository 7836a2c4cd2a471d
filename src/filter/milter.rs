//! The mail server's side of the milter protocol, version 6, as libmilter's pages and headers tell it.

mod agreed;
mod client;
mod heard;
mod macros;
mod message;
#[cfg(test)]
mod tests;
mod wire;

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

pub use client::Milter;
pub(crate) use heard::{bare_address, is_field_name};

use crate::Content;

/// How long to wait for a milter, and how much to take from it. Times are milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MilterConfig {
    /// Longest wait for an answer to a command. What the milter says meanwhile (SMFIR_PROGRESS) begins it anew.
    pub command_ms_max: i64,
    /// Longest wait for an answer to a piece of the message or its end; begun anew in the same way.
    pub content_ms_max: i64,
    /// Longest time for all of one question, however often the milter says that it is still at it.
    pub question_ms_max: i64,
    /// The largest body that a milter may put in place of the message's, in bytes.
    pub body_bytes_max: usize,
    /// When a connection serves another SMTP session after this one.
    pub reuse: Reuse,
}

/// When a connection to a milter may serve another SMTP session (SMFIC_QUIT_NC).
///
/// libmilter understands the command only right after a message whose end the milter answered with *continue*. After
/// *accept* or a refusal, or without a message, it passes over the command and over all that follows: the next question
/// is never answered (seen with opendkim 2.11 and libmilter 8.17).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reuse {
    /// Never: a connection for each session, as other mail servers have it.
    #[default]
    Never,
    /// Where libmilter understands it.
    AfterContinue,
    /// Always: for filters that do without libmilter, as rspamd.
    Always,
}

impl Default for MilterConfig {
    fn default() -> Self {
        Self {
            command_ms_max: 30_000,
            content_ms_max: 300_000,
            question_ms_max: 1_200_000,
            body_bytes_max: 50 * 1024 * 1024,
            reuse: Reuse::Never,
        }
    }
}

/// What has happened in the SMTP session; the milter is asked about it. Paths have their angle brackets.
#[derive(Clone, Debug)]
pub enum Event {
    /// A client has connected.
    Connect {
        /// Its name by reverse look-up, or its address in brackets.
        name: String,
        /// From where.
        from: ClientAddress,
    },
    /// HELO or EHLO, with the name it gave.
    Helo(String),
    /// MAIL FROM: a message begins.
    Mail {
        /// `<local@domain>` or `<>`.
        path: String,
        /// ESMTP parameters, one each.
        parameters: Vec<String>,
    },
    /// RCPT TO. With [`Milter::wants_rejected_recipients`], those that we refuse too, with the macro
    /// `{rcpt_mailer}` set to `error`.
    Rcpt {
        /// `<local@domain>`.
        path: String,
        /// ESMTP parameters, one each.
        parameters: Vec<String>,
    },
    /// DATA, before its content.
    Data,
    /// A command that we do not know, as it came.
    Unknown(String),
    /// The whole content: header fields, body and its end.
    Message(Content),
}

/// Where a client has come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAddress {
    /// Over IP.
    Ip(IpAddr, u16),
    /// Over a socket in the file system.
    Unix(String),
    /// From this host, or nobody knows.
    Unknown,
}
