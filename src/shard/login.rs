//! Who logs in: throttle first, then the memory of passwords found right a moment ago, then the
//! slow hash on the blocking pool.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::mem;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use auth::{Answer, Attempt, Fingerprint, Identity, Query, Throttle, Turn, Verified, VerifiedCache};
use base::{Secret, ShardId, Timestamp};
use directory::AccountEntry;

use crate::limits::{LOGINS_WAITING_MAX, SCRAM_ITERATIONS, VERIFIED_TTL_MS};
use crate::{Shard, Wait};

/// One shard's judge of logins.
#[derive(Debug)]
pub struct Login {
    secret: RefCell<Secret<[u8; 32]>>,
    throttle: RefCell<Throttle>,
    verified: RefCell<VerifiedCache>,
    /// Attempts that have ended, and who waits for the next one.
    ended: Cell<u64>,
    waiting: RefCell<Vec<Waker>>,
}

impl Login {
    /// `process_key` is fresh randomness of this start.
    pub(crate) fn new(process_key: [u8; 32]) -> Self {
        let key = Secret::new(process_key);
        Self {
            secret: RefCell::new(key.clone()),
            throttle: RefCell::default(),
            verified: RefCell::new(VerifiedCache::new(key, VERIFIED_TTL_MS)),
            ended: Cell::new(0),
            waiting: RefCell::default(),
        }
    }

    /// The server's lasting secret, from which the salts of names that nobody has are made.
    pub fn set_secret(&self, secret: Secret<[u8; 32]>) {
        self.secret.replace(secret);
    }

    /// Answers what a session asks. `source` is the text of the peer's address.
    pub async fn answer(&self, shard: &Shard, source: &str, query: Query) -> Answer {
        let source = network(source);
        let name = query.username().to_owned();
        let Ok(entry) = shard.people.by_login(shard, &name).await else { return Answer::Unavailable };
        // An account has one place in the throttle, whichever of its names is tried.
        let name = entry.as_ref().map_or(name, |entry| entry.address.to_string());
        let place = match self.turn(shard, source, &name).await {
            Ok(place) => place,
            Err(answer) => return answer,
        };
        let answer = match query {
            Query::Password { password, .. } => {
                let answer = self.password(shard, &name, password, entry).await;
                match &answer {
                    Answer::Granted(_) => self.throttle.borrow_mut().succeeded(source, &name),
                    Answer::Denied => self.failed(shard, source, &name),
                    Answer::Scram(_) | Answer::Unavailable | Answer::Throttled { .. } => {}
                }
                answer
            }
            // Whether the proof is right is found out in the session, maybe on another shard. Until
            // `ScramTry::proved` says so, it counts as wrong: of names that nobody has as of others.
            Query::Scram { hash, .. } => {
                self.failed(shard, source, &name);
                auth::answer_scram(entry.as_deref(), &name, hash, &self.secret.borrow(), SCRAM_ITERATIONS)
            }
        };
        drop(place);
        answer
    }

    fn failed(&self, shard: &Shard, source: IpAddr, name: &str) {
        self.throttle.borrow_mut().failed(shard.world.now(), source, Some(name));
    }

    /// Waits for a turn while as many attempts are being looked at as may fail. `Err`: there is none.
    async fn turn(&self, shard: &Shard, source: IpAddr, name: &str) -> Result<Place<'_>, Answer> {
        loop {
            let turn = self.throttle.borrow_mut().begin(shard.world.now(), source, name);
            match turn {
                Turn::Now(attempt) => return Ok(Place { login: self, attempt: Some(attempt) }),
                Turn::Later { retry_after_s } => return Err(Answer::Throttled { retry_after_s }),
                Turn::Busy if self.waiting.borrow().len() >= LOGINS_WAITING_MAX => {
                    return Err(Answer::Unavailable);
                }
                Turn::Busy => self.next_end().await,
            }
        }
    }

    async fn next_end(&self) {
        let _waiting = Wait::Password.mark();
        let known = self.ended.get();
        let mut is_listed = false;
        poll_fn(|cx| {
            if self.ended.get() != known {
                return Poll::Ready(());
            }
            if !mem::replace(&mut is_listed, true) {
                self.waiting.borrow_mut().push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    async fn password(
        &self,
        shard: &Shard,
        name: &str,
        password: Secret<String>,
        entry: Option<Arc<AccountEntry>>,
    ) -> Answer {
        let now: Timestamp = shard.world.now();
        let fingerprint = entry.as_ref().and_then(|entry| entry.credential.as_ref()).map(Fingerprint::of);
        if let Some(found) = self.verified.borrow().get(now, name, &password)
            && entry.as_ref().is_some_and(|entry| entry.enabled && found.identity == Identity::of(entry))
            && fingerprint == Some(found.fingerprint)
        {
            return Answer::Granted(found.identity.clone());
        }
        let tried = password.clone();
        let waiting = Wait::Password.mark();
        let answer = shard.off_shard(move || auth::answer_password(entry.as_deref(), &tried)).await;
        drop(waiting);
        let answer = answer.unwrap_or(Answer::Unavailable);
        if let (Answer::Granted(identity), Some(fingerprint)) = (&answer, fingerprint) {
            let verified = Verified { identity: identity.clone(), fingerprint };
            self.verified.borrow_mut().put(shard.world.now(), name, &password, verified);
        }
        answer
    }
}

/// A place among the attempts that are being looked at, given back when they have been.
struct Place<'a> {
    login: &'a Login,
    attempt: Option<Attempt>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let Some(attempt) = self.attempt.take() else { return };
        self.login.throttle.borrow_mut().end(attempt);
        self.login.ended.set(self.login.ended.get() + 1);
        // They look for themselves whose turn it is: there are few, and each attempt is slow.
        self.login.waiting.take().into_iter().for_each(Waker::wake);
    }
}

/// A SCRAM exchange whose proof is still to come, counted as failed until then where it began.
#[derive(Debug)]
pub(crate) struct ScramTry {
    began: ShardId,
    source: IpAddr,
    name: String,
}

impl ScramTry {
    /// The try that an answer begins, if it begins one that can succeed. `began` is the shard that gave
    /// the answer, `source` the text of the peer's address.
    pub(crate) fn of(began: ShardId, source: &str, answer: &Answer) -> Option<Self> {
        let Answer::Scram(credential) = answer else { return None };
        // The name that `Login::answer` counted under: an account has its own.
        let name = credential.identity.as_ref()?.address.clone();
        Some(Self { began, source: network(source), name })
    }

    /// The session has found the proof right.
    pub(crate) async fn proved(self, shard: &Rc<Shard>) {
        let Self { began, source, name } = self;
        shard.metrics.count_proof();
        if began == shard.id {
            return shard.login.throttle.borrow_mut().succeeded(source, &name);
        }
        let take_back = move |there: Rc<Shard>| async move {
            there.login.throttle.borrow_mut().succeeded(source, &name);
        };
        let _waiting = Wait::OtherShard.mark();
        // A shard that is gone counts nothing.
        let _gone = shard.router.on(began, take_back).await;
    }
}

/// Peers on a Unix socket share one place in the throttle.
fn network(source: &str) -> IpAddr {
    source.parse().unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
}
