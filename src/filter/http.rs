//! One HTTP/1.1 request and its answer (RFC 9112), as a value. What is asked over it is others' business.

mod body;
mod response;
mod url;

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use base::Timestamp;

pub(crate) use body::{Body, Part};
pub(crate) use response::Response;
use response::Responses;
pub use url::{Url, UrlError};

use crate::exchange::Next;
use crate::limits::HTTP_VALUE_BYTES_MAX;
use crate::outcome::Failure;

/// How long to wait for an HTTP server, and how much to take from it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpConfig {
    /// Longest time from the question to its whole answer, in milliseconds.
    pub answer_ms_max: i64,
    /// The largest answer without its head, in bytes.
    pub answer_bytes_max: usize,
    /// The largest message that is sent, in bytes; for a larger one the exchange fails at once.
    pub message_bytes_max: usize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self { answer_ms_max: 60_000, answer_bytes_max: 4 * 1024 * 1024, message_bytes_max: 50 * 1024 * 1024 }
    }
}

/// The head of a request, line by line. Values come from clients: nothing in them can end a line.
pub(crate) struct Head(String);

impl Head {
    pub(crate) fn post(url: &Url) -> Self {
        Self(format!("POST {} HTTP/1.1\r\nHost: {}\r\n", url.target(), url.authority()))
    }

    /// One field. Control characters are left out of the value, and what is over the bound is cut.
    pub(crate) fn field(&mut self, name: &str, value: &str) {
        self.0.push_str(name);
        self.0.push_str(": ");
        let end = self.0.len() + HTTP_VALUE_BYTES_MAX;
        for c in value.trim().chars().filter(|c| !c.is_control()) {
            if self.0.len() + c.len_utf8() > end {
                break;
            }
            self.0.push(c);
        }
        self.0.push_str("\r\n");
    }

    /// One field, when there is a value.
    pub(crate) fn optional(&mut self, name: &str, value: Option<&str>) {
        if let Some(value) = value {
            self.field(name, value);
        }
    }
}

/// A request on its way, and its answer.
#[derive(Debug)]
pub(crate) struct Http {
    config: HttpConfig,
    body: Body,
    responses: Responses,
    output: Vec<u8>,
    failure: Option<Failure>,
    deadline: Option<Timestamp>,
}

impl Http {
    pub(crate) fn new(config: HttpConfig, mut head: Head, body: Body) -> Self {
        let failure = (body.message_bytes() > config.message_bytes_max).then_some(Failure::TooLarge);
        head.field("Content-Length", &format!("{}", body.bytes()));
        head.0.push_str("\r\n");
        let output = if failure.is_some() { Vec::new() } else { head.0.into_bytes() };
        let responses = Responses::new(config.answer_bytes_max);
        Self { config, body, responses, output, failure, deadline: None }
    }

    pub(crate) fn input(&mut self, bytes: &[u8]) {
        self.responses.input(bytes);
    }

    pub(crate) const fn ended(&mut self) {
        self.responses.ended();
    }

    pub(crate) fn next(&mut self, now: Timestamp) -> Next<Response> {
        let deadline = *self
            .deadline
            .get_or_insert_with(|| Timestamp::from_ms(now.as_ms().saturating_add(self.config.answer_ms_max)));
        if let Some(failure) = &self.failure {
            return Next::Failed(failure.clone());
        }
        match self.responses.take() {
            Err(failure) => self.fail(failure),
            // It may answer before it has read all of a request that it does not want.
            Ok(Some(response)) => Next::Answer(response),
            Ok(None) if now >= deadline => self.fail(Failure::Timeout),
            Ok(None) if self.body.put(&mut self.output) => Next::Write,
            Ok(None) => Next::Read,
        }
    }

    fn fail(&mut self, failure: Failure) -> Next<Response> {
        self.failure = Some(failure.clone());
        Next::Failed(failure)
    }

    pub(crate) fn deadline(&self) -> Timestamp {
        self.deadline.filter(|_| self.failure.is_none()).unwrap_or(Timestamp::NEVER)
    }

    pub(crate) const fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Whether another request can go over the connection, after an answer.
    pub(crate) fn is_reusable(&self) -> bool {
        self.failure.is_none() && self.body.is_sent() && self.responses.is_reusable()
    }
}

impl core::fmt::Debug for Head {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "Head({} bytes)", self.0.len())
    }
}

#[cfg(test)]
mod tests;
