//! The client's side of SMTP and LMTP, as a plain value like the server's: bytes in, bytes out. The outbound
//! queue, load generators and tests use it.

mod extensions;
mod sending;
#[cfg(test)]
mod tests;
mod wire;

use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::{fmt, mem};

use base::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::envelope::BodyKind;
use crate::terms::By;
use base::{Notify, Return};
pub use extensions::Extensions;
use sending::Sending;
pub use wire::ServerReply;
#[cfg(test)]
pub(crate) use wire::stuff;
use wire::{Replies, Taken};

/// How to introduce oneself.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Our name for EHLO or LHLO.
    pub hostname: String,
    /// LMTP instead of SMTP.
    pub is_lmtp: bool,
    /// Whether to ask for TLS.
    pub tls: StartTls,
    /// Whether to send small messages by BDAT where CHUNKING is offered: one round trip a message instead of two.
    pub may_chunk: bool,
    /// Name and password for AUTH PLAIN.
    pub login: Option<(String, Secret<String>)>,
}

/// Whether to say STARTTLS (RFC 3207). Of no meaning on a connection that is under TLS from its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartTls {
    /// Never.
    Never,
    /// When it is offered and not refused.
    IfOffered,
    /// Always: without it nothing is sent.
    Required,
}

/// A message to send.
#[derive(Clone, Debug)]
pub struct Mail {
    /// `local@domain`, or `None` for `<>`.
    pub sender: Option<String>,
    /// To whom; one at least.
    pub recipients: Vec<MailTo>,
    /// The content, its lines ended by CRLF.
    pub data: Arc<Vec<u8>>,
    /// The BODY parameter, said where 8BITMIME is offered. BINARYMIME only as [`Extensions::takes_binary`] has it.
    pub body: BodyKind,
    /// The SMTPUTF8 parameter. Only for a server that offers it.
    pub is_smtputf8: bool,
    /// The REQUIRETLS parameter (RFC 8689 §2). Only for a server that offers it.
    pub requires_tls: bool,
    /// The MT-PRIORITY parameter, said where it is offered (RFC 6710 §4.2).
    pub priority: i8,
    /// The BY parameter, said where DELIVERBY is offered: what is left of the time (RFC 2852).
    pub by: Option<By>,
    /// The RET parameter, said where DSN is offered.
    pub ret: Option<Return>,
    /// The ENVID parameter, decoded; said where DSN is offered.
    pub envid: Option<String>,
}

/// A recipient of a message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MailTo {
    /// `local@domain`.
    pub address: String,
    /// The NOTIFY parameter, said where DSN is offered.
    pub notify: Option<Notify>,
    /// The ORCPT parameter, `type;xtext`, as it is; said where DSN is offered.
    pub orcpt: Option<String>,
}

impl From<String> for MailTo {
    /// Without parameters.
    fn from(address: String) -> Self {
        Self { address, ..Self::default() }
    }
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// One reply a recipient, in the order of [`Mail::recipients`]: the last that concerned it.
    pub replies: Vec<ServerReply>,
}

/// What the client wants next.
#[derive(Debug)]
pub enum ClientNext {
    /// Write the output, then give it more bytes.
    Read,
    /// Write the output, then call [`Client::step`] again: there is more of the content.
    Write,
    /// Do the TLS handshake, then call [`Client::secured`].
    StartTls,
    /// Write the output; a message may be sent.
    Ready,
    /// The message has its answers; another may be sent.
    Sent(Sent),
    /// Nothing more can be done on this connection.
    Failed(ClientError),
    /// The server has said goodbye.
    Closed,
}

/// Why a client gives up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// The server refused the connection, a greeting, a login, or ended it with 421.
    Refused(ServerReply),
    /// What the server said is no reply.
    Protocol,
    /// TLS is wanted and not offered.
    NoTls,
    /// AUTH PLAIN is wanted and not offered.
    NoAuth,
}

enum Stage {
    Greeting,
    Hello,
    /// EHLO was not understood.
    OldHello,
    StartTls,
    Handshake,
    Login,
    Ready,
    Sending(Box<Sending>),
    Resetting,
    Quitting,
    Over,
}

/// One connection's client.
pub struct Client {
    config: ClientConfig,
    stage: Stage,
    /// What became of the message, while the transaction is being closed.
    verdict: Option<Sent>,
    replies: Replies,
    output: Vec<u8>,
    is_secured: bool,
    /// The connection broke when a message was in doubt.
    was_in_doubt: bool,
    answers: u64,
    extensions: Extensions,
}

/// Without the buffers: they may hold a password.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("hostname", &self.config.hostname).finish_non_exhaustive()
    }
}

impl Client {
    /// Waits for the server's greeting.
    pub fn new(config: ClientConfig) -> Self {
        Self {
            config,
            stage: Stage::Greeting,
            verdict: None,
            replies: Replies::default(),
            output: Vec::new(),
            is_secured: false,
            was_in_doubt: false,
            answers: 0,
            extensions: Extensions::default(),
        }
    }

    /// Takes bytes from the server.
    pub fn input(&mut self, bytes: &[u8]) {
        self.replies.input(bytes);
    }

    /// Bytes for the server; the driver takes them all.
    pub fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// What the server offers, as of its last EHLO.
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }

    /// Whether the server has all of a message and has not answered: if the connection ends now, nobody knows whether
    /// it took it.
    pub fn is_in_doubt(&self) -> bool {
        self.was_in_doubt || matches!(&self.stage, Stage::Sending(sending) if sending.is_in_doubt())
    }

    /// Whether the server has said nothing that nobody asked for: it would be taken for the answer to the next command.
    pub fn is_clean(&self) -> bool {
        self.replies.is_empty()
    }

    /// Replies that were taken so far: a wait is over when there is one more.
    pub fn answers(&self) -> u64 {
        self.answers
    }

    /// What became of a message that was refused, when the connection has ended after that: servers that have had enough
    /// do not wait for RSET.
    pub fn verdict(&mut self) -> Option<Sent> {
        self.verdict.take()
    }

    /// What is waited for, for the bounds of RFC 5321 §4.5.3.2.
    pub fn awaits(&self) -> Awaited {
        match &self.stage {
            Stage::Greeting => Awaited::Greeting,
            Stage::Sending(sending) if sending.is_written() => Awaited::Acceptance,
            _ => Awaited::Command,
        }
    }

    /// The connection is under TLS now, after [`ClientNext::StartTls`] or from its start.
    pub fn secured(&mut self) {
        self.is_secured = true;
        if matches!(self.stage, Stage::Handshake) {
            // RFC 3207 §4.2: all is forgotten.
            self.replies = Replies::default();
            self.say_hello();
        }
    }

    /// Sends a message. Only after [`ClientNext::Ready`] or [`ClientNext::Sent`].
    pub fn send(&mut self, mail: Mail) {
        assert!(matches!(self.stage, Stage::Ready), "a message is sent when the client is ready");
        self.stage = Stage::Sending(Box::new(Sending::begin(
            mail,
            &self.extensions,
            self.config.may_chunk,
            &mut self.output,
        )));
    }

    /// Ends the connection in order. Only where a message could be sent.
    pub fn quit(&mut self) {
        assert!(matches!(self.stage, Stage::Ready), "a client quits when it is ready");
        self.output.extend_from_slice(b"QUIT\r\n");
        self.stage = Stage::Quitting;
    }

    /// Works on what the server has said.
    pub fn step(&mut self) -> ClientNext {
        loop {
            match &self.stage {
                Stage::Ready => return ClientNext::Ready,
                Stage::Handshake => return ClientNext::StartTls,
                Stage::Over => return ClientNext::Closed,
                _ => {}
            }
            if let Stage::Sending(sending) = &mut self.stage
                && sending.write_more(&mut self.output)
            {
                return ClientNext::Write;
            }
            let reply = match self.replies.take() {
                Taken::Partial => return ClientNext::Read,
                Taken::Malformed => {
                    self.was_in_doubt = self.is_in_doubt();
                    return self.fail(ClientError::Protocol);
                }
                Taken::Reply(reply) => reply,
            };
            self.answers += 1;
            if let Some(next) = self.take(reply) {
                return next;
            }
        }
    }

    fn take(&mut self, reply: ServerReply) -> Option<ClientNext> {
        match mem::replace(&mut self.stage, Stage::Over) {
            Stage::Quitting => None,
            // RFC 5321 §3.8: it may come at any time, and ends the connection.
            _ if reply.code == 421 => Some(self.fail(ClientError::Refused(reply))),
            Stage::Sending(sending) => self.sending(sending, reply),
            Stage::Resetting => {
                self.stage = Stage::Ready;
                self.verdict.take().map(ClientNext::Sent)
            }
            // RFC 5321 §4.1.4: whoever does not know EHLO may know HELO.
            Stage::Hello if reply.code >= 500 && !self.config.is_lmtp => {
                self.output.extend_from_slice(format!("HELO {}\r\n", self.config.hostname).as_bytes());
                self.stage = Stage::OldHello;
                None
            }
            Stage::StartTls if !reply.is_positive() && self.config.tls == StartTls::IfOffered => {
                self.log_in()
            }
            _ if !reply.is_positive() => Some(self.fail(ClientError::Refused(reply))),
            Stage::Greeting => {
                self.say_hello();
                None
            }
            Stage::Hello | Stage::OldHello => self.hello(&reply),
            Stage::StartTls => {
                self.stage = Stage::Handshake;
                None
            }
            Stage::Login => {
                self.stage = Stage::Ready;
                None
            }
            Stage::Handshake | Stage::Ready | Stage::Over => unreachable!("no reply is taken here"),
        }
    }

    fn say_hello(&mut self) {
        let verb = if self.config.is_lmtp { "LHLO" } else { "EHLO" };
        self.output.extend_from_slice(format!("{verb} {}\r\n", self.config.hostname).as_bytes());
        self.stage = Stage::Hello;
    }

    fn hello(&mut self, reply: &ServerReply) -> Option<ClientNext> {
        self.extensions = Extensions::of(reply);
        if self.config.tls != StartTls::Never && !self.is_secured {
            if self.extensions.starttls {
                self.output.extend_from_slice(b"STARTTLS\r\n");
                self.stage = Stage::StartTls;
                return None;
            }
            if self.config.tls == StartTls::Required {
                return Some(self.fail(ClientError::NoTls));
            }
        }
        self.log_in()
    }

    fn log_in(&mut self) -> Option<ClientNext> {
        let Some((name, password)) = &self.config.login else {
            self.stage = Stage::Ready;
            return None;
        };
        if !self.extensions.auth_plain {
            return Some(self.fail(ClientError::NoAuth));
        }
        // RFC 4616 §2: authorization identity (none), name, password.
        let response = STANDARD.encode(format!("\0{name}\0{}", password.reveal()));
        self.output.extend_from_slice(format!("AUTH PLAIN {response}\r\n").as_bytes());
        self.stage = Stage::Login;
        None
    }

    fn sending(&mut self, mut sending: Box<Sending>, reply: ServerReply) -> Option<ClientNext> {
        match sending.take(reply, self.config.is_lmtp, &mut self.output) {
            sending::Then::More => {
                self.stage = Stage::Sending(sending);
                None
            }
            sending::Then::Done => {
                self.stage = Stage::Ready;
                Some(ClientNext::Sent(sending.into_sent()))
            }
            sending::Then::Reset => {
                // The transaction failed before its content: it has to be closed before the next.
                self.output.extend_from_slice(b"RSET\r\n");
                self.stage = Stage::Resetting;
                self.verdict = Some(sending.into_sent());
                None
            }
            sending::Then::Broken => {
                self.was_in_doubt = sending.is_in_doubt();
                Some(self.fail(ClientError::Protocol))
            }
        }
    }

    fn fail(&mut self, error: ClientError) -> ClientNext {
        self.stage = Stage::Over;
        ClientNext::Failed(error)
    }
}

/// What a client waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaited {
    /// The first word of the server.
    Greeting,
    /// The answer to a command.
    Command,
    /// The answer to the whole message.
    Acceptance,
}
