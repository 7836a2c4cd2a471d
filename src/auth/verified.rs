//! Passwords that were found right a moment ago. Clients open many connections at once; one slow hash
//! should do for all of them.

use base::{AccountId, Secret, Timestamp};
use core::time::Duration;
use directory::{BoundedMap, Credential};

use crate::limits::VERIFIED_ENTRIES_MAX;
use crate::scram::{hmac, sha256};
use crate::{Identity, ScramHash};

/// What a credential was, without being one. Changes when the password does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 16]);

impl Fingerprint {
    /// Of a credential: quick, fit for a shard.
    pub fn of(credential: &Credential) -> Self {
        let [first @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
            sha256(credential.argon2id.as_bytes());
        Self(first)
    }
}

/// Who had a password, and with which credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verified {
    /// Who it was.
    pub identity: Identity,
    /// The credential it was checked against: when the account has another now, check again.
    pub fingerprint: Fingerprint,
}

/// One shard's memory of right passwords. Holds no password: entries are found by an HMAC-SHA-256
/// under a key that only this process has.
pub struct VerifiedCache {
    process_key: Secret<[u8; 32]>,
    ttl: Duration,
    entries: BoundedMap<[u8; 32], Entry>,
}

struct Entry {
    verified: Verified,
    expires: Timestamp,
}

impl std::fmt::Debug for VerifiedCache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifiedCache").field("entries", &self.entries.len()).finish_non_exhaustive()
    }
}

impl VerifiedCache {
    /// `process_key` is fresh randomness of this start; an entry is good for `ttl_ms`.
    pub fn new(process_key: Secret<[u8; 32]>, ttl_ms: u32) -> Self {
        let ttl = Duration::from_millis(u64::from(ttl_ms));
        Self { process_key, ttl, entries: BoundedMap::new(VERIFIED_ENTRIES_MAX) }
    }

    /// Who has this name and password, if that was found out less than the time to live ago.
    pub fn get(&self, now: Timestamp, username: &str, password: &Secret<String>) -> Option<&Verified> {
        let entry = self.entries.get(&self.key(username, password))?;
        (now < entry.expires).then_some(&entry.verified)
    }

    /// Remembers that the name and password were right.
    pub fn put(&mut self, now: Timestamp, username: &str, password: &Secret<String>, verified: Verified) {
        let entry = Entry { verified, expires: now + self.ttl };
        self.entries.insert(self.key(username, password), entry);
    }

    /// Forgets an account: its password was changed, or it was disabled.
    pub fn forget(&mut self, account: AccountId) {
        self.entries.retain(|_, entry| entry.verified.identity.account != account);
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.entries.clear();
    }

    fn key(&self, username: &str, password: &Secret<String>) -> [u8; 32] {
        // Neither can hold a NUL, so two pairs never make one text.
        let text = Secret::new([username, password.reveal()].join("\0"));
        let tag = hmac(ScramHash::Sha256, self.process_key.reveal(), text.reveal().as_bytes());
        tag.try_into().expect("HMAC-SHA-256 has 32 bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::PartitionId;

    fn verified(account: u64) -> Verified {
        let identity = Identity {
            account: AccountId(account),
            partition: PartitionId(3),
            address: "b@example.org".into(),
        };
        Verified { identity, fingerprint: Fingerprint([account as u8; 16]) }
    }

    #[test]
    fn a_right_password_is_remembered_for_a_while() {
        let mut cache = VerifiedCache::new(Secret::new([5; 32]), 1_000);
        let (bob, wrong) = (Secret::new("pencil".to_owned()), Secret::new("Pencil".to_owned()));
        let at = Timestamp::from_ms;
        cache.put(at(0), "bob", &bob, verified(1));
        cache.put(at(0), "eve", &bob, verified(2));
        assert_eq!(cache.get(at(999), "bob", &bob), Some(&verified(1)));
        assert_eq!(cache.get(at(999), "bob", &wrong), None);
        assert_eq!(cache.get(at(1_000), "bob", &bob), None);
        cache.forget(AccountId(1));
        assert_eq!(cache.get(at(1), "bob", &bob), None);
        assert_eq!(cache.get(at(1), "eve", &bob), Some(&verified(2)));
        cache.clear();
        assert_eq!(cache.get(at(1), "eve", &bob), None);
    }

    #[test]
    fn the_cache_is_bounded() {
        let mut cache = VerifiedCache::new(Secret::new([5; 32]), 1_000);
        let password = Secret::new("pencil".to_owned());
        for i in 0..VERIFIED_ENTRIES_MAX * 2 {
            cache.put(Timestamp::from_ms(0), &i.to_string(), &password, verified(1));
            assert!(cache.entries.len() <= VERIFIED_ENTRIES_MAX);
        }
        let last = (VERIFIED_ENTRIES_MAX * 2 - 1).to_string();
        assert!(cache.get(Timestamp::from_ms(1), &last, &password).is_some());
    }
}
