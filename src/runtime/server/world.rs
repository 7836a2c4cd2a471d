//! The world as the shards' composition sees it.

use std::cell::RefCell;
use std::rc::Rc;

use base::Timestamp;
use base::dns::{Answer, Failure, Query};
use shard::{Carrier, Dial, Hop, LocalFuture, Overloaded, Process, Unopened, Vitals, Wire, World};
use transport::Fault;
use transport::sts::Policy;

use crate::limits::RANDOM_BYTES;
use crate::vitals::{Watch, process};
use crate::{Authorities, Blocking, Local, Queue, Resolver, TlsConnector, carrier, clock, sts, wire};

/// Clock, generator and blocking pool of this process.
#[derive(Debug)]
pub(super) struct Here {
    pub(super) blocking: Blocking,
    pub(super) local: Local,
    pub(super) watch: Watch,
    pub(super) started: Timestamp,
    pub(super) connector: Rc<Connector>,
    pub(super) resolver: Resolver,
}

/// TLS as a client, made when it is first needed: reading the system's authorities takes its time.
#[derive(Debug)]
pub(super) struct Connector {
    made: RefCell<Option<TlsConnector>>,
    /// Instead of the system's.
    authorities: Option<Authorities>,
}

impl Connector {
    pub(super) fn new(authorities: Option<Authorities>) -> Self {
        Self { made: RefCell::default(), authorities }
    }

    async fn get(&self, blocking: &Blocking) -> Result<TlsConnector, String> {
        if let Some(known) = &*self.made.borrow() {
            return Ok(known.clone());
        }
        let authorities = self.authorities.clone();
        let make = || TlsConnector::new(authorities.unwrap_or_else(Authorities::of_system));
        let made = blocking.run(make).await;
        let made = made.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        *self.made.borrow_mut() = Some(made.clone());
        Ok(made)
    }
}

impl World for Here {
    fn now(&self) -> Timestamp {
        clock::now()
    }

    fn random(&self, bytes: &mut [u8]) {
        random(bytes);
    }

    fn off_shard(&self, work: Box<dyn FnOnce() + Send>) -> LocalFuture<Result<(), Overloaded>> {
        let blocking = self.blocking.clone();
        Box::pin(async move { blocking.run(work).await.map_err(|_| Overloaded) })
    }

    fn lookup(&self, query: Query) -> LocalFuture<Result<Answer, Failure>> {
        let resolver = self.resolver.clone();
        Box::pin(async move { resolver.lookup(query).await })
    }

    fn fetch_policy(&self, domain: &str) -> LocalFuture<Result<Policy, Fault>> {
        let (local, blocking, connector) =
            (self.local.clone(), self.blocking.clone(), Rc::clone(&self.connector));
        let (resolver, domain) = (self.resolver.clone(), domain.to_owned());
        Box::pin(async move {
            let connector = connector.get(&blocking).await.map_err(|_| Fault::StsPolicyFetchError)?;
            sts::fetch(&local, &connector, &resolver, &domain).await
        })
    }

    fn spawn(&self, task: LocalFuture<()>) {
        self.local.spawn_boxed_connection(Queue::Delivery, task);
    }

    fn spawn_aside(&self, task: LocalFuture<()>) {
        self.local.spawn_boxed(Queue::Delivery, task);
    }

    fn is_stopping(&self) -> bool {
        self.local.timers().is_draining()
    }

    fn sleep_until(&self, moment: Timestamp) -> LocalFuture<()> {
        let timers = self.local.timers().clone();
        Box::pin(async move { timers.sleep_until(moment).await })
    }

    fn open(&self, hop: Hop) -> LocalFuture<Result<Box<dyn Carrier>, Unopened>> {
        let (local, blocking, connector) =
            (self.local.clone(), self.blocking.clone(), Rc::clone(&self.connector));
        Box::pin(async move {
            let connector = connector.get(&blocking).await.map_err(Unopened::Network)?;
            carrier::open(local, connector, hop).await
        })
    }

    fn dial(&self, dial: Dial) -> LocalFuture<Result<Box<dyn Wire>, String>> {
        let (local, blocking, connector) =
            (self.local.clone(), self.blocking.clone(), Rc::clone(&self.connector));
        Box::pin(async move {
            let connector = if dial.tls.is_some() { Some(connector.get(&blocking).await?) } else { None };
            wire::dial(local, connector, dial).await
        })
    }

    fn vitals(&self) -> Option<Vitals> {
        Some(self.watch.look(&self.local))
    }

    fn process(&self) -> Option<Process> {
        Some(process(self.started, &self.blocking))
    }
}

thread_local! {
    static POOL: RefCell<Pool> = const { RefCell::new(Pool { bytes: [0; RANDOM_BYTES], left: 0 }) };
}

/// Random bytes fetched ahead: every connection wants a few, and a system call for each is dear.
struct Pool {
    bytes: [u8; RANDOM_BYTES],
    /// So many at the front are unused.
    left: usize,
}

impl Pool {
    /// Fills `bytes`, which are fewer than the pool has when it is full. What was given is wiped.
    fn give(&mut self, bytes: &mut [u8]) {
        if self.left < bytes.len() {
            ask(&mut self.bytes);
            self.left = self.bytes.len();
        }
        let given = &mut self.bytes[self.left - bytes.len()..self.left];
        bytes.copy_from_slice(given);
        given.fill(0);
        self.left -= bytes.len();
    }
}

/// Fills `bytes` with what nobody can foretell.
pub(super) fn random(bytes: &mut [u8]) {
    if bytes.len() > RANDOM_BYTES / 2 {
        ask(bytes);
        return;
    }
    POOL.with_borrow_mut(|pool| pool.give(bytes));
}

/// Fills `bytes` from the kernel's generator.
#[allow(unsafe_code)]
fn ask(bytes: &mut [u8]) {
    let mut filled = 0;
    while let Some(rest) = bytes.get_mut(filled..).filter(|rest| !rest.is_empty()) {
        // SAFETY: `rest` is valid for writes of its length, which is what the call is told.
        let got = unsafe { libc::getrandom(rest.as_mut_ptr().cast(), rest.len(), 0) };
        // EINTR before the pool is ready, at boot, is the only failure there is.
        filled += usize::try_from(got).unwrap_or(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_byte_is_given_twice_nor_kept() {
        let mut pool = Pool { bytes: [0; RANDOM_BYTES], left: 0 };
        let mut seen = std::collections::HashSet::new();
        for _ in 0..1000 {
            let mut bytes = [0; 18];
            pool.give(&mut bytes);
            assert!(seen.insert(bytes), "given twice");
            assert!(pool.bytes[pool.left..].iter().take(18).all(|byte| *byte == 0), "kept");
        }
        let (mut small, mut large) = ([0; 32], [0; 2 * RANDOM_BYTES]);
        random(&mut small);
        random(&mut large);
        assert!(small != [0; 32] && large[RANDOM_BYTES..] != [0; RANDOM_BYTES]);
    }
}
