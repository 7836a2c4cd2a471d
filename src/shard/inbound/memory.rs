//! What the rules remember between connections: who has waited (greylisting, the test before the greeting), how fast and
//! how many (limits), and how a source has behaved (reputation). Whoever a memory is about has it on one shard, wherever
//! its connections come in. What is written down of it is in [`crate::remember`].

use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::Arc;

use base::{PartitionId, ShardId, Timestamp};
use policy::{
    Amount, Answer, Concurrent, Conduct, Facts, Home, Key, KeyMaker, LimitId, Policy, Question, Remembered,
    Taken,
};

use crate::Shard;

/// A shard's share of what is remembered.
#[derive(Debug)]
pub(crate) struct Memory {
    pub(crate) remembered: RefCell<Remembered>,
    concurrent: RefCell<Concurrent>,
    /// What was written down has been read, and what changes is written down.
    pub(crate) is_kept: Cell<bool>,
}

impl Memory {
    /// Nothing is known. `secret` is fresh randomness of this start.
    pub(crate) fn new(secret: u128) -> Self {
        let maker = KeyMaker::new(secret);
        Self {
            remembered: RefCell::new(Remembered::new(maker)),
            concurrent: RefCell::new(Concurrent::new(maker)),
            is_kept: Cell::new(false),
        }
    }
}

/// Something that is open under a limit; closed by being dropped.
#[derive(Debug)]
pub(super) struct Held {
    shard: Rc<Shard>,
    owner: ShardId,
    key: Key,
}

impl Drop for Held {
    fn drop(&mut self) {
        let (shard, owner, key) = (Rc::clone(&self.shard), self.owner, self.key);
        let there = Rc::clone(&shard);
        shard.world.spawn_aside(Box::pin(async move {
            let close =
                move |there: Rc<Shard>| async move { there.memory.concurrent.borrow_mut().close(key) };
            // A shard that is gone holds nothing.
            let _gone = there.router.on(owner, close).await;
        }));
    }
}

/// The partition in which what lives at a home is written down.
pub(crate) fn partition(shard: &Shard, home: Home) -> PartitionId {
    PartitionId(home.0 % shard.engine.partitions())
}

/// Which shard remembers what lives at a home.
fn owner(shard: &Shard, home: Home) -> ShardId {
    shard.router.partition_shard(partition(shard, home))
}

/// Answers a question about what is remembered. A limit on how many there are at a time leaves in `held` what keeps it
/// open.
pub(super) async fn answer(
    shard: &Rc<Shard>,
    policy: &Arc<Policy>,
    facts: &Facts<'_>,
    question: Question,
    held: &mut Vec<Held>,
) -> Answer {
    let now = shard.world.now();
    match question {
        Question::Greylist => greylist(shard, policy, facts, now).await,
        Question::Limit(id) => Answer::Limit(id, limit(shard, policy, facts, id, held).await),
        _ => reputation(shard, policy, facts.source, now).await,
    }
}

async fn greylist(shard: &Rc<Shard>, policy: &Arc<Policy>, facts: &Facts<'_>, now: Timestamp) -> Answer {
    let settings = policy.settings().greylist;
    let (source, sender) = (facts.source, facts.sender.unwrap_or_default().to_owned());
    let recipient = facts.recipients.last().copied().unwrap_or_default().to_owned();
    let work = move |there: Rc<Shard>| async move {
        there.memory.remembered.borrow_mut().greylist.check(now, &settings, source, &sender, &recipient)
    };
    let asked = shard.router.on(owner(shard, Home::of_source(source)), work).await;
    Answer::Greylist { wait_s: asked.unwrap_or(0) }
}

/// How long mail still has to wait that a filter wants to come again, in seconds: until all of its recipients have come
/// again. What a rule has made wait for them counts.
pub(super) async fn wait_s(shard: &Rc<Shard>, source: IpAddr, sender: &str, recipients: Vec<String>) -> u32 {
    let settings = shard.settings().inbound.policy.settings().greylist;
    let (now, sender) = (shard.world.now(), sender.to_owned());
    let work = move |there: Rc<Shard>| async move {
        let remembered = &mut *there.memory.remembered.borrow_mut();
        let mut wait =
            |recipient: &String| remembered.greylist.check(now, &settings, source, &sender, recipient);
        recipients.iter().map(&mut wait).max().unwrap_or(0)
    };
    shard.router.on(owner(shard, Home::of_source(source)), work).await.unwrap_or(0)
}

/// Whether a source need not wait for its greeting: it has, not long ago, or is known well.
pub(super) async fn is_known(shard: &Rc<Shard>, policy: &Arc<Policy>, source: IpAddr) -> bool {
    let (now, policy) = (shard.world.now(), Arc::clone(policy));
    let work = move |there: Rc<Shard>| async move {
        let (settings, known) = (policy.settings(), there.memory.remembered.borrow());
        let score = || known.reputation.score(now, &settings.reputation, source);
        known.passes.knows(now, &settings.pregreet, source)
            || settings.pregreet.reputation_min.is_some_and(|least| score() >= least)
    };
    // Where nobody can be asked, nobody waits for it.
    shard.router.on(owner(shard, Home::of_source(source)), work).await.unwrap_or(true)
}

/// Takes down that a source has waited for its greeting.
pub(super) async fn passed(shard: &Rc<Shard>, source: IpAddr) {
    let now = shard.world.now();
    let work = move |there: Rc<Shard>| async move {
        there.memory.remembered.borrow_mut().passes.note(now, source);
    };
    let _gone = shard.router.on(owner(shard, Home::of_source(source)), work).await;
}

async fn limit(
    shard: &Rc<Shard>,
    policy: &Arc<Policy>,
    facts: &Facts<'_>,
    id: LimitId,
    held: &mut Vec<Held>,
) -> bool {
    let Some(limit) = policy.limit(id) else { return false };
    let Some(subject) = limit.subject(facts) else { return false };
    let (name, amount, now) = (limit.name.clone(), limit.amount_of(facts), shard.world.now());
    let owner = owner(shard, Home::of_subject(&subject));
    match limit.amount {
        Amount::Rate(rate) => {
            let work = move |there: Rc<Shard>| async move {
                let rates = &mut there.memory.remembered.borrow_mut().rates;
                let key = rates.key(&name, &subject);
                rates.take(now, &rate, key, amount)
            };
            matches!(shard.router.on(owner, work).await, Ok(Taken::Over(_)))
        }
        Amount::AtOnce(most) => {
            let work = move |there: Rc<Shard>| async move {
                let mut concurrent = there.memory.concurrent.borrow_mut();
                let key = concurrent.key(&name, &subject);
                concurrent.open(key, most).then_some(key)
            };
            match shard.router.on(owner, work).await {
                Ok(Some(key)) => {
                    held.push(Held { shard: Rc::clone(shard), owner, key });
                    false
                }
                Ok(None) => true,
                Err(_) => false,
            }
        }
    }
}

async fn reputation(shard: &Rc<Shard>, policy: &Arc<Policy>, source: IpAddr, now: Timestamp) -> Answer {
    let settings = policy.settings().reputation;
    let work = move |there: Rc<Shard>| async move {
        there.memory.remembered.borrow().reputation.score(now, &settings, source)
    };
    let asked = shard.router.on(owner(shard, Home::of_source(source)), work).await;
    Answer::Reputation(asked.unwrap_or(0))
}

/// Takes down how a source has behaved. Only where somebody asks for that.
pub(super) fn note(shard: &Rc<Shard>, policy: &Arc<Policy>, source: IpAddr, conduct: Conduct) {
    let is_asked = policy::Stage::ALL
        .into_iter()
        .any(|stage| policy.asks(stage, |question| matches!(question, Question::Reputation)));
    if !is_asked && policy.settings().pregreet.reputation_min.is_none() {
        return;
    }
    let (settings, now, owner) =
        (policy.settings().reputation, shard.world.now(), owner(shard, Home::of_source(source)));
    let there = Rc::clone(shard);
    shard.world.spawn_aside(Box::pin(async move {
        let work = move |there: Rc<Shard>| async move {
            there.memory.remembered.borrow_mut().reputation.note(now, &settings, source, conduct);
        };
        let _gone = there.router.on(owner, work).await;
    }));
}
