//! MAIL, RCPT and RSET (RFC 5321 §3.3).

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use base::Next;

use super::Smtp;
use super::state::{Client, State, Transaction, Wait};
use crate::command::{ParseError, RcptTo};
use crate::config::Mode;
use crate::envelope::{Envelope, Recipient, TransactionId};
use crate::limits::{CONTENT_START_BYTES, DELIVER_BY_S_MIN};
use crate::parameters::{MailParameters, RcptParameters};
use crate::path::Path;
use crate::reply::{self, Bad, End, Order, Refusal};
use crate::request::{RecipientCheck, Refused, Request, Verdict};
use crate::terms::{ByMode, Hold, Terms};

impl Smtp {
    pub(super) fn mail(&mut self, sender: Option<Path>, parameters: MailParameters) {
        let refusal = self.mail_refusal(sender.as_ref(), &parameters);
        if let Some(refusal) = refusal.or_else(|| self.terms_refusal(&parameters)) {
            return self.refuse(refusal);
        }
        if self.counts.transactions >= self.config.limits.transactions_max {
            return self.end(End::TooManyMessages);
        }
        let has_turn = self.counts.has_turn(self.now, self.config.limits.messages_per_minute_max);
        if !has_turn && !self.peer.is_trusted {
            return self.refuse(Refusal::TooFast);
        }
        let Some(client) = self.take_ready() else { return };
        self.counts.transactions += 1;
        let asked = parameters.priority.unwrap_or(0);
        let transaction = Box::new(self.transaction(&client, sender, parameters));
        let priority = transaction.envelope.terms.priority;
        self.state = State::Mail { client, transaction };
        if priority == asked {
            return self.say(250, "2.1.0", "sender ok");
        }
        // RFC 6710: the text begins with the priority that it gets.
        self.say(250, "2.3.6", &alloc::format!("{priority} is its priority here; sender ok"));
    }

    /// To our own users, and to systems of ours.
    pub(super) fn offers_verp(&self) -> bool {
        let may_verp = match self.config.mode {
            Mode::Submission => true,
            Mode::Mx => self.rights.may_verp,
            Mode::Lmtp => false,
        };
        self.config.offers_verp && may_verp
    }

    fn mail_refusal(&self, sender: Option<&Path>, parameters: &MailParameters) -> Option<Refusal> {
        let size_bytes_max = self.config.limits.message_bytes_max as u64;
        match &self.state {
            State::Mail { .. } => Some(Refusal::Order(Order::MailTwice)),
            // RFC 6409 §4.3.
            State::Ready(client) if self.config.mode == Mode::Submission && client.identity.is_none() => {
                Some(Refusal::AuthRequired)
            }
            State::Ready(_) if !parameters.is_smtputf8 && sender.is_some_and(|path| !path.is_ascii()) => {
                Some(Refusal::SenderNotAscii)
            }
            // RFC 4954 §5: the parameter comes with the extension.
            State::Ready(_) if parameters.verp.is_some() && !self.offers_verp() => {
                Some(Refusal::Parse(ParseError::Parameter))
            }
            // There is no address that could name anybody.
            State::Ready(_) if parameters.verp.is_some() && sender.is_none() => {
                Some(Refusal::Parse(ParseError::ParameterValue))
            }
            State::Ready(_) if parameters.has_auth && self.config.mode != Mode::Submission => {
                Some(Refusal::Parse(ParseError::Parameter))
            }
            // RFC 1870 §6.1: what is promised too large need not be sent.
            State::Ready(_) if parameters.size_bytes.is_some_and(|size| size > size_bytes_max) => {
                Some(Refusal::Content(Bad::TooLarge))
            }
            // What there is no memory for now need not be sent now.
            State::Ready(_) if !self.has_memory(promised_bytes(parameters)) => {
                Some(Refusal::Content(Bad::NoMemory))
            }
            State::Ready(_) => None,
            _ => Some(Refusal::Order(Order::HelloFirst)),
        }
    }

    /// What is asked of the message's way and is not to be had.
    fn terms_refusal(&self, parameters: &MailParameters) -> Option<Refusal> {
        let not_offered = Some(Refusal::Parse(ParseError::Parameter));
        let is_lmtp = self.config.mode == Mode::Lmtp;
        if is_lmtp && (parameters.requires_tls || parameters.priority.is_some() || parameters.by.is_some()) {
            return not_offered;
        }
        if parameters.requires_tls && self.tls.is_none() {
            return Some(Refusal::TlsRequired);
        }
        let by = parameters.by.filter(|by| by.mode == ByMode::Return);
        if by.is_some_and(|by| by.seconds < DELIVER_BY_S_MIN) {
            return Some(Refusal::TooSoon);
        }
        let hold = parameters.hold?;
        if !self.offers_hold() {
            return not_offered;
        }
        let ends = hold.ends(self.now);
        let is_too_long = ends > Hold::For(self.config.limits.hold_s_max).ends(self.now);
        // What is held beyond its time could only come back.
        let is_too_late = by.is_some_and(|by| ends >= by.from(self.now).at);
        let is_wrong = ends <= self.now || is_too_long || is_too_late;
        is_wrong.then_some(Refusal::Parse(ParseError::ParameterValue))
    }

    /// RFC 4865 §1: an extension of submission.
    pub(super) fn offers_hold(&self) -> bool {
        self.config.mode == Mode::Submission && self.config.limits.hold_s_max > 0
    }

    fn terms(&self, client: &Client, parameters: &MailParameters) -> Terms {
        let asked = parameters.priority.unwrap_or(0);
        // RFC 6710 §4.1: who is not known well enough is served as everybody, or after them.
        let may_prioritise = client.identity.is_some() || self.rights.may_prioritise;
        Terms {
            requires_tls: parameters.requires_tls,
            priority: if may_prioritise { asked } else { asked.min(0) },
            release_at: parameters.hold.map(|hold| hold.ends(self.now)),
            deliver_by: parameters.by.map(|by| by.from(self.now)),
            verp: parameters.verp,
        }
    }

    fn transaction(
        &mut self,
        client: &Client,
        sender: Option<Path>,
        parameters: MailParameters,
    ) -> Transaction {
        let envelope = Envelope {
            id: TransactionId(self.ids.next_u64()),
            mode: self.config.mode,
            helo: client.helo.clone(),
            is_extended: client.is_extended,
            peer: self.peer.clone(),
            tls: self.tls.clone(),
            identity: client.identity.clone(),
            sender,
            recipients: Vec::new(),
            body: parameters.body.unwrap_or_default(),
            is_smtputf8: parameters.is_smtputf8,
            ret: parameters.ret,
            terms: self.terms(client, &parameters),
            envid: parameters.envid,
            received: self.now,
            received_field_bytes: 0,
        };
        Transaction { envelope, size_bytes: parameters.size_bytes, chunks: None }
    }

    pub(super) fn rcpt(&mut self, to: RcptTo, parameters: RcptParameters) -> Option<Next<Request>> {
        let address = match to {
            RcptTo::Path(path) => path.into_string(),
            RcptTo::Postmaster => self.config.postmaster.clone(),
        };
        if let Some(refusal) = self.rcpt_refusal(&address) {
            self.refuse(refusal);
            return None;
        }
        let State::Mail { client, transaction } = mem::replace(&mut self.state, State::Fresh) else {
            unreachable!("a recipient outside a transaction was refused");
        };
        let check = RecipientCheck {
            address: address.clone(),
            sender: transaction.envelope.sender.clone(),
            identity: client.identity.clone(),
            mode: self.config.mode,
            size_bytes: transaction.size_bytes,
            id: transaction.envelope.id,
            helo: client.helo.clone(),
            is_extended: client.is_extended,
            tls: self.tls.clone(),
            accepted: u32::try_from(transaction.envelope.recipients.len()).unwrap_or(u32::MAX),
            refused: self.counts.bad_recipients.saturating_add(self.counts.bad_commands),
            messages: self.counts.transactions.saturating_sub(1),
        };
        let recipient = Recipient { address, orcpt: parameters.orcpt, notify: parameters.notify };
        Some(
            self.ask(Wait::Recipient { client, transaction, recipient }, Request::Recipient(Box::new(check))),
        )
    }

    fn rcpt_refusal(&self, address: &str) -> Option<Refusal> {
        match &self.state {
            // RFC 3030 §2: the recipients are settled once content comes.
            State::Mail { transaction, .. } if transaction.chunks.is_some() => {
                Some(Refusal::Order(Order::AfterChunk))
            }
            State::Mail { transaction, .. }
                if transaction.envelope.recipients.len() >= self.config.limits.recipients_max =>
            {
                Some(Refusal::TooManyRecipients)
            }
            State::Mail { transaction, .. } if !transaction.envelope.is_smtputf8 && !address.is_ascii() => {
                Some(Refusal::RecipientNotAscii)
            }
            State::Mail { .. } => None,
            State::Ready(_) => Some(Refusal::Order(Order::MailFirst)),
            _ => Some(Refusal::Order(Order::HelloFirst)),
        }
    }

    pub(super) fn recipient_answer(
        &mut self,
        client: Client,
        mut transaction: Box<Transaction>,
        recipient: Recipient,
        verdict: Verdict,
    ) {
        if verdict == Verdict::Accept {
            transaction.envelope.recipients.push(recipient);
            self.say(250, "2.1.5", "recipient ok");
        } else {
            let code = reply::refuse(&mut self.output, Refusal::Recipient(verdict, self.config.mode));
            self.counts.bad_recipients += u32::from(code >= 500);
        }
        self.state = State::Mail { client, transaction };
    }

    /// A recipient is refused in somebody else's words.
    pub(super) fn recipient_refused(
        &mut self,
        client: Client,
        transaction: Box<Transaction>,
        refused: &Refused,
    ) {
        let code = reply::refused(&mut self.output, refused);
        self.counts.bad_recipients += u32::from(code >= 500);
        self.state = State::Mail { client, transaction };
    }

    pub(super) fn rset(&mut self) {
        self.state = match mem::replace(&mut self.state, State::Fresh) {
            State::Mail { client, .. } => State::Ready(client),
            other => other,
        };
        self.idle_command(250, "2.0.0", "ok");
    }

    /// The text of an acknowledgement: the id is what people search the logs for.
    pub(super) fn stored(&mut self, id: TransactionId) {
        let text: String = alloc::format!("stored as {id}");
        self.say(250, "2.0.0", &text);
    }
}

/// The memory that a message will need at least.
fn promised_bytes(parameters: &MailParameters) -> usize {
    let promised = parameters.size_bytes.and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
    promised.max(CONTENT_START_BYTES)
}
