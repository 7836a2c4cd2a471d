//! The domain name system, seen from a shard: what it remembers (`cache`), one question at a time for
//! all who ask it (`Resolver`), and the asking itself on the sidecar thread (`ask`, `answer`).

mod answer;
mod ask;
mod cache;
mod settings;
mod wildcard;

use std::cell::RefCell;
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use base::dns::{Answer, Failure, Query};

pub use ask::{Asker, DnsError};
pub use settings::DnsSettings;

use crate::limits::{DNS_FLIGHTS_MAX, DNS_TRIES_MAX, DNS_WAITING_MAX, POOL_PAUSE};
use crate::{Local, NotRun, Queue, Sidecar, clock};
use cache::Cache;

type Outcome = Result<Answer, Failure>;

/// One shard's way to the domain name system. Cheap to clone.
#[derive(Clone)]
pub struct Resolver(Rc<Shared>);

struct Shared {
    local: Local,
    sidecar: Sidecar,
    asker: Asker,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    cache: Cache,
    /// Questions that are being asked or wait for it, with whoever waits for their answers.
    flights: HashMap<Query, Rc<Flight>>,
    /// Those of them that are not asked yet.
    waiting: VecDeque<Query>,
    /// How many are being asked.
    asking: usize,
}

#[derive(Default)]
struct Flight {
    outcome: RefCell<Option<Outcome>>,
    wakers: RefCell<Vec<Waker>>,
}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.0.state.borrow();
        f.debug_struct("Resolver").field("asking", &state.asking).field("cache", &state.cache).finish()
    }
}

impl Resolver {
    /// For one shard.
    pub fn new(local: Local, sidecar: Sidecar, asker: Asker) -> Self {
        Self(Rc::new(Shared { local, sidecar, asker, state: RefCell::default() }))
    }

    /// The answer: remembered, on its way for somebody else, or asked for now. Dropping the future stops
    /// nothing: the answer is remembered for the next.
    pub async fn lookup(&self, query: Query) -> Outcome {
        if let Some(known) = self.0.state.borrow_mut().cache.find(&query, clock::now()) {
            return known;
        }
        let Some(flight) = self.board(query) else { return Err(Failure::Temporary) };
        poll_fn(|cx| {
            if let Some(outcome) = &*flight.outcome.borrow() {
                return Poll::Ready(outcome.clone());
            }
            let mut wakers = flight.wakers.borrow_mut();
            if !wakers.last().is_some_and(|waker| waker.will_wake(cx.waker())) {
                wakers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// The flight that brings the answer; `None` when too many wait.
    fn board(&self, query: Query) -> Option<Rc<Flight>> {
        let mut state = self.0.state.borrow_mut();
        if let Some(flight) = state.flights.get(&query) {
            return Some(Rc::clone(flight));
        }
        if state.waiting.len() >= DNS_WAITING_MAX {
            return None;
        }
        let flight = Rc::<Flight>::default();
        state.flights.insert(query.clone(), Rc::clone(&flight));
        state.waiting.push_back(query);
        drop(state);
        self.start();
        Some(flight)
    }

    /// Begins to ask as many of the waiting questions as may be asked at once.
    fn start(&self) {
        loop {
            let mut state = self.0.state.borrow_mut();
            if state.asking >= DNS_FLIGHTS_MAX {
                return;
            }
            let Some(query) = state.waiting.pop_front() else { return };
            state.asking += 1;
            drop(state);
            let this = self.clone();
            self.0.local.spawn(Queue::Delivery, async move { this.fly(query).await });
        }
    }

    async fn fly(self, query: Query) {
        let outcome = self.ask(&query).await;
        let mut state = self.0.state.borrow_mut();
        state.cache.keep(query.clone(), outcome.clone(), clock::now());
        state.asking -= 1;
        let flight = state.flights.remove(&query);
        drop(state);
        if let Some(flight) = flight {
            *flight.outcome.borrow_mut() = Some(outcome);
            let wakers = flight.wakers.take();
            wakers.into_iter().for_each(Waker::wake);
        }
        self.start();
    }

    /// Hands the question to the sidecar, which all shards share: it may have enough to do for a moment.
    async fn ask(&self, query: &Query) -> Outcome {
        for _ in 0..DNS_TRIES_MAX {
            match self.0.sidecar.run(self.0.asker.clone().ask(query.clone())).await {
                Ok(outcome) => return outcome,
                Err(NotRun::Busy) => self.0.local.pause(POOL_PAUSE).await,
                Err(NotRun::Panicked) => break,
            }
        }
        Err(Failure::Temporary)
    }
}
