//! Milters, rspamd, ClamAV and HTTP hooks: asked when the content is there, in the order of the configuration. Each sees
//! what the one before it has made of the message. Milters are told at RCPT what there is to tell (`early`), and hooks are
//! asked at the stages that their settings name.

mod ask;
mod early;
mod envelope;
mod lane;
mod line;
mod milter;
mod settings;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use filter::{Content, Facts, HookStage, Outcome, Verdict, apply};
use smtp::{Mode, Refused};

use self::ask::{Asking, Question};
pub(super) use self::early::Early;
pub(crate) use self::lane::Lanes;
use self::lane::Said;
pub(crate) use self::line::{Line, addresses};
use self::milter::Conversation;
pub use self::settings::{FilterKind, FilterPlace, FilterSettings, HookSettings, RspamdSettings};
use super::{Incoming, memory, peer, refused};
use crate::{Settings, Shard};

/// Whether any filter is asked before the content is there.
pub(super) fn are_early(settings: &Settings) -> bool {
    let is_early = |filter: &FilterSettings| filter.stages.iter().any(|stage| *stage != HookStage::Data);
    settings.inbound.filters.iter().any(is_early)
}

/// Asks every filter that this mail goes through, until one lets it go no further.
pub(super) async fn filter(
    shard: &Rc<Shard>,
    source: &str,
    early: Option<&mut Early>,
    incoming: &mut Incoming,
) -> Result<(), Box<Refused>> {
    if shard.settings().inbound.filters.is_empty() {
        return Ok(());
    }
    // On the heap, so that connections do not keep room for it while they are idle.
    Box::pin(all(shard, source, early, incoming)).await
}

async fn all(
    shard: &Rc<Shard>,
    source: &str,
    mut early: Option<&mut Early>,
    incoming: &mut Incoming,
) -> Result<(), Box<Refused>> {
    let settings = shard.settings();
    let filters = &settings.inbound.filters;
    let peer = peer(source);
    let is_trusted = peer.is_some_and(|peer| settings.outbound.may_relay(peer));
    for filter in filters {
        if incoming.is_discarded {
            break;
        }
        let mode = incoming.message.envelope.mode;
        if filter.is_for(HookStage::Data, mode, is_trusted) {
            let id = incoming.message.envelope.id;
            let begun = early.as_mut().and_then(|early| early.begun(&filter.name, id));
            one(shard, filter, peer, begun, incoming).await?;
        }
    }
    Ok(())
}

/// Asks one filter, and does what it says.
async fn one(
    shard: &Rc<Shard>,
    filter: &FilterSettings,
    peer: Option<IpAddr>,
    begun: Option<Conversation>,
    incoming: &mut Incoming,
) -> Result<(), Box<Refused>> {
    let settings = shard.settings();
    let lane = shard.filters.of(&filter.name, &settings.inbound.filters);
    let start = shard.world.now();
    let asking = Asking { shard, filter, lane: &lane, end: start + filter.timeout };
    let own_bytes = incoming.message.envelope.received_field_bytes;
    let data = Arc::new(std::mem::take(&mut incoming.message.data));
    let question = question(&settings.hostname, peer, incoming, Content::new(Arc::clone(&data), own_bytes));
    let asked = asking.finish(begun, &question).await;
    drop(question);
    let id = incoming.message.envelope.id;
    let outcome = match &asked {
        Ok(outcome) => outcome.clone(),
        Err(failure) => {
            let policy = filter.on_failure;
            tracing::warn!(event = "inbound.filter_failed", name = filter.name, %id, error = %failure, on_failure = ?policy);
            policy.outcome(failure)
        }
    };
    let changes = &outcome.modifications;
    incoming.message.data = if changes.is_empty() {
        Arc::try_unwrap(data).unwrap_or_else(|shared| Vec::clone(&shared))
    } else {
        apply(&data, own_bytes, changes)
    };
    envelope::change(shard, filter, incoming, changes).await;
    let (said, done) = judge(shard, peer, incoming, &outcome).await;
    let said = if asked.is_ok() { said } else { Said::Failed };
    lane.count(said);
    let ms = shard.world.now().since(start).as_millis();
    tracing::info!(event = "inbound.filter", name = filter.name, stage = "data", %id, verdict = said.word(), changes = changes.len(), %ms);
    done
}

/// What a filter is told.
fn question(hostname: &str, peer: Option<IpAddr>, incoming: &Incoming, content: Content) -> Question {
    let envelope = &incoming.message.envelope;
    let sender = envelope.sender.as_ref().map_or("", |path| path.as_str());
    let name = incoming.verdicts.as_ref().and_then(|verdicts| verdicts.iprev.name.clone());
    let tls = envelope.tls.as_ref();
    let facts = Facts {
        client_address: peer,
        client_port: None,
        client_name: name,
        helo: Some(envelope.helo.to_string()),
        user: envelope.identity.as_ref().map(|identity| identity.address.clone()),
        sender: Some(sender.to_owned()),
        recipients: envelope.recipients.iter().map(|recipient| recipient.address.clone()).collect(),
        queue_id: Some(envelope.id.to_string()),
        server_name: Some(hostname.to_owned()),
        tls_version: tls.map(|tls| tls_version(&tls.version)),
        tls_cipher: tls.map(|tls| tls.cipher.clone()),
        tls_issuer: None,
    };
    Question {
        stage: HookStage::Data,
        facts,
        content,
        is_extended: envelope.is_extended,
        listener: listener(envelope.mode),
    }
}

/// The form that filters know: `TLSv1.3`.
fn tls_version(version: &str) -> String {
    version.replacen("TLS", "TLSv", 1)
}

const fn listener(mode: Mode) -> &'static str {
    match mode {
        Mode::Mx => "smtp",
        Mode::Submission => "submission",
        Mode::Lmtp => "lmtp",
    }
}

/// What becomes of the message.
async fn judge(
    shard: &Rc<Shard>,
    peer: Option<IpAddr>,
    incoming: &mut Incoming,
    outcome: &Outcome,
) -> (Said, Result<(), Box<Refused>>) {
    match &outcome.verdict {
        Verdict::Continue | Verdict::Accept | Verdict::Points(_) => (Said::Pass, Ok(())),
        Verdict::Reject(reply) => (Said::Reject, said_no(reply)),
        Verdict::TempFail(reply) => (Said::Defer, said_no(reply)),
        Verdict::Greylist(reply) => {
            if must_wait(shard, peer, incoming).await {
                (Said::Greylist, said_no(reply))
            } else {
                (Said::Pass, Ok(()))
            }
        }
        Verdict::Discard => {
            incoming.is_discarded = true;
            (Said::Discard, Ok(()))
        }
        Verdict::Quarantine(reason) => {
            incoming.is_held = true;
            tracing::info!(event = "inbound.filter_holds", id = %incoming.message.envelope.id, reason);
            (Said::Quarantine, Ok(()))
        }
        Verdict::Junk { .. } => {
            incoming.is_junk = true;
            (Said::Junk, Ok(()))
        }
    }
}

/// Only strangers are made to wait: who logged in, and systems beside us, are known.
async fn must_wait(shard: &Rc<Shard>, peer: Option<IpAddr>, incoming: &Incoming) -> bool {
    let envelope = &incoming.message.envelope;
    let Some(peer) = peer.filter(|_| envelope.mode == Mode::Mx) else { return false };
    let sender = envelope.sender.as_ref().map_or("", |path| path.as_str());
    let recipients = envelope.recipients.iter().map(|recipient| recipient.address.clone()).collect();
    memory::wait_s(shard, peer, sender, recipients).await > 0
}

/// A filter's refusal. The connection goes on, so that 421 would be no true word.
fn said_no(reply: &filter::Reply) -> Result<(), Box<Refused>> {
    let code = if reply.code() == 421 { 451 } else { reply.code() };
    let class = if reply.is_permanent() { 5 } else { 4 };
    let numbers = reply.enhanced().and_then(|text| {
        let (_, rest) = text.split_once('.')?;
        let (subject, detail) = rest.split_once('.')?;
        Some((class, subject.parse().ok()?, detail.parse().ok()?))
    });
    Err(refused(code, numbers.unwrap_or((class, 7, 1)), &reply.lines().join(" ")))
}
