//! Whether accounts have room for a message, asked where they are, before anything of it is stored.

use std::collections::BTreeMap;
use std::rc::Rc;

use base::{AccountId, PartitionId, give_way};
use directory::Target;

use crate::join::join_all;
use crate::limits::TARGETS_PER_TURN;
use crate::{Shard, Wait};

/// Whose room is asked for: an account and its quota, in bytes.
pub(crate) struct Wanted {
    pub(crate) partition: PartitionId,
    pub(crate) account: AccountId,
    pub(crate) quota_bytes: Option<u64>,
}

impl Wanted {
    pub(crate) const fn of(target: &Target) -> Self {
        Self { partition: target.partition, account: target.account, quota_bytes: target.quota_bytes }
    }
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Enough,
    Full,
    /// The shard that owns the account does not answer.
    Unknown,
}

/// Whether each of `wanted` has room for a message of `bytes`, in their order. Those without a quota cost
/// nothing, all others one call to each shard concerned, all shards at the same time.
pub(crate) async fn rooms(shard: &Rc<Shard>, wanted: &[Wanted], bytes: u64) -> Vec<Room> {
    let mut rooms = vec![Room::Enough; wanted.len()];
    let mut questions = BTreeMap::<_, (Vec<usize>, Vec<_>)>::new();
    for (at, Wanted { partition, account, quota_bytes }) in wanted.iter().enumerate() {
        let Some(quota_bytes) = *quota_bytes else { continue };
        let owner = shard.router.partition_shard(*partition);
        let (places, accounts) = questions.entry(owner).or_default();
        places.push(at);
        accounts.push((*partition, *account, quota_bytes));
    }
    let mut calls = Vec::with_capacity(questions.len());
    let mut askers = Vec::with_capacity(questions.len());
    for (owner, (places, accounts)) in questions {
        askers.push(places);
        calls.push(async move {
            if owner == shard.id {
                return Ok(rooms_here(Rc::clone(shard), accounts, bytes).await);
            }
            let _waiting = Wait::OtherShard.mark();
            shard.router.on(owner, move |there| rooms_here(there, accounts, bytes)).await
        });
    }
    for (places, answers) in askers.into_iter().zip(join_all(calls).await) {
        let answers = answers.unwrap_or_else(|_| vec![Room::Unknown; places.len()]);
        for (place, answer) in places.into_iter().zip(answers) {
            rooms[place] = answer;
        }
    }
    rooms
}

async fn rooms_here(shard: Rc<Shard>, accounts: Vec<(PartitionId, AccountId, u64)>, bytes: u64) -> Vec<Room> {
    let mut rooms = Vec::with_capacity(accounts.len());
    for (at, (partition, account, quota_bytes)) in accounts.into_iter().enumerate() {
        if at % TARGETS_PER_TURN == TARGETS_PER_TURN - 1 {
            give_way().await;
        }
        let has_room = shard.account(partition, account, Some(quota_bytes)).has_room(bytes);
        rooms.push(if has_room { Room::Enough } else { Room::Full });
    }
    rooms
}
