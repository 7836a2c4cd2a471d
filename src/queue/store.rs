//! The queue's transactions. Each returns when it is durable.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use base::{PartitionId, Timestamp, give_way};
use storage_engine::{Engine, Row, RowBody, Transaction};

use crate::limits::{QUEUE_ACCOUNT, ROWS_PER_LOOK, TRACES, TRACES_PER_PARTITION, WAITING};
use crate::slots::Slots;
use crate::trace::{Found, Mark};
use crate::{Destination, Entry, Envelope, Progress, Ticket, Trace, TraceFilter};

/// Why nothing was changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// The message is larger than the store takes.
    TooLarge,
    /// The device is full.
    NoSpace,
    /// The entry has gone, or somebody has decided about it who was to.
    Gone,
    /// What is stored of it is not what was written.
    Corrupt,
    /// The store cannot be used now.
    Unavailable,
}

/// A message to be queued.
#[derive(Clone, Debug)]
pub struct Incoming {
    /// Its envelope, with every recipient's group.
    pub envelope: Envelope,
    /// Its bytes.
    pub content: Arc<Vec<u8>>,
    /// When it is to be tried first.
    pub due: Timestamp,
    /// When it is given up, for each of [`Envelope::groups`], in their order.
    pub expires: Vec<Timestamp>,
    /// Higher goes first (RFC 6710 §4: -9 to 9).
    pub priority: i8,
    /// Whether it waits for an operator.
    pub is_held: bool,
}

/// The queues of the partitions that a shard owns. A handle: clones are the same.
#[derive(Clone, Debug)]
pub struct Store(Rc<Inner>);

#[derive(Debug)]
struct Inner {
    engine: Engine,
    partitions: Vec<PartitionId>,
    /// New messages go to the partitions by turns.
    turn: Cell<usize>,
    slots: RefCell<HashMap<PartitionId, Slots>>,
}

/// Values beside the rows: how far an entry has come.
fn progress_key(item: u32) -> [u8; 5] {
    let [a, b, c, d] = item.to_be_bytes();
    [b'p', a, b, c, d]
}

impl Store {
    /// Over an engine. Nothing may be added before [`Store::load`] has ended.
    pub fn new(engine: Engine) -> Self {
        let all = (0..engine.partitions()).map(PartitionId);
        let partitions: Vec<_> = all.filter(|partition| engine.owns(partition.0)).collect();
        let slots = partitions.iter().map(|partition| (*partition, Slots::default())).collect();
        Self(Rc::new(Inner { engine, partitions, turn: Cell::new(0), slots: RefCell::new(slots) }))
    }

    /// Gives every entry to `each`, and notes which places are taken. Once, before anything is added.
    pub async fn load(&self, mut each: impl FnMut(Entry)) {
        let note = |entry: Entry| {
            self.slot(entry.ticket.partition, |slots| slots.note(entry.ticket.item));
            each(entry);
        };
        self.each(note).await;
    }

    /// How many entries there are, those that are held and those that are being tried among them.
    pub fn len(&self) -> usize {
        self.0.slots.borrow().values().map(Slots::taken).sum()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives every entry to `each`, partition by partition; gives way between pages. What comes or goes meanwhile may
    /// be among them or not.
    pub async fn each(&self, mut each: impl FnMut(Entry)) {
        for partition in &self.0.partitions {
            let mut rows = Vec::new();
            let mut from = Some(0);
            while let Some(start) = from {
                rows.clear();
                self.0.engine.rows(partition.0, QUEUE_ACCOUNT, WAITING, start, ROWS_PER_LOOK, &mut rows);
                for row in &rows {
                    each(Entry::of_row(*partition, row));
                }
                from = rows.last().and_then(|row| row.item.checked_add(1));
                give_way().await;
            }
        }
    }

    /// Queues a message: its content once, and an entry for each group. One transaction.
    pub async fn add(&self, incoming: Incoming, now: Timestamp) -> Result<Vec<Entry>, Error> {
        Ok(self.add_all(vec![incoming], now).await?.pop().unwrap_or_default())
    }

    /// Queues several messages, all of them or none; the entries of each, in their order. One transaction.
    pub async fn add_all(&self, all: Vec<Incoming>, now: Timestamp) -> Result<Vec<Vec<Entry>>, Error> {
        if all.iter().any(|incoming| u32::try_from(incoming.content.len()).is_err()) {
            return Err(Error::TooLarge);
        }
        let turn = self.0.turn.get();
        self.0.turn.set(turn.wrapping_add(1));
        let partition =
            *self.0.partitions.get(turn % self.0.partitions.len().max(1)).ok_or(Error::Unavailable)?;
        let mut transaction = self.0.engine.transaction(partition.0);
        let put = |incoming| self.put(&mut transaction, partition, incoming, now);
        let tickets: Vec<Vec<Ticket>> = all.into_iter().map(put).collect();
        if let Err(error) = transaction.commit().await {
            for ticket in tickets.into_iter().flatten() {
                self.slot(partition, |slots| slots.give(ticket.item));
            }
            return Err(error.into());
        }
        let entries = |of: Vec<Ticket>| of.into_iter().filter_map(|ticket| self.entry(ticket)).collect();
        Ok(tickets.into_iter().map(entries).collect())
    }

    /// Puts a message into a transaction, and takes the places of its entries.
    fn put(
        &self,
        transaction: &mut Transaction,
        partition: PartitionId,
        incoming: Incoming,
        now: Timestamp,
    ) -> Vec<Ticket> {
        let Incoming { envelope, content, due, expires, priority, is_held } = incoming;
        let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let body = transaction.add_body(envelope.encode(), content);
        let mut tickets = Vec::new();
        for (group, expires) in envelope.groups().into_iter().zip(expires) {
            let item = self.slot(partition, Slots::take);
            let entry = Entry {
                ticket: Ticket { partition, item },
                id: envelope.id,
                destination: group,
                group,
                due,
                // Waiting until it may go is no delay.
                queued: now.max(due),
                expires,
                attempts: 0,
                priority,
                is_held,
                is_late: false,
                is_timed: envelope.terms.late_at().is_some(),
                is_moderated: envelope.moderation.is_some(),
                is_asked: false,
                size,
                body: storage_engine::BodyRef::NONE,
            };
            transaction.put_row(QUEUE_ACCOUNT, WAITING, item, RowBody::New(body), entry.row_data());
            tickets.push(entry.ticket);
        }
        tickets
    }

    /// The entry as it is now; `None` when it has gone.
    pub fn entry(&self, ticket: Ticket) -> Option<Entry> {
        self.row(ticket).map(|row| Entry::of_row(ticket.partition, &row))
    }

    /// From whom, to whom.
    pub async fn envelope(&self, entry: &Entry) -> Result<Envelope, Error> {
        let meta = self.0.engine.meta(&entry.body).await?;
        Envelope::decode(&meta).ok_or(Error::Corrupt)
    }

    /// The content.
    pub async fn content(&self, entry: &Entry) -> Result<Vec<u8>, Error> {
        Ok(self.0.engine.body(&entry.body).await?)
    }

    /// How far it has come.
    pub fn progress(&self, ticket: Ticket) -> Progress {
        let value = self.0.engine.value(ticket.partition.0, QUEUE_ACCOUNT, &progress_key(ticket.item));
        value.and_then(|value| Progress::decode(&value)).unwrap_or_default()
    }

    /// Changes an entry that goes on waiting, with what is now known of it; the route that an operator has named stays,
    /// whatever `progress` says of it. [`Error::Gone`] when its place is another
    /// entry's by now, or when it was to be decided about and has been: whoever comes second changes nothing.
    pub async fn update(
        &self,
        known: &Entry,
        progress: Option<&Progress>,
        change: impl FnOnce(&mut Entry),
    ) -> Result<Entry, Error> {
        let ticket = known.ticket;
        let mut transaction = self.0.engine.transaction(ticket.partition.0);
        let row = own_row(&transaction, known)?;
        let mut entry = Entry::of_row(ticket.partition, &row);
        change(&mut entry);
        transaction.put_row(QUEUE_ACCOUNT, WAITING, ticket.item, RowBody::Stored(row.body), entry.row_data());
        if let Some(progress) = progress {
            let route = pending(&transaction, ticket.item).route;
            let progress = Progress { route, ..progress.clone() };
            transaction.put_value(QUEUE_ACCOUNT, &progress_key(ticket.item), &progress.encode());
        }
        transaction.commit().await?;
        Ok(entry)
    }

    /// Changes an entry that goes on waiting and what is known of it, both as they will be after all that is on its way.
    pub async fn amend(
        &self,
        known: &Entry,
        change: impl FnOnce(&mut Entry, &mut Progress),
    ) -> Result<Entry, Error> {
        let ticket = known.ticket;
        let mut transaction = self.0.engine.transaction(ticket.partition.0);
        let row = own_row(&transaction, known)?;
        let mut entry = Entry::of_row(ticket.partition, &row);
        let mut progress = pending(&transaction, ticket.item);
        change(&mut entry, &mut progress);
        transaction.put_row(QUEUE_ACCOUNT, WAITING, ticket.item, RowBody::Stored(row.body), entry.row_data());
        transaction.put_value(QUEUE_ACCOUNT, &progress_key(ticket.item), &progress.encode());
        transaction.commit().await?;
        Ok(entry)
    }

    /// Parts an entry into one for each destination, when its recipients do not go the same way any more: `parts` has
    /// for each the progress in which the others' recipients count as done. The first part stays in the entry.
    pub async fn split(
        &self,
        known: &Entry,
        parts: Vec<(Destination, Progress)>,
    ) -> Result<Vec<Entry>, Error> {
        let ticket = known.ticket;
        let mut transaction = self.0.engine.transaction(ticket.partition.0);
        let row = own_row(&transaction, known)?;
        let route = pending(&transaction, ticket.item).route;
        let mut tickets = Vec::new();
        for (at, (destination, progress)) in parts.into_iter().enumerate() {
            let item = if at == 0 { ticket.item } else { self.slot(ticket.partition, Slots::take) };
            let mut entry = Entry::of_row(ticket.partition, &row);
            entry.destination = destination;
            let progress = Progress { route: route.clone(), ..progress };
            transaction.put_row(QUEUE_ACCOUNT, WAITING, item, RowBody::Stored(row.body), entry.row_data());
            transaction.put_value(QUEUE_ACCOUNT, &progress_key(item), &progress.encode());
            tickets.push(Ticket { item, ..ticket });
        }
        if let Err(error) = transaction.commit().await {
            for new in tickets.into_iter().skip(1) {
                self.slot(ticket.partition, |slots| slots.give(new.item));
            }
            return Err(error.into());
        }
        Ok(tickets.into_iter().filter_map(|ticket| self.entry(ticket)).collect())
    }

    /// Takes an entry out of which nothing can be read, without a story. [`Error::Gone`] as of [`Store::update`].
    pub async fn forget(&self, known: &Entry) -> Result<(), Error> {
        let ticket = known.ticket;
        let mut transaction = self.0.engine.transaction(ticket.partition.0);
        own_row(&transaction, known)?;
        transaction.delete_row(QUEUE_ACCOUNT, WAITING, ticket.item);
        transaction.delete_value(QUEUE_ACCOUNT, &progress_key(ticket.item));
        transaction.commit().await?;
        self.slot(ticket.partition, |slots| slots.give(ticket.item));
        Ok(())
    }

    /// Takes an entry out; its story stays. [`Error::Gone`] as of [`Store::update`].
    pub async fn finish(&self, trace: &Trace, known: &Entry) -> Result<(), Error> {
        let ticket = known.ticket;
        let mut transaction = self.0.engine.transaction(ticket.partition.0);
        own_row(&transaction, known)?;
        transaction.delete_row(QUEUE_ACCOUNT, WAITING, ticket.item);
        transaction.delete_value(QUEUE_ACCOUNT, &progress_key(ticket.item));
        let mark = Mark::of(&trace.envelope, trace.ended.unwrap_or_default());
        let story = transaction.add_body(Vec::new(), Arc::new(trace.encode()));
        // The account's changes are counted without gaps: going round by them, the oldest trace is overwritten.
        let place = (transaction.change(QUEUE_ACCOUNT) % u64::from(TRACES_PER_PARTITION)) as u32;
        transaction.put_row(QUEUE_ACCOUNT, TRACES, place, RowBody::New(story), mark.row_data());
        transaction.commit().await?;
        self.slot(ticket.partition, |slots| slots.give(ticket.item));
        Ok(())
    }

    /// The stories that a filter means, of entries that have gone, latest first, at most `limit`.
    pub async fn traces(&self, filter: &TraceFilter, limit: usize) -> Result<Vec<Trace>, Error> {
        let mut found = Vec::new();
        for partition in &self.0.partitions {
            self.marks(*partition, filter, &mut found);
            give_way().await;
        }
        found.sort_unstable_by_key(|trace| core::cmp::Reverse(trace.ended_s));
        let mut traces = Vec::new();
        for place in found {
            let bytes = self.0.engine.body(&place.body).await?;
            let trace = Trace::decode(&bytes).filter(|trace| filter.matches(&trace.envelope));
            traces.extend(trace);
            if traces.len() >= limit {
                break;
            }
        }
        Ok(traces)
    }

    fn marks(&self, partition: PartitionId, filter: &TraceFilter, found: &mut Vec<Found>) {
        let mut rows = Vec::new();
        let limit = TRACES_PER_PARTITION as usize;
        self.0.engine.rows(partition.0, QUEUE_ACCOUNT, TRACES, 0, limit, &mut rows);
        let meant = rows.iter().filter(|row| filter.may_match(&Mark::of_row(row)));
        found.extend(meant.map(|row| Found { ended_s: Mark::of_row(row).ended_s, body: row.body }));
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.0.engine
    }

    fn row(&self, ticket: Ticket) -> Option<Row> {
        self.0.engine.row(ticket.partition.0, QUEUE_ACCOUNT, WAITING, ticket.item)
    }

    fn slot<T>(&self, partition: PartitionId, work: impl FnOnce(&mut Slots) -> T) -> T {
        work(self.0.slots.borrow_mut().entry(partition).or_default())
    }
}

/// What is known of the entry at a place, with all that is on its way.
fn pending(transaction: &Transaction, item: u32) -> Progress {
    let value = transaction.value(QUEUE_ACCOUNT, &progress_key(item));
    value.and_then(|value| Progress::decode(&value)).unwrap_or_default()
}

/// The row at a place, if it still is the one that is meant: an operator may have taken the entry out while it was being
/// tried, and then its place may be another message's. Nor is it any more once it has been decided about, since it was
/// looked at: the row is the one with all that is on its way.
fn own_row(transaction: &Transaction, known: &Entry) -> Result<Row, Error> {
    let row = transaction.row(QUEUE_ACCOUNT, WAITING, known.ticket.item).ok_or(Error::Gone)?;
    let entry = Entry::of_row(known.ticket.partition, &row);
    let is_it = (entry.id, entry.group) == (known.id, known.group);
    let is_decided = known.is_moderated && !entry.is_moderated;
    if is_it && !is_decided { Ok(row) } else { Err(Error::Gone) }
}

impl From<storage_engine::Error> for Error {
    fn from(error: storage_engine::Error) -> Self {
        match error {
            storage_engine::Error::TooLarge => Self::TooLarge,
            storage_engine::Error::Full => Self::NoSpace,
            storage_engine::Error::Corrupt { .. } => Self::Corrupt,
            _ => Self::Unavailable,
        }
    }
}
