//! The AUTHORIZATION state (RFC 1939 §4): everything up to an open maildrop.

use alloc::boxed::Box;
use alloc::vec::Vec;

use auth::{Exchange, Identity, Step};
use base::Secret;

use super::{Pop3, State};
use crate::limits::LOGIN_ATTEMPTS_MAX;
use crate::reply::{self, Asked};
use crate::{Command, Maildrop, OpenError, Request};

impl Pop3 {
    pub(super) fn authorization(&mut self, user: Option<Vec<u8>>, command: Command) {
        self.state = State::Authorization { user: None };
        match command {
            Command::User(name) => self.user(name),
            // A failed PASS must be preceded by a new USER (RFC 1939 §7), so the name is used up.
            Command::Pass(password) => match user {
                Some(user) => self.pass(&user, &password),
                None => self.bad(|out| reply::err("USER comes first", out)),
            },
            Command::Auth(mechanism, initial) => self.auth(&mechanism, initial.as_ref()),
            Command::Stls => self.stls(),
            Command::Quit => {
                reply::ok("bye", &mut self.output);
                self.state = State::Closing;
            }
            other => {
                self.state = State::Authorization { user };
                self.harmless(other);
            }
        }
    }

    /// What leaves the state as it is.
    fn harmless(&mut self, command: Command) {
        match command {
            Command::Capa => {
                reply::capabilities(&self.config, self.tls.as_ref(), Asked::BeforeLogin, &mut self.output);
            }
            Command::Lang(None) => reply::languages(&mut self.output),
            Command::Lang(Some(tag)) => reply::language(&tag, &mut self.output),
            // RFC 6856 §2.1. Messages are sent as they are stored in either mode.
            // Deviates from RFC 6856 §4: header fields in UTF-8 are not hidden from a client that
            // has not said UTF8, since a message that cannot be fetched stops old clients for good.
            Command::Utf8 => reply::ok("UTF8 mode", &mut self.output),
            _ => self.bad(|out| reply::err("log in first", out)),
        }
    }

    fn user(&mut self, name: Vec<u8>) {
        if !reply::is_plaintext_allowed(self.tls.as_ref(), self.config.auth) {
            reply::unsupported(auth::Unsupported::NeedsEncryption, &mut self.output);
            return;
        }
        // The same for names that nobody has, which a stranger is not to find out (RFC 1939 §13).
        reply::ok("send the password", &mut self.output);
        self.state = State::Authorization { user: Some(name) };
    }

    /// USER and PASS are PLAIN (RFC 4616 §2) in other words: the same rules, one way in.
    fn pass(&mut self, user: &[u8], password: &Secret<Vec<u8>>) {
        let Some(mut exchange) = self.exchange("PLAIN") else { return };
        let step = exchange.step(&[b"\0", user, b"\0", password.reveal()].concat());
        self.stepped(exchange, step);
    }

    fn auth(&mut self, mechanism: &str, initial: Option<&Secret<Vec<u8>>>) {
        let Some(mut exchange) = self.exchange(mechanism) else { return };
        let step = exchange.begin(initial.map(|initial| initial.reveal().as_slice()));
        self.stepped(exchange, step);
    }

    /// Starts a try to log in, or says why there is none.
    fn exchange(&mut self, mechanism: &str) -> Option<Box<Exchange>> {
        let nonce = self.entropy.nonces.reveal().get(self.attempts).copied();
        let Some(nonce) = nonce else {
            reply::err("[AUTH] too many tries", &mut self.output);
            self.state = State::Closing;
            return None;
        };
        match Exchange::start(mechanism, self.tls.as_ref(), &self.config.auth, nonce) {
            Ok(exchange) => {
                self.attempts += 1;
                Some(Box::new(exchange))
            }
            Err(error) => {
                self.bad(|out| reply::unsupported(error, out));
                None
            }
        }
    }

    /// Does what an exchange has come to.
    pub(super) fn stepped(&mut self, exchange: Box<Exchange>, step: Step) {
        match step {
            Step::Challenge(bytes) => {
                reply::challenge(&bytes, &mut self.output);
                self.state = State::Challenged(exchange);
            }
            Step::Ask(query) => {
                self.request = Some(Request::Auth(query));
                self.state = State::Asking(exchange);
            }
            Step::Granted(identity) => self.state = State::Opening(identity),
            Step::Failed(failure) => {
                reply::login_failure(failure, &mut self.output);
                self.refused();
            }
        }
    }

    pub(super) fn opened(&mut self, identity: Identity, outcome: Result<Box<Maildrop>, OpenError>) {
        match outcome {
            Ok(maildrop) => {
                reply::holds("logged in", &maildrop, &mut self.output);
                self.state = State::Transaction(identity, maildrop);
            }
            // RFC 1939 §4: the client may try again or end.
            Err(error) => {
                reply::open_error(&error, &mut self.output);
                self.refused();
            }
        }
    }

    /// After a login that came to nothing. The last one ends the connection.
    fn refused(&mut self) {
        self.state = if self.attempts < LOGIN_ATTEMPTS_MAX { State::new() } else { State::Closing };
    }

    fn stls(&mut self) {
        if self.tls.is_some() || !self.config.starttls {
            self.bad(|out| reply::err("TLS cannot be started here", out));
            return;
        }
        reply::ok("begin TLS", &mut self.output);
        self.state = State::StartingTls;
    }
}
