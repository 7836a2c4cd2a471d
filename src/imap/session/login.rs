//! LOGIN and AUTHENTICATE (RFC 9051 §6.2), and what comes of them. The mechanisms (RFC 4616, RFC 5802,
//! RFC 7677, channel bindings by RFC 9266) are `auth`'s.

use alloc::boxed::Box;
use alloc::string::String;
use core::mem;

use auth::{Answer, Exchange, Failure as Denial, Identity, Query, Step, Unsupported};
use base::Next;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::state::{Authenticating, LoggingIn, Opening, State};
use super::{Imap, Request};
use crate::command::{Authenticate, Login};
use crate::limits::LOGIN_ATTEMPTS_MAX;
use crate::reply::{Code, Failure};

impl Imap {
    /// LOGIN, which LOGINDISABLED forbids (RFC 9051 §6.2.3).
    pub(super) fn login(&mut self, tag: String, login: Login) -> Option<Next<Request>> {
        if self.tls.is_none() && !self.config.auth.allow_plaintext_without_tls {
            self.finish(&tag, &Err(needs_encryption()));
            return None;
        }
        self.next_attempt()?;
        let Login { username, password } = login;
        self.state = State::LoggingIn(LoggingIn { tag, exchange: None });
        Some(Next::Run(Request::Auth(Query::Password { username, password })))
    }

    /// AUTHENTICATE, with or without an initial response (RFC 4959).
    pub(super) fn authenticate(&mut self, tag: String, request: &Authenticate) -> Option<Next<Request>> {
        let nonce = self.next_attempt()?;
        let mut exchange =
            match Exchange::start(&request.mechanism, self.tls.as_ref(), &self.config.auth, nonce) {
                Ok(exchange) => Box::new(exchange),
                Err(why) => {
                    let failure = match why {
                        Unsupported::Unknown => {
                            Failure::No(Some(Code::Word("CANNOT")), "there is no such mechanism")
                        }
                        Unsupported::NeedsEncryption => needs_encryption(),
                        Unsupported::NeedsBinding => {
                            Failure::No(Some(Code::Word("CANNOT")), "there is no channel to bind to")
                        }
                    };
                    self.finish(&tag, &Err(failure));
                    return None;
                }
            };
        let step = exchange.begin(request.initial.as_ref().map(|line| line.reveal().as_slice()));
        self.advance(tag, exchange, step)
    }

    /// A line of the client's in an exchange.
    pub(super) fn login_line(&mut self) -> Option<Next<Request>> {
        let line = match self.input.take_line(&self.config.limits) {
            Ok(Some(line)) => line,
            Ok(None) => return Some(Next::Read),
            Err(why) => {
                self.bye(super::lost(why));
                return None;
            }
        };
        match mem::replace(&mut self.state, State::NotAuthenticated) {
            State::Authenticating(Authenticating { tag, mut exchange }) => {
                let step = exchange.step_line(&line);
                self.advance(tag, exchange, step)
            }
            _ => unreachable!("only an exchange takes its lines"),
        }
    }

    pub(super) fn login_answer(&mut self, answer: Answer) {
        let State::LoggingIn(LoggingIn { tag, exchange }) =
            mem::replace(&mut self.state, State::NotAuthenticated)
        else {
            unreachable!("only a login asks who somebody is");
        };
        let Some(mut exchange) = exchange else { return self.answered(&tag, answer) };
        let step = exchange.answer(answer);
        let next = self.advance(tag, exchange, step);
        assert!(next.is_none(), "an answer leads to no further question");
    }

    /// The answer to LOGIN's one question.
    fn answered(&mut self, tag: &str, answer: Answer) {
        match answer {
            Answer::Granted(identity) => self.granted(tag.into(), identity),
            Answer::Throttled { retry_after_s } => self.denied(tag, Denial::Throttled { retry_after_s }),
            Answer::Unavailable => self.denied(tag, Denial::Unavailable),
            Answer::Denied | Answer::Scram(_) => self.denied(tag, Denial::Denied),
        }
    }

    fn advance(&mut self, tag: String, exchange: Box<Exchange>, step: Step) -> Option<Next<Request>> {
        match step {
            Step::Challenge(challenge) => {
                self.output.extend_from_slice(b"+ ");
                self.output.extend_from_slice(STANDARD.encode(challenge).as_bytes());
                self.output.extend_from_slice(b"\r\n");
                self.state = State::Authenticating(Authenticating { tag, exchange });
            }
            Step::Ask(query) => {
                self.state = State::LoggingIn(LoggingIn { tag, exchange: Some(exchange) });
                return Some(Next::Run(Request::Auth(query)));
            }
            Step::Granted(identity) => self.granted(tag, identity),
            Step::Failed(why) => self.denied(&tag, why),
        }
        None
    }

    /// The account is made ready before the client hears of it.
    fn granted(&mut self, tag: String, identity: Identity) {
        self.state = State::Opening(Opening { tag, identity });
    }

    /// The capabilities come along, so that the client need not ask (RFC 9051 §6.2.2).
    pub(super) fn opened(&mut self, outcome: Result<(), account::Error>) {
        let State::Opening(Opening { tag, identity }) =
            mem::replace(&mut self.state, State::NotAuthenticated)
        else {
            unreachable!("only a login opens an account");
        };
        if let Err(error) = outcome {
            return self.finish(&tag, &Err(Failure::Account(error)));
        }
        self.state = State::Authenticated(identity);
        self.output.extend_from_slice(tag.as_bytes());
        self.output.extend_from_slice(b" OK [");
        self.write_capabilities(true);
        self.output.extend_from_slice(b"] logged in\r\n");
    }

    fn denied(&mut self, tag: &str, why: Denial) {
        let no = |code, text| Failure::No(Some(Code::Word(code)), text);
        let failure = match why {
            Denial::Denied => no("AUTHENTICATIONFAILED", "name and password do not fit"),
            Denial::Unavailable => no("UNAVAILABLE", "that cannot be said now, try again later"),
            Denial::Throttled { .. } => no("UNAVAILABLE", "too many logins failed, try again later"),
            Denial::Malformed => Failure::Bad("that is not what the mechanism says comes here"),
            Denial::Cancelled => Failure::Bad("given up"),
            Denial::TooLong => Failure::Bad("the response is too long"),
        };
        self.finish(tag, &Err(failure));
    }

    /// The nonce of the next attempt, or the end of the connection.
    fn next_attempt(&mut self) -> Option<[u8; 18]> {
        let nonce = self.nonces.reveal().get(self.login_attempts).copied();
        self.login_attempts += 1;
        if nonce.is_none() {
            debug_assert!(self.login_attempts > LOGIN_ATTEMPTS_MAX);
            self.bye("[UNAVAILABLE] too many attempts to log in");
        }
        nonce
    }
}

/// RFC 5530 §3, PRIVACYREQUIRED.
fn needs_encryption() -> Failure {
    Failure::No(Some(Code::Word("PRIVACYREQUIRED")), "start TLS before you log in with a password")
}
