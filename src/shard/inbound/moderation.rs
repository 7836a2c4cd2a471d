//! Moderators decide by mail to an address that names the message. It counts when it comes from one of those whom the
//! message's rules name: by their login, or by a signature or sender policy of their domain. What anybody can write into
//! From counts for nothing.

use std::rc::Rc;

use base::ShardId;
use dsn::Decision;
use mailauth::dkim::DkimResult;
use mailauth::spf::SpfResult;
use queue::Error;
use smtp::{Mode, Refused};

use super::{Incoming, refused};
use crate::Shard;
use crate::relay::moderation::{self, Known};
use directory::{EmailAddress, Target};

/// Whether a recipient is one by which moderators decide.
pub(crate) fn is_for_moderators(shard: &Shard, mode: Mode, address: &str) -> bool {
    mode != Mode::Lmtp && token(shard, address).is_some()
}

fn token(shard: &Shard, address: &str) -> Option<(u64, Decision)> {
    shard.tokens.get()?.read(address, &shard.settings().hostname)
}

/// Does what a message decides; gives back the addresses of it that were for that. Refused when it may not, or when it
/// cannot be done now.
pub(crate) async fn decide(shard: &Rc<Shard>, incoming: &Incoming) -> Result<Vec<String>, Box<Refused>> {
    let envelope = &incoming.message.envelope;
    let mut decided = Vec::new();
    // What rules or filters have dropped or held decides nothing.
    if envelope.mode == Mode::Lmtp || incoming.is_discarded || incoming.is_held {
        return Ok(decided);
    }
    for recipient in &envelope.recipients {
        let Some((id, decision)) = token(shard, &recipient.address) else { continue };
        one(shard, incoming, &recipient.address, id, decision).await?;
        decided.push(recipient.address.clone());
    }
    Ok(decided)
}

async fn one(
    shard: &Rc<Shard>,
    incoming: &Incoming,
    address: &str,
    id: u64,
    decision: Decision,
) -> Result<(), Box<Refused>> {
    let envelope = &incoming.message.envelope;
    let message = incoming.message.data.get(envelope.received_field_bytes..).unwrap_or_default();
    let header = message.get(..mime::end_of_headers(message)).unwrap_or(message);
    let Some(sender) = envelope.sender.as_ref().filter(|_| !is_automatic(header)) else {
        return Err(refused(550, (5, 7, 1), "an automatic answer decides nothing"));
    };
    let Some(known) = find(shard, id).await? else {
        return Err(refused(550, (5, 1, 1), "that message is not known any more"));
    };
    let Some(who) = who(incoming, header, address) else {
        return Err(refused(
            550,
            (5, 7, 1),
            "who decides must log in, or be proven by a signature of their domain",
        ));
    };
    if !is_one_of(shard, &who, &known.moderation.by).await? {
        return Err(refused(550, (5, 7, 1), "you are no moderator of that message"));
    }
    let told = match known.story {
        Some(story) => format!("Nothing was done: {story}."),
        None => carry_out(shard, id, decision, &who).await?,
    };
    let subject = moderation::subject_of(message);
    let (there, to) = (Rc::clone(shard), sender.as_str().to_owned());
    shard.world.spawn_aside(Box::pin(async move { moderation::answer(&there, &to, &subject, &told).await }));
    Ok(())
}

/// Whether nobody wrote it (RFC 3834 §5, and what was there before it).
fn is_automatic(header: &[u8]) -> bool {
    let value = |name: &str| {
        let field = mime::field(header, name).map(|field| mime::unfold(field.value).into_owned());
        String::from_utf8_lossy(&field.unwrap_or_default()).trim().to_ascii_lowercase()
    };
    let (automatic, precedence) = (value("Auto-Submitted"), value("Precedence"));
    !(automatic.is_empty() || automatic == "no" || automatic.starts_with("no "))
        || matches!(precedence.as_str(), "bulk" | "junk" | "list" | "auto_reply")
}

/// Who a message is from beyond doubt. Without a login, it must also name in its header the address that it was sent to:
/// nobody is to send again what was signed for another purpose.
fn who(incoming: &Incoming, header: &[u8], address: &str) -> Option<String> {
    let envelope = &incoming.message.envelope;
    if let Some(identity) = &envelope.identity {
        return Some(identity.address.clone());
    }
    let verdicts = incoming.verdicts.as_ref()?;
    let authors = policy::header_addresses(header, "From");
    let [author] = authors.as_slice() else { return None };
    let (_, domain) = author.rsplit_once('@')?;
    // One field, or another could be put in front of what was signed.
    let is_once = mime::Headers::of(header).filter(|field| field.is("To")).count() == 1;
    let is_named = is_once
        && policy::header_addresses(header, "To").iter().any(|named| named.eq_ignore_ascii_case(address));
    let is_signed = verdicts.dmarc.has_aligned_dkim
        || verdicts
            .dkim
            .iter()
            .any(|dkim| dkim.result == DkimResult::Pass && dkim.domain.eq_ignore_ascii_case(domain));
    let sender = envelope.sender.as_ref().map_or("", |path| path.domain());
    let is_permitted = verdicts.dmarc.has_aligned_spf
        || (verdicts.spf.result == SpfResult::Pass && sender.eq_ignore_ascii_case(domain));
    (is_named && (is_signed || is_permitted)).then(|| author.clone())
}

/// Whether an address is one of these, or leads to accounts that all get the mail of one of these: an alias names a group.
pub(super) async fn is_one_of(shard: &Rc<Shard>, who: &str, by: &[String]) -> Result<bool, Box<Refused>> {
    if by.iter().any(|address| address.eq_ignore_ascii_case(who)) {
        return Ok(true);
    }
    let own = accounts(shard, who).await?;
    if own.is_empty() {
        return Ok(false);
    }
    for address in by {
        let all = accounts(shard, address).await?;
        if own.iter().all(|own| all.iter().any(|other| other.account == own.account)) {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn accounts(shard: &Rc<Shard>, address: &str) -> Result<Vec<Target>, Box<Refused>> {
    let Ok(address) = EmailAddress::parse(address) else { return Ok(Vec::new()) };
    shard.people.behind(shard, &address).await.map_err(|_| not_now())
}

/// Asks every shard: which one has the message is not in its id.
async fn find(shard: &Rc<Shard>, id: u64) -> Result<Option<Known>, Box<Refused>> {
    for number in 0..shard.router.shards() {
        let work = move |there: Rc<Shard>| async move { moderation::find(&there, id).await };
        match shard.router.on(ShardId(number), work).await {
            Ok(Ok(Some(known))) => return Ok(Some(known)),
            Ok(Ok(None)) => {}
            Ok(Err(_)) | Err(_) => return Err(not_now()),
        }
    }
    Ok(None)
}

/// Does it, and says what was done.
async fn carry_out(
    shard: &Rc<Shard>,
    id: u64,
    decision: Decision,
    who: &str,
) -> Result<String, Box<Refused>> {
    let mut count = 0;
    for number in 0..shard.router.shards() {
        let who = who.to_owned();
        let work =
            move |there: Rc<Shard>| async move { moderation::decide(&there, id, decision, &who).await };
        count += match shard.router.on(ShardId(number), work).await {
            Ok(Ok(count)) => count,
            Ok(Err(Error::Gone)) => 0,
            Ok(Err(_)) | Err(_) => return Err(not_now()),
        };
    }
    Ok(match (count, decision) {
        (0, _) => "Nothing was done: it does not wait any more.".to_owned(),
        (_, Decision::Approve) => "You have approved the message; it is on its way.".to_owned(),
        (_, Decision::Reject) => "You have rejected the message.".to_owned(),
    })
}

#[expect(clippy::unnecessary_box_returns, reason = "refusals are boxed wherever they go")]
fn not_now() -> Box<Refused> {
    refused(451, (4, 3, 0), "it cannot be decided now, try again later")
}
