//! One message in: from a session's envelope to the INBOX of every recipient, or to the outbound queue, durable
//! before the answer. Recipients are grouped by partition; each partition gets one transaction with one copy
//! of the bytes, all partitions at the same time, those of one shard by one call.
//!
//! Whoever is told to try again sends the whole message again. So all that can be known before is asked
//! before anything is stored: nobody is to get a new copy at each try because of somebody else's full mailbox.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use account::{Content, MailboxName};
use base::{AccountId, PartitionId, ShardId, Timestamp, give_way};
use directory::{EmailAddress, Onward, Resolution, Target};
use smtp::{Envelope, Message, Mode, Outcome, return_path_header};

use crate::forwarding::{Found, sent_on};
use crate::join::join_all;
use crate::limits::{MESSAGE_TARGETS_MAX, TARGETS_PER_TURN};
use crate::relay::{accept, has_room};
use crate::room::{Room, Wanted, rooms};
use crate::{Shard, Wait};

/// Where junk goes: the mailbox that every account is given. One that was removed leaves it in INBOX.
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
    /// For each of `wanted`, the addresses that led to it, as places in `outcomes`.
    led_by: Vec<Vec<usize>>,
}

/// Delivers `message`; one outcome for each of the envelope's recipients, in order. Outcomes that
/// say `Stored` are durable. Where one reply stands for all recipients (SMTP, not LMTP), nothing is stored when it
/// is known before that it would have to say "try again".
pub async fn deliver(shard: &Rc<Shard>, message: Message, manner: Manner, now: Timestamp) -> Vec<Outcome> {
    let Message { envelope, data } = message;
    let Some(mut plan) = resolve(shard, &envelope, &manner).await else {
        return vec![Outcome::TooManyRecipients; envelope.recipients.len()];
    };
    let rooms = rooms(shard, &plan.wanted, data.len() as u64).await;
    plan.refuse_full(&rooms);
    // What is sent on and what is for others are two transactions: the one must not be done again and again for the other.
    if !plan.onward.is_empty()
        && !manner.is_notice
        && !has_room(shard, plan.onward.len() + plan.elsewhere.len())
    {
        plan.refuse_what_is_queued(Outcome::NoSpace);
    }
    if envelope.mode != Mode::Lmtp {
        plan.refuse_all_if_one_may_pass();
    }
    if !send_on(shard, &mut plan, &envelope, &data, &manner, now).await && envelope.mode != Mode::Lmtp {
        plan.refuse_all_if_one_may_pass();
    }
    let (queued, data) = queued(&plan, &envelope, data);
    if let Some((mut for_others, content)) = queued {
        let is_held = manner.is_held();
        (for_others.route, for_others.moderation) = (manner.route, manner.moderation);
        let queued = accept(shard, for_others, content, is_held, now).await;
        plan.set(queued);
        // The client will send it to all of them again.
        if envelope.mode != Mode::Lmtp {
            plan.refuse_all_if_one_may_pass();
        }
    }
    if let Some(data) = data {
        let data = with_return_path(&envelope, data);
        let content = Content { summary: imap::summarize(&data), data: Arc::new(data) };
        plan.store(shard, &content, manner.is_junk, now).await;
    }
    plan.addresses.iter().map(|address| plan.outcomes[*address]).collect()
}

/// Queues what aliases and accounts send on, that of each domain of ours for itself, since it is sealed in its name; false
/// when that is not durable.
async fn send_on(
    shard: &Rc<Shard>,
    plan: &mut Plan,
    envelope: &Envelope,
    data: &[u8],
    manner: &Manner,
    now: Timestamp,
) -> bool {
    let mut by_domain = BTreeMap::<String, (Vec<usize>, Vec<(smtp::Recipient, Onward)>)>::new();
    let outcomes = &plan.outcomes;
    for (place, at, onward) in plan.onward.iter().filter(|(place, ..)| outcomes[*place] == Outcome::Stored) {
        let (places, all) = by_domain.entry(onward.by.domain().to_owned()).or_default();
        places.push(*place);
        all.push((envelope.recipients[*at].clone(), onward.clone()));
    }
    let mut is_durable = true;
    for (places, onward) in by_domain.into_values() {
        let queued = queue_envelope(envelope, Vec::new(), data);
        let (mut queued, content) =
            sent_on(shard, queued, &onward, data.to_vec(), manner.found.as_deref(), now).await;
        queued.route.clone_from(&manner.route);
        if manner.is_notice {
            queued.origin = queue::Origin::default();
        }
        let outcome = accept(shard, queued, Arc::new(content), false, now).await;
        tracing::info!(event = "delivery.sent_on", id = %envelope.id, addresses = onward.len(), ?outcome);
        if outcome == Outcome::Stored {
            continue;
        }
        is_durable = false;
        for place in places {
            if plan.outcomes[place] == Outcome::Stored {
                plan.outcomes[place] = outcome;
            }
        }
    }
    is_durable
}

/// A message for the queue.
type Queued = (queue::Envelope, Arc<Vec<u8>>);

/// What goes into the queue, if anybody elsewhere is among the recipients, and what is left for those who are here. The
/// bytes are copied only where both want them.
fn queued(plan: &Plan, envelope: &Envelope, data: Vec<u8>) -> (Option<Queued>, Option<Vec<u8>>) {
    let for_others = plan.queue_envelope(envelope, &data);
    match (for_others, plan.wanted.is_empty()) {
        (None, true) => (None, None),
        (None, false) => (None, Some(data)),
        (Some(for_others), true) => (Some((for_others, Arc::new(data))), None),
        (Some(for_others), false) => (Some((for_others, Arc::new(data.clone()))), Some(data)),
    }
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
        let resolution = match address {
            Some(address) => shard.people.resolve(shard, &address).await,
            None => Ok(Resolution::UnknownUser),
        };
        plan.outcomes.push(match &resolution {
            Ok(Resolution::Local(_) | Resolution::Forwarded(_)) if waits => {
                plan.elsewhere.push(place);
                Outcome::Stored
            }
            Ok(Resolution::Local(_)) => Outcome::Stored,
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

impl Plan {
    /// The same account by two addresses gets one copy.
    fn add(&mut self, accounts: &mut HashMap<AccountId, usize>, place: usize, targets: Vec<Target>) {
        for target in targets {
            let at = *accounts.entry(target.account).or_insert_with(|| {
                self.wanted.push(Wanted::of(&target));
                self.led_by.push(Vec::new());
                self.led_by.len() - 1
            });
            self.led_by[at].push(place);
        }
    }

    /// The envelope for those elsewhere that are not refused; `None` when there is nobody.
    fn queue_envelope(&self, envelope: &Envelope, data: &[u8]) -> Option<queue::Envelope> {
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
        (!recipients.is_empty()).then(|| queue_envelope(envelope, recipients, data))
    }

    /// Notes what became of those elsewhere.
    fn set(&mut self, queued: Outcome) {
        for place in &self.elsewhere {
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

    fn refuse_what_is_queued(&mut self, outcome: Outcome) {
        let queued = self.onward.iter().map(|(place, ..)| place).chain(&self.elsewhere);
        for place in queued {
            if self.outcomes[*place] == Outcome::Stored {
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

    /// Stores the message for whom an address asks that is not refused.
    async fn store(&mut self, shard: &Rc<Shard>, content: &Content, is_junk: bool, now: Timestamp) {
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
        for (at, answer) in askers.into_iter().zip(join_all(calls).await.into_iter().flatten()) {
            // An alias with several accounts is stored when all of them have it.
            for place in self.led_by[at].iter().filter(|_| answer != Outcome::Stored) {
                self.outcomes[*place] = answer;
            }
        }
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

fn queue_recipient(recipient: &smtp::Recipient) -> queue::Recipient {
    queue::Recipient {
        address: recipient.address.clone(),
        orcpt: recipient.orcpt.clone(),
        notify: recipient.notify,
        // Set where it is queued.
        group: queue::Destination(0),
    }
}

fn queue_terms(terms: &smtp::Terms) -> queue::Terms {
    let smtp::Terms { priority, release_at, deliver_by, verp, .. } = *terms;
    let deliver_by = deliver_by.map(|by| queue::DeliverBy {
        at: by.at,
        is_returned: by.mode == smtp::ByMode::Return,
        is_traced: by.is_traced,
    });
    queue::Terms { priority, release_at, deliver_by, verp }
}

fn queue_envelope(envelope: &Envelope, recipients: Vec<queue::Recipient>, data: &[u8]) -> queue::Envelope {
    let header = data.get(..mime::end_of_headers(data)).unwrap_or(data);
    let message_id = mime::field(header, "Message-ID").map(|field| mime::unfold(field.value).into_owned());
    queue::Envelope {
        id: envelope.id.0,
        sender: envelope.sender.as_ref().map(|path| path.as_str().to_owned()),
        recipients,
        body: match envelope.body {
            smtp::BodyKind::SevenBit => queue::Body::SevenBit,
            smtp::BodyKind::EightBitMime => queue::Body::EightBitMime,
            smtp::BodyKind::BinaryMime => queue::Body::BinaryMime,
        },
        is_smtputf8: envelope.is_smtputf8,
        ret: envelope.ret,
        envid: envelope.envid.clone(),
        requires_tls: envelope.terms.requires_tls,
        terms: queue_terms(&envelope.terms),
        route: None,
        received: envelope.received,
        origin: queue::Origin {
            peer: envelope.peer.address.clone(),
            helo: envelope.helo.to_string(),
            account: envelope.identity.as_ref().map(|identity| identity.account.0),
            message_id: message_id.map(|id| String::from_utf8_lossy(&id).trim().to_owned()),
        },
        moderation: None,
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
