//! One message in: from a session's envelope to the INBOX of every recipient, or to the outbound queue, durable
//! before the answer. Recipients are grouped by partition; each partition gets one transaction with one copy
//! of the bytes, all partitions at the same time, those of one shard by one call.
//!
//! Whoever is told to try again sends the whole message again. So all that can be known before is asked
//! before anything is stored: nobody is to get a new copy at each try because of somebody else's full mailbox. What goes into
//! the queue is one transaction; what fails behind it is `rest`'s.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::rc::Rc;
use std::sync::Arc;

use account::{Content, MailboxName};
use base::{AccountId, PartitionId, ShardId, Timestamp, give_way};
use directory::{EmailAddress, Onward, Resolution, Target};
use router::Gone;
use smtp::{Envelope, Message, Mode, Outcome, return_path_header};

use crate::forwarding::{Found, is_for_bounces, sent_on};
use crate::join::join_all;
use crate::limits::{MESSAGE_TARGETS_MAX, TARGETS_PER_TURN};
use crate::relay::{Outgoing, accept, leads_nowhere};
use crate::room::{Room, Wanted, rooms};
use crate::{Shard, Wait};
use queued::{queue_envelope, queue_recipient};

mod queued;
mod rest;

/// Where junk goes. Every account is given it; one that was removed leaves it in INBOX.
const JUNK: &str = "Junk";

/// How a message is taken.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each says its own")]
pub struct Manner {
    /// The sender may send to recipients elsewhere: for those it is queued.
    pub may_relay: bool,
    /// It goes into Junk instead of INBOX.
    pub is_junk: bool,
    /// It goes nowhere until an operator releases it from the queue, for whomever it is.
    pub is_held: bool,
    /// The route that it leaves by, instead of the one that its addresses have.
    pub route: Option<String>,
    /// It goes nowhere until one of these approves it.
    pub moderation: Option<queue::Moderation>,
    /// It goes into the mailboxes of these accounts, wherever their mail goes on to.
    pub stays: bool,
    /// It is a notice of ours: it takes the place of what it is about, so a full queue has room for it.
    pub is_notice: bool,
    /// What was found out about who it is from, for the seal of what is sent on.
    pub found: Option<Arc<Found>>,
}

impl Manner {
    const fn is_held(&self) -> bool {
        self.is_held || self.moderation.is_some()
    }
}

/// Where a message is to go.
#[derive(Default)]
struct Plan {
    /// For each recipient of the envelope, its address's place in `outcomes`.
    addresses: Vec<usize>,
    /// What becomes of the message for each distinct address.
    outcomes: Vec<Outcome>,
    /// Places in `outcomes` of addresses elsewhere, which the sender may send to.
    elsewhere: Vec<usize>,
    /// Where aliases and accounts send it on to, with the place in `outcomes` of who is sent on, and in the envelope.
    onward: Vec<(usize, usize, Onward)>,
    wanted: Vec<Wanted>,
    /// For each of `wanted`, its own address.
    mailboxes: Vec<EmailAddress>,
    /// For each of `wanted`, the addresses that led to it, as places in `outcomes`.
    led_by: Vec<Vec<usize>>,
    /// What goes into the queue is durable.
    is_queued: bool,
    /// Places in `outcomes` of addresses of which something waits for a mailbox of ours.
    waits: HashSet<usize>,
}

/// What became of a message, for each of its envelope's recipients, in order.
#[derive(Default)]
pub(crate) struct Taken {
    pub(crate) outcomes: Vec<Outcome>,
    /// Some of it waits in the queue for a mailbox of ours, and is told of from there.
    pub(crate) waits: Vec<bool>,
}

/// Delivers `message`; one outcome for each of the envelope's recipients, in order. Outcomes that
/// say `Stored` are durable. Where one reply stands for all recipients (SMTP, not LMTP), nothing is stored when it
/// is known before that it would have to say "try again".
pub async fn deliver(shard: &Rc<Shard>, message: Message, manner: Manner, now: Timestamp) -> Vec<Outcome> {
    take(shard, message, manner, now).await.outcomes
}

/// The same, and whom it waits for.
pub(crate) async fn take(shard: &Rc<Shard>, message: Message, manner: Manner, now: Timestamp) -> Taken {
    let Message { envelope, data } = message;
    let Some(mut plan) = resolve(shard, &envelope, &manner).await else {
        let count = envelope.recipients.len();
        return Taken { outcomes: vec![Outcome::TooManyRecipients; count], waits: vec![false; count] };
    };
    let bytes = data.len() + return_path_header(envelope.sender.as_ref()).len();
    let rooms = rooms(shard, &plan.wanted, bytes as u64).await;
    plan.refuse_full(&rooms);
    if envelope.mode != Mode::Lmtp {
        plan.refuse_all_if_one_may_pass();
    }
    let data = Arc::new(data);
    // All of them or none: the one must not go again and again for the other.
    let queued = queued(shard, &mut plan, &envelope, &data, &manner, now).await;
    if !queued.is_empty() {
        let outcome = accept(shard, queued, manner.is_held(), now).await;
        if !plan.onward.is_empty() {
            tracing::info!(
                event = "delivery.sent_on", id = %envelope.id, addresses = plan.onward.len(), ?outcome
            );
        }
        plan.set_queued(outcome);
        // The client will send it to all of them again.
        if envelope.mode != Mode::Lmtp {
            plan.refuse_all_if_one_may_pass();
        }
    }
    if !plan.wanted.is_empty() {
        let data = with_return_path(&envelope, Arc::unwrap_or_clone(data));
        let content = Content { summary: imap::summarize(&data), data: Arc::new(data) };
        let stored = plan.store(shard, &content, manner.is_junk, now).await;
        plan.settle(shard, &stored, &envelope, &content, manner.is_junk).await;
    }
    Taken {
        outcomes: plan.addresses.iter().map(|at| plan.outcomes[*at]).collect(),
        waits: plan.addresses.iter().map(|at| plan.waits.contains(at)).collect(),
    }
}

/// What goes into the queue: what aliases and accounts send on, and what is for others.
async fn queued(
    shard: &Rc<Shard>,
    plan: &mut Plan,
    envelope: &Envelope,
    data: &Arc<Vec<u8>>,
    manner: &Manner,
    now: Timestamp,
) -> Vec<Outgoing> {
    let mut queued = Vec::new();
    let (bare, settings) = (|| queue_envelope(envelope, Vec::new(), data), shard.settings());
    if !plan.onward.is_empty() {
        let mut sent = queue::Envelope { route: manner.route.clone(), ..bare() };
        if manner.is_notice {
            sent.origin = queue::Origin::default();
        }
        plan.leave_out(|to| leads_nowhere(&settings.outbound, &sent, to), envelope);
        let onward = plan.onward.iter();
        let onward = onward.map(|(_, at, onward)| (envelope.recipients[*at].clone(), onward.clone()));
        queued = sent_on(shard, sent, onward.collect(), data, manner.found.as_deref(), now).await;
    }
    let recipients = plan.for_others(envelope);
    if !recipients.is_empty() {
        let (route, moderation) = (manner.route.clone(), manner.moderation.clone());
        let envelope = queue::Envelope { recipients, route, moderation, ..bare() };
        queued.push(Outgoing { envelope, content: Arc::clone(data) });
    }
    queued
}

/// None when the message would go to more than [`MESSAGE_TARGETS_MAX`] accounts.
async fn resolve(shard: &Rc<Shard>, envelope: &Envelope, manner: &Manner) -> Option<Plan> {
    let mut plan = Plan::default();
    let mut known = HashMap::<String, usize>::new();
    let mut accounts = HashMap::<AccountId, usize>::new();
    // For those who are here too, it waits in the queue (RFC 4865 §3).
    let waits = manner.is_held() || envelope.terms.release_at.is_some();
    let (mut count, mut turn) = (0, 0);
    let may_send_on = shard.settings().outbound.is_enabled;
    for (at, recipient) in envelope.recipients.iter().enumerate() {
        let address = EmailAddress::parse(&recipient.address).ok();
        let key = address.as_ref().map_or_else(|| recipient.address.clone(), EmailAddress::key);
        if let Some(place) = known.get(&key) {
            plan.addresses.push(*place);
            continue;
        }
        let place = plan.outcomes.len();
        known.insert(key, place);
        plan.addresses.push(place);
        // Nobody is sent junk because somebody has learned where their bounces go.
        let is_junk_bounce =
            manner.is_junk && address.as_ref().is_some_and(|address| is_for_bounces(shard, address));
        let resolution = whose(shard, address.as_ref(), manner).await;
        plan.outcomes.push(match &resolution {
            Ok(Resolution::Local(_) | Resolution::Forwarded(_)) if waits => {
                plan.elsewhere.push(place);
                Outcome::Stored
            }
            Ok(Resolution::Local(_)) => Outcome::Stored,
            Ok(Resolution::Forwarded(_)) if is_junk_bounce => Outcome::Rejected,
            Ok(Resolution::Forwarded(forwarded)) if may_send_on || !forwarded.targets.is_empty() => {
                Outcome::Stored
            }
            Ok(Resolution::NotLocal) if manner.may_relay => {
                plan.elsewhere.push(place);
                Outcome::Stored
            }
            Ok(
                Resolution::Disabled
                | Resolution::UnknownUser
                | Resolution::NotLocal
                | Resolution::Forwarded(_),
            ) => Outcome::Disabled,
            Ok(Resolution::AliasLoop) | Err(_) => Outcome::Unavailable,
        });
        let (targets, onward) = match resolution {
            Ok(Resolution::Local(targets)) if !waits => (targets, Vec::new()),
            Ok(Resolution::Forwarded(forwarded)) if !waits => (forwarded.targets, forwarded.onward),
            _ => continue,
        };
        count += targets.len() + onward.len();
        if count > MESSAGE_TARGETS_MAX {
            return None;
        }
        plan.add(&mut accounts, place, targets);
        for onward in onward {
            match onward.account {
                // Nobody is helped by junk that is sent on: it stays with whoever would send it. So does all that may not
                // be sent.
                Some(account) if manner.is_junk || !may_send_on => {
                    plan.add(&mut accounts, place, vec![account]);
                }
                _ if may_send_on => plan.onward.push((place, at, onward)),
                _ => {}
            }
        }
        if count + place >= turn + TARGETS_PER_TURN {
            turn = count + place;
            give_way().await;
        }
    }
    Some(plan)
}

/// Where mail to an address goes; of what stays, into the account itself.
async fn whose(
    shard: &Rc<Shard>,
    address: Option<&EmailAddress>,
    manner: &Manner,
) -> Result<Resolution, Gone> {
    let Some(address) = address else { return Ok(Resolution::UnknownUser) };
    if !manner.stays {
        return shard.people.resolve(shard, address).await;
    }
    let targets = shard.people.behind(shard, address).await?;
    Ok(if targets.is_empty() { Resolution::Disabled } else { Resolution::Local(targets) })
}

impl Plan {
    /// The same account by two addresses gets one copy.
    fn add(&mut self, accounts: &mut HashMap<AccountId, usize>, place: usize, targets: Vec<Target>) {
        for target in targets {
            let at = *accounts.entry(target.account).or_insert_with(|| {
                self.wanted.push(Wanted::of(&target));
                self.mailboxes.push(target.address);
                self.led_by.push(Vec::new());
                self.led_by.len() - 1
            });
            self.led_by[at].push(place);
        }
    }

    /// Those elsewhere that are not refused.
    fn for_others(&self, envelope: &Envelope) -> Vec<queue::Recipient> {
        let is_queued =
            |place: &usize| self.elsewhere.contains(place) && self.outcomes[*place] == Outcome::Stored;
        let all = envelope.recipients.iter().zip(&self.addresses);
        let mut recipients = Vec::<queue::Recipient>::new();
        for (recipient, _) in all.filter(|(_, place)| is_queued(place)) {
            // The same address twice gets one copy.
            if !recipients.iter().any(|known| known.address == recipient.address) {
                recipients.push(queue_recipient(recipient));
            }
        }
        recipients
    }

    /// Keeps of those it is sent on to whom mail can get to. Who leads to nobody else is refused.
    fn leave_out(&mut self, leads_nowhere: impl Fn(&str) -> bool, envelope: &Envelope) {
        let mut left_out = Vec::new();
        let outcomes = &self.outcomes;
        self.onward.retain(|(place, _, onward)| {
            let is_wanted = outcomes[*place] == Outcome::Stored;
            let is_good = !(is_wanted && leads_nowhere(&onward.to.to_string()));
            if !is_good {
                tracing::warn!(
                    event = "delivery.onward_left_out", id = %envelope.id, to = %onward.to, by = %onward.by
                );
                left_out.push(*place);
            }
            is_wanted && is_good
        });
        for place in left_out {
            let goes_on = self.onward.iter().any(|(other, ..)| *other == place);
            if !goes_on && !self.led_by.iter().any(|places| places.contains(&place)) {
                self.outcomes[place] = Outcome::Rejected;
            }
        }
    }

    /// Notes what became of what goes into the queue.
    fn set_queued(&mut self, queued: Outcome) {
        self.is_queued = queued == Outcome::Stored;
        for place in self.onward.iter().map(|(place, ..)| place).chain(&self.elsewhere) {
            if self.outcomes[*place] == Outcome::Stored {
                self.outcomes[*place] = queued;
            }
        }
    }

    /// An alias with several accounts is stored when all of them have room.
    fn refuse_full(&mut self, rooms: &[Room]) {
        for (room, places) in rooms.iter().zip(&self.led_by) {
            let outcome = match room {
                Room::Enough => continue,
                Room::Full => Outcome::OverQuota,
                Room::Unknown => Outcome::Unavailable,
            };
            for place in places {
                self.outcomes[*place] = outcome;
            }
        }
    }

    fn refuse_all_if_one_may_pass(&mut self) {
        let Some(refusal) = self.outcomes.iter().copied().find(|outcome| may_pass(*outcome)) else { return };
        for outcome in self.outcomes.iter_mut().filter(|outcome| **outcome == Outcome::Stored) {
            *outcome = refusal;
        }
    }

    /// Stores the message for whom an address asks that is not refused; by places in `wanted`, what became of it.
    async fn store(
        &self,
        shard: &Rc<Shard>,
        content: &Content,
        is_junk: bool,
        now: Timestamp,
    ) -> Vec<(usize, Outcome)> {
        let mut by_shard = BTreeMap::<ShardId, BTreeMap<PartitionId, Share>>::new();
        for (at, wanted) in self.wanted.iter().enumerate() {
            if self.led_by[at].iter().all(|place| self.outcomes[*place] != Outcome::Stored) {
                continue;
            }
            let Wanted { partition, account, quota_bytes } = *wanted;
            let shares = by_shard.entry(shard.router.partition_shard(partition)).or_default();
            let share = shares.entry(partition).or_insert_with(|| Share::new(partition));
            share.wanted.push(at);
            let mailbox = is_junk.then(|| MailboxName::new(JUNK).ok()).flatten();
            share.recipients.push(account::Recipient { account, quota_bytes, mailbox });
        }
        let mut calls = Vec::with_capacity(by_shard.len());
        let mut askers = Vec::<usize>::new();
        for (target, shares) in by_shard {
            let shares: Vec<_> = shares.into_values().collect();
            askers.extend(shares.iter().flat_map(|share| &share.wanted));
            calls.push(store(shard, target, shares, content.clone(), now));
        }
        askers.into_iter().zip(join_all(calls).await.into_iter().flatten()).collect()
    }
}

/// What one partition is to store.
struct Share {
    partition: PartitionId,
    recipients: Vec<account::Recipient>,
    /// For each recipient, its place in [`Plan::wanted`].
    wanted: Vec<usize>,
}

impl Share {
    const fn new(partition: PartitionId) -> Self {
        Self { partition, recipients: Vec::new(), wanted: Vec::new() }
    }
}

/// Whether the client will send the message again.
const fn may_pass(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Stored | Outcome::TooLarge | Outcome::Disabled | Outcome::Rejected => false,
        Outcome::OverQuota | Outcome::NoSpace | Outcome::TooManyRecipients | Outcome::Unavailable => true,
    }
}

/// The transactions of one shard's partitions, here or there: one call, however many they are. Answers for
/// each recipient of each share, in order.
async fn store(
    shard: &Rc<Shard>,
    target: ShardId,
    shares: Vec<Share>,
    content: Content,
    now: Timestamp,
) -> Vec<Outcome> {
    if target == shard.id {
        return store_here(Rc::clone(shard), shares, content, now).await;
    }
    // Messages that other connections have ready now cross with this one: the other shard is woken once for
    // all, and one batch has them.
    give_way().await;
    let count = shares.iter().map(|share| share.recipients.len()).sum();
    let work = move |there: Rc<Shard>| store_here(there, shares, content, now);
    let _waiting = Wait::OtherShard.mark();
    shard.router.on(target, work).await.unwrap_or_else(|_| vec![Outcome::Unavailable; count])
}

async fn store_here(shard: Rc<Shard>, shares: Vec<Share>, content: Content, now: Timestamp) -> Vec<Outcome> {
    if let [only] = shares.as_slice() {
        return store_share(&shard, only, content, now).await;
    }
    let calls = shares.iter().map(|share| store_share(&shard, share, content.clone(), now)).collect();
    join_all(calls).await.into_iter().flatten().collect()
}

/// One partition's transaction.
async fn store_share(shard: &Shard, share: &Share, content: Content, now: Timestamp) -> Vec<Outcome> {
    let stored = account::deliver(&shard.engine, share.partition, &share.recipients, content, now).await;
    shard.metrics.count_delivered(stored.iter().filter(|outcome| outcome.is_ok()).count() as u64);
    stored
        .into_iter()
        .map(|outcome| outcome.map_or_else(|error| outcome_of(&error), |_| Outcome::Stored))
        .collect()
}

fn outcome_of(error: &account::Error) -> Outcome {
    match error {
        account::Error::OverQuota | account::Error::LimitReached => Outcome::OverQuota,
        account::Error::TooLarge => Outcome::TooLarge,
        account::Error::NoSpace => Outcome::NoSpace,
        // Nothing here says that the account is gone: the directory does, and was asked.
        account::Error::NotFound
        | account::Error::Denied
        | account::Error::Exists
        | account::Error::InvalidName(_)
        | account::Error::Unavailable
        | account::Error::Corrupt => Outcome::Unavailable,
    }
}

/// RFC 5321 §4.4: the last server puts the reverse-path in front.
fn with_return_path(envelope: &Envelope, mut data: Vec<u8>) -> Vec<u8> {
    let field = return_path_header(envelope.sender.as_ref());
    // In place: a large message is in memory once.
    data.reserve_exact(field.len());
    data.splice(..0, field);
    data
}
