//! What outlives a restart without being anybody's mail: what rules remember of sources, and the MTA-STS policies of other
//! domains. It is written down beside the work, in batches every few seconds and at the stop, and read at the start; a
//! crash loses what was learned since the last batch. A batch that cannot be written is written with the next one.
//!
//! Each entry is a value in a partition of the shard that remembers it; `docs/formats/remembered.md`.

use std::collections::HashMap;
use std::rc::Rc;

use base::{PartitionId, Secret, ShardId, give_way};
use policy::{KeyMaker, Remembered};
use queue::Destination;
use storage_engine::Error;

use crate::Shard;
use crate::inbound::partition;
use crate::limits::{REMEMBER_EVERY, REMEMBERED_ACCOUNT, REMEMBERED_AT_ONCE};

/// The first byte of a policy's key; the domain follows.
const POLICY: u8 = b's';

/// What a partition is to have changed: keys with their values, or with nothing where they are to go.
type Batch = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// Reads what was written down on all shards, and has them write from now on. Called once, at the start, on the shard that
/// owns the directory.
pub async fn begin(shard: &Rc<Shard>) -> Result<(), directory::Error> {
    let Some(directory) = shard.people.own() else { return Ok(()) };
    let mut fresh = [0; 32];
    shard.world.random(&mut fresh);
    let secret = directory.secret("remembered", Secret::new(fresh)).await?;
    shard.world.random(&mut fresh);
    let tokens = dsn::Tokens::new(&directory.secret("moderation", Secret::new(fresh)).await?);
    // First what decisions of moderators are known by: the rest takes longer.
    for id in 0..shard.router.shards() {
        let tokens = tokens.clone();
        let told = shard.router.on(ShardId(id), move |there: Rc<Shard>| async move {
            there.tokens.get_or_init(|| tokens);
        });
        let _gone = told.await;
    }
    for id in 0..shard.router.shards() {
        let copy = secret.clone();
        let read =
            shard.router.on(ShardId(id), move |there: Rc<Shard>| async move { load(&there, &copy).await });
        // A shard that is gone remembers nothing.
        let _gone = read.await;
    }
    Ok(())
}

async fn load(shard: &Rc<Shard>, secret: &Secret<[u8; 32]>) {
    let (half, _) = secret.reveal().split_first_chunk::<16>().expect("it has 32 bytes");
    let (settings, now) = (shard.settings(), shard.world.now());
    let mut values = Vec::new();
    for kind in Remembered::KINDS {
        for owned in owned(shard) {
            each(shard, owned, kind, &mut values).await;
        }
    }
    let count = values.len();
    let mut remembered = Remembered::new(KeyMaker::new(u128::from_le_bytes(*half)));
    remembered.restore(now, settings.inbound.policy.settings(), values);
    *shard.memory.remembered.borrow_mut() = remembered;
    let policies = load_policies(shard).await;
    if count + policies > 0 {
        tracing::info!(event = "shard.remembered", shard = shard.id.0, entries = count, policies);
    }
    shard.memory.is_kept.set(true);
    let there = Rc::clone(shard);
    shard.world.spawn_aside(Box::pin(async move { run(&there).await }));
}

/// Policies go to the shard that has the connections to their domain: with another number of shards, to another than
/// before.
async fn load_policies(shard: &Rc<Shard>) -> usize {
    let (now, mut count) = (shard.world.now(), 0);
    for owned in owned(shard) {
        let mut values = Vec::new();
        each(shard, owned, POLICY, &mut values).await;
        let mut over = Batch::new();
        for (key, value) in values {
            let domain = String::from_utf8_lossy(key.get(1..).unwrap_or_default()).into_owned();
            let home = ShardId(Destination::of(&domain).shard(shard.router.shards()));
            let restore = move |there: Rc<Shard>| async move {
                there.relay.policies.borrow_mut().restore(&domain, &value, now)
            };
            match shard.router.on(home, restore).await {
                Ok(false) => over.push((key, None)),
                _ => count += 1,
            }
        }
        let _logged = commit(shard, owned, over).await;
    }
    count
}

/// Adds all values of a kind in a partition.
async fn each(shard: &Shard, partition: PartitionId, kind: u8, values: &mut Vec<(Vec<u8>, Vec<u8>)>) {
    let mut after: Option<Vec<u8>> = None;
    loop {
        let page = shard.engine.values(
            partition.0,
            REMEMBERED_ACCOUNT,
            &[kind],
            after.as_deref(),
            REMEMBERED_AT_ONCE,
        );
        let Some((last, _)) = page.last() else { return };
        after = Some(last.clone());
        values.extend(page);
        give_way().await;
    }
}

fn owned(shard: &Shard) -> Vec<PartitionId> {
    let all = (0..shard.engine.partitions()).map(PartitionId);
    all.filter(|partition| shard.owns(*partition)).collect()
}

async fn run(shard: &Rc<Shard>) {
    while !shard.world.is_stopping() {
        shard.world.sleep_until(shard.world.now() + REMEMBER_EVERY).await;
        write_down(shard).await;
    }
}

/// Writes down all that has changed. Where nothing was read yet, nothing is written; what cannot be written is left for
/// the next time.
pub async fn write_down(shard: &Rc<Shard>) {
    if !shard.memory.is_kept.get() {
        return;
    }
    loop {
        let now = shard.world.now();
        let mut batches: HashMap<PartitionId, Batch> = HashMap::new();
        for change in shard.memory.remembered.borrow_mut().changes(now, REMEMBERED_AT_ONCE) {
            let batch = batches.entry(partition(shard, change.home)).or_default();
            batch.push((change.key.to_vec(), change.value));
        }
        for (domain, value) in shard.relay.policies.borrow_mut().changes(REMEMBERED_AT_ONCE) {
            // The same whatever the number of shards: an older one must not be left behind elsewhere.
            let number = Destination::of(&domain).0 % u64::from(shard.engine.partitions().max(1));
            let batch = batches.entry(PartitionId(number as u16)).or_default();
            batch.push(([&[POLICY], domain.as_bytes()].concat(), value));
        }
        if batches.is_empty() {
            return;
        }
        let mut unwritten = Vec::new();
        for (partition, batch) in batches {
            let keys: Vec<Vec<u8>> = batch.iter().map(|(key, _)| key.clone()).collect();
            let owner = shard.router.partition_shard(partition);
            let write = move |there: Rc<Shard>| async move { commit(&there, partition, batch).await.is_ok() };
            // Where one fails, the others would hardly fare better.
            let is_written = unwritten.is_empty() && shard.router.on(owner, write).await == Ok(true);
            if !is_written {
                unwritten.extend(keys);
            }
        }
        if !unwritten.is_empty() {
            return put_back(shard, &unwritten);
        }
    }
}

fn put_back(shard: &Shard, keys: &[Vec<u8>]) {
    for key in keys {
        match key.split_first() {
            Some((&POLICY, domain)) => {
                shard.relay.policies.borrow_mut().put_back(&String::from_utf8_lossy(domain));
            }
            _ => shard.memory.remembered.borrow_mut().put_back(key),
        }
    }
}

async fn commit(shard: &Shard, partition: PartitionId, batch: Batch) -> Result<(), Error> {
    let mut transaction = shard.engine.transaction(partition.0);
    for (key, value) in batch {
        match value {
            Some(value) => transaction.put_value(REMEMBERED_ACCOUNT, &key, &value),
            None => transaction.delete_value(REMEMBERED_ACCOUNT, &key),
        }
    }
    if transaction.is_empty() {
        return Ok(());
    }
    let done = transaction.commit().await.map(drop);
    if let Err(error) = &done {
        tracing::warn!(event = "shard.remember_failed", partition = partition.0, %error);
    }
    done
}
