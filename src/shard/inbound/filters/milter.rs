//! A milter hears at RCPT what it would have heard so far, so that a recipient that it refuses is refused by itself, and the
//! rest when the content is there. Where it heard nothing at RCPT it is told the whole session then, in the same order and
//! with the same macros.

use filter::{
    ClientAddress, Event, Exchange as _, Facts, Failure, Milter, MilterConfig, Outcome, Reuse, Verdict,
};

use super::ask::{Asking, Question};
use super::lane::Connection;
use crate::limits::FILTER_COMMAND_MS_MAX;

/// Asks it about a message from its beginning, and keeps the connection where it may be used again.
pub(super) async fn ask(
    asking: &Asking<'_>,
    connection: Connection,
    question: &Question,
    reuse: Reuse,
) -> Result<Outcome, Failure> {
    let conversation = Conversation::begin(asking, connection, question, reuse).await?;
    conversation.finish(asking, question).await
}

/// A session that a milter is being told.
pub(super) struct Conversation {
    connection: Connection,
    milter: Milter,
    /// What it has come to.
    verdict: Verdict,
    /// Whom and from whom it has been told of.
    sender: Option<String>,
    told: Vec<String>,
}

impl std::fmt::Debug for Conversation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Conversation").field("verdict", &self.verdict).finish_non_exhaustive()
    }
}

impl Conversation {
    /// Tells it of the client, and that a message begins.
    pub(super) async fn begin(
        asking: &Asking<'_>,
        mut connection: Connection,
        question: &Question,
        reuse: Reuse,
    ) -> Result<Self, Failure> {
        let config = MilterConfig {
            command_ms_max: asking.ms_max().min(FILTER_COMMAND_MS_MAX),
            content_ms_max: asking.ms_max(),
            question_ms_max: asking.ms_max(),
            body_bytes_max: asking.filter.message_bytes_max,
            reuse,
        };
        let mut milter = connection.milter.take().unwrap_or_else(|| Milter::new(config));
        set_macros(&mut milter, question);
        let sender = question.facts.sender.clone();
        let mut conversation =
            Self { connection, milter, verdict: Verdict::Continue, sender, told: Vec::new() };
        for event in beginning(question) {
            conversation.hear(asking, event).await?;
            if !conversation.verdict.lets_through() {
                break;
            }
        }
        Ok(conversation)
    }

    /// What it has come to so far.
    pub(super) const fn verdict(&self) -> &Verdict {
        &self.verdict
    }

    /// Whether what it has been told still holds: filters before it may have changed whom and from whom a message is.
    fn fits(&self, question: &Question) -> bool {
        let facts = &question.facts;
        self.sender == facts.sender && self.told.iter().all(|told| facts.recipients.contains(told))
    }

    async fn hear(&mut self, asking: &Asking<'_>, event: Event) -> Result<Outcome, Failure> {
        self.milter.ask(event);
        let outcome = self.connection.line.drive(&*asking.shard.world, &mut self.milter, asking.end).await?;
        let verdict = std::mem::take(&mut self.verdict);
        self.verdict = verdict.and(outcome.verdict.clone());
        Ok(outcome)
    }

    /// Tells it of a recipient. A refusal is of this one alone.
    pub(super) async fn recipient(&mut self, asking: &Asking<'_>, address: &str) -> Result<Verdict, Failure> {
        self.milter.set_macro("{rcpt_addr}", address.as_bytes());
        self.milter.set_macro("{rcpt_host}", domain(address).as_bytes());
        let before = self.verdict.clone();
        let event = Event::Rcpt { path: format!("<{address}>"), parameters: Vec::new() };
        let verdict = self.hear(asking, event).await?.verdict;
        if matches!(verdict, Verdict::Reject(_) | Verdict::TempFail(_)) {
            self.verdict = before;
        } else {
            self.told.push(address.to_owned());
        }
        Ok(verdict)
    }

    /// Tells it the rest, until it lets the message go no further. A recipient that it hears of only now and refuses is the
    /// message refused: there is one answer for all of them.
    pub(super) async fn finish(
        mut self,
        asking: &Asking<'_>,
        question: &Question,
    ) -> Result<Outcome, Failure> {
        if !self.fits(question) {
            self.milter.abort();
            self.end(asking).await;
            return Err(Failure::Closed);
        }
        let outcome = self.rest(asking, question).await?;
        if !outcome.verdict.lets_through() {
            self.milter.abort();
        }
        self.end(asking).await;
        Ok(outcome)
    }

    async fn rest(&mut self, asking: &Asking<'_>, question: &Question) -> Result<Outcome, Failure> {
        let refused = |verdict: &Verdict| !verdict.lets_through();
        if refused(&self.verdict) {
            return Ok(Outcome::of(self.verdict.clone()));
        }
        for address in &question.facts.recipients {
            if self.told.contains(address) {
                continue;
            }
            let verdict = self.recipient(asking, address).await?;
            if refused(&verdict) {
                return Ok(Outcome::of(verdict));
            }
        }
        let mut outcome = Outcome::CONTINUE;
        for event in [Event::Data, Event::Message(question.content.clone())] {
            outcome = self.hear(asking, event).await?;
            if refused(&self.verdict) {
                return Ok(Outcome::of(self.verdict.clone()));
            }
        }
        Ok(Outcome { verdict: self.verdict.clone(), modifications: outcome.modifications })
    }

    /// Keeps the connection where it may be used again.
    async fn end(mut self, asking: &Asking<'_>) {
        let is_reusable = self.milter.release();
        let is_said = self.connection.line.say(&*asking.shard.world, self.milter.output(), asking.end).await;
        if is_reusable && is_said {
            self.connection.milter = Some(self.milter);
            asking.lane.put(asking.shard, &asking.filter.place, self.connection);
        }
    }
}

fn beginning(question: &Question) -> [Event; 3] {
    let facts = &question.facts;
    let from = match facts.client_address {
        Some(address) => ClientAddress::Ip(address.to_canonical(), facts.client_port.unwrap_or(0)),
        None => ClientAddress::Unknown,
    };
    let path = format!("<{}>", facts.sender.as_deref().unwrap_or_default());
    [
        Event::Connect { name: client_name(facts), from },
        Event::Helo(facts.helo.clone().unwrap_or_default()),
        Event::Mail { path, parameters: Vec::new() },
    ]
}

/// Its name, or its address in brackets.
fn client_name(facts: &Facts) -> String {
    let address = || facts.client_address.map(|address| format!("[{}]", address.to_canonical()));
    facts.client_name.clone().or_else(address).unwrap_or_else(|| "localhost".to_owned())
}

/// What is known, under Sendmail's names; of {auth_type} only that there was a login.
fn set_macros(milter: &mut Milter, question: &Question) {
    let facts = &question.facts;
    let known = |text: &Option<String>| text.clone().unwrap_or_default();
    let address = facts.client_address.map_or_else(String::new, |address| address.to_canonical().to_string());
    let sender = known(&facts.sender);
    let name = client_name(facts);
    let protocol = if question.is_extended { "ESMTP" } else { "SMTP" };
    let is_resolved = facts.client_name.is_some();
    let all = [
        ("j", known(&facts.server_name)),
        ("v", concat!("Angarium ", env!("CARGO_PKG_VERSION")).to_owned()),
        ("{daemon_name}", question.listener.to_owned()),
        ("_", if address.is_empty() { name.clone() } else { format!("{name} [{address}]") }),
        ("{client_addr}", address),
        ("{client_name}", name.clone()),
        ("{client_ptr}", known(&facts.client_name)),
        ("{client_resolve}", if is_resolved { "OK" } else { "FAIL" }.to_owned()),
        ("{tls_version}", known(&facts.tls_version)),
        ("{cipher}", known(&facts.tls_cipher)),
        ("i", known(&facts.queue_id)),
        ("r", protocol.to_owned()),
        ("s", known(&facts.helo)),
        ("{auth_type}", facts.user.as_ref().map_or_else(String::new, |_| "SASL".to_owned())),
        ("{auth_authen}", known(&facts.user)),
        ("{mail_host}", domain(&sender).to_owned()),
        ("{mail_addr}", sender),
    ];
    for (name, value) in all.into_iter().filter(|(_, value)| !value.is_empty()) {
        milter.set_macro(name, value.as_bytes());
    }
}

fn domain(address: &str) -> &str {
    address.rsplit_once('@').map_or("", |(_, domain)| domain)
}
