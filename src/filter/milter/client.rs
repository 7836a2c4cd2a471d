//! A connection to a milter: which command is sent when, and what its answer means.

use alloc::string::String;
use alloc::vec::Vec;
use core::mem;
use core::net::IpAddr;

use base::Timestamp;

use super::agreed::{Agreed, Kind, Message, Scope};
use super::heard::{Decision, Gathered, Heard, Leave};
use super::macros::{Macros, Stage};
use super::message::{Piece, Sending};
use super::wire::{Packet, VERSION, command, put, put_string, reply, step, take_packet};
use super::{ClientAddress, Event, MilterConfig, Reuse};
use crate::exchange::{Exchange, Next};
use crate::limits::OUTPUT_BYTES;
use crate::outcome::{Failure, Outcome};

/// One connection to a milter. Ask it about one event at a time ([`Milter::ask`]), drive it until it answers, ask
/// the next. One connection serves one SMTP session, and others after it ([`Milter::release`]).
#[derive(Debug)]
pub struct Milter {
    config: MilterConfig,
    input: Vec<u8>,
    output: Vec<u8>,
    is_ended: bool,
    state: State,
    /// The event that is being asked about; it waits while options are negotiated.
    event: Option<Event>,
    agreed: Agreed,
    macros: Macros,
    gathered: Gathered,
    scope: Scope,
    /// When the wait for the next bytes ends, and when the wait for the answer does.
    deadline: Timestamp,
    last_deadline: Timestamp,
    is_progressing: bool,
    is_new_question: bool,
}

/// What is being waited for.
#[derive(Debug)]
enum State {
    /// The answer to our offer.
    Negotiating,
    /// Nothing.
    Idle,
    /// An answer to this command; with a message, what of it is left follows.
    Waiting(Kind, Option<Sending>),
    /// A message with no answer due.
    Sending(Sending),
    /// It has failed before.
    Failed(Failure),
}

impl Milter {
    /// A new connection. Nothing is asked yet; the offer of options is in the output.
    pub fn new(config: MilterConfig) -> Self {
        let mut output = Vec::new();
        Agreed::put_offer(&mut output);
        Self {
            config,
            input: Vec::new(),
            output,
            is_ended: false,
            state: State::Negotiating,
            event: None,
            agreed: Agreed::default(),
            macros: Macros::default(),
            gathered: Gathered::default(),
            scope: Scope::default(),
            deadline: Timestamp::NEVER,
            last_deadline: Timestamp::NEVER,
            is_progressing: true,
            is_new_question: true,
        }
    }

    /// Gives a macro its value, before the event at whose stage it belongs: `j`, `i`, `{client_addr}`,
    /// `{auth_authen}` and whatever else Sendmail has names for. Those that the milter asked for are sent, or
    /// else the usual ones.
    pub fn set_macro(&mut self, name: &str, value: &[u8]) {
        self.macros.set(name, value);
    }

    /// Takes a macro's value away, as that of a message is when the message is over.
    pub fn unset_macro(&mut self, name: &str) {
        self.macros.unset(name);
    }

    /// Asks about an event. The last one must have been answered.
    pub fn ask(&mut self, event: Event) {
        assert!(self.event.is_none() && !self.is_waiting(), "one question at a time");
        if let Event::Mail { .. } = event {
            self.scope.message = Message::None;
            self.scope.skipped.clear();
        }
        if self.scope.message == Message::Continued {
            self.scope.message = Message::None;
        }
        self.gathered = Gathered::default();
        self.event = Some(event);
        self.is_progressing = true;
        self.is_new_question = true;
    }

    /// Whether recipients that we refuse should be asked about too.
    pub const fn wants_rejected_recipients(&self) -> bool {
        self.agreed.has(step::REJECTED_RCPT)
    }

    /// The message that was begun is not going on: RSET, a refusal of ours, a new HELO. The milter forgets it.
    /// With an answer still due, the connection is of no more use after this: drop it.
    pub fn abort(&mut self) {
        self.event = None;
        if self.is_waiting() {
            self.state = State::Failed(Failure::Closed);
        }
        if mem::take(&mut self.scope.message) == Message::Open && matches!(self.state, State::Idle) {
            put(&mut self.output, command::ABORT, &[]);
        }
        self.scope.skipped.clear();
    }

    /// The SMTP session is over. `true`: write the output; another session's first event can be asked about next.
    /// `false`: write the output and close the connection ([`Reuse`] says when).
    pub fn release(&mut self) -> bool {
        let is_wanted = match self.config.reuse {
            Reuse::Never => false,
            Reuse::AfterContinue => self.scope.message == Message::Continued,
            Reuse::Always => true,
        };
        let is_reusable = is_wanted
            && matches!(self.state, State::Idle)
            && self.agreed.version >= VERSION
            && !self.is_ended;
        self.abort();
        self.scope = Scope::default();
        self.macros.clear();
        if is_reusable {
            put(&mut self.output, command::QUIT_NEW_CONNECTION, &[]);
        } else if !matches!(self.state, State::Failed(_)) {
            self.quit();
        }
        is_reusable
    }

    /// Says goodbye: write the output, then close the connection.
    pub fn quit(&mut self) {
        put(&mut self.output, command::QUIT, &[]);
        self.state = State::Failed(Failure::Closed);
    }

    const fn is_waiting(&self) -> bool {
        matches!(self.state, State::Waiting(..) | State::Sending(_))
    }

    fn step(&mut self) -> Result<Option<Next<Outcome>>, Failure> {
        while let Some(packet) = take_packet(&mut self.input)? {
            self.is_progressing = true;
            if let Some(outcome) = self.hear(&packet)? {
                return Ok(Some(Next::Answer(outcome)));
            }
        }
        match mem::replace(&mut self.state, State::Idle) {
            State::Failed(failure) => Err(failure),
            waiting @ (State::Negotiating | State::Waiting(..)) => {
                self.state = waiting;
                if self.is_ended { Err(Failure::Closed) } else { Ok(Some(Next::Read)) }
            }
            State::Sending(sending) => {
                self.is_progressing = true;
                self.send_piece(sending);
                let is_full = self.output.len() >= OUTPUT_BYTES && matches!(self.state, State::Sending(_));
                Ok(is_full.then_some(Next::Write))
            }
            State::Idle => {
                let Some(event) = self.event.take() else { return Ok(Some(Next::Read)) };
                if self.is_ended {
                    return Err(Failure::Closed);
                }
                let is_done = self.scope.is_connection_done
                    || (self.scope.message == Message::Decided
                        && !matches!(event, Event::Connect { .. } | Event::Helo(_)));
                let is_answered = is_done || self.begin(event);
                Ok(is_answered.then_some(Next::Answer(Outcome::CONTINUE)))
            }
        }
    }

    /// Says the event; `true` when nothing needs to be waited for.
    fn begin(&mut self, event: Event) -> bool {
        let mut data = Vec::new();
        let (kind, stage, letter) = match event {
            Event::Message(content) => {
                self.state = State::Sending(Sending::new(content));
                return false;
            }
            Event::Connect { name, from } => {
                self.scope = Scope::default();
                put_client(&mut data, &name, &from);
                (Kind::Connect, Some(Stage::Connect), command::CONNECT)
            }
            Event::Helo(name) => {
                put_string(&mut data, name.as_bytes());
                (Kind::Helo, Some(Stage::Helo), command::HELO)
            }
            Event::Mail { path, parameters } => {
                self.scope.message = Message::Open;
                put_arguments(&mut data, &path, &parameters);
                (Kind::Mail, Some(Stage::Mail), command::MAIL)
            }
            Event::Rcpt { path, parameters } => {
                put_arguments(&mut data, &path, &parameters);
                (Kind::Rcpt, Some(Stage::Rcpt), command::RCPT)
            }
            Event::Data => (Kind::Data, Some(Stage::Data), command::DATA),
            Event::Unknown(line) => {
                put_string(&mut data, line.as_bytes());
                (Kind::Unknown, None, command::UNKNOWN)
            }
        };
        // Macros go out even where the command does not: Sendmail's filters find them later.
        if let Some(stage) = stage {
            self.macros.put(&mut self.output, stage, &self.agreed.symbols);
        }
        if self.agreed.leaves_out(kind) || self.scope.skipped.contains(&kind) {
            return true;
        }
        put(&mut self.output, letter, &[&data]);
        if self.agreed.is_unanswered(kind) {
            return true;
        }
        self.state = State::Waiting(kind, None);
        false
    }

    fn send_piece(&mut self, mut sending: Sending) {
        let piece = sending.piece();
        let kind = Kind::Piece(piece);
        match piece {
            Piece::HeaderEnd => self.macros.put(&mut self.output, Stage::HeaderEnd, &self.agreed.symbols),
            Piece::End => self.macros.put(&mut self.output, Stage::BodyEnd, &self.agreed.symbols),
            Piece::Field | Piece::Body => {}
        }
        if self.agreed.leaves_out(kind) || self.scope.skipped.contains(&kind) {
            sending.skip();
            self.state = State::Sending(sending);
            return;
        }
        sending.put(&mut self.output, self.agreed.has(step::LEADING_SPACE));
        self.state = if self.agreed.is_unanswered(kind) {
            State::Sending(sending)
        } else {
            State::Waiting(kind, Some(sending))
        };
    }

    /// Takes one packet in; the outcome, when it is the last word on the event.
    fn hear(&mut self, packet: &Packet) -> Result<Option<Outcome>, Failure> {
        let (kind, sending) = match mem::replace(&mut self.state, State::Idle) {
            State::Negotiating => {
                if !self.agreed.hear(packet)? {
                    self.state = State::Negotiating;
                }
                return Ok(None);
            }
            State::Waiting(kind, sending) => (kind, sending),
            // It may refuse a message while pieces that it does not answer are still going out.
            State::Sending(sending) => (Kind::Piece(sending.piece()), Some(sending)),
            State::Failed(failure) => return Err(failure),
            State::Idle if packet.letter == reply::PROGRESS => return Ok(None),
            State::Idle => return Err(Failure::Protocol("an answer to nothing")),
        };
        let leave = Leave {
            actions: self.agreed.actions,
            may_skip: self.agreed.has(step::SKIP),
            has_leading_space: self.agreed.has(step::LEADING_SPACE),
            is_end: kind == Kind::Piece(Piece::End),
            body_bytes_max: self.config.body_bytes_max,
        };
        match self.gathered.hear(packet, leave)? {
            Heard::Decision(decision) => Ok(self.decide(kind, sending, decision)),
            Heard::Progress | Heard::Noted => {
                self.state = State::Waiting(kind, sending);
                Ok(None)
            }
        }
    }

    fn decide(&mut self, kind: Kind, sending: Option<Sending>, decision: Decision) -> Option<Outcome> {
        let is_end = kind == Kind::Piece(Piece::End);
        if decision == Decision::Skip && !is_end {
            self.scope.skipped.push(kind);
        }
        if let Some(sending) = sending.filter(|_| !is_end)
            && matches!(decision, Decision::Continue | Decision::Skip)
        {
            self.state = State::Sending(sending);
            return None;
        }
        let is_final = !matches!(decision, Decision::Continue | Decision::Skip);
        match kind {
            // Nothing of it is left to be forgotten.
            Kind::Piece(Piece::End) => {
                self.scope.message = if is_final { Message::None } else { Message::Continued };
            }
            Kind::Connect | Kind::Helo => self.scope.is_connection_done |= decision == Decision::Accept,
            // One recipient refused is not the message refused.
            Kind::Rcpt | Kind::Unknown if matches!(decision, Decision::Refuse(_)) => {}
            Kind::Unknown => {}
            _ if is_final => self.finish_message(),
            _ => {}
        }
        Some(mem::take(&mut self.gathered).outcome(decision))
    }

    /// It has decided before the message's end.
    fn finish_message(&mut self) {
        if mem::replace(&mut self.scope.message, Message::Decided) == Message::Open {
            put(&mut self.output, command::ABORT, &[]);
        }
    }

    const fn wait_ms_max(&self) -> i64 {
        match self.state {
            State::Waiting(Kind::Piece(_), _) | State::Sending(_) => self.config.content_ms_max,
            _ => self.config.command_ms_max,
        }
    }
}

impl Exchange for Milter {
    type Answer = Outcome;

    fn input(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    fn ended(&mut self) {
        self.is_ended = true;
    }

    fn next(&mut self, now: Timestamp) -> Next<Outcome> {
        let next = loop {
            match self.step() {
                Ok(None) => {}
                Ok(Some(next)) => break next,
                Err(failure) => break Next::Failed(failure),
            }
        };
        let after = |ms: i64| Timestamp::from_ms(now.as_ms().saturating_add(ms));
        if mem::take(&mut self.is_new_question) {
            self.last_deadline = after(self.config.question_ms_max);
        }
        if mem::take(&mut self.is_progressing) {
            self.deadline = after(self.wait_ms_max()).min(self.last_deadline);
        }
        let is_late = now >= self.deadline && !matches!(self.state, State::Idle);
        let next = if is_late && matches!(next, Next::Read | Next::Write) {
            Next::Failed(Failure::Timeout)
        } else {
            next
        };
        if let Next::Failed(failure) = &next {
            self.state = State::Failed(failure.clone());
            self.event = None;
        }
        next
    }

    fn deadline(&self) -> Timestamp {
        match self.state {
            State::Idle | State::Failed(_) => Timestamp::NEVER,
            _ => self.deadline,
        }
    }

    fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }
}

fn put_arguments(data: &mut Vec<u8>, path: &str, parameters: &[String]) {
    put_string(data, path.as_bytes());
    for parameter in parameters {
        put_string(data, parameter.as_bytes());
    }
}

fn put_client(data: &mut Vec<u8>, name: &str, from: &ClientAddress) {
    put_string(data, name.as_bytes());
    let (family, port, address) = match from {
        ClientAddress::Unknown => return data.push(b'U'),
        ClientAddress::Unix(path) => (b'L', 0, path.clone()),
        ClientAddress::Ip(IpAddr::V4(address), port) => (b'4', *port, alloc::format!("{address}")),
        ClientAddress::Ip(IpAddr::V6(address), port) => (b'6', *port, alloc::format!("{address}")),
    };
    data.push(family);
    data.extend_from_slice(&port.to_be_bytes());
    put_string(data, address.as_bytes());
}
