//! The client's side of SMTP and LMTP, as a plain value like the server's: bytes in, bytes out. Load
//! generators and tests use it.

#[cfg(test)]
mod tests;
mod wire;

use alloc::format;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::{fmt, mem};

use base::Secret;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::envelope::BodyKind;
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
    /// Whether to insist on STARTTLS.
    pub wants_tls: bool,
    /// Name and password for AUTH PLAIN.
    pub login: Option<(String, Secret<String>)>,
}

/// A message to send.
#[derive(Clone, Debug)]
pub struct Mail {
    /// `local@domain`, or `None` for `<>`.
    pub sender: Option<String>,
    /// `local@domain` each.
    pub recipients: Vec<String>,
    /// The content, its lines ended by CRLF.
    pub data: Arc<[u8]>,
    /// The BODY parameter; [`BodyKind::SevenBit`] says nothing. BINARYMIME is not for this client.
    pub body: BodyKind,
    /// The SMTPUTF8 parameter.
    pub is_smtputf8: bool,
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
    StartTls,
    Handshake,
    Login,
    Ready,
    Sending(Sending),
    Resetting(Sent),
    Quitting,
    Over,
}

/// Replies come in the order of the commands: MAIL, RCPT for each, DATA, and the content's.
struct Sending {
    mail: Mail,
    /// Whether MAIL says how large the message is: only where that is offered (RFC 1870 §4).
    says_size: bool,
    /// Commands answered so far.
    answered: usize,
    mail_failure: Option<ServerReply>,
    /// One a recipient: RCPT's, and then the content's in place of an acceptance.
    replies: Vec<ServerReply>,
    /// Recipients whose content reply is due; empty before the content is sent.
    due: Vec<usize>,
}

/// One connection's client.
pub struct Client {
    config: ClientConfig,
    stage: Stage,
    replies: Replies,
    output: Vec<u8>,
    is_secured: bool,
    is_pipelining: bool,
    /// The server offers SIZE (RFC 1870).
    has_size: bool,
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
            replies: Replies::default(),
            output: Vec::new(),
            is_secured: false,
            is_pipelining: false,
            has_size: false,
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
        let sending = Sending {
            mail,
            says_size: self.has_size,
            answered: 0,
            mail_failure: None,
            replies: Vec::new(),
            due: Vec::new(),
        };
        sending.write_command(0, &mut self.output);
        if self.is_pipelining {
            // RFC 2920 §3.1: DATA is the last of its group.
            (1..=sending.last_command()).for_each(|number| sending.write_command(number, &mut self.output));
        }
        self.stage = Stage::Sending(sending);
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
            match self.stage {
                Stage::Ready => return ClientNext::Ready,
                Stage::Handshake => return ClientNext::StartTls,
                Stage::Over => return ClientNext::Closed,
                _ => {}
            }
            let reply = match self.replies.take() {
                Taken::Partial => return ClientNext::Read,
                Taken::Malformed => return self.fail(ClientError::Protocol),
                Taken::Reply(reply) => reply,
            };
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
            Stage::Resetting(sent) => {
                self.stage = Stage::Ready;
                Some(ClientNext::Sent(sent))
            }
            _ if !reply.is_positive() => Some(self.fail(ClientError::Refused(reply))),
            Stage::Greeting => {
                self.say_hello();
                None
            }
            Stage::Hello => self.hello(&reply),
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
        self.is_pipelining = reply.extension("PIPELINING").is_some();
        self.has_size = reply.extension("SIZE").is_some();
        if self.config.wants_tls && !self.is_secured {
            if reply.extension("STARTTLS").is_none() {
                return Some(self.fail(ClientError::NoTls));
            }
            self.output.extend_from_slice(b"STARTTLS\r\n");
            self.stage = Stage::StartTls;
            return None;
        }
        let Some((name, password)) = &self.config.login else {
            self.stage = Stage::Ready;
            return None;
        };
        if !reply.extension("AUTH").is_some_and(|names| names.split(' ').any(|name| name == "PLAIN")) {
            return Some(self.fail(ClientError::NoAuth));
        }
        // RFC 4616 §2: authorization identity (none), name, password.
        let response = STANDARD.encode(format!("\0{name}\0{}", password.reveal()));
        self.output.extend_from_slice(format!("AUTH PLAIN {response}\r\n").as_bytes());
        self.stage = Stage::Login;
        None
    }

    fn sending(&mut self, mut sending: Sending, reply: ServerReply) -> Option<ClientNext> {
        let answered = sending.answered;
        sending.answered += 1;
        if answered > sending.last_command() {
            return self.content_answered(sending, &reply);
        }
        if answered == sending.last_command() {
            return self.data_answered(sending, &reply);
        }
        match answered {
            0 if !reply.is_positive() => sending.mail_failure = Some(reply),
            0 => {}
            _ => sending.replies.push(reply),
        }
        if !self.is_pipelining {
            let is_hopeless = sending.mail_failure.is_some()
                || (sending.answered == sending.last_command() && sending.accepted().is_empty());
            if is_hopeless {
                return self.reset(sending);
            }
            sending.write_command(sending.answered, &mut self.output);
        }
        self.stage = Stage::Sending(sending);
        None
    }

    fn data_answered(&mut self, mut sending: Sending, reply: &ServerReply) -> Option<ClientNext> {
        let accepted = sending.accepted();
        if reply.code != 354 {
            let accepted = sending.replies.iter_mut().filter(|accepted| accepted.is_positive());
            accepted.for_each(|accepted| accepted.clone_from(reply));
            return self.reset(sending);
        }
        if accepted.is_empty() {
            // RFC 2920 §3.1: nobody wants it, and the server waits for it all the same.
            self.output.extend_from_slice(b".\r\n");
        } else {
            wire::stuff(&sending.mail.data, &mut self.output);
        }
        sending.due = accepted;
        self.stage = Stage::Sending(sending);
        None
    }

    /// RFC 2033 §4.2: one reply an accepted recipient; SMTP has one for all.
    fn content_answered(&mut self, mut sending: Sending, reply: &ServerReply) -> Option<ClientNext> {
        let count = if self.config.is_lmtp { sending.due.len().min(1) } else { sending.due.len() };
        for at in sending.due.drain(..count) {
            if let Some(place) = sending.replies.get_mut(at) {
                place.clone_from(reply);
            }
        }
        if !sending.due.is_empty() {
            self.stage = Stage::Sending(sending);
            return None;
        }
        self.stage = Stage::Ready;
        Some(ClientNext::Sent(sending.into_sent()))
    }

    /// The transaction failed before its content: it has to be closed before the next.
    fn reset(&mut self, sending: Sending) -> Option<ClientNext> {
        self.output.extend_from_slice(b"RSET\r\n");
        self.stage = Stage::Resetting(sending.into_sent());
        None
    }

    fn fail(&mut self, error: ClientError) -> ClientNext {
        self.stage = Stage::Over;
        ClientNext::Failed(error)
    }
}

impl Sending {
    /// DATA's number, with MAIL's 0 and the recipients' from 1.
    fn last_command(&self) -> usize {
        self.mail.recipients.len() + 1
    }

    fn accepted(&self) -> Vec<usize> {
        let is_accepted = |(at, reply): (usize, &ServerReply)| reply.is_positive().then_some(at);
        self.replies.iter().enumerate().filter_map(is_accepted).collect()
    }

    fn write_command(&self, number: usize, output: &mut Vec<u8>) {
        let mail = &self.mail;
        let line = match number.checked_sub(1) {
            None => {
                let body = match mail.body {
                    BodyKind::SevenBit => "",
                    BodyKind::EightBitMime => " BODY=8BITMIME",
                    BodyKind::BinaryMime => " BODY=BINARYMIME",
                };
                let utf8 = if mail.is_smtputf8 { " SMTPUTF8" } else { "" };
                let sender = mail.sender.as_deref().unwrap_or("");
                let size = if self.says_size { format!(" SIZE={}", mail.data.len()) } else { String::new() };
                format!("MAIL FROM:<{sender}>{size}{body}{utf8}\r\n")
            }
            Some(at) => match mail.recipients.get(at) {
                Some(recipient) => format!("RCPT TO:<{recipient}>\r\n"),
                None => "DATA\r\n".into(),
            },
        };
        output.extend_from_slice(line.as_bytes());
    }

    fn into_sent(self) -> Sent {
        let Some(failure) = self.mail_failure else { return Sent { replies: self.replies } };
        Sent { replies: alloc::vec![failure; self.mail.recipients.len()] }
    }
}
