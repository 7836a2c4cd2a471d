//! Messages that wait for a moderator: those who must approve them are asked by mail, and one of them decides by mail,
//! or nobody does in time. On the shard where the message lies.

use std::rc::Rc;

use base::Timestamp;
use dsn::{Asked, Decision};
use queue::{Action, Attempt, Entry, Error, Moderation, Trace, TraceFilter};
use smtp::Outcome;

use super::{control, notice, whole_second};
use crate::Shard;
use crate::limits::{DESTINATION_PAUSE_MAX, MODERATION_LOOK, STORE_PAUSE};

/// What is known of a message that is, or was, to be approved.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// Who decides.
    pub(crate) moderation: Moderation,
    /// What has become of it; `None` while it waits.
    pub(crate) story: Option<String>,
}

/// Watches over entries that wait, those of the start among them: asks where nobody was asked, and ends what nobody has
/// decided in time.
pub(super) fn begin(shard: &Rc<Shard>, waiting: Vec<Entry>) {
    let there = Rc::clone(shard);
    shard.world.spawn_aside(Box::pin(async move {
        loop {
            let now = there.world.now();
            let first = there.relay.moderated.borrow().values().map(|(_, expires)| *expires).min();
            let next = first.unwrap_or(Timestamp::NEVER).max(now).min(now + MODERATION_LOOK);
            there.world.sleep_until(next).await;
            if there.world.is_stopping() {
                return;
            }
            end_late(&there).await;
        }
    }));
    watch(shard, waiting);
}

/// Takes entries of one or more messages under watch, and asks who was not asked yet.
pub(super) fn watch(shard: &Rc<Shard>, entries: Vec<Entry>) {
    let mut messages: Vec<Vec<Entry>> = Vec::new();
    for entry in entries.into_iter().filter(|entry| entry.is_held && entry.is_moderated) {
        shard.relay.moderated.borrow_mut().insert(entry.ticket, (entry.id, entry.expires));
        if entry.is_asked {
            continue;
        }
        match messages.iter_mut().find(|known| known.iter().any(|other| other.id == entry.id)) {
            Some(known) => known.push(entry),
            None => messages.push(vec![entry]),
        }
    }
    for message in messages {
        let there = Rc::clone(shard);
        shard.world.spawn_aside(Box::pin(async move { ask(&there, &message).await }));
    }
}

/// Asks, until it is done: after a restart those are asked again of whom that is not known.
async fn ask(shard: &Rc<Shard>, entries: &[Entry]) {
    let Some(first) = entries.first() else { return };
    let id = format!("{:016x}", first.id);
    let mut asked = 0;
    let mut pause = STORE_PAUSE;
    while !shard.world.is_stopping() {
        let done = try_to_ask(shard, first, &mut asked).await;
        if let Err(error) = &done {
            tracing::warn!(event = "relay.moderators_not_asked", id, ?error);
        }
        match done {
            Ok(()) => break,
            // It has gone, or cannot be read: there is nobody to ask about what.
            Err(Error::Gone | Error::Corrupt | Error::TooLarge) => return,
            Err(_) => {
                shard.world.sleep_until(shard.world.now() + pause).await;
                pause = (pause * 2).min(DESTINATION_PAUSE_MAX);
            }
        }
    }
    for entry in entries {
        let asked = shard.relay.store.update(entry, None, |entry| entry.is_asked = true).await;
        if let Err(error) = asked {
            tracing::debug!(event = "relay.moderators_asked_unnoted", id, ?error);
        }
    }
}

/// Asks those who were not asked yet, of whom `asked` is the count.
async fn try_to_ask(shard: &Rc<Shard>, entry: &Entry, asked: &mut usize) -> Result<(), Error> {
    let store = &shard.relay.store;
    let (envelope, content) = (store.envelope(entry).await?, store.content(entry).await?);
    let Some(moderation) = &envelope.moderation else { return Ok(()) };
    let Some(tokens) = shard.tokens.get() else { return Err(Error::Unavailable) };
    let settings = shard.settings();
    let address = |decision| tokens.address(envelope.id, decision, &settings.hostname);
    let (approve, reject) = (address(Decision::Approve), address(Decision::Reject));
    let recipients: Vec<&str> =
        envelope.recipients.iter().map(|recipient| recipient.address.as_str()).collect();
    let subject = subject_of(&content);
    for to in moderation.by.iter().skip(*asked) {
        let question = Asked {
            to,
            sender: envelope.sender.as_deref(),
            recipients: &recipients,
            subject: &subject,
            until: entry.expires,
            content: &content,
            approve: &approve,
            reject: &reject,
        };
        let outcome = notice::write(shard, to, |reporter| dsn::ask(&question, reporter)).await;
        tracing::info!(
            event = "relay.moderator_asked", id = format!("{:016x}", envelope.id), moderator = %to, ?outcome
        );
        if matches!(outcome, Outcome::NoSpace | Outcome::Unavailable) {
            return Err(Error::Unavailable);
        }
        *asked += 1;
    }
    Ok(())
}

/// Answers who has decided.
pub(crate) async fn answer(shard: &Rc<Shard>, to: &str, subject: &str, what: &str) {
    let outcome = notice::write(shard, to, |reporter| dsn::answer(to, subject, what, reporter)).await;
    tracing::debug!(event = "relay.moderator_answered", %to, ?outcome);
}

/// The subject of a message, decoded.
pub(crate) fn subject_of(message: &[u8]) -> String {
    let header = message.get(..mime::end_of_headers(message)).unwrap_or(message);
    let field = mime::field(header, "Subject").map(|field| mime::decode_words(&mime::unfold(field.value)));
    field.unwrap_or_default().trim().to_owned()
}

/// What this shard knows of a message.
pub(crate) async fn find(shard: &Rc<Shard>, id: u64) -> Result<Option<Known>, Error> {
    let traces = control::trace(shard, &TraceFilter::Id(id), usize::MAX).await?;
    let waits = !waiting(shard, id).await.is_empty();
    let known = traces.into_iter().find_map(|trace| {
        let moderation = trace.envelope.moderation.clone()?;
        let story = (!waits).then(|| story(&trace));
        Some(Known { moderation, story })
    });
    Ok(known)
}

/// What has become of it, in our own words of then.
fn story(trace: &Trace) -> String {
    let own = trace.progress.attempts.iter().find(|attempt| attempt.recipients.is_empty());
    match own.and_then(|attempt| attempt.reply.get("250 2.7.0 ".len()..)) {
        Some(words) => words.to_owned(),
        None => "it has left the queue".to_owned(),
    }
}

/// Entries of a message that wait for a decision.
async fn waiting(shard: &Rc<Shard>, id: u64) -> Vec<Entry> {
    let mut found = Vec::new();
    let waits = |entry: &Entry| entry.id == id && entry.is_held && entry.is_moderated;
    shard.relay.store.each(|entry| found.extend(waits(&entry).then_some(entry))).await;
    found
}

/// Carries a decision out for what waits of a message; to how many entries. One at a time for a message: the second finds
/// nothing that waits.
pub(crate) async fn decide(
    shard: &Rc<Shard>,
    id: u64,
    decision: Decision,
    who: &str,
) -> Result<usize, Error> {
    if !shard.relay.deciding.borrow_mut().insert(id) {
        return Err(Error::Unavailable);
    }
    let done = decide_alone(shard, id, decision, who).await;
    shard.relay.deciding.borrow_mut().remove(&id);
    done
}

async fn decide_alone(shard: &Rc<Shard>, id: u64, decision: Decision, who: &str) -> Result<usize, Error> {
    let mut count = 0;
    for entry in waiting(shard, id).await {
        let tells = match decision {
            Decision::Approve => true,
            Decision::Reject => {
                let envelope = shard.relay.store.envelope(&entry).await?;
                envelope.moderation.is_some_and(|moderation| moderation.tells_sender)
            }
        };
        let done = match decision {
            Decision::Approve => release(shard, &entry, format!("250 2.7.0 approved by {who}")).await,
            Decision::Reject if tells => give_up(shard, &entry, REJECTED).await,
            Decision::Reject => drop_it(shard, &entry, REJECTED).await,
        };
        match done {
            Ok(()) => count += 1,
            // An operator was quicker.
            Err(Error::Gone) => {}
            Err(error) => return Err(error),
        }
    }
    if count > 0 {
        let id = format!("{id:016x}");
        tracing::info!(event = "relay.moderated", id, ?decision, by = %who);
    }
    Ok(count)
}

const REJECTED: &str = "550 5.7.1 a moderator has rejected the message";
const LATE: &str = "550 5.4.7 no moderator has approved the message in time";

/// Lets it go, with all of the time that a message has.
pub(super) async fn release(shard: &Rc<Shard>, entry: &Entry, reply: String) -> Result<(), Error> {
    let (relay, now) = (&shard.relay, shard.world.now());
    let envelope = relay.store.envelope(entry).await?;
    // What was to wait until a moment does so.
    let due = whole_second(envelope.terms.release_at.unwrap_or(now).max(now));
    let retry = relay.retry(&shard.settings().outbound, entry.destination);
    let expires = retry.expires(due).min(envelope.terms.ends_at().unwrap_or(Timestamp::NEVER));
    let changed = relay.store.amend(entry, |entry, progress| {
        progress.push(word(now, reply));
        (entry.is_held, entry.is_moderated) = (false, false);
        (entry.due, entry.queued) = (due, due);
        entry.expires = expires;
    });
    relay.schedule(&changed.await?);
    relay.moderated.borrow_mut().remove(&entry.ticket);
    Ok(())
}

/// Gives it back to its sender.
async fn give_up(shard: &Rc<Shard>, entry: &Entry, reply: &str) -> Result<(), Error> {
    let (relay, now) = (&shard.relay, shard.world.now());
    let mut progress = relay.store.progress(entry.ticket);
    progress.push(word(now, reply.to_owned()));
    let due = whole_second(now);
    let changed = relay.store.update(entry, Some(&progress), |entry| {
        (entry.is_held, entry.is_moderated) = (false, false);
        (entry.due, entry.expires) = (due, due);
    });
    relay.schedule(&changed.await?);
    relay.moderated.borrow_mut().remove(&entry.ticket);
    Ok(())
}

/// Takes it out, and nobody is told.
async fn drop_it(shard: &Rc<Shard>, entry: &Entry, reply: &str) -> Result<(), Error> {
    let (store, now) = (&shard.relay.store, shard.world.now());
    let envelope = store.envelope(entry).await?;
    let mut progress = store.progress(entry.ticket);
    progress.push(Attempt { action: Action::Failed, ..word(now, reply.to_owned()) });
    let trace = Trace { ended: Some(now), size: entry.size, group: entry.group, envelope, progress };
    store.finish(&trace, entry).await?;
    shard.relay.moderated.borrow_mut().remove(&entry.ticket);
    Ok(())
}

fn word(at: Timestamp, reply: String) -> Attempt {
    let (host, tls, recipients) = (String::new(), String::new(), Vec::new());
    Attempt { at, host, tls, reply, recipients, action: Action::Delayed }
}

/// Gives back what nobody has decided in time.
async fn end_late(shard: &Rc<Shard>) {
    let now = shard.world.now();
    let late: Vec<_> = {
        let moderated = shard.relay.moderated.borrow();
        let late = moderated.iter().filter(|(_, (_, expires))| *expires <= now);
        late.map(|(ticket, (id, _))| (*ticket, *id)).collect()
    };
    for (ticket, id) in late {
        let entry = shard.relay.store.entry(ticket);
        let Some(entry) = entry.filter(|entry| entry.id == id && entry.is_held && entry.is_moderated) else {
            shard.relay.moderated.borrow_mut().remove(&ticket);
            continue;
        };
        match give_up(shard, &entry, LATE).await {
            Ok(()) => tracing::info!(event = "relay.moderation_late", id = format!("{id:016x}")),
            // A moderator or an operator was quicker.
            Err(Error::Gone) => drop(shard.relay.moderated.borrow_mut().remove(&ticket)),
            // It is looked at again with the next one.
            Err(error) => {
                tracing::warn!(event = "relay.store_failed", ?error, id = format!("{id:016x}"));
                shard.relay.moderated.borrow_mut().insert(ticket, (id, now + STORE_PAUSE));
            }
        }
    }
}
