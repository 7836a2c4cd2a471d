//! The queue against a plain model of one, over a disk that loses what was not flushed: several operations in flight, a
//! crash at any moment, and afterwards each entry as it was acknowledged or as the operation in flight would have
//! left it; nothing between, nobody else's, and no place held twice.
//!
//! `QUEUE_SEED=7 cargo test -p queue --test model` runs one seed again.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use base::{Random, Timestamp};
use queue::{
    Action, Attempt, Body, Destination, Entry, Envelope, Error, Incoming, Origin, Progress, Recipient, Store,
    Terms, Trace, TraceFilter,
};
use storage_engine::{Disk, Engine, Options, Simulated, StoreInfo, prepare};

const NOW: Timestamp = Timestamp::from_s(1_795_500_000);
const SEEDS: u64 = 150;
const DOMAINS: [&str; 4] = ["a.example", "b.example", "c.example", "d.example"];

/// What names an entry for ever: the message, and where it went.
type Key = (u64, Destination);

/// What is to be seen of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Seen {
    due: Timestamp,
    attempts: u16,
    is_held: bool,
    tried: usize,
}

/// What an operation in flight makes of entries: `None` where it takes them out.
type After = Vec<(Key, Option<Seen>)>;

struct Flight {
    future: Pin<Box<dyn Future<Output = Result<(), Error>>>>,
    after: After,
}

struct World {
    simulated: Simulated,
    engine: Engine,
    store: Store,
    /// Keeps the store locked.
    lock: StoreInfo,
    random: Random,
    next_id: u64,
    /// As acknowledged.
    known: BTreeMap<Key, (Entry, Seen)>,
    gone: BTreeSet<u64>,
    flights: Vec<Flight>,
}

fn open(simulated: &Simulated) -> (StoreInfo, Engine, Store) {
    let options =
        Options { partitions: 2, segment_bytes: 64 << 10, batch_bytes_max: 8 << 10, ..Options::default() };
    let disk = Disk::simulated(simulated);
    let lock = prepare(&disk, &options, 1).expect("the store is new or in order");
    let engine = Engine::open(&disk, &options, 0, 1).expect("it was just prepared");
    (lock, engine.clone(), Store::new(engine))
}

fn poll<T>(future: &mut Pin<Box<dyn Future<Output = T> + '_>>) -> Poll<T> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

/// Runs to its end, with the disk's help.
fn wait<T>(engine: &Engine, future: impl Future<Output = T>) -> T {
    let mut future: Pin<Box<dyn Future<Output = T> + '_>> = Box::pin(future);
    for _ in 0..10_000 {
        if let Poll::Ready(value) = poll(&mut future) {
            return value;
        }
        engine.turn();
    }
    panic!("it never ends")
}

fn content(id: u64) -> Vec<u8> {
    format!("Subject: {id}\r\n\r\n{}", "x".repeat((id % 700) as usize)).into_bytes()
}

fn envelope(id: u64, domains: &[&str]) -> Envelope {
    let to = |domain: &&str| Recipient {
        address: format!("u{id}@{domain}"),
        orcpt: None,
        notify: None,
        group: Destination::of(domain),
    };
    Envelope {
        id,
        sender: Some(format!("s{id}@example.org")),
        recipients: domains.iter().map(to).collect(),
        body: Body::EightBitMime,
        is_smtputf8: false,
        ret: None,
        envid: None,
        requires_tls: false,
        terms: Terms::default(),
        route: None,
        received: NOW,
        origin: Origin::default(),
        moderation: None,
        here: None,
    }
}

impl World {
    fn new(seed: u64) -> Self {
        let simulated = Simulated::new(seed);
        let (lock, engine, store) = open(&simulated);
        wait(&engine, store.load(|entry| panic!("{entry:?} in a new store")));
        let random = Random::new(seed);
        Self {
            simulated,
            engine,
            store,
            lock,
            random,
            next_id: 1,
            known: BTreeMap::new(),
            gone: BTreeSet::new(),
            flights: Vec::new(),
        }
    }

    fn step(&mut self) {
        match self.random.below(10) {
            0..=3 => self.add(),
            4 | 5 => self.delay(),
            6 | 7 => self.finish(),
            8 => self.touch_what_has_gone(),
            _ => {}
        }
        if self.random.below(3) > 0 {
            self.engine.turn();
        }
        self.land();
    }

    fn add(&mut self) {
        let id = self.next_id;
        self.next_id += 1;
        let domains: Vec<_> = DOMAINS.into_iter().filter(|_| self.random.one_in(2)).collect();
        if domains.is_empty() {
            return;
        }
        let is_held = self.random.one_in(5);
        let seen = Seen { due: NOW, attempts: 0, is_held, tried: 0 };
        let after =
            domains.iter().map(|domain| ((id, Destination::of(domain)), Some(seen.clone()))).collect();
        let envelope = envelope(id, &domains);
        let groups = envelope.groups().len();
        let incoming = Incoming {
            envelope,
            content: Arc::new(content(id)),
            due: NOW,
            expires: vec![Timestamp::from_s(NOW.as_s() + 1000); groups],
            priority: 0,
            is_held,
        };
        let store = self.store.clone();
        let future = async move { store.add(incoming, NOW).await.map(drop) };
        self.flights.push(Flight { future: Box::pin(future), after });
    }

    /// An entry that no operation in flight is about.
    fn any(&mut self) -> Option<(Key, Entry, Seen)> {
        let busy: BTreeSet<Key> =
            self.flights.iter().flat_map(|flight| flight.after.iter().map(|(key, _)| *key)).collect();
        let free: Vec<_> = self.known.iter().filter(|(key, _)| !busy.contains(key)).collect();
        let at = self.random.below(free.len().max(1) as u64) as usize;
        free.get(at).map(|(key, (entry, seen))| (**key, *entry, seen.clone()))
    }

    fn delay(&mut self) {
        let Some((key, entry, mut seen)) = self.any() else { return };
        let due = Timestamp::from_s(NOW.as_s() + self.random.below(1000).cast_signed());
        let is_held = self.random.one_in(4);
        seen.attempts += 1;
        seen.tried += 1;
        (seen.due, seen.is_held) = (due, is_held);
        let mut progress = self.store.progress(entry.ticket);
        progress.push(attempt(Action::Delayed));
        let store = self.store.clone();
        let future = async move {
            let change = |entry: &mut Entry| {
                entry.attempts += 1;
                (entry.due, entry.is_held) = (due, is_held);
            };
            store.update(&entry, Some(&progress), change).await.map(drop)
        };
        self.flights.push(Flight { future: Box::pin(future), after: vec![(key, Some(seen))] });
    }

    fn finish(&mut self) {
        let Some((key, entry, _)) = self.any() else { return };
        let (store, story) = (self.store.clone(), story(&entry));
        let future = async move { store.finish(&story, &entry).await };
        self.flights.push(Flight { future: Box::pin(future), after: vec![(key, None)] });
    }

    /// As an attempt does whose entry an operator has taken out meanwhile.
    fn touch_what_has_gone(&mut self) {
        let Some((_, entry, _)) = self.any() else { return };
        let mut old = entry;
        old.id = u64::MAX - old.id;
        let (store, engine) = (self.store.clone(), self.engine.clone());
        assert_eq!(wait(&engine, store.finish(&story(&old), &old)), Err(Error::Gone));
        assert_eq!(wait(&engine, store.update(&old, None, |entry| entry.attempts = 99)), Err(Error::Gone));
    }

    /// Notes what has been acknowledged.
    fn land(&mut self) {
        let flights = std::mem::take(&mut self.flights);
        for mut flight in flights {
            match flight.future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                Poll::Pending => self.flights.push(flight),
                Poll::Ready(done) => {
                    done.expect("nothing is full and nothing has gone");
                    for (key, after) in flight.after {
                        self.note(key, after);
                    }
                }
            }
        }
    }

    fn note(&mut self, key: Key, after: Option<Seen>) {
        let Some(seen) = after else {
            self.known.remove(&key);
            self.gone.insert(key.0);
            return;
        };
        // What an entry is called is found by looking, as after a start.
        let mut found = None;
        let look = |entry: Entry| {
            if (entry.id, entry.group) == key {
                found = Some(entry);
            }
        };
        let engine = self.engine.clone();
        wait(&engine, self.store.each(look));
        self.known.insert(key, (found.expect("it was acknowledged"), seen));
    }

    fn crash(&mut self) {
        let flights = std::mem::take(&mut self.flights);
        let image = if self.random.one_in(2) { self.simulated.crash() } else { self.simulated.kill() };
        let afters: Vec<After> = flights.into_iter().map(|flight| flight.after).collect();
        self.simulated = image;
        let (lock, engine, store) = open(&self.simulated);
        (self.lock, self.engine, self.store) = (lock, engine.clone(), store.clone());
        let mut found = BTreeMap::new();
        let mut places = BTreeSet::new();
        wait(
            &engine,
            store.load(|entry| {
                assert!(places.insert(entry.ticket), "{entry:?} is where another is");
                assert!(found.insert((entry.id, entry.group), entry).is_none(), "{entry:?} is there twice");
            }),
        );
        assert_eq!(store.len(), found.len());
        self.compare(&found, &afters);
    }

    /// What is there is what was acknowledged, or what was in flight, and that wholly or not at all.
    fn compare(&mut self, found: &BTreeMap<Key, Entry>, afters: &[After]) {
        let before = std::mem::take(&mut self.known);
        let now: BTreeMap<Key, Seen> = found.iter().map(|(key, entry)| (*key, self.seen(entry))).collect();
        let mut expected: BTreeMap<Key, Seen> =
            before.iter().map(|(key, (_, seen))| (*key, seen.clone())).collect();
        for after in afters {
            let is_done = after.iter().all(|(key, seen)| now.get(key) == seen.as_ref());
            if is_done {
                for (key, seen) in after {
                    if let Some(seen) = seen {
                        expected.insert(*key, seen.clone());
                    } else {
                        expected.remove(key);
                        self.gone.insert(key.0);
                    }
                }
            }
        }
        assert_eq!(now, expected);
        for (key, entry) in found {
            let read = wait(&self.engine, self.store.envelope(entry)).expect("it is there");
            assert_eq!((read.id, read.groups().contains(&key.1)), (key.0, true));
            let bytes = wait(&self.engine, self.store.content(entry)).expect("it is there");
            assert_eq!(bytes, content(key.0), "another message's content");
        }
        self.known = found.iter().map(|(key, entry)| (*key, (*entry, now[key].clone()))).collect();
        for id in &self.gone {
            let stories = wait(&self.engine, self.store.traces(&TraceFilter::Id(*id), 10)).expect("readable");
            assert!(!stories.is_empty(), "{id} has gone without a story");
        }
    }

    fn seen(&self, entry: &Entry) -> Seen {
        let tried = self.store.progress(entry.ticket).attempts.len();
        Seen { due: entry.due, attempts: entry.attempts, is_held: entry.is_held, tried }
    }
}

fn attempt(action: Action) -> Attempt {
    let (host, tls, reply) = ("mx".to_owned(), String::new(), "450 later".to_owned());
    Attempt { at: NOW, host, tls, reply, recipients: vec![0], action }
}

fn story(entry: &Entry) -> Trace {
    let mut progress = Progress::default();
    progress.push(attempt(Action::Relayed));
    let mut envelope = envelope(entry.id, &[]);
    envelope.recipients.clear();
    Trace { ended: Some(NOW), size: entry.size, group: entry.group, envelope, progress }
}

fn run(seed: u64) {
    let mut world = World::new(seed);
    for _ in 0..6 {
        for _ in 0..world.random.below(60) {
            world.step();
        }
        world.crash();
    }
}

#[test]
fn the_queue_is_after_each_crash_what_its_model_says() {
    let one = std::env::var("QUEUE_SEED").ok().map(|seed| seed.parse().expect("a number"));
    let seeds = one.map_or(0..SEEDS, |seed: u64| seed..seed + 1);
    for seed in seeds {
        let done = std::panic::catch_unwind(|| run(seed));
        assert!(done.is_ok(), "QUEUE_SEED={seed}");
    }
}
