//! Destinations that an operator has stopped: values beside the rows, all in one partition, whatever the number of shards.

use base::{PartitionId, Timestamp};

use crate::Destination;
use crate::codec::{Reader, Writer};
use crate::limits::{QUEUE_ACCOUNT, SUSPENDED_MAX, SUSPENDED_NAME_BYTES_MAX};
use crate::store::{Error, Store};

const VERSION: u8 = 1;

const KIND: u8 = b's';

/// A destination that is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Suspended {
    /// Its name.
    pub name: String,
    /// Since when.
    pub since: Timestamp,
}

impl Suspended {
    /// Its number.
    pub fn destination(&self) -> Destination {
        Destination::of(&self.name)
    }

    fn key(&self) -> [u8; 9] {
        let mut key = [KIND; 9];
        key[1..].copy_from_slice(&self.destination().0.to_be_bytes());
        key
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(VERSION);
        out.time(self.since).text(&self.name);
        out.finish()
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let mut from = Reader::new(bytes, VERSION)?;
        Some(Self { since: from.time()?, name: from.text()? })
    }
}

impl Store {
    /// Notes in a partition that a destination is stopped. One that is stopped already keeps its time. [`Error::TooLarge`]
    /// when there are so many, or when no destination has so long a name.
    pub async fn suspend(&self, partition: PartitionId, asked: Suspended) -> Result<Suspended, Error> {
        let mut transaction = self.engine().transaction(partition.0);
        let known = transaction.value(QUEUE_ACCOUNT, &asked.key());
        let is_one_too_many = known.is_none() && self.suspensions(partition).len() >= SUSPENDED_MAX;
        if is_one_too_many || asked.name.len() > SUSPENDED_NAME_BYTES_MAX {
            return Err(Error::TooLarge);
        }
        let suspended = known.and_then(|known| Suspended::decode(&known)).unwrap_or(asked);
        // What is known may not be durable yet: written again, this waits for it.
        transaction.put_value(QUEUE_ACCOUNT, &suspended.key(), &suspended.encode());
        transaction.commit().await?;
        Ok(suspended)
    }

    /// Forgets in a partition that a destination was stopped.
    pub async fn resume(&self, partition: PartitionId, asked: &Suspended) -> Result<(), Error> {
        let mut transaction = self.engine().transaction(partition.0);
        transaction.delete_value(QUEUE_ACCOUNT, &asked.key());
        if !transaction.is_empty() {
            transaction.commit().await?;
        }
        Ok(())
    }

    /// Destinations that a partition's notes say are stopped.
    pub fn suspended(&self, partition: PartitionId) -> Vec<Suspended> {
        let values = self.suspensions(partition);
        values.iter().filter_map(|(_, value)| Suspended::decode(value)).collect()
    }

    fn suspensions(&self, partition: PartitionId) -> Vec<(Vec<u8>, Vec<u8>)> {
        self.engine().values(partition.0, QUEUE_ACCOUNT, &[KIND], None, SUSPENDED_MAX)
    }
}
