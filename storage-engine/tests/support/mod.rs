//! What the tests share: chance by a seed, waiting without an executor, and a plain-map model of the store.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::pin::pin;
use std::process::Command;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use storage_engine::{Body, Change, Commit, Engine, NewBody, ROW_DATA_BYTES, Row, RowBody, Transaction};

/// Chance by a seed.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    pub(crate) fn below(&mut self, end: u64) -> u64 {
        (self.next() >> 8) % end
    }
}

pub(crate) fn poll<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    match std::pin::Pin::new(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Turns the engine until the future is ready.
pub(crate) fn wait<T>(engine: &Engine, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    for _ in 0..10_000_000 {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            return output;
        }
        engine.turn();
        std::thread::yield_now();
    }
    panic!("the future is never ready");
}

pub(crate) fn settle(engine: &Engine) {
    while !engine.is_idle() {
        engine.turn();
        std::thread::yield_now();
    }
}

/// A folder that is removed at the end, also after a failure.
pub(crate) struct Folder(pub(crate) PathBuf);

impl Folder {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("storage-engine-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The status of a Rust test program of which a test failed.
const TEST_FAILED: i32 = 101;

/// Runs an ignored test of this program under a command that changes its world. False when the command could not.
pub(crate) fn run_ignored(mut command: Command, test: &str) -> bool {
    command.arg(std::env::current_exe().expect("this test program"));
    command.args(["--exact", test, "--ignored", "--nocapture"]);
    let Ok(output) = command.output() else { return false };
    let said = String::from_utf8_lossy(&output.stdout);
    if output.status.success() {
        assert!(said.contains("1 passed"), "{test} is the name of a test");
        return true;
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_ne!(output.status.code(), Some(TEST_FAILED), "{said}{errors}");
    false
}

/// One write of a transaction.
#[derive(Clone, Debug)]
pub(crate) enum Action {
    Put { account: u64, collection: u32, item: u32, body: Option<(usize, u8)>, data: u8 },
    Copy { account: u64, collection: u32, from: u32, to: u32 },
    Delete { account: u64, collection: u32, item: u32 },
    PutValue { account: u64, key: Vec<u8>, value: Vec<u8> },
    DeleteValue { account: u64, key: Vec<u8> },
}

/// One transaction, to be proposed and to be modelled.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) partition: u16,
    pub(crate) actions: Vec<Action>,
}

/// The account and key that hold a plan's number, so that a recovered store says how far it goes.
const NUMBER_ACCOUNT: u64 = u64::MAX;

impl Plan {
    pub(crate) fn random(random: &mut Random, partitions: u16, number: u64) -> Self {
        let mut actions = vec![Action::PutValue {
            account: NUMBER_ACCOUNT,
            key: b"number".to_vec(),
            value: number.to_le_bytes().to_vec(),
        }];
        for _ in 0..=random.below(5) {
            actions.push(Self::random_action(random));
        }
        Self { partition: random.below(partitions as u64) as u16, actions }
    }

    fn random_action(random: &mut Random) -> Action {
        let account = 1 + random.below(3);
        let collection = random.below(3) as u32;
        let item = random.below(12) as u32;
        match random.below(10) {
            0..4 => {
                let length = match random.below(10) {
                    0 => 20_000,
                    1 => 0,
                    _ => random.below(900) as usize,
                };
                let body = (random.below(4) > 0).then_some((length, random.next() as u8));
                Action::Put { account, collection, item, body, data: random.next() as u8 }
            }
            4 => Action::Copy { account, collection, from: item, to: random.below(12) as u32 },
            5 | 6 => Action::Delete { account, collection, item },
            7 => Action::DeleteValue { account, key: random_key(random) },
            _ => {
                let value = vec![random.next() as u8; random.below(300) as usize];
                Action::PutValue { account, key: random_key(random), value }
            }
        }
    }

    pub(crate) fn propose(&self, engine: &Engine) -> Commit {
        let mut transaction = engine.transaction(self.partition);
        for action in &self.actions {
            propose_action(&mut transaction, action);
        }
        transaction.commit()
    }
}

fn random_key(random: &mut Random) -> Vec<u8> {
    let prefix: &[u8] = if random.below(2) == 0 { b"a/" } else { b"b/" };
    let mut key = prefix.to_vec();
    key.push(b'0' + random.below(8) as u8);
    key
}

pub(crate) fn meta_bytes(seed: u8) -> Vec<u8> {
    vec![seed ^ 0x55; (seed % 40) as usize]
}

pub(crate) fn body_bytes((length, seed): (usize, u8)) -> Body {
    Arc::new((0..length).map(|index| seed.wrapping_add((index * 7) as u8)).collect())
}

fn propose_action(transaction: &mut Transaction, action: &Action) {
    match action {
        Action::Put { account, collection, item, body, data } => {
            let body = match body {
                Some((length, seed)) => {
                    let new: NewBody = transaction.add_body(meta_bytes(*seed), body_bytes((*length, *seed)));
                    RowBody::New(new)
                }
                None => RowBody::None,
            };
            transaction.put_row(*account, *collection, *item, body, [*data; ROW_DATA_BYTES]);
        }
        Action::Copy { account, collection, from, to } => {
            if let Some(row) = transaction.row(*account, *collection, *from)
                && !row.body.is_none()
            {
                transaction.put_row(*account, *collection, *to, RowBody::Stored(row.body), row.data);
            }
        }
        Action::Delete { account, collection, item } => transaction.delete_row(*account, *collection, *item),
        Action::PutValue { account, key, value } => transaction.put_value(*account, key, value),
        Action::DeleteValue { account, key } => transaction.delete_value(*account, key),
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModelRow {
    pub(crate) change: u64,
    pub(crate) live: bool,
    pub(crate) data: u8,
    pub(crate) body: Option<(usize, u8)>,
}

/// The store as plain maps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) rows: BTreeMap<(u16, u64, u32, u32), ModelRow>,
    pub(crate) values: BTreeMap<(u16, u64, Vec<u8>), Vec<u8>>,
    pub(crate) highest: BTreeMap<(u16, u64), u64>,
}

impl Model {
    pub(crate) fn after(plans: &[Plan]) -> Self {
        let mut model = Self::default();
        for plan in plans {
            model.apply(plan);
        }
        model
    }

    pub(crate) fn apply(&mut self, plan: &Plan) {
        let partition = plan.partition;
        let before = self.clone();
        let mut written = BTreeMap::new();
        let mut change = |account: u64| {
            let change = before.highest.get(&(partition, account)).copied().unwrap_or(0) + 1;
            written.insert((partition, account), change);
            change
        };
        for action in &plan.actions {
            match action {
                Action::Put { account, collection, item, body, data } => {
                    let key = (partition, *account, *collection, *item);
                    let row = ModelRow { change: change(*account), live: true, data: *data, body: *body };
                    self.rows.insert(key, row);
                }
                Action::Copy { account, collection, from, to } => {
                    let from = (partition, *account, *collection, *from);
                    let Some(row) = self.rows.get(&from).filter(|row| row.live && row.body.is_some()) else {
                        continue;
                    };
                    let row = ModelRow { change: change(*account), ..row.clone() };
                    let to = (partition, *account, *collection, *to);
                    self.rows.insert(to, row);
                }
                Action::Delete { account, collection, item } => {
                    if let Some(row) = self.rows.get_mut(&(partition, *account, *collection, *item))
                        && row.live
                    {
                        row.live = false;
                        row.change = change(*account);
                    }
                }
                Action::PutValue { account, key, value } => {
                    change(*account);
                    self.values.insert((partition, *account, key.clone()), value.clone());
                }
                Action::DeleteValue { account, key } => {
                    if self.values.remove(&(partition, *account, key.clone())).is_some() {
                        change(*account);
                    }
                }
            }
        }
        self.highest.extend(written);
    }

    /// Asserts that the engine says of its partitions exactly what the model says.
    pub(crate) fn assert_equal(&self, engine: &Engine) {
        for partition in (0..engine.partitions()).filter(|partition| engine.owns(*partition)) {
            let keys = self.highest.keys().filter(|(other, _)| *other == partition);
            let accounts: Vec<u64> = keys.map(|(_, account)| *account).collect();
            assert_eq!(engine.accounts(partition), accounts);
            for account in accounts {
                let highest = self.highest[&(partition, account)];
                assert_eq!(engine.highest_change(partition, account), highest);
                self.assert_rows(engine, partition, account);
                self.assert_changes(engine, partition, account, highest);
                self.assert_values(engine, partition, account);
            }
        }
    }

    fn assert_rows(&self, engine: &Engine, partition: u16, account: u64) {
        for collection in 0..4 {
            for from in [0, 5] {
                let range =
                    (partition, account, collection, from)..=(partition, account, collection, u32::MAX);
                let live: Vec<_> = self.rows.range(range).filter(|(_, row)| row.live).collect();
                let mut rows = Vec::new();
                engine.rows(partition, account, collection, from, usize::MAX >> 1, &mut rows);
                assert_eq!(rows.len(), live.len());
                for (row, ((_, _, _, item), model)) in rows.iter().zip(live) {
                    assert_eq!((row.collection, row.item), (collection, *item));
                    assert_row(engine, row, model);
                    assert_eq!(engine.row(partition, account, collection, *item), Some(*row));
                }
                let mut few = Vec::new();
                engine.rows(partition, account, collection, from, 2, &mut few);
                assert_eq!(few, rows[..rows.len().min(2)]);
            }
        }
    }

    fn assert_changes(&self, engine: &Engine, partition: u16, account: u64, highest: u64) {
        for after in [0, highest / 2, highest.saturating_sub(1), highest] {
            let range = (partition, account, 0, 0)..=(partition, account, u32::MAX, u32::MAX);
            let mut expected: Vec<_> = self.rows.range(range).filter(|(_, row)| row.change > after).collect();
            expected.sort_by_key(|(key, row)| (row.change, key.2, key.3));
            let mut changes: Vec<Change> = Vec::new();
            engine.changes(partition, account, after, usize::MAX >> 1, &mut changes);
            assert_eq!(changes.len(), expected.len());
            for (change, (key, model)) in changes.iter().zip(&expected) {
                assert_eq!((change.row.collection, change.row.item), (key.2, key.3));
                assert_eq!(change.live, model.live);
                assert_row(engine, &change.row, model);
            }
            let mut few = Vec::new();
            engine.changes(partition, account, after, 3, &mut few);
            // Three, and what shares the third one's number.
            let last = changes.get(2).map_or(highest, |third| third.row.change);
            assert_eq!(few, changes[..changes.partition_point(|change| change.row.change <= last)]);
        }
    }

    fn assert_values(&self, engine: &Engine, partition: u16, account: u64) {
        let of_account = self.values.iter().filter(|(key, _)| key.0 == partition && key.1 == account);
        let all: Vec<(Vec<u8>, Vec<u8>)> =
            of_account.map(|(key, value)| (key.2.clone(), value.clone())).collect();
        assert_eq!(engine.values(partition, account, b"", None, usize::MAX), all);
        for (key, value) in &all {
            assert_eq!(engine.value(partition, account, key).as_ref(), Some(value));
        }
        let of_prefix: Vec<_> = all.iter().filter(|(key, _)| key.starts_with(b"b/")).cloned().collect();
        assert_eq!(engine.values(partition, account, b"b/", None, usize::MAX), of_prefix);
        let after: Vec<_> =
            of_prefix.iter().filter(|(key, _)| key.as_slice() > b"b/3").take(2).cloned().collect();
        assert_eq!(engine.values(partition, account, b"b/", Some(b"b/3"), 2), after);
    }
}

fn assert_row(engine: &Engine, row: &Row, model: &ModelRow) {
    assert_eq!(row.change, model.change);
    assert_eq!(row.data, [model.data; ROW_DATA_BYTES]);
    match model.body {
        None => assert!(row.body.is_none()),
        Some(body) => {
            let stored = wait(engine, engine.body(&row.body)).expect("the body is readable");
            assert_eq!(stored, *body_bytes(body));
            let meta = wait(engine, engine.meta(&row.body)).expect("the meta block is readable");
            assert_eq!(meta, meta_bytes(body.1));
        }
    }
}

/// How many plans a store holds, by the highest number in it.
pub(crate) fn plans_in(engine: &Engine) -> usize {
    let partitions = (0..engine.partitions()).filter(|partition| engine.owns(*partition));
    let numbers = partitions.filter_map(|partition| engine.value(partition, NUMBER_ACCOUNT, b"number"));
    let numbers =
        numbers.map(|value| u64::from_le_bytes(value.try_into().expect("eight bytes")) as usize + 1);
    numbers.max().unwrap_or(0)
}
