//! AUTH (RFC 4954).

use alloc::boxed::Box;
use core::mem;

use auth::{Answer, Exchange, Step};
use base::Next;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Smtp;
use super::state::{Client, State, Wait};
use crate::config::Mode;
use crate::reply::{End, Order, Refusal};
use crate::request::Request;

impl Smtp {
    pub(super) fn auth(&mut self, mechanism: &str, initial: Option<&str>) -> Option<Next<Request>> {
        if let Some(refusal) = self.auth_refusal() {
            self.refuse(refusal);
            return None;
        }
        let Some(nonce) = self.counts.next_nonce(&self.entropy) else {
            self.end(End::TooManyLogins);
            return None;
        };
        match Exchange::start(mechanism, self.tls.as_deref(), &self.config.auth, nonce) {
            Err(error) => {
                self.refuse(Refusal::Mechanism(error));
                None
            }
            Ok(exchange) => {
                let mut exchange = Box::new(exchange);
                let step = exchange.begin(initial.map(str::as_bytes));
                let client = self.take_ready()?;
                self.advance(client, exchange, step)
            }
        }
    }

    fn auth_refusal(&self) -> Option<Refusal> {
        match &self.state {
            _ if self.config.mode != Mode::Submission => Some(Refusal::AuthNotOffered),
            State::Ready(client) if client.identity.is_some() => Some(Refusal::Order(Order::AuthTwice)),
            State::Ready(_) => None,
            State::Mail { .. } => Some(Refusal::Order(Order::AuthInMail)),
            _ => Some(Refusal::Order(Order::HelloFirst)),
        }
    }

    /// A line of the client's in an exchange.
    pub(super) fn login_line(&mut self, line: &[u8]) -> Option<Next<Request>> {
        let State::Login { client, mut exchange } = mem::replace(&mut self.state, State::Fresh) else {
            unreachable!("only a login takes its lines");
        };
        let step = exchange.step_line(line);
        self.advance(client, exchange, step)
    }

    pub(super) fn login_answer(&mut self, client: Client, mut exchange: Box<Exchange>, answer: Answer) {
        let step = exchange.answer(answer);
        if let Step::Granted(identity) = step {
            return self.granted(Client { identity: Some(identity), ..client });
        }
        let next = self.advance(client, exchange, step);
        assert!(next.is_none(), "an answer leads to no further question");
    }

    /// A line that is none ends an exchange (RFC 4954 §4: a client that fails starts over).
    pub(super) fn abandon_login(&mut self) {
        if let State::Login { client, .. } = &self.state {
            self.state = State::Ready(client.clone());
        }
    }

    fn advance(&mut self, client: Client, exchange: Box<Exchange>, step: Step) -> Option<Next<Request>> {
        match step {
            Step::Challenge(challenge) => {
                self.output.extend_from_slice(b"334 ");
                self.output.extend_from_slice(STANDARD.encode(challenge).as_bytes());
                self.output.extend_from_slice(b"\r\n");
                self.state = State::Login { client, exchange };
                None
            }
            Step::Ask(query) => Some(self.ask(Wait::Login { client, exchange }, Request::Auth(query))),
            // By a proof that was judged here: whoever gave the keys hears of it before the client does.
            Step::Granted(identity) => {
                let client = Client { identity: Some(identity.clone()), ..client };
                Some(self.ask(Wait::LoggedIn { client }, Request::LoggedIn(identity)))
            }
            Step::Failed(failure) => {
                self.refuse(Refusal::Login(failure));
                self.state = State::Ready(client);
                None
            }
        }
    }

    pub(super) fn granted(&mut self, client: Client) {
        self.say(235, "2.7.0", "authentication succeeded");
        self.state = State::Ready(client);
    }

    /// The client, out of the ready state.
    pub(super) fn take_ready(&mut self) -> Option<Client> {
        match mem::replace(&mut self.state, State::Fresh) {
            State::Ready(client) => Some(client),
            other => {
                self.state = other;
                None
            }
        }
    }
}
