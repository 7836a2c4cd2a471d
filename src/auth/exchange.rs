//! One SASL exchange (RFC 4422 §4): PLAIN (RFC 4616), LOGIN, SCRAM (RFC 5802, RFC 7677).

use std::fmt;

use base::{ChannelBinding, Secret, TlsInfo};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use directory::EmailAddress;

use crate::limits::{LINE_BYTES_MAX, MESSAGE_BYTES_MAX, PASSWORD_BYTES_MAX, USERNAME_BYTES_MAX};
use crate::scram::{self, Asked, ClientFirst, Waiting};
use crate::{Answer, Failure, Identity, Policy, Query, ScramHash, Step, Unsupported};

/// One attempt to log in, from the mechanism's name to an identity or a failure. A plain value: it
/// waits for a client or for an answer by lying in its session.
pub struct Exchange {
    mechanism: Mechanism,
    nonce: String,
    bindings: Vec<ChannelBinding>,
    username: Option<String>,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mechanism {
    Plain,
    Login,
    Scram { hash: ScramHash, is_plus: bool },
}

/// What is awaited, from whom, and all that is known by then.
enum State {
    Plain,
    LoginStart,
    LoginName,
    LoginPassword,
    Password { authzid: String },
    ScramFirst,
    ScramKeys(Box<Asked>),
    ScramFinal(Box<Waiting>),
    ScramEnd(Identity),
    Over,
}

/// In order of preference, which is the order they are announced in.
const MECHANISMS: [(&str, Mechanism); 6] = [
    ("SCRAM-SHA-256-PLUS", Mechanism::Scram { hash: ScramHash::Sha256, is_plus: true }),
    ("SCRAM-SHA-1-PLUS", Mechanism::Scram { hash: ScramHash::Sha1, is_plus: true }),
    ("SCRAM-SHA-256", Mechanism::Scram { hash: ScramHash::Sha256, is_plus: false }),
    ("SCRAM-SHA-1", Mechanism::Scram { hash: ScramHash::Sha1, is_plus: false }),
    ("PLAIN", Mechanism::Plain),
    ("LOGIN", Mechanism::Login),
];

/// The mechanisms to announce on a connection, in order of preference.
pub fn mechanisms(tls: Option<&TlsInfo>, policy: &Policy) -> Vec<&'static str> {
    let is_offered = |(_, m): &&(&str, Mechanism)| offer(*m, tls, *policy).is_ok();
    MECHANISMS.iter().filter(is_offered).map(|(name, _)| *name).collect()
}

fn offer(mechanism: Mechanism, tls: Option<&TlsInfo>, policy: Policy) -> Result<(), Unsupported> {
    let has_binding = tls.is_some_and(|tls| !tls.bindings.is_empty());
    match mechanism {
        Mechanism::Scram { is_plus: true, .. } if !has_binding => Err(Unsupported::NeedsBinding),
        // RFC 4616 §4, RFC 8314 §3: a password in clear needs an encrypted connection.
        Mechanism::Plain | Mechanism::Login if tls.is_none() && !policy.allow_plaintext_without_tls => {
            Err(Unsupported::NeedsEncryption)
        }
        Mechanism::Plain | Mechanism::Login | Mechanism::Scram { .. } => Ok(()),
    }
}

impl Exchange {
    /// Starts the mechanism of that name, in any case. `nonce` is fresh randomness, from a source
    /// fit for keys, never used before.
    pub fn start(
        mechanism: &str,
        tls: Option<&TlsInfo>,
        policy: &Policy,
        nonce: [u8; 18],
    ) -> Result<Self, Unsupported> {
        let named = MECHANISMS.iter().find(|(name, _)| name.eq_ignore_ascii_case(mechanism));
        let &(_, mechanism) = named.ok_or(Unsupported::Unknown)?;
        offer(mechanism, tls, *policy)?;
        let state = match mechanism {
            Mechanism::Plain => State::Plain,
            Mechanism::Login => State::LoginStart,
            Mechanism::Scram { .. } => State::ScramFirst,
        };
        let bindings = tls.map(|tls| tls.bindings.clone()).unwrap_or_default();
        Ok(Self { mechanism, nonce: STANDARD.encode(nonce), bindings, username: None, state })
    }

    /// Whether the client speaks first (RFC 4422 §3.3). Otherwise step with nothing, to have the
    /// first challenge.
    pub fn is_client_first(&self) -> bool {
        self.mechanism != Mechanism::Login
    }

    /// The name the client gave, once it has: for logs and for [`crate::Throttle`].
    pub fn username(&self) -> Option<&str> {
        self.username.as_deref()
    }

    /// Begins with the initial response as it stands in the command, in base64, `=` for an empty
    /// one (RFC 4954 §4, RFC 4959 §3), or with none: then the step is a challenge, empty if the
    /// client is to speak first.
    pub fn begin(&mut self, initial: Option<&[u8]>) -> Step {
        match initial {
            None if self.is_client_first() => Step::Challenge(Vec::new()),
            None | Some(b"=") => self.step(b""),
            Some(line) => self.step_line(line),
        }
    }

    /// Goes on with a line of the client's as it came, without its CRLF: base64, or `*` to give up.
    pub fn step_line(&mut self, line: &[u8]) -> Step {
        if line == b"*" {
            return self.fail(Failure::Cancelled);
        }
        if line.len() > LINE_BYTES_MAX {
            return self.fail(Failure::TooLong);
        }
        match STANDARD.decode(line) {
            Ok(client) => self.step(&client),
            Err(_) => self.fail(Failure::Malformed),
        }
    }

    /// Goes on with the decoded bytes of a client's response. Not while a question is open, nor
    /// after the end: that is a bug of the caller's.
    pub fn step(&mut self, client: &[u8]) -> Step {
        if client.len() > MESSAGE_BYTES_MAX {
            return self.fail(Failure::TooLong);
        }
        let result = match std::mem::replace(&mut self.state, State::Over) {
            State::Plain => self.plain(client),
            State::LoginStart if client.is_empty() => {
                self.state = State::LoginName;
                Ok(Step::Challenge(b"Username:".to_vec()))
            }
            // Some clients send the name as an initial response.
            State::LoginStart | State::LoginName => self.login_name(client),
            State::LoginPassword => self.login_password(client),
            State::ScramFirst => self.scram_first(client),
            State::ScramFinal(waiting) => self.scram_final(&waiting, client),
            // The client acknowledges the server's signature with an empty response.
            State::ScramEnd(identity) if client.is_empty() => Ok(Step::Granted(identity)),
            State::ScramEnd(_) => Err(Failure::Malformed),
            State::Password { .. } | State::ScramKeys(_) => panic!("a step while an answer is awaited"),
            State::Over => panic!("a step after the end of the exchange"),
        };
        result.unwrap_or_else(|failure| self.fail(failure))
    }

    /// Goes on with the answer to what [`Step::Ask`] asked. An answer to another question is a bug
    /// of the caller's.
    pub fn answer(&mut self, answer: Answer) -> Step {
        let state = std::mem::replace(&mut self.state, State::Over);
        let result = match (state, answer) {
            (_, Answer::Denied) => Err(Failure::Denied),
            (_, Answer::Unavailable) => Err(Failure::Unavailable),
            (_, Answer::Throttled { retry_after_s }) => Err(Failure::Throttled { retry_after_s }),
            (State::Password { authzid }, Answer::Granted(identity)) => {
                self.authorize(&authzid, identity).map(Step::Granted)
            }
            (State::ScramKeys(asked), Answer::Scram(credential)) => {
                let (challenge, waiting) = scram::server_first(*asked, *credential, &self.nonce);
                self.state = State::ScramFinal(Box::new(waiting));
                Ok(Step::Challenge(challenge))
            }
            _ => panic!("an answer to a question that was not asked"),
        };
        result.unwrap_or_else(|failure| self.fail(failure))
    }

    fn fail(&mut self, failure: Failure) -> Step {
        self.state = State::Over;
        Step::Failed(failure)
    }

    /// message = [authzid] NUL authcid NUL passwd (RFC 4616 §2).
    fn plain(&mut self, client: &[u8]) -> Result<Step, Failure> {
        let text = std::str::from_utf8(client).map_err(|_| Failure::Malformed)?;
        let mut parts = text.split('\0');
        let (Some(authzid), Some(authcid), Some(password), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Failure::Malformed);
        };
        if authzid.len() > USERNAME_BYTES_MAX {
            return Err(Failure::TooLong);
        }
        let username = prepare_username(authcid)?;
        self.username = Some(username.clone());
        self.ask_password(authzid.to_owned(), username, password)
    }

    fn login_name(&mut self, client: &[u8]) -> Result<Step, Failure> {
        let text = std::str::from_utf8(client).map_err(|_| Failure::Malformed)?;
        self.username = Some(prepare_username(text)?);
        self.state = State::LoginPassword;
        Ok(Step::Challenge(b"Password:".to_vec()))
    }

    fn login_password(&mut self, client: &[u8]) -> Result<Step, Failure> {
        let password = std::str::from_utf8(client).map_err(|_| Failure::Malformed)?;
        let username = self.username.clone().expect("the name came before the password");
        self.ask_password(String::new(), username, password)
    }

    fn ask_password(&mut self, authzid: String, username: String, password: &str) -> Result<Step, Failure> {
        if password.is_empty() || password.contains('\0') {
            return Err(Failure::Malformed);
        }
        if password.len() > PASSWORD_BYTES_MAX {
            return Err(Failure::TooLong);
        }
        self.state = State::Password { authzid };
        Ok(Step::Ask(Query::Password { username, password: Secret::new(password.to_owned()) }))
    }

    fn scram_first(&mut self, client: &[u8]) -> Result<Step, Failure> {
        let Mechanism::Scram { hash, is_plus } = self.mechanism else {
            unreachable!("only SCRAM gets to this state")
        };
        let first = ClientFirst::parse(client)?;
        let binding = first.binding(is_plus, &self.bindings)?;
        let username = prepare_username(&first.username)?;
        self.username = Some(username.clone());
        self.state = State::ScramKeys(Box::new(Asked { hash, first, binding }));
        Ok(Step::Ask(Query::Scram { username, hash }))
    }

    fn scram_final(&mut self, waiting: &Waiting, client: &[u8]) -> Result<Step, Failure> {
        let (server_final, identity) = waiting.verify(client)?;
        let identity = self.authorize(waiting.authzid(), identity)?;
        self.state = State::ScramEnd(identity);
        Ok(Step::Challenge(server_final))
    }

    /// Nobody acts for another here: an authorization identity must be none, the name that logged
    /// in, or the account's own address (RFC 4422 §3.4.1).
    fn authorize(&self, authzid: &str, identity: Identity) -> Result<Identity, Failure> {
        let key = |text: &str| EmailAddress::parse(text).map(|address| address.key());
        let is_self = authzid.is_empty()
            || self.username.as_deref() == Some(authzid)
            || key(authzid).is_ok_and(|own| key(&identity.address) == Ok(own));
        if is_self { Ok(identity) } else { Err(Failure::Denied) }
    }
}

/// A name in the form it is compared in: SASLprep (RFC 4013, now RFC 8265). One that cannot be prepared
/// is nobody's (RFC 4616 §2, RFC 5802 §5.1).
fn prepare_username(text: &str) -> Result<String, Failure> {
    if text.len() > USERNAME_BYTES_MAX {
        return Err(Failure::TooLong);
    }
    match stringprep::saslprep(text) {
        Ok(prepared) if !prepared.is_empty() => Ok(prepared.into_owned()),
        _ => Err(Failure::Malformed),
    }
}

/// The mechanism and the state's name: names of people and secrets stay out of logs.
impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let awaits = match &self.state {
            State::Plain | State::ScramFirst => "first message",
            State::LoginStart | State::LoginName => "name",
            State::LoginPassword => "password",
            State::Password { .. } => "answer about a password",
            State::ScramKeys(_) => "SCRAM keys",
            State::ScramFinal(_) => "proof",
            State::ScramEnd(_) => "acknowledgement",
            State::Over => "nothing",
        };
        f.debug_struct("Exchange")
            .field("mechanism", &self.mechanism)
            .field("awaits", &awaits)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
