//! Order: which command is legal in which state (RFC 9051 §3), and what a connection may do before it
//! is ended. What commands do to an account is in `handlers/`.

mod command;
mod idle;
mod login;
mod state;

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::fmt;

use base::{Budget, ChangeNumber, Next, Secret, Session, Timestamp, TlsInfo};

use crate::capability::{Enabled, Situation, write_capabilities};
use crate::command::parse;
use crate::config::Config;
use crate::handlers::{Act, Reply};
use crate::input::{Input, Refusal, Taken};
use crate::limits::LOGIN_ATTEMPTS_MAX;
use crate::reply::{self, Code, Failure, Success};
use state::State;

/// What the session asks of the outside.
#[derive(Debug)]
pub enum Request {
    /// Who is this? Answered by whoever has the directory.
    Auth(auth::Query),
    /// Somebody has logged in: make their account ready, where it is. The session's answer to the
    /// login waits for it.
    Open,
    /// A command on the account, for [`crate::handle`].
    Act(Box<Act>),
}

/// The server's side of one connection. A plain value: see [`base::Session`].
pub struct Imap {
    config: Arc<Config>,
    /// One for each AUTHENTICATE, the next one last.
    nonces: Secret<[[u8; 18]; LOGIN_ATTEMPTS_MAX]>,
    login_attempts: usize,
    tls: Option<TlsInfo>,
    state: State,
    enabled: Enabled,
    input: Input,
    output: Vec<u8>,
    bad_commands: u32,
    /// The first call of `next`, once there was one.
    started: Option<Timestamp>,
    /// When the peer last sent something or was last waited for.
    active: Timestamp,
    has_arrived: bool,
    is_draining: bool,
}

impl fmt::Debug for Imap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imap").field("state", &self.state.name()).finish_non_exhaustive()
    }
}

impl Imap {
    /// A new connection. It greets at the first [`Session::next`], when it is known whether it is
    /// under TLS from its start. `nonces` are fresh, from the system's generator.
    pub fn new(config: Arc<Config>, nonces: Secret<[[u8; 18]; LOGIN_ATTEMPTS_MAX]>) -> Self {
        Self {
            config,
            nonces,
            login_attempts: 0,
            tls: None,
            state: State::NotAuthenticated,
            enabled: Enabled::NONE,
            input: Input::default(),
            output: Vec::new(),
            bad_commands: 0,
            started: None,
            active: Timestamp::NEVER,
            has_arrived: false,
            is_draining: false,
        }
    }

    /// Literals are taken of this budget, which the connection shares with others, until their command
    /// is done.
    #[must_use]
    pub fn with_budget(mut self, budget: Arc<Budget>) -> Self {
        self.input = Input::within(budget);
        self
    }

    /// Who logged in, if anybody.
    pub fn identity(&self) -> Option<&auth::Identity> {
        self.state.identity()
    }

    /// During IDLE with a mailbox selected: the change of the account up to which the client has
    /// been told. Whoever drives the session waits for the next one after it.
    pub fn watches(&self) -> Option<ChangeNumber> {
        match &self.state {
            State::Idle(idle) => idle.selected.as_ref().map(|view| view.seen_change),
            _ => None,
        }
    }

    /// Bytes held for the peer: input not yet acted on and output not yet taken.
    pub fn buffered_bytes(&self) -> usize {
        self.input.buffered_bytes() + self.output.capacity()
    }

    fn greet(&mut self) {
        self.output.extend_from_slice(b"* OK [");
        self.write_capabilities(false);
        self.output.extend_from_slice(b"] ");
        self.output.extend_from_slice(self.config.hostname.as_bytes());
        self.output.extend_from_slice(b" ready\r\n");
    }

    fn write_capabilities(&mut self, is_logged_in: bool) {
        let situation = Situation { config: &self.config, tls: self.tls.as_ref(), is_logged_in };
        write_capabilities(&mut self.output, situation);
    }

    /// The tagged line of a command that ends here.
    fn finish(&mut self, tag: &str, outcome: &Result<Success, Failure>) {
        match outcome {
            Ok(_) => self.bad_commands = 0,
            Err(Failure::Bad(_)) => self.bad_commands += 1,
            Err(_) => {}
        }
        reply::write_tagged(&mut self.output, tag, outcome);
    }

    fn ok(&mut self, tag: &str, text: &'static str) {
        self.finish(tag, &Ok(Success::plain(text)));
    }

    fn bad(&mut self, tag: &str, text: &'static str) {
        self.finish(tag, &Err(Failure::Bad(text)));
    }

    /// The server ends the connection: BYE, then no more (RFC 9051 §7.1.5).
    fn bye(&mut self, text: &str) {
        self.output.extend_from_slice(b"* BYE ");
        self.output.extend_from_slice(text.as_bytes());
        self.output.extend_from_slice(b"\r\n");
        self.state = State::Logout;
        self.input.clear();
    }

    /// Whether the connection has to end now, and with which words.
    fn must_end(&self, now: Timestamp) -> Option<&'static str> {
        if self.state.is_waiting() {
            return None;
        }
        if self.is_draining {
            return Some("[UNAVAILABLE] the server is going down for a moment");
        }
        if now >= self.deadline() {
            // RFC 9051 §5.4: the autologout timer.
            return Some("[UNAVAILABLE] nothing was heard for too long");
        }
        (self.bad_commands > self.config.limits.bad_commands_max).then_some("too many commands made no sense")
    }

    /// One step; `None` when there may be more to do.
    fn turn(&mut self) -> Option<Next<Request>> {
        match &self.state {
            State::Logout => Some(Next::Close),
            State::Handshake => Some(Next::StartTls),
            State::LoggingIn(_) | State::Running(_) => {
                unreachable!("a request is out: its reply comes before the next step")
            }
            State::Opening(_) => Some(Next::Run(Request::Open)),
            State::Idle(_) => self.idle(),
            State::Authenticating(_) => self.login_line(),
            State::NotAuthenticated | State::Authenticated(_) | State::Selected(..) => self.take_command(),
        }
    }

    fn take_command(&mut self) -> Option<Next<Request>> {
        let takes_messages = self.state.identity().is_some();
        match self.input.take(&self.config.limits, takes_messages) {
            Taken::Nothing => return Some(Next::Read),
            Taken::Continue => self.output.extend_from_slice(b"+ go on\r\n"),
            Taken::Refused(tag, why) => self.refuse(tag, why),
            Taken::Lost(why) => self.bye(lost(why)),
            Taken::Command(text) => match parse(&text) {
                Ok(tagged) => return self.command(tagged),
                Err(_) => self.refuse_untagged("a command begins with a tag"),
            },
        }
        None
    }

    /// A command that was not even read to its end.
    fn refuse(&mut self, tag: Option<String>, why: Refusal) {
        let Some(tag) = tag else { return self.refuse_untagged(lost(why)) };
        self.bad_commands += u32::from(why != Refusal::NoMemory);
        let (status, code) = match why {
            // RFC 7889 §4, RFC 7888 §4
            Refusal::MessageTooBig => ("NO", Some(Code::Word("TOOBIG"))),
            Refusal::TooBig => ("BAD", Some(Code::Word("TOOBIG"))),
            // RFC 5530 §3
            Refusal::NoMemory => ("NO", Some(Code::Word("LIMIT"))),
            Refusal::LineTooLong | Refusal::BareLineBreak => ("BAD", None),
        };
        reply::write_line(&mut self.output, &tag, status, code.as_ref(), lost(why));
    }

    fn refuse_untagged(&mut self, text: &str) {
        self.bad_commands += 1;
        reply::write_line(&mut self.output, "*", "BAD", None, text);
    }
}

/// A refusal in words.
const fn lost(why: Refusal) -> &'static str {
    match why {
        Refusal::LineTooLong => "the line is too long",
        Refusal::BareLineBreak => "a line ends with CR and LF, and has neither of them nor NUL inside",
        Refusal::TooBig => "the command is too large",
        Refusal::MessageTooBig => "the message is too large",
        Refusal::NoMemory => "too much is coming in now, try again later",
    }
}

impl Session for Imap {
    type Request = Request;
    type Reply = Reply;

    fn input(&mut self, bytes: &[u8]) {
        self.has_arrived = true;
        self.input.feed(bytes);
    }

    fn room(&self) -> usize {
        self.input.room(&self.config.limits)
    }

    fn next(&mut self, now: Timestamp) -> Next<Request> {
        if self.started.is_none() {
            self.started = Some(now);
            self.active = now;
            self.greet();
        }
        if core::mem::take(&mut self.has_arrived) {
            self.active = now;
        }
        loop {
            if !matches!(self.state, State::Logout)
                && let Some(why) = self.must_end(now)
            {
                self.bye(why);
            }
            if let Some(next) = self.turn() {
                return next;
            }
        }
    }

    fn reply(&mut self, reply: Reply) {
        match reply {
            Reply::Auth(answer) => self.login_answer(answer),
            Reply::Opened(outcome) => self.opened(outcome),
            Reply::Done(done) => self.command_done(*done),
            // RFC 5530 §3
            Reply::Closed => self.bye("[CONTACTADMIN] the account is closed"),
        }
        // The time a command took is not the peer's silence; the news of an IDLE are no word of it.
        self.has_arrived |= !matches!(self.state, State::Idle(_));
    }

    fn deadline(&self) -> Timestamp {
        let limits = &self.config.limits;
        match (self.started, self.state.identity()) {
            (None, _) => Timestamp::NEVER,
            (Some(started), None) => started + limits.preauth(),
            (Some(_), Some(_)) => self.active + limits.idle(),
        }
    }

    fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// After STARTTLS a client's earlier knowledge is void, and so is what it sent before
    /// (RFC 9051 §6.2.1).
    fn secured(&mut self, tls: TlsInfo) {
        self.tls = Some(tls);
        if matches!(self.state, State::Handshake) {
            self.input.clear();
            self.state = State::NotAuthenticated;
        }
    }

    fn changed(&mut self) {
        if let State::Idle(idle) = &mut self.state {
            idle.is_behind = true;
        }
    }

    fn drain(&mut self) {
        self.is_draining = true;
    }
}
