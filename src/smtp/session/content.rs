//! DATA (RFC 5321 §4.1.1.4), BDAT (RFC 3030 §2), and what is said after them.

use alloc::boxed::Box;
use alloc::format;
use core::mem;

use base::{Charge, Next, Timestamp};

use super::Smtp;
use super::state::{Chunk, Client, State, Transaction, Wait};
use crate::body::{Content, DataReader, Fault, header_lines_fault};
use crate::config::Mode;
use crate::envelope::{BodyKind, Message, TransactionId};
use crate::headers::{header_facts, received_field};
use crate::limits::{CHUNK_BYTES_MAX, CONTENT_START_BYTES, HEADER_BYTES_MAX, RECEIVED_FIELDS_MAX};
use crate::reply::{self, Bad, Order, Refusal};
use crate::request::{Outcome, Refused, Request};

impl Smtp {
    pub(super) fn data(&mut self) {
        if let Some(order) = self.data_refusal() {
            return self.refuse_order(order);
        }
        if !self.has_memory(CONTENT_START_BYTES) {
            return self.refuse(Refusal::Content(Bad::NoMemory));
        }
        let State::Mail { client, mut transaction } = mem::replace(&mut self.state, State::Fresh) else {
            unreachable!("DATA outside a transaction was refused");
        };
        let reader = Box::new(DataReader::new(self.begin_content(&mut transaction)));
        self.state = State::Data { client, transaction, reader, began: self.now };
        self.output.extend_from_slice(b"354 send the message, end with a dot on a line\r\n");
        self.feed_rest();
    }

    fn data_refusal(&self) -> Option<Order> {
        match &self.state {
            State::Mail { transaction, .. } if transaction.chunks.is_some() => Some(Order::AfterChunk),
            // RFC 3030 §3.
            State::Mail { transaction, .. } if transaction.envelope.body == BodyKind::BinaryMime => {
                Some(Order::BinaryByData)
            }
            other => recipients_refusal(other),
        }
    }

    pub(super) fn bdat(&mut self, bytes: u64, is_last: bool) {
        if bytes > CHUNK_BYTES_MAX {
            self.refuse(Refusal::Content(Bad::TooLarge));
            self.state = State::Closing;
            return;
        }
        let refusal = recipients_refusal(&self.state).map(Refusal::Order).or_else(|| self.chunk_refusal());
        self.state = match (mem::replace(&mut self.state, State::Fresh), refusal) {
            // RFC 3030 §2: the octets of a refused chunk come all the same.
            (state, Some(refusal)) => {
                State::Skip { resume: Box::new(state), bytes_left: bytes, refusal, began: self.now }
            }
            (State::Mail { client, mut transaction }, None) => {
                let (content, began) = match transaction.chunks.take() {
                    Some(chunks) => chunks,
                    None => (self.begin_content(&mut transaction), self.now),
                };
                let chunk = Chunk { content, bytes, bytes_left: bytes, is_last, began };
                State::Chunk { client, transaction, chunk }
            }
            (_, None) => unreachable!("a chunk outside a transaction was refused"),
        };
        self.feed_rest();
    }

    /// The first chunk finds no memory: the transaction stays, for the client to try it again or to give
    /// it up.
    pub(super) fn chunk_refusal(&self) -> Option<Refusal> {
        let is_first = matches!(&self.state, State::Mail { transaction, .. } if transaction.chunks.is_none());
        (is_first && !self.has_memory(CONTENT_START_BYTES)).then_some(Refusal::Content(Bad::NoMemory))
    }

    /// The Received field has the moment at which content begins, so that it can stand in front of it.
    pub(super) fn begin_content(&self, transaction: &mut Transaction) -> Content {
        let envelope = &mut transaction.envelope;
        envelope.received = self.now;
        let field = received_field(envelope, &self.config.hostname);
        envelope.received_field_bytes = field.len();
        let promised = transaction.size_bytes.and_then(|size| usize::try_from(size).ok()).unwrap_or(0);
        let start_bytes = promised.min(CONTENT_START_BYTES);
        let charge = Charge::new(self.budget.clone());
        let bytes_max = self.config.limits.message_bytes_max;
        Content::new(field.as_bytes(), envelope.body, bytes_max, start_bytes, charge)
    }

    /// Whether there is memory now for content of so many bytes.
    pub(super) fn has_memory(&self, bytes: usize) -> bool {
        self.budget.as_ref().is_none_or(|budget| budget.has_room(bytes))
    }

    /// Gives the content what the client sent behind the command.
    fn feed_rest(&mut self) {
        let mut rest = mem::take(&mut self.input);
        let taken = self.take_content(&rest);
        if taken < rest.len() {
            rest.drain(..taken);
            self.input = rest;
        }
    }

    /// Takes from the front of `bytes` what is content; returns how much that was.
    pub(super) fn take_content(&mut self, bytes: &[u8]) -> usize {
        match &mut self.state {
            State::Data { reader, .. } => {
                let Some(left) = reader.push(bytes) else { return bytes.len() };
                self.data_done();
                bytes.len() - left
            }
            State::Chunk { chunk, .. } => {
                let front = front(bytes, chunk.bytes_left);
                chunk.content.push_chunk(front);
                chunk.bytes_left -= front.len() as u64;
                if chunk.bytes_left == 0 {
                    self.chunk_done();
                }
                front.len()
            }
            State::Skip { bytes_left, .. } => {
                let front = front(bytes, *bytes_left);
                *bytes_left -= front.len() as u64;
                if *bytes_left == 0 {
                    self.skip_done();
                }
                front.len()
            }
            _ => 0,
        }
    }

    fn data_done(&mut self) {
        let State::Data { client, transaction, reader, .. } = mem::replace(&mut self.state, State::Fresh)
        else {
            unreachable!("only DATA ends with a dot");
        };
        self.state = State::Complete { client, transaction, content: reader.into_content() };
    }

    fn chunk_done(&mut self) {
        let State::Chunk { client, transaction, chunk } = mem::replace(&mut self.state, State::Fresh) else {
            unreachable!("only a chunk ends by its length");
        };
        let Chunk { content, bytes, is_last, began, .. } = chunk;
        self.piece_done(client, transaction, (content, began), bytes, is_last);
    }

    /// A piece of content is here, of so many bytes: chunk or URL.
    pub(super) fn piece_done(
        &mut self,
        client: Client,
        mut transaction: Box<Transaction>,
        (content, began): (Content, Timestamp),
        bytes: u64,
        is_last: bool,
    ) {
        if is_last {
            self.state = State::Complete { client, transaction, content };
            return;
        }
        if let Some(fault) = content.fault() {
            // RFC 3030 §2: the transaction fails with its chunk; further ones are out of order.
            return self.refuse_content(client, bad(fault), 1);
        }
        transaction.chunks = Some((content, began));
        self.state = State::Mail { client, transaction };
        self.say(250, "2.0.0", &format!("{bytes} octets received"));
    }

    fn skip_done(&mut self) {
        let State::Skip { resume, refusal, .. } = mem::replace(&mut self.state, State::Fresh) else {
            unreachable!("only a skipped chunk ends so");
        };
        self.state = *resume;
        self.refuse(refusal);
    }

    /// All content is here: refuses it, or has it delivered.
    pub(super) fn judge(&mut self) -> Option<Next<Request>> {
        let State::Complete { client, transaction, content } = mem::replace(&mut self.state, State::Fresh)
        else {
            unreachable!("only what is complete is judged");
        };
        let replies = transaction.replies();
        let envelope = transaction.envelope;
        let (data, charge) = match content.finish() {
            Ok(finished) => finished,
            Err(fault) => {
                self.refuse_content(client, bad(fault), replies);
                return None;
            }
        };
        let content = data.get(envelope.received_field_bytes..).unwrap_or_default();
        let lines = (envelope.body == BodyKind::BinaryMime).then(|| header_lines_fault(content)).flatten();
        if let Some(bad) = lines.map(bad).or_else(|| header_fault(content)) {
            self.refuse_content(client, bad, replies);
            return None;
        }
        let (id, recipients) = (envelope.id, envelope.recipients.len());
        let wait = Wait::Delivery { client, id, recipients, charge };
        Some(self.ask(wait, Request::Deliver(Box::new(Message { envelope, data }))))
    }

    /// RFC 2033 §4.2: LMTP has one reply a recipient even when all of them are the same.
    pub(super) fn refuse_content(&mut self, client: Client, bad: Bad, replies: usize) {
        for _ in 0..replies {
            reply::refuse(&mut self.output, Refusal::Content(bad));
        }
        self.state = State::Ready(client);
    }

    pub(super) fn delivered(&mut self, client: Client, id: TransactionId, outcomes: &[Outcome]) {
        self.state = State::Ready(client);
        if outcomes.contains(&Outcome::Stored) {
            // Who brings mail may go on, however long the connection lasts.
            self.counts.idle_commands = 0;
            self.counts.bad_commands = 0;
        }
        if self.config.mode != Mode::Lmtp {
            return self.answer_delivery(id, reply::worst(outcomes));
        }
        for outcome in outcomes {
            let failure = (*outcome != Outcome::Stored).then_some(Refusal::Delivery(*outcome));
            self.answer_delivery(id, failure);
        }
    }

    /// The whole message is refused in somebody else's words.
    pub(super) fn message_refused(&mut self, client: Client, recipients: usize, refused: &Refused) {
        self.state = State::Ready(client);
        let replies = if self.config.mode == Mode::Lmtp { recipients } else { 1 };
        for _ in 0..replies {
            reply::refused(&mut self.output, refused);
        }
    }

    fn answer_delivery(&mut self, id: TransactionId, failure: Option<Refusal>) {
        match failure {
            None => self.stored(id),
            Some(refusal) => drop(reply::refuse(&mut self.output, refusal)),
        }
    }
}

/// Why no content may come in this state.
pub(super) fn recipients_refusal(state: &State) -> Option<Order> {
    match state {
        State::Mail { transaction, .. } if transaction.envelope.recipients.is_empty() => {
            Some(Order::NoRecipients)
        }
        State::Mail { .. } => None,
        State::Ready(_) => Some(Order::MailFirst),
        _ => Some(Order::HelloFirst),
    }
}

fn front(bytes: &[u8], count: u64) -> &[u8] {
    let count = usize::try_from(count).unwrap_or(usize::MAX).min(bytes.len());
    bytes.get(..count).unwrap_or(bytes)
}

fn bad(fault: Fault) -> Bad {
    match fault {
        Fault::BareLineBreak => Bad::LineBreak,
        Fault::Nul => Bad::Nul,
        Fault::TooLarge => Bad::TooLarge,
        Fault::NoMemory => Bad::NoMemory,
    }
}

/// What a header section cannot be (RFC 5321 §6.3).
fn header_fault(content: &[u8]) -> Option<Bad> {
    let facts = header_facts(content);
    if facts.bytes > HEADER_BYTES_MAX {
        return Some(Bad::HeaderTooLarge);
    }
    (facts.received_fields > RECEIVED_FIELDS_MAX).then_some(Bad::Loop)
}
