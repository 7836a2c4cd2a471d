//! rspamd's own protocol: a message by `POST /checkv2`, and what rspamd makes of it as JSON.

mod answer;
#[cfg(test)]
mod tests;

use alloc::string::String;
use alloc::vec::Vec;

use base::Timestamp;

pub use answer::{Assessment, Symbol};

use crate::exchange::{Content, Exchange, Next};
use crate::facts::Facts;
use crate::http::{Body, Head, Http, HttpConfig, Part, Url};
use crate::outcome::Failure;

/// How to ask rspamd.
#[derive(Clone, Debug)]
pub struct RspamdConfig {
    /// Where its normal worker or its proxy listens, with the path: `http://127.0.0.1:11333/checkv2`.
    pub url: Url,
    /// Times and sizes.
    pub http: HttpConfig,
    /// The password, where the worker wants one.
    pub password: Option<String>,
}

/// What only rspamd is told.
#[derive(Clone, Debug, Default)]
pub struct RspamdRequest {
    /// The connection and the envelope.
    pub facts: Facts,
    /// To whom the message goes in the end, when that is one user: for settings and statistics of theirs.
    pub deliver_to: Option<String>,
    /// A word of the operator's for this server or listener.
    pub mta_tag: Option<String>,
    /// The name of settings that rspamd has.
    pub settings_id: Option<String>,
    /// Settings for this message, as JSON.
    pub settings: Option<String>,
}

/// One message asked about over one connection.
#[derive(Debug)]
pub struct Rspamd {
    http: Http,
}

impl Rspamd {
    /// The question about a message.
    pub fn new(config: &RspamdConfig, request: &RspamdRequest, message: Content) -> Self {
        let facts = &request.facts;
        let mut head = Head::post(&config.url);
        let address = facts.client_address.map(|address| alloc::format!("{address}"));
        head.optional("IP", address.as_deref());
        head.optional("Helo", facts.helo.as_deref());
        head.optional("Hostname", facts.client_name.as_deref());
        if let Some(sender) = &facts.sender {
            head.field("From", &alloc::format!("<{sender}>"));
        }
        for recipient in &facts.recipients {
            head.field("Rcpt", &alloc::format!("<{recipient}>"));
        }
        head.optional("User", facts.user.as_deref());
        head.optional("Queue-Id", facts.queue_id.as_deref());
        head.optional("MTA-Name", facts.server_name.as_deref());
        head.optional("MTA-Tag", request.mta_tag.as_deref());
        head.optional("Deliver-To", request.deliver_to.as_deref());
        head.optional("TLS-Version", facts.tls_version.as_deref());
        head.optional("TLS-Cipher", facts.tls_cipher.as_deref());
        head.optional("TLS-Cert-Issuer", facts.tls_issuer.as_deref());
        head.optional("Settings-ID", request.settings_id.as_deref());
        head.optional("Settings", request.settings.as_deref());
        head.optional("Password", config.password.as_deref());
        let body = Body::new(Vec::from([Part::Message(message)]));
        Self { http: Http::new(config.http.clone(), head, body) }
    }

    /// Whether another question can go over the connection, after an answer.
    pub fn is_reusable(&self) -> bool {
        self.http.is_reusable()
    }
}

impl Exchange for Rspamd {
    type Answer = Assessment;

    fn input(&mut self, bytes: &[u8]) {
        self.http.input(bytes);
    }

    fn ended(&mut self) {
        self.http.ended();
    }

    fn next(&mut self, now: Timestamp) -> Next<Assessment> {
        match self.http.next(now) {
            Next::Write => Next::Write,
            Next::Read => Next::Read,
            Next::Failed(failure) => Next::Failed(failure),
            Next::Answer(response) if response.status != 200 => {
                Next::Failed(Failure::Status(response.status))
            }
            Next::Answer(response) => match Assessment::parse(&response.body) {
                Ok(assessment) => Next::Answer(assessment),
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
