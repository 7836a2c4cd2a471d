//! HTTP hooks: at a stage of a session, JSON is posted to an address of the operator's, and JSON comes back. Both are
//! described for operators in `docs/operate/filters.md`.

mod answer;
mod question;
#[cfg(test)]
mod tests;

use alloc::string::String;
use alloc::vec::Vec;

use base::{Secret, Timestamp};

use crate::exchange::{Content, Exchange, Next};
use crate::facts::Facts;
use crate::http::{Body, Head, Http, HttpConfig, Url};
use crate::outcome::{Failure, Outcome};

/// How to ask a hook.
#[derive(Clone, Debug)]
pub struct HookConfig {
    /// Where it is.
    pub url: Url,
    /// Times and sizes.
    pub http: HttpConfig,
    /// Header fields of the operator's, as `Authorization` and its value.
    pub fields: Vec<(String, Secret<String>)>,
    /// How much of a message it is sent.
    pub share: HookShare,
}

/// How much of a message a hook is sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HookShare {
    /// Its size alone.
    Size,
    /// Its header fields too.
    #[default]
    Header,
    /// All of it, in base64.
    All,
}

/// Where in the session a hook is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HookStage {
    /// A client has connected.
    Connect,
    /// HELO or EHLO.
    Helo,
    /// MAIL FROM.
    Mail,
    /// RCPT TO; the last of the recipients is the one that is asked about.
    Rcpt,
    /// The whole message is there.
    Data,
}

/// One question over one connection.
#[derive(Debug)]
pub struct Hook {
    http: Http,
    stage: HookStage,
    body_bytes_max: usize,
}

impl Hook {
    /// A question at a stage; the message only at [`HookStage::Data`].
    pub fn new(config: &HookConfig, stage: HookStage, facts: &Facts, message: Option<&Content>) -> Self {
        let mut head = Head::post(&config.url);
        head.field("Content-Type", "application/json");
        head.field("Accept", "application/json");
        for (name, value) in &config.fields {
            head.field(name, value.reveal());
        }
        let body = Body::new(question::parts(stage, facts, message, config.share));
        let body_bytes_max = config.http.message_bytes_max;
        Self { http: Http::new(config.http.clone(), head, body), stage, body_bytes_max }
    }

    /// Whether another question can go over the connection, after an answer.
    pub fn is_reusable(&self) -> bool {
        self.http.is_reusable()
    }
}

impl Exchange for Hook {
    type Answer = Outcome;

    fn input(&mut self, bytes: &[u8]) {
        self.http.input(bytes);
    }

    fn ended(&mut self) {
        self.http.ended();
    }

    fn next(&mut self, now: Timestamp) -> Next<Outcome> {
        match self.http.next(now) {
            Next::Write => Next::Write,
            Next::Read => Next::Read,
            Next::Failed(failure) => Next::Failed(failure),
            // 204: nothing against it, in the shortest words.
            Next::Answer(response) if response.status == 204 => Next::Answer(Outcome::CONTINUE),
            Next::Answer(response) if response.status != 200 => {
                Next::Failed(Failure::Status(response.status))
            }
            Next::Answer(response) => match answer::parse(&response.body, self.stage, self.body_bytes_max) {
                Ok(outcome) => Next::Answer(outcome),
                Err(failure) => Next::Failed(failure),
            },
        }
    }

    fn deadline(&self) -> Timestamp {
        self.http.deadline()
    }

    fn output(&mut self) -> &mut Vec<u8> {
        self.http.output()
    }
}
