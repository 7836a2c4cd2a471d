//! Order: which command is legal now (RFC 5321 §4.1.4), and what a connection may do before it is ended.
//! What commands do is in the modules below, one file a theme.

mod announced;
mod burl;
mod content;
mod hello;
mod login;
mod state;
mod transaction;

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::time::Duration;
use core::{fmt, mem};

use base::{Budget, Line, LineError, Next, Random, Session, Timestamp, TlsInfo, take_line};

use crate::command::{Command, ParseError};
use crate::config::{Config, Entropy, Mode, Peer, Rights};
use crate::limits::{
    AUTH_LINE_BYTES_MAX, BODY_INPUT_BYTES_MAX, BURL_LINE_BYTES_MAX, COMMAND_BYTES_MAX, INPUT_BYTES_MAX,
    OVERLONG_BYTES_MAX,
};
use crate::reply::{self, End, Order, Refusal};
use crate::request::{Reply, Request, Waited};
use state::{Counts, State};

/// The server's side of one connection. A plain value: see [`base::Session`].
pub struct Smtp {
    config: Arc<Config>,
    peer: Arc<Peer>,
    rights: Rights,
    /// The name that a gateway has given its client; what the gateway says in EHLO is its own.
    announced_helo: Option<Arc<str>>,
    entropy: Entropy,
    /// The memory for content that this connection shares with others, if it is bounded.
    budget: Option<Arc<Budget>>,
    ids: Random,
    tls: Option<Arc<TlsInfo>>,
    state: State,
    counts: Counts,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Bytes dropped so far of a line beyond its limit; 0 when there is none.
    overlong_bytes: usize,
    /// The last call of `next`.
    now: Timestamp,
    /// When the wait for the peer began: with the last line or the last octets of content. A line that
    /// drips in does not begin it anew.
    active: Timestamp,
    is_wait_new: bool,
    is_draining: bool,
}

impl Smtp {
    /// A new connection; its greeting is in the output.
    pub fn new(config: Arc<Config>, peer: Peer, entropy: Entropy) -> Self {
        let mut session = Self {
            ids: Random::new(entropy.ids),
            config,
            peer: Arc::new(peer),
            rights: Rights::default(),
            announced_helo: None,
            entropy,
            budget: None,
            tls: None,
            state: State::Fresh,
            counts: Counts::default(),
            input: Vec::new(),
            output: Vec::new(),
            overlong_bytes: 0,
            now: Timestamp::NEVER,
            active: Timestamp::NEVER,
            // The first wait begins with the first call of `next`.
            is_wait_new: true,
            is_draining: false,
        };
        session.greet();
        session
    }

    /// Content that comes in is taken of this budget, which the connection shares with others, until its
    /// message is stored.
    #[must_use]
    pub fn with_budget(mut self, budget: Arc<Budget>) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Before the peer is greeted, it is asked whether that is to be, and when. To be said before anything else.
    #[must_use]
    pub fn with_test(mut self) -> Self {
        self.output.clear();
        self.state = State::Arrived;
        self
    }

    /// The peer may do more than others.
    #[must_use]
    pub fn with_rights(mut self, rights: Rights) -> Self {
        self.rights = rights;
        self
    }

    /// Who is at the other end; another one when a gateway has said so.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Memory held for the peer's input and for the message that is coming in, in bytes. A message that was
    /// handed over by [`Request::Deliver`] is no longer in it.
    pub fn buffered_bytes(&self) -> usize {
        self.input.capacity() + self.output.capacity() + self.state.content_bytes()
    }

    /// Who logged in, if anybody.
    pub fn identity(&self) -> Option<&auth::Identity> {
        self.state.client().and_then(|client| client.identity.as_ref())
    }

    fn say(&mut self, code: u16, status: &str, text: &str) {
        reply::line(&mut self.output, code, status, text);
    }

    /// Refuses a command. Too many refusals end the connection.
    fn refuse(&mut self, refusal: Refusal) {
        if reply::refuse(&mut self.output, refusal) >= 500 {
            self.counts.bad_commands += 1;
        }
    }

    fn end(&mut self, end: End) {
        reply::refuse(&mut self.output, Refusal::End(end));
        self.state = State::Closing;
        self.input = Vec::new();
    }

    /// Whether the connection has to end now, and why.
    fn must_end(&self) -> Option<End> {
        let limits = &self.config.limits;
        if self.state.is_busy() {
            return None;
        }
        let is_quiet = matches!(self.state, State::Quiet { .. });
        if !is_quiet && self.deadline() <= self.now {
            return Some(End::Idle);
        }
        // What is half received is let in: it ends with its message (RFC 5321 §3.8 allows 421 at any time).
        if self.is_draining && !self.state.is_content() {
            return Some(End::Draining);
        }
        if self.counts.bad_commands > limits.bad_commands_max {
            return Some(End::TooManyErrors);
        }
        if self.counts.idle_commands > limits.idle_commands_max {
            return Some(End::TooManyIdleCommands);
        }
        let is_guessing = self.counts.bad_recipients > limits.bad_recipients_max;
        (is_guessing && !self.peer.is_trusted).then_some(End::TooManyRefusedRecipients)
    }

    /// One step: a line, or the end of a message. `None` when there may be more to do.
    fn turn(&mut self) -> Option<Next<Request>> {
        match self.state {
            State::Closing => return Some(Next::Close),
            State::Arrived => {
                return Some(self.ask(state::Wait::Greeting, Request::Greeting(Waited::NotYet)));
            }
            State::Quiet { .. } => return Some(self.listen()),
            State::Handshake => return Some(Next::StartTls),
            State::Data { .. } | State::Chunk { .. } | State::Skip { .. } => return Some(Next::Read),
            State::Complete { .. } => return self.judge(),
            State::Waiting(_) => unreachable!("a request is out: its reply comes before the next step"),
            State::Fresh | State::Ready(_) | State::Login { .. } | State::Mail { .. } => {}
        }
        if self.overlong_bytes > 0 {
            return self.skip_overlong();
        }
        let line_bytes_max = self.line_bytes_max();
        match take_line(&mut self.input, line_bytes_max) {
            Ok(Line::Partial) => {
                if self.input.is_empty() {
                    // An idle connection holds no buffer.
                    self.input = Vec::new();
                }
                Some(Next::Read)
            }
            Ok(Line::Complete(line)) => self.work(&line),
            Err(LineError::BareLineBreak | LineError::Nul) => {
                self.abandon_login();
                self.refuse(Refusal::LineOctets);
                None
            }
            Err(LineError::TooLong) => self.skip_overlong(),
        }
    }

    fn line_bytes_max(&self) -> usize {
        let is = |name: &[u8]| self.input.get(..5).is_some_and(|verb| verb.eq_ignore_ascii_case(name));
        match self.state {
            State::Login { .. } => AUTH_LINE_BYTES_MAX,
            _ if is(b"AUTH ") => AUTH_LINE_BYTES_MAX,
            _ if is(b"BURL ") => BURL_LINE_BYTES_MAX,
            _ => COMMAND_BYTES_MAX,
        }
    }

    /// Drops a line beyond its limit up to its CRLF, and answers it once.
    fn skip_overlong(&mut self) -> Option<Next<Request>> {
        if let Some(end) = memchr::memmem::find(&self.input, b"\r\n") {
            self.input.drain(..end + 2);
            self.overlong_bytes = 0;
            self.abandon_login();
            self.refuse(Refusal::LineTooLong);
            return None;
        }
        self.overlong_bytes += self.input.len();
        let is_after_cr = self.input.last() == Some(&b'\r');
        self.input.clear();
        if is_after_cr {
            self.input.push(b'\r');
        }
        if self.overlong_bytes > OVERLONG_BYTES_MAX {
            self.end(End::TooManyErrors);
            return None;
        }
        Some(Next::Read)
    }

    /// Works on one line.
    fn work(&mut self, line: &[u8]) -> Option<Next<Request>> {
        self.active = self.now;
        if matches!(self.state, State::Login { .. }) {
            return self.login_line(line);
        }
        match Command::parse(line) {
            Ok(command) => self.obey(command),
            Err(ParseError::ChunkSize) => {
                // What follows may be content or commands: nobody can tell, so nothing is read of it.
                self.refuse(Refusal::Parse(ParseError::ChunkSize));
                self.state = State::Closing;
                None
            }
            Err(error) => {
                self.refuse(Refusal::Parse(error));
                None
            }
        }
    }

    /// The table of commands.
    fn obey(&mut self, command: Command<'_>) -> Option<Next<Request>> {
        match command {
            Command::Helo(_) | Command::Ehlo(_) if self.config.mode == Mode::Lmtp => self.other_protocol(),
            Command::Lhlo(_) if self.config.mode != Mode::Lmtp => self.other_protocol(),
            Command::Helo(name) => self.helo(name),
            Command::Ehlo(name) | Command::Lhlo(name) => self.ehlo(name),
            Command::Mail(sender, parameters) => self.mail(sender, parameters),
            Command::Rcpt(to, parameters) => return self.rcpt(to, parameters),
            Command::Data => self.data(),
            Command::Bdat { bytes, is_last } => self.bdat(bytes, is_last),
            Command::Burl { url, is_last } => return self.burl(url, is_last),
            Command::Rset => self.rset(),
            // RFC 5321 §7.3: who is here is not told; RCPT will say.
            Command::Vrfy => self.idle_command(252, "2.0.0", "send some mail and see"),
            Command::Help => self.idle_command(214, "2.0.0", "RFC 5321 tells it all"),
            Command::Noop => self.idle_command(250, "2.0.0", "ok"),
            Command::Quit => {
                self.say(221, "2.0.0", "goodbye");
                self.state = State::Closing;
            }
            Command::StartTls => self.start_tls(),
            Command::Auth { mechanism, initial } => return self.auth(mechanism, initial),
            Command::Xclient(announced) => self.announce(announced),
            Command::NotImplemented => self.refuse(Refusal::NotImplemented),
        }
        None
    }

    fn other_protocol(&mut self) {
        self.refuse(Refusal::OtherProtocol(self.config.mode));
    }

    fn idle_command(&mut self, code: u16, status: &str, text: &str) {
        self.counts.idle_commands += 1;
        self.say(code, status, text);
    }

    fn refuse_order(&mut self, order: Order) {
        self.refuse(Refusal::Order(order));
    }

    /// Sends a request out, remembering what its reply is for.
    fn ask(&mut self, wait: state::Wait, request: Request) -> Next<Request> {
        self.state = State::Waiting(wait);
        Next::Run(request)
    }
}

/// Without the buffers: they may hold a password or somebody's mail.
impl fmt::Debug for Smtp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Smtp");
        shown.field("mode", &self.config.mode).field("peer", &self.peer).field("state", &self.state.name());
        shown.field("counts", &self.counts).finish_non_exhaustive()
    }
}

impl Session for Smtp {
    type Request = Request;
    type Reply = Reply;

    fn input(&mut self, bytes: &[u8]) {
        if matches!(self.state, State::Closing) {
            return;
        }
        self.is_wait_new |= self.state.is_content();
        // Content goes straight to its message; `input` is empty meanwhile.
        let taken = self.take_content(bytes);
        self.input.extend_from_slice(bytes.get(taken..).unwrap_or_default());
    }

    fn room(&self) -> usize {
        match self.state {
            State::Arrived
            | State::Closing
            | State::Handshake
            | State::Waiting(_)
            | State::Complete { .. } => 0,
            State::Data { .. } | State::Chunk { .. } | State::Skip { .. } => BODY_INPUT_BYTES_MAX,
            State::Quiet { .. }
            | State::Fresh
            | State::Ready(_)
            | State::Login { .. }
            | State::Mail { .. } => INPUT_BYTES_MAX.saturating_sub(self.input.len()),
        }
    }

    fn next(&mut self, now: Timestamp) -> Next<Request> {
        self.now = now;
        if mem::take(&mut self.is_wait_new) {
            self.active = now;
        }
        loop {
            if let Some(end) = self.must_end() {
                self.end(end);
            }
            if let Some(next) = self.turn() {
                return next;
            }
        }
    }

    fn reply(&mut self, reply: Reply) {
        // The wait for the handler was ours.
        self.is_wait_new = true;
        let State::Waiting(wait) = mem::replace(&mut self.state, State::Closing) else {
            unreachable!("a reply without a request");
        };
        match (wait, reply) {
            (state::Wait::Greeting, Reply::Greeting(wait_ms)) => self.begin(wait_ms),
            (state::Wait::Greeting, Reply::Refused(refused)) => {
                reply::refused(&mut self.output, &refused);
                self.input = Vec::new();
            }
            (state::Wait::Login { client, exchange }, Reply::Auth(answer)) => {
                self.login_answer(client, exchange, answer);
            }
            (state::Wait::Recipient { client, transaction, recipient }, Reply::Recipient(verdict)) => {
                self.recipient_answer(client, transaction, recipient, verdict);
            }
            (state::Wait::Recipient { client, transaction, .. }, Reply::Refused(refused)) => {
                self.recipient_refused(client, transaction, &refused);
            }
            (state::Wait::Delivery { client, recipients, charge, .. }, Reply::Refused(refused)) => {
                drop(charge);
                self.message_refused(client, recipients, &refused);
            }
            (state::Wait::LoggedIn { client }, Reply::LoggedIn) => self.granted(client),
            (state::Wait::Url(wait), Reply::Url(answer)) => self.url_answer(*wait, answer),
            (state::Wait::Delivery { client, id, recipients, charge }, Reply::Delivered(outcomes)) => {
                drop(charge);
                assert_eq!(outcomes.len(), recipients, "one outcome a recipient");
                self.delivered(client, id, &outcomes);
            }
            _ => unreachable!("a reply of another kind than the request"),
        }
    }

    fn deadline(&self) -> Timestamp {
        let limits = &self.config.limits;
        let after = |from: Timestamp, ms: i64| from + Duration::from_millis(ms.unsigned_abs());
        if self.state.is_busy() {
            return Timestamp::NEVER;
        }
        if let State::Quiet { wait_ms } = self.state {
            return after(self.active, wait_ms.into());
        }
        let idle = after(self.active, limits.idle_ms_max);
        match self.state.content_began() {
            Some(began) => idle.min(after(began, limits.message_ms_max)),
            None => idle,
        }
    }

    fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    fn secured(&mut self, tls: TlsInfo) {
        // RFC 3207 §4.2: what was said and read before the handshake is forgotten, by a new state.
        self.tls = Some(Arc::new(tls));
        self.state = State::Fresh;
        self.input = Vec::new();
        self.overlong_bytes = 0;
        self.is_wait_new = true;
    }

    fn drain(&mut self) {
        self.is_draining = true;
    }
}
