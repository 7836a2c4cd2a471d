//! The organisation's rules for every message (`policy::Flow`): where it goes, what it says, and whether it goes at all.

use std::rc::Rc;
use std::sync::Arc;

use base::{Timestamp, give_way};
use directory::{EmailAddress, Resolution};
use policy::{
    Applied, Effect, Flow, FlowAction, FlowFacts, FlowKnown, FlowOutcome, FlowQuestion, FlowVerdict, Journal,
    JournalRecipient, RecipientKind, apply, journal_report,
};
use smtp::{BodyKind, Mode, Outcome, Peer, Recipient, Refused, TransactionId};

use super::moderation::is_one_of;
use super::rules::words;
use super::{Incoming, peer, refused};
use crate::limits::{FLOW_RECIPIENTS_MAX, JUNK_SCORE_MIN, POLICY_ROUNDS_MAX};
use crate::{Manner, Shard, deliver};

/// Applies the rules to a message.
pub(super) async fn flow(
    shard: &Rc<Shard>,
    source: &str,
    incoming: &mut Incoming,
) -> Result<(), Box<Refused>> {
    let settings = shard.settings();
    let flow = &settings.inbound.flow;
    if flow.rule_names().len() == 0 {
        return Ok(());
    }
    let now = shard.world.now();
    let verdict = evaluate(shard, flow, source, incoming, now).await?;
    log(flow, incoming, &verdict);
    incoming.is_junk |= verdict.junk_score >= JUNK_SCORE_MIN;
    journals(shard, incoming, &verdict.effects, now).await?;
    for effect in &verdict.effects {
        match &effect.action {
            FlowAction::Redirect(targets) => {
                incoming.message.envelope.recipients.clear();
                add(incoming, targets)?;
            }
            FlowAction::Bcc(targets) | FlowAction::To(targets) | FlowAction::Cc(targets) => {
                add(incoming, targets)?;
            }
            FlowAction::Moderate { by, tells_sender } => {
                moderate(shard, incoming, by, *tells_sender).await?;
            }
            FlowAction::Quarantine => incoming.is_held = true,
            FlowAction::Route(name) => incoming.route = Some(name.clone()),
            FlowAction::Reject(reply) => return Err(words(reply)),
            FlowAction::Discard => incoming.is_discarded = true,
            FlowAction::Disclaim(_)
            | FlowAction::Field(_)
            | FlowAction::Journal(_)
            | FlowAction::JunkScore(_) => {}
        }
    }
    change(shard, incoming, &verdict.effects)
}

async fn evaluate(
    shard: &Rc<Shard>,
    flow: &Arc<Flow>,
    source: &str,
    incoming: &Incoming,
    now: Timestamp,
) -> Result<FlowVerdict, Box<Refused>> {
    let envelope = &incoming.message.envelope;
    let body = incoming.message.data.get(envelope.received_field_bytes..).unwrap_or_default();
    let message = policy::Message::of(body);
    let recipients: Vec<&str> =
        envelope.recipients.iter().map(|recipient| recipient.address.as_str()).collect();
    let sender = envelope.sender.as_ref().map_or("", |path| path.as_str());
    let mut known = FlowKnown::default();
    // Each round is over with the first rule that asks.
    for _ in 0..=POLICY_ROUNDS_MAX + flow.rule_names().len() {
        let mut facts = FlowFacts::of(sender, &recipients, now, &known);
        facts.account = envelope.identity.as_ref().map(|identity| identity.address.as_str());
        facts.source = peer(source);
        let asked = match flow.evaluate(&message, &facts) {
            FlowOutcome::Done(verdict) => return Ok(verdict),
            FlowOutcome::Needs(asked) => asked,
        };
        for question in asked {
            let Some(answer) = answer(shard, &question).await else {
                return Err(refused(451, (4, 3, 0), "the directory cannot be asked now"));
            };
            known.answer(question, answer);
        }
        give_way().await;
    }
    Err(refused(451, (4, 3, 5), "the rules for mail come to no end"))
}

/// `None` when the directory cannot be asked.
async fn answer(shard: &Rc<Shard>, question: &FlowQuestion) -> Option<bool> {
    match question {
        FlowQuestion::IsInside { domain } => {
            let Ok(address) = EmailAddress::parse(&format!("postmaster@{domain}")) else {
                return Some(false);
            };
            Some(shard.people.resolve(shard, &address).await.ok()? != Resolution::NotLocal)
        }
        // A group is an alias: whoever gets its mail belongs to it.
        FlowQuestion::IsMember { address, group } => {
            let (Ok(address), Ok(group)) = (EmailAddress::parse(address), EmailAddress::parse(group)) else {
                return Some(false);
            };
            let one = shard.people.behind(shard, &address).await.ok()?;
            let all = shard.people.behind(shard, &group).await.ok()?;
            Some(
                !one.is_empty() && one.iter().all(|own| all.iter().any(|other| other.account == own.account)),
            )
        }
    }
}

/// Has a message wait for those who must approve it: of several rules, for one of all they name. What one of them has
/// submitted is approved by that.
async fn moderate(
    shard: &Rc<Shard>,
    incoming: &mut Incoming,
    by: &[String],
    tells_sender: bool,
) -> Result<(), Box<Refused>> {
    if let Some(identity) = &incoming.message.envelope.identity
        && is_one_of(shard, &identity.address, by).await?
    {
        return Ok(());
    }
    let moderation = incoming.moderation.get_or_insert_default();
    moderation.tells_sender |= tells_sender;
    for address in by {
        if !moderation.by.iter().any(|known| known.eq_ignore_ascii_case(address)) {
            moderation.by.push(address.clone());
        }
    }
    Ok(())
}

/// Adds recipients that the client did not name.
fn add(incoming: &mut Incoming, targets: &[String]) -> Result<(), Box<Refused>> {
    let recipients = &mut incoming.message.envelope.recipients;
    for address in targets {
        if !recipients.iter().any(|known| known.address.eq_ignore_ascii_case(address)) {
            recipients.push(Recipient { address: address.clone(), orcpt: None, notify: None });
        }
    }
    incoming.is_rerouted = true;
    if recipients.len() > FLOW_RECIPIENTS_MAX {
        return Err(refused(550, (5, 5, 3), "rules add more recipients than a message may have"));
    }
    Ok(())
}

/// Changes the message; our own fields in front stay.
fn change(shard: &Rc<Shard>, incoming: &mut Incoming, effects: &[Effect]) -> Result<(), Box<Refused>> {
    let is_change = |effect: &Effect| {
        matches!(
            effect.action,
            FlowAction::Disclaim(_) | FlowAction::Field(_) | FlowAction::To(_) | FlowAction::Cc(_)
        )
    };
    if !effects.iter().any(is_change) {
        return Ok(());
    }
    let own = incoming.message.envelope.received_field_bytes;
    let message = incoming.message.data.get(own..).unwrap_or_default();
    let mut seed = [0; 8];
    shard.world.random(&mut seed);
    match apply(message, effects, u64::from_le_bytes(seed)) {
        Applied::Refused(reply) => Err(words(&reply)),
        Applied::Message(changed) => {
            incoming.message.data.truncate(own);
            incoming.message.data.extend_from_slice(&changed);
            Ok(())
        }
    }
}

/// Writes the journals: a message that cannot be journaled is not taken.
async fn journals(
    shard: &Rc<Shard>,
    incoming: &Incoming,
    effects: &[Effect],
    now: Timestamp,
) -> Result<(), Box<Refused>> {
    for effect in effects {
        let FlowAction::Journal(to) = &effect.action else { continue };
        let outcome = journal(shard, incoming, to, now).await;
        if outcome != Outcome::Stored {
            tracing::error!(event = "inbound.journal_failed", %to, ?outcome, id = %incoming.message.envelope.id);
            return Err(refused(451, (4, 3, 0), "the message cannot be journaled now"));
        }
    }
    Ok(())
}

async fn journal(shard: &Rc<Shard>, incoming: &Incoming, to: &str, now: Timestamp) -> Outcome {
    let envelope = &incoming.message.envelope;
    let body = incoming.message.data.get(envelope.received_field_bytes..).unwrap_or_default();
    let header = body.get(..mime::end_of_headers(body)).unwrap_or(body);
    let named = |name: &str, address: &str| {
        policy::header_addresses(header, name).iter().any(|other| other.eq_ignore_ascii_case(address))
    };
    let kind = |address: &str| match (named("To", address), named("Cc", address)) {
        (true, _) => RecipientKind::To,
        (_, true) => RecipientKind::Cc,
        _ => RecipientKind::Bcc,
    };
    let recipients: Vec<_> = envelope
        .recipients
        .iter()
        .map(|recipient| JournalRecipient {
            address: recipient.address.clone(),
            kind: kind(&recipient.address),
            expanded_from: None,
        })
        .collect();
    let mut seed = [0; 8];
    shard.world.random(&mut seed);
    let seed = u64::from_le_bytes(seed);
    let settings = shard.settings();
    let journal = Journal {
        sender: envelope.sender.as_ref().map_or("", |path| path.as_str()),
        on_behalf_of: None,
        recipients: &recipients,
        from: &settings.mx.postmaster,
        to,
        now,
        seed,
    };
    let report = journal_report(&journal, body);
    let own = smtp::Envelope {
        id: TransactionId(seed),
        mode: Mode::Mx,
        helo: Arc::from(settings.hostname.as_str()),
        is_extended: true,
        peer: Arc::new(Peer { address: String::new(), is_trusted: true }),
        tls: None,
        identity: None,
        sender: None,
        recipients: vec![Recipient {
            address: to.to_owned(),
            orcpt: None,
            notify: Some(smtp::Notify::default()),
        }],
        body: BodyKind::EightBitMime,
        is_smtputf8: envelope.is_smtputf8,
        ret: None,
        envid: None,
        terms: smtp::Terms::default(),
        received: now,
        received_field_bytes: 0,
    };
    let manner = Manner { may_relay: true, ..Manner::default() };
    let outcomes = deliver(shard, smtp::Message { envelope: own, data: report }, manner, now).await;
    outcomes.into_iter().next().unwrap_or(Outcome::Unavailable)
}

fn log(flow: &Flow, incoming: &Incoming, verdict: &FlowVerdict) {
    let id = incoming.message.envelope.id;
    let name = |effect: &Effect| flow.rule_names().nth(effect.rule).unwrap_or_default().to_owned();
    for effect in &verdict.effects {
        tracing::info!(event = "inbound.flow", rule = name(effect), action = %effect.action, %id);
    }
    for effect in &verdict.audited {
        tracing::info!(event = "inbound.flow_audit", rule = name(effect), action = %effect.action, %id);
    }
}
