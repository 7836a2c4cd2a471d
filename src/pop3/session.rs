//! Order: which command is legal now (RFC 1939 §3), and what it asks of the outside.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;

use auth::{Exchange, Identity};
use base::{Line, LineError, Next, Session, Timestamp, TlsInfo, take_line};

use crate::limits::{AUTH_LINE_BYTES_MAX, COMMAND_BYTES_MAX, INPUT_BYTES_MAX};
use crate::{Command, Config, Entropy, Maildrop, Reply, Request, reply};

mod authorization;
mod transaction;

/// The server's side of one POP3 connection.
#[derive(Debug)]
pub struct Pop3 {
    config: Arc<Config>,
    tls: Option<TlsInfo>,
    entropy: Entropy,
    state: State,
    input: Vec<u8>,
    output: Vec<u8>,
    /// To be asked at the next call.
    request: Option<Request>,
    /// Tries to log in, under TLS or not: a new state value does not give new tries.
    attempts: usize,
    bad_commands: u32,
    clock: Option<Clock>,
    /// A command or a reply has come since the clock was last looked at.
    is_active: bool,
    is_draining: bool,
}

/// Moments that bound a connection.
#[derive(Clone, Copy, Debug)]
struct Clock {
    started: Timestamp,
    active: Timestamp,
}

/// Each state owns what is known in it.
#[derive(Debug)]
enum State {
    /// AUTHORIZATION (RFC 1939 §4), with the name that USER gave.
    Authorization { user: Option<Vec<u8>> },
    /// The client is to answer a challenge of AUTH.
    Challenged(Box<Exchange>),
    /// A handler is to answer a question of AUTH or PASS.
    Asking(Box<Exchange>),
    /// Logged in; the maildrop is being locked and opened.
    Opening(Identity),
    /// TRANSACTION (RFC 1939 §5).
    Transaction(Identity, Box<Maildrop>),
    /// TRANSACTION or UPDATE, the maildrop is with a handler.
    Working(Identity),
    /// TLS is to begin.
    StartingTls,
    /// Nothing more is read.
    Closing,
}

impl State {
    /// The state of a connection that has said nothing yet. STLS builds it anew (RFC 2595 §4).
    const fn new() -> Self {
        Self::Authorization { user: None }
    }
}

impl Pop3 {
    /// A session that has its greeting to say.
    pub fn new(config: Arc<Config>, entropy: Entropy) -> Self {
        let mut output = Vec::new();
        reply::greeting(&config.hostname, &mut output);
        Self {
            config,
            tls: None,
            entropy,
            state: State::new(),
            input: Vec::new(),
            output,
            request: None,
            attempts: 0,
            bad_commands: 0,
            clock: None,
            is_active: false,
            is_draining: false,
        }
    }

    /// Who has logged in, from the moment the maildrop is asked for.
    pub const fn identity(&self) -> Option<&Identity> {
        match &self.state {
            State::Opening(identity) | State::Transaction(identity, _) | State::Working(identity) => {
                Some(identity)
            }
            _ => None,
        }
    }

    /// One line, judged by the state.
    fn line(&mut self, line: &[u8]) {
        // Taken out, so that whoever handles the line says what comes next.
        match core::mem::replace(&mut self.state, State::Closing) {
            State::Challenged(mut exchange) => {
                let step = exchange.step_line(line);
                self.stepped(exchange, step);
            }
            State::Authorization { user } => match Command::parse(line) {
                Ok(command) => self.authorization(user, command),
                Err(error) => {
                    self.state = State::Authorization { user };
                    self.bad(|out| reply::parse_error(error, out));
                }
            },
            State::Transaction(identity, maildrop) => match Command::parse(line) {
                Ok(command) => self.transaction(identity, maildrop, command),
                Err(error) => {
                    self.state = State::Transaction(identity, maildrop);
                    self.bad(|out| reply::parse_error(error, out));
                }
            },
            _ => unreachable!("in no other state is a line taken"),
        }
    }

    /// A line that is none.
    fn line_error(&mut self, error: LineError) {
        match error {
            LineError::TooLong => {
                reply::err("the line is too long", &mut self.output);
                self.state = State::Closing;
            }
            LineError::BareLineBreak | LineError::Nul => {
                // The line might have been an answer to a challenge: the exchange is over.
                if matches!(self.state, State::Challenged(_)) {
                    self.state = State::new();
                }
                self.bad(|out| reply::err("a line has no CR, LF or NUL but its CRLF", out));
            }
        }
    }

    /// Answers a command that is none or stands in the wrong place.
    fn bad(&mut self, say: impl FnOnce(&mut Vec<u8>)) {
        self.bad_commands += 1;
        if self.bad_commands > self.config.limits.bad_commands_max {
            reply::err("too many bad commands", &mut self.output);
            self.state = State::Closing;
            return;
        }
        say(&mut self.output);
    }

    const fn line_bytes_max(&self) -> usize {
        match self.state {
            State::Challenged(_) => AUTH_LINE_BYTES_MAX,
            _ => COMMAND_BYTES_MAX,
        }
    }

    fn tick(&mut self, now: Timestamp) {
        let clock = self.clock.get_or_insert(Clock { started: now, active: now });
        if core::mem::take(&mut self.is_active) {
            clock.active = now;
        }
    }

    const fn is_logged_in(&self) -> bool {
        matches!(self.state, State::Transaction(..) | State::Working(_))
    }
}

impl Session for Pop3 {
    type Request = Request;
    type Reply = Reply;

    fn input(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    fn room(&self) -> usize {
        INPUT_BYTES_MAX.saturating_sub(self.input.len())
    }

    fn next(&mut self, now: Timestamp) -> Next<Request> {
        self.tick(now);
        // RFC 1939 §3: the connection ends without a word, and nothing is removed.
        if now >= self.deadline() {
            self.state = State::Closing;
        }
        loop {
            if let Some(request) = self.request.take() {
                return Next::Run(request);
            }
            match &self.state {
                State::Closing => return Next::Close,
                State::Opening(_) => return Next::Run(Request::Open),
                State::StartingTls => {
                    // RFC 2595 §4: nothing that came in clear is heard after it.
                    self.input = Vec::new();
                    return Next::StartTls;
                }
                State::Asking(_) | State::Working(_) => panic!("the last request has not been replied to"),
                State::Authorization { .. } | State::Challenged(_) | State::Transaction(..) => {}
            }
            let line_bytes_max = self.line_bytes_max();
            match take_line(&mut self.input, line_bytes_max) {
                Ok(Line::Complete(line)) => {
                    self.is_active = true;
                    self.tick(now);
                    self.line(&line);
                }
                // Between two commands is the place to stop at.
                Ok(Line::Partial) if self.is_draining => return Next::Close,
                Ok(Line::Partial) => break,
                Err(error) => self.line_error(error),
            }
        }
        if self.input.is_empty() {
            // An idle connection holds no buffer.
            self.input = Vec::new();
        }
        Next::Read
    }

    fn reply(&mut self, reply: Reply) {
        self.is_active = true;
        match (core::mem::replace(&mut self.state, State::Closing), reply) {
            (State::Asking(mut exchange), Reply::Auth(answer)) => {
                let step = exchange.answer(answer);
                self.stepped(exchange, step);
            }
            (State::Opening(identity), Reply::Opened(outcome)) => self.opened(identity, outcome),
            (State::Opening(identity), Reply::Moved) => self.state = State::Opening(identity),
            (State::Working(identity), Reply::Done(maildrop, outcome)) => {
                self.done(identity, maildrop, outcome);
            }
            (_, Reply::Closed) => reply::closed(&mut self.output),
            _ => panic!("a reply to a request that was not made"),
        }
    }

    fn deadline(&self) -> Timestamp {
        let Some(clock) = self.clock else { return Timestamp::NEVER };
        let limits = &self.config.limits;
        let idle = clock.active + Duration::from_millis(limits.idle_ms_max);
        if self.is_logged_in() {
            return idle;
        }
        idle.min(clock.started + Duration::from_millis(limits.login_ms_max))
    }

    fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    fn secured(&mut self, tls: TlsInfo) {
        self.tls = Some(tls);
        self.state = State::new();
    }

    fn drain(&mut self) {
        self.is_draining = true;
    }
}
