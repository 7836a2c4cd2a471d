//! The greeting, HELO, EHLO, LHLO and STARTTLS.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use base::{Next, Rfc3339, Session};

use super::Smtp;
use super::state::{Client, State, Wait};
use crate::announced;
use crate::config::Mode;
use crate::limits::DELIVER_BY_S_MIN;
use crate::reply::{self, Order, Refusal};
use crate::request::{Request, Waited};
use crate::terms::Hold;

impl Smtp {
    /// RFC 5321 §4.2: the greeting has no enhanced code (RFC 2034 §4).
    pub(super) fn greet(&mut self) {
        let protocol = match self.config.mode {
            Mode::Mx | Mode::Submission => "ESMTP",
            Mode::Lmtp => "LMTP",
        };
        let greeting = format!("{} {protocol} ready", self.config.hostname);
        reply::lines(&mut self.output, 220, &[greeting]);
    }

    /// Greets, or says the first line of the greeting and waits with the last one (RFC 5321 §4.2.1).
    pub(super) fn begin(&mut self, wait_ms: u32) {
        if wait_ms == 0 {
            self.state = State::Fresh;
            return self.greet();
        }
        self.output.extend_from_slice(format!("220-{}\r\n", self.config.hostname).as_bytes());
        self.state = State::Quiet { wait_ms };
    }

    /// Waits for the end of the silence, or of the peer's patience. What it has said stays its input.
    pub(super) fn listen(&mut self) -> Next<Request> {
        let waited = match (self.input.is_empty(), self.deadline() <= self.now) {
            (false, _) => Waited::Spoke,
            (true, true) => Waited::Silent,
            (true, false) => return Next::Read,
        };
        self.ask(Wait::Greeting, Request::Greeting(waited))
    }

    pub(super) fn helo(&mut self, name: &str) {
        self.introduce(name, false);
        reply::lines(&mut self.output, 250, core::slice::from_ref(&self.config.hostname));
    }

    pub(super) fn ehlo(&mut self, name: &str) {
        self.introduce(name, true);
        let extensions = self.extensions();
        reply::lines(&mut self.output, 250, &extensions);
    }

    /// RFC 5321 §4.1.4: an open transaction is gone, as by RSET. Who logged in stays logged in.
    fn introduce(&mut self, name: &str, is_extended: bool) {
        self.counts.idle_commands += 1;
        let identity = match mem::replace(&mut self.state, State::Fresh) {
            State::Ready(client) | State::Mail { client, .. } => client.identity,
            _ => None,
        };
        let helo = self.announced_helo.clone().unwrap_or_else(|| name.into());
        self.state = State::Ready(Client { helo, is_extended, identity });
    }

    fn extensions(&self) -> Vec<String> {
        let limits = &self.config.limits;
        let mut lines = Vec::with_capacity(19);
        lines.push(self.config.hostname.clone());
        // RFC 1870 §3: the number is the limit.
        lines.push(format!("SIZE {}", limits.message_bytes_max));
        // RFC 9422 §3: limits come as one keyword.
        lines.push(format!("LIMITS RCPTMAX={} MAILMAX={}", limits.recipients_max, limits.transactions_max));
        for keyword in ["PIPELINING", "8BITMIME", "SMTPUTF8", "CHUNKING", "BINARYMIME"] {
            lines.push(keyword.into());
        }
        lines.extend(["ENHANCEDSTATUSCODES".into(), "DSN".into()]);
        if self.config.mode != Mode::Lmtp {
            lines.extend(["MT-PRIORITY".into(), format!("DELIVERBY {DELIVER_BY_S_MIN}")]);
        }
        if self.offers_hold() {
            let latest = Hold::For(limits.hold_s_max).ends(self.now);
            lines.push(format!("FUTURERELEASE {} {}", limits.hold_s_max, Rfc3339(latest)));
        }
        if self.offers_verp() {
            lines.push("XVERP".into());
        }
        // RFC 8689 §2: under TLS only.
        if self.tls.is_some() && self.config.mode != Mode::Lmtp {
            lines.push("REQUIRETLS".into());
        }
        // RFC 3207 §4.2: not under TLS.
        if self.config.tls_offered && self.tls.is_none() {
            lines.push("STARTTLS".into());
        }
        if self.config.mode == Mode::Submission && self.identity().is_none() {
            let mechanisms = auth::mechanisms(self.tls.as_deref(), &self.config.auth);
            if !mechanisms.is_empty() {
                lines.push(format!("AUTH {}", mechanisms.join(" ")));
            }
        }
        if self.config.mode == Mode::Submission {
            // RFC 4468 §3.1: without arguments for who has to log in first. §3.3: URLs with a proof, and those of
            // the user's own messages here.
            lines.push(match self.identity() {
                Some(_) => format!("BURL imap imap://{}", self.config.hostname),
                None => "BURL".into(),
            });
        }
        if self.rights.may_announce {
            lines.push(announced::KEYWORD.into());
        }
        lines.push("HELP".into());
        lines
    }

    pub(super) fn start_tls(&mut self) {
        if self.tls.is_some() {
            return self.refuse_order(Order::TlsTwice);
        }
        if !self.config.tls_offered {
            return self.refuse(Refusal::TlsNotOffered);
        }
        self.say(220, "2.0.0", "ready to start TLS");
        // RFC 3207 §4.2: what was sent behind the command in clear is nobody's.
        self.input = Vec::new();
        self.state = State::Handshake;
    }
}
