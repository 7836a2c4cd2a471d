//! Who logs in: throttle first, then the memory of passwords found right a moment ago, then the
//! slow hash on the blocking pool.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::sync::Arc;

use auth::{Answer, Fingerprint, Identity, Query, Throttle, Verified, VerifiedCache};
use base::{Secret, Timestamp};
use directory::AccountEntry;

use crate::Shard;
use crate::limits::{SCRAM_ITERATIONS, VERIFIED_TTL_MS};

/// One shard's judge of logins.
#[derive(Debug)]
pub struct Login {
    secret: RefCell<Secret<[u8; 32]>>,
    throttle: RefCell<Throttle>,
    verified: RefCell<VerifiedCache>,
}

impl Login {
    /// `process_key` is fresh randomness of this start.
    pub(crate) fn new(process_key: [u8; 32]) -> Self {
        let key = Secret::new(process_key);
        Self {
            secret: RefCell::new(key.clone()),
            throttle: RefCell::default(),
            verified: RefCell::new(VerifiedCache::new(key, VERIFIED_TTL_MS)),
        }
    }

    /// The server's lasting secret, from which the salts of names that nobody has are made.
    pub fn set_secret(&self, secret: Secret<[u8; 32]>) {
        self.secret.replace(secret);
    }

    /// Answers what a session asks. `source` is the text of the peer's address.
    pub async fn answer(&self, shard: &Shard, source: &str, query: Query) -> Answer {
        let now = shard.world.now();
        let source = network(source);
        let name = match &query {
            Query::Password { username, .. } | Query::Scram { username, .. } => username.clone(),
        };
        let Ok(entry) = shard.people.by_login(shard, &name).await else { return Answer::Unavailable };
        // An account has one place in the throttle, whichever of its names is tried.
        let name = entry.as_ref().map_or(name, |entry| entry.address.to_string());
        if let Some(retry_after_s) = self.throttle.borrow().check(now, source, Some(&name)) {
            return Answer::Throttled { retry_after_s };
        }
        match query {
            Query::Password { password, .. } => {
                let answer = self.password(shard, now, &name, password, entry).await;
                match &answer {
                    Answer::Granted(_) => self.throttle.borrow_mut().succeeded(source, &name),
                    Answer::Denied => {
                        self.throttle.borrow_mut().failed(shard.world.now(), source, Some(&name));
                    }
                    Answer::Scram(_) | Answer::Unavailable | Answer::Throttled { .. } => {}
                }
                answer
            }
            // Whether the proof is right is found out in the session: see `ScramTry`.
            Query::Scram { hash, .. } => {
                auth::answer_scram(entry.as_deref(), &name, hash, &self.secret.borrow(), SCRAM_ITERATIONS)
            }
        }
    }

    async fn password(
        &self,
        shard: &Shard,
        now: Timestamp,
        name: &str,
        password: Secret<String>,
        entry: Option<Arc<AccountEntry>>,
    ) -> Answer {
        let fingerprint = entry.as_ref().and_then(|entry| entry.credential.as_ref()).map(Fingerprint::of);
        if let Some(found) = self.verified.borrow().get(now, name, &password)
            && entry.as_ref().is_some_and(|entry| entry.enabled && found.identity == Identity::of(entry))
            && fingerprint == Some(found.fingerprint)
        {
            return Answer::Granted(found.identity.clone());
        }
        let tried = password.clone();
        let answer = shard.off_shard(move || auth::answer_password(entry.as_deref(), &tried)).await;
        let answer = answer.unwrap_or(Answer::Unavailable);
        if let (Answer::Granted(identity), Some(fingerprint)) = (&answer, fingerprint) {
            let verified = Verified { identity: identity.clone(), fingerprint };
            self.verified.borrow_mut().put(shard.world.now(), name, &password, verified);
        }
        answer
    }
}

/// A SCRAM exchange whose proof is still to come. Whether it is right is found out inside the
/// session; a try that is dropped unproved counts as a failure.
#[derive(Debug)]
pub(crate) struct ScramTry {
    shard: Rc<Shard>,
    source: IpAddr,
    name: String,
    is_proved: bool,
}

impl ScramTry {
    /// Begins to wait for the proof of `name`'s password by a peer.
    pub(crate) fn new(shard: Rc<Shard>, source: &str, name: &str) -> Self {
        Self { shard, source: network(source), name: name.to_owned(), is_proved: false }
    }

    /// The try that an answer begins, if it begins one.
    pub(crate) fn of(shard: &Rc<Shard>, source: &str, answer: &Answer) -> Option<Self> {
        let Answer::Scram(credential) = answer else { return None };
        let name = credential.identity.as_ref().map_or("", |identity| &identity.address);
        Some(Self::new(Rc::clone(shard), source, name))
    }

    /// The session has found the proof right.
    pub(crate) fn proved(mut self) {
        self.is_proved = true;
        self.shard.login.throttle.borrow_mut().succeeded(self.source, &self.name);
    }
}

impl Drop for ScramTry {
    fn drop(&mut self) {
        if self.is_proved {
            return;
        }
        let now = self.shard.world.now();
        self.shard.login.throttle.borrow_mut().failed(now, self.source, Some(&self.name));
    }
}

/// Peers on a Unix socket share one place in the throttle.
fn network(source: &str) -> IpAddr {
    source.parse().unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED))
}
