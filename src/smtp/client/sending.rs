//! One message on its way: the commands, the content, and whose each reply is.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use super::extensions::Extensions;
use super::wire::{self, ServerReply};
use super::{Mail, Sent};
use base::{Notify, Return};

use crate::envelope::BodyKind;
use crate::limits::{CLIENT_CHUNK_BYTES_MAX, CLIENT_PIECE_BYTES};
use crate::parameters::to_xtext;

/// Replies come in the order of the commands: MAIL, RCPT for each, DATA, and the content's. With BDAT (RFC 3030
/// §2) there is no DATA: the content goes right behind the recipients, and the whole message is one round trip.
pub(super) struct Sending {
    mail: Mail,
    offered: Offered,
    /// By BDAT, with all commands at once.
    is_chunked: bool,
    /// Commands answered so far.
    answered: usize,
    mail_failure: Option<ServerReply>,
    /// One a recipient: RCPT's, and then the content's in place of an acceptance.
    replies: Vec<ServerReply>,
    /// Recipients whose content reply is due; empty before the content may be sent.
    due: Vec<usize>,
    content: Content,
}

/// What of the server's extensions the commands need.
#[derive(Clone, Copy)]
#[expect(clippy::struct_excessive_bools, reason = "each is a keyword of its own")]
struct Offered {
    is_pipelining: bool,
    size: bool,
    eight_bit_mime: bool,
    dsn: bool,
    priority: bool,
    deliver_by: bool,
}

/// How much of the content has been written.
enum Content {
    NotYet,
    /// From here on it is to be written.
    From(usize),
    Written,
}

/// What follows from a reply.
pub(super) enum Then {
    More,
    Done,
    Reset,
    /// It has no meaning in its place. Nothing follows from it, least of all that the message was taken.
    Broken,
}

impl Sending {
    /// Writes the first command, and with pipelining all there are.
    pub(super) fn begin(mail: Mail, extensions: &Extensions, may_chunk: bool, output: &mut Vec<u8>) -> Self {
        let offered = Offered {
            is_pipelining: extensions.pipelining,
            size: extensions.size.is_some(),
            eight_bit_mime: extensions.eight_bit_mime,
            dsn: extensions.dsn,
            priority: extensions.priority,
            deliver_by: extensions.deliver_by_s_min.is_some(),
        };
        // What nobody wants is sent for nothing: so not what is large.
        let is_chunked = (may_chunk || mail.body == BodyKind::BinaryMime)
            && extensions.chunking
            && offered.is_pipelining
            && mail.data.len() <= CLIENT_CHUNK_BYTES_MAX;
        let mut sending = Self {
            mail,
            offered,
            is_chunked,
            answered: 0,
            mail_failure: None,
            replies: Vec::new(),
            due: Vec::new(),
            content: Content::NotYet,
        };
        sending.write_command(0, output);
        if offered.is_pipelining {
            // RFC 2920 §3.1: DATA is the last of its group.
            (1..=sending.last_command()).for_each(|number| sending.write_command(number, output));
        }
        if is_chunked {
            output.extend_from_slice(&sending.mail.data);
            sending.content = Content::Written;
        }
        sending
    }

    /// Whether the server has, or will have with the output, all there is. Where all went at once, that is so from its first
    /// answer on: before it, a connection that was idle may have ended long ago.
    pub(super) fn is_in_doubt(&self) -> bool {
        let is_read = if self.is_chunked { self.answered > 0 } else { !self.due.is_empty() };
        matches!(self.content, Content::Written) && is_read
    }

    /// Whether all of the content has been written.
    pub(super) fn is_written(&self) -> bool {
        matches!(self.content, Content::Written)
    }

    /// Writes some of the content, where it may be sent and is not; true when it did.
    pub(super) fn write_more(&mut self, output: &mut Vec<u8>) -> bool {
        let Content::From(from) = self.content else { return false };
        let next = wire::stuff_piece(&self.mail.data, from, CLIENT_PIECE_BYTES, output);
        self.content = next.map_or(Content::Written, Content::From);
        true
    }

    /// Takes the reply to the command that is due.
    pub(super) fn take(&mut self, reply: ServerReply, is_lmtp: bool, output: &mut Vec<u8>) -> Then {
        let answered = self.answered;
        self.answered += 1;
        let is_data = answered == self.last_command() && !self.is_chunked;
        let is_meant =
            if is_data { matches!(reply.code, 354 | 400..) } else { !matches!(reply.code, 300..400) };
        if !is_meant {
            return Then::Broken;
        }
        if answered > self.last_command() {
            return self.content_answered(&reply, is_lmtp);
        }
        if answered == self.last_command() {
            return if self.is_chunked {
                self.chunk_answered(&reply, is_lmtp)
            } else {
                self.data_answered(&reply, output)
            };
        }
        match answered {
            0 if !reply.is_positive() => self.mail_failure = Some(reply),
            0 => {}
            _ => self.replies.push(reply),
        }
        if !self.offered.is_pipelining {
            let is_hopeless = self.mail_failure.is_some()
                || (self.answered == self.last_command() && self.accepted().is_empty());
            if is_hopeless {
                return Then::Reset;
            }
            self.write_command(self.answered, output);
        }
        Then::More
    }

    /// The one reply to a chunk that is the last, in SMTP; in LMTP the first of several.
    fn chunk_answered(&mut self, reply: &ServerReply, is_lmtp: bool) -> Then {
        self.due = self.accepted();
        if self.due.is_empty() {
            // It was refused, for want of recipients.
            return Then::Reset;
        }
        match self.content_answered(reply, is_lmtp) {
            // RFC 3030 §2: after a refused chunk nothing but RSET is sure.
            Then::Done if !reply.is_positive() => Then::Reset,
            then => then,
        }
    }

    fn data_answered(&mut self, reply: &ServerReply, output: &mut Vec<u8>) -> Then {
        let accepted = self.accepted();
        if reply.code != 354 {
            let accepted = self.replies.iter_mut().filter(|accepted| accepted.is_positive());
            accepted.for_each(|accepted| accepted.clone_from(reply));
            return Then::Reset;
        }
        if accepted.is_empty() {
            // RFC 2920 §3.1: nobody wants it, and the server waits for it all the same.
            output.extend_from_slice(b".\r\n");
        } else {
            self.content = Content::From(0);
        }
        self.due = accepted;
        Then::More
    }

    /// RFC 2033 §4.2: one reply an accepted recipient; SMTP has one for all.
    fn content_answered(&mut self, reply: &ServerReply, is_lmtp: bool) -> Then {
        let count = if is_lmtp { self.due.len().min(1) } else { self.due.len() };
        for at in self.due.drain(..count) {
            if let Some(place) = self.replies.get_mut(at) {
                place.clone_from(reply);
            }
        }
        if self.due.is_empty() { Then::Done } else { Then::More }
    }

    /// The number of DATA or BDAT, with MAIL's 0 and the recipients' from 1.
    fn last_command(&self) -> usize {
        self.mail.recipients.len() + 1
    }

    fn accepted(&self) -> Vec<usize> {
        if self.mail_failure.is_some() {
            return Vec::new();
        }
        let is_accepted = |(at, reply): (usize, &ServerReply)| reply.is_positive().then_some(at);
        self.replies.iter().enumerate().filter_map(is_accepted).collect()
    }

    fn write_command(&self, number: usize, output: &mut Vec<u8>) {
        let Some(at) = number.checked_sub(1) else { return self.write_mail(output) };
        match self.mail.recipients.get(at) {
            Some(_) => self.write_rcpt(at, output),
            None if self.is_chunked => {
                output.extend_from_slice(format!("BDAT {} LAST\r\n", self.mail.data.len()).as_bytes());
            }
            None => output.extend_from_slice(b"DATA\r\n"),
        }
    }

    fn write_mail(&self, output: &mut Vec<u8>) {
        let mail = &self.mail;
        let mut line = format!("MAIL FROM:<{}>", mail.sender.as_deref().unwrap_or(""));
        if self.offered.size {
            add(&mut line, format_args!(" SIZE={}", mail.data.len()));
        }
        line.push_str(match mail.body {
            BodyKind::EightBitMime if self.offered.eight_bit_mime => " BODY=8BITMIME",
            BodyKind::SevenBit | BodyKind::EightBitMime => "",
            BodyKind::BinaryMime => " BODY=BINARYMIME",
        });
        if mail.is_smtputf8 {
            line.push_str(" SMTPUTF8");
        }
        if mail.requires_tls {
            line.push_str(" REQUIRETLS");
        }
        if self.offered.priority && mail.priority != 0 {
            add(&mut line, format_args!(" MT-PRIORITY={}", mail.priority));
        }
        if let Some(by) = mail.by.filter(|_| self.offered.deliver_by) {
            add(&mut line, format_args!(" BY={by}"));
        }
        if self.offered.dsn {
            line.push_str(match mail.ret {
                None => "",
                Some(Return::Full) => " RET=FULL",
                Some(Return::Headers) => " RET=HDRS",
            });
            if let Some(envid) = &mail.envid {
                add(&mut line, format_args!(" ENVID={}", to_xtext(envid)));
            }
        }
        line.push_str("\r\n");
        output.extend_from_slice(line.as_bytes());
    }

    fn write_rcpt(&self, at: usize, output: &mut Vec<u8>) {
        let Some(to) = self.mail.recipients.get(at) else { return };
        let mut line = format!("RCPT TO:<{}>", to.address);
        if self.offered.dsn {
            if let Some(notify) = to.notify {
                line.push_str(&notify_parameter(notify));
            }
            if let Some(orcpt) = &to.orcpt {
                add(&mut line, format_args!(" ORCPT={orcpt}"));
            }
        }
        line.push_str("\r\n");
        output.extend_from_slice(line.as_bytes());
    }

    pub(super) fn into_sent(self) -> Sent {
        let Some(failure) = self.mail_failure else { return Sent { replies: self.replies } };
        Sent { replies: alloc::vec![failure; self.mail.recipients.len()] }
    }
}

fn add(line: &mut String, words: fmt::Arguments<'_>) {
    line.write_fmt(words).expect("a String takes all");
}

/// ` NOTIFY=..` (RFC 3461 §4.1).
fn notify_parameter(notify: Notify) -> String {
    let Notify { on_success, on_failure, on_delay } = notify;
    let chosen = [(on_success, "SUCCESS"), (on_failure, "FAILURE"), (on_delay, "DELAY")];
    let names: Vec<_> = chosen.iter().filter(|(is_chosen, _)| *is_chosen).map(|(_, name)| *name).collect();
    if names.is_empty() { " NOTIFY=NEVER".into() } else { format!(" NOTIFY={}", names.join(",")) }
}
