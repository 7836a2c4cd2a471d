//! A milter is told the whole session when the content is there: it hears what it would have heard at each stage, in
//! the same order and with the same macros.

use filter::{ClientAddress, Event, Exchange as _, Facts, Failure, Milter, MilterConfig, Outcome, Reuse};

use super::ask::{Asking, Question};
use super::lane::Connection;
use crate::limits::FILTER_COMMAND_MS_MAX;

/// Asks it, and keeps the connection where it may be used again.
pub(super) async fn ask(
    asking: &Asking<'_>,
    mut connection: Connection,
    question: &Question,
    reuse: Reuse,
) -> Result<Outcome, Failure> {
    let config = MilterConfig {
        command_ms_max: asking.ms_max().min(FILTER_COMMAND_MS_MAX),
        content_ms_max: asking.ms_max(),
        question_ms_max: asking.ms_max(),
        body_bytes_max: asking.filter.message_bytes_max,
        reuse,
    };
    let mut milter = connection.milter.take().unwrap_or_else(|| Milter::new(config));
    set_macros(&mut milter, question);
    let outcome = session(asking, &mut connection, &mut milter, question).await?;
    let is_reusable = milter.release();
    let is_said = connection.line.say(&*asking.shard.world, milter.output(), asking.end).await;
    if is_reusable && is_said {
        connection.milter = Some(milter);
        asking.lane.put(asking.shard, &asking.filter.place, connection);
    }
    Ok(outcome)
}

/// Stage by stage, until it lets the message go no further. A recipient that it refuses is the message refused: there
/// is one answer for all of them.
async fn session(
    asking: &Asking<'_>,
    connection: &mut Connection,
    milter: &mut Milter,
    question: &Question,
) -> Result<Outcome, Failure> {
    let mut outcome = Outcome::CONTINUE;
    for event in events(question) {
        if let Event::Rcpt { path, .. } = &event {
            let address = path.trim_matches(['<', '>']);
            milter.set_macro("{rcpt_addr}", address.as_bytes());
            milter.set_macro("{rcpt_host}", domain(address).as_bytes());
        }
        milter.ask(event);
        let stage = connection.line.drive(&*asking.shard.world, milter, asking.end).await?;
        outcome.verdict = outcome.verdict.and(stage.verdict);
        outcome.modifications = stage.modifications;
        if !outcome.verdict.lets_through() {
            milter.abort();
            return Ok(Outcome::of(outcome.verdict));
        }
    }
    Ok(outcome)
}

fn events(question: &Question) -> Vec<Event> {
    let facts = &question.facts;
    let path = |address: &str| format!("<{address}>");
    let from = match facts.client_address {
        Some(address) => ClientAddress::Ip(address.to_canonical(), facts.client_port.unwrap_or(0)),
        None => ClientAddress::Unknown,
    };
    let mut events = vec![
        Event::Connect { name: client_name(facts), from },
        Event::Helo(facts.helo.clone().unwrap_or_default()),
        Event::Mail { path: path(facts.sender.as_deref().unwrap_or_default()), parameters: Vec::new() },
    ];
    let recipient = |address: &String| Event::Rcpt { path: path(address), parameters: Vec::new() };
    events.extend(facts.recipients.iter().map(recipient));
    events.extend([Event::Data, Event::Message(question.content.clone())]);
    events
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
