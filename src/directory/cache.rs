//! Answers of the directory that a shard remembers, so that most look-ups cross to no other core.

use std::sync::Arc;

use base::AccountId;

use crate::limits::{CACHE_ENTRIES_MAX, CACHED_TARGETS_MAX};
use crate::{AccountEntry, BoundedMap, EmailAddress, Resolution, SenderUse};

/// One shard's remembered answers, all of one generation of the directory. Whoever hears of a newer
/// generation calls [`Cache::advance`]; an answer that was on its way meanwhile is not taken.
pub struct Cache {
    generation: u64,
    resolutions: BoundedMap<String, Resolution>,
    /// Domains that are not ours: their addresses are many and all have the same answer.
    foreign: BoundedMap<String, ()>,
    logins: BoundedMap<String, Arc<AccountEntry>>,
    /// What an account may do with an address as a sender.
    uses: BoundedMap<(AccountId, String), SenderUse>,
}

impl std::fmt::Debug for Cache {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cache")
            .field("generation", &self.generation)
            .field("resolutions", &self.resolutions.len())
            .field("foreign", &self.foreign.len())
            .field("logins", &self.logins.len())
            .field("uses", &self.uses.len())
            .finish()
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self::new()
    }
}

impl Cache {
    /// Knows nothing yet.
    pub fn new() -> Self {
        Self {
            generation: 0,
            resolutions: BoundedMap::new(CACHE_ENTRIES_MAX),
            foreign: BoundedMap::new(CACHE_ENTRIES_MAX),
            logins: BoundedMap::new(CACHE_ENTRIES_MAX),
            uses: BoundedMap::new(CACHE_ENTRIES_MAX),
        }
    }

    /// The generation that all entries are of.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The directory has this generation now: forgets what is older.
    pub fn advance(&mut self, generation: u64) {
        if generation > self.generation {
            self.generation = generation;
            self.clear();
        }
    }

    /// Answers that are remembered.
    pub fn len(&self) -> usize {
        self.resolutions.len() + self.foreign.len() + self.logins.len() + self.uses.len()
    }

    /// Whether nothing is remembered.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Where mail to this address goes.
    pub fn resolution(&self, address: &EmailAddress) -> Option<&Resolution> {
        if self.foreign.get(address.domain()).is_some() {
            return Some(&Resolution::NotLocal);
        }
        self.resolutions.get(&address.key())
    }

    /// Remembers an answer and the generation that was read before it was looked up. Long ones are
    /// left out, so that the memory is bounded and not only the count.
    pub fn put_resolution(&mut self, generation: u64, address: &EmailAddress, resolution: Resolution) {
        let length = match &resolution {
            Resolution::Local(targets) => targets.len(),
            Resolution::Forwarded(forwarded) => forwarded.targets.len() + forwarded.onward.len(),
            _ => 0,
        };
        let is_long = length > CACHED_TARGETS_MAX;
        if !self.takes(generation) || is_long {
            return;
        }
        if resolution == Resolution::NotLocal {
            self.foreign.insert(address.domain().to_owned(), ());
        } else {
            self.resolutions.insert(address.key(), resolution);
        }
    }

    /// The account of a login name, spelled as it was when it was remembered.
    pub fn login(&self, login: &str) -> Option<&Arc<AccountEntry>> {
        self.logins.get(login)
    }

    /// Remembers an account that was found, and the generation that was read before. Names that
    /// nobody has are not remembered: `auth::Throttle` slows those who try them.
    pub fn put_login(&mut self, generation: u64, login: &str, account: Arc<AccountEntry>) {
        if self.takes(generation) {
            self.logins.insert(login.to_owned(), account);
        }
    }

    /// What an account may do with an address as a sender.
    pub fn sender_use(&self, account: AccountId, address: &EmailAddress) -> Option<&SenderUse> {
        if self.foreign.get(address.domain()).is_some() {
            return Some(&SenderUse::Denied);
        }
        self.uses.get(&(account, address.key()))
    }

    /// Remembers an answer and the generation that was read before.
    pub fn put_sender_use(
        &mut self,
        generation: u64,
        account: AccountId,
        address: &EmailAddress,
        found: SenderUse,
    ) {
        if self.takes(generation) {
            self.uses.insert((account, address.key()), found);
        }
    }

    /// Forgets all.
    pub fn clear(&mut self) {
        self.resolutions.clear();
        self.foreign.clear();
        self.logins.clear();
        self.uses.clear();
    }

    /// Whether an answer is as new as the entries; a newer one makes them old.
    fn takes(&mut self, generation: u64) -> bool {
        self.advance(generation);
        generation == self.generation
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::{AccountId, PartitionId, Timestamp};

    fn address(text: &str) -> EmailAddress {
        EmailAddress::parse(text).unwrap()
    }

    fn account() -> Arc<AccountEntry> {
        Arc::new(AccountEntry {
            id: AccountId(1),
            partition: PartitionId(0),
            address: address("bob@example.org"),
            display_name: String::new(),
            credential: None,
            quota_bytes: None,
            forward: None,
            sent_copy: crate::SentCopy::default(),
            enabled: true,
            created: Timestamp::from_ms(0),
        })
    }

    #[test]
    fn answers_of_an_older_generation_are_forgotten_and_not_taken() {
        let (bob, mut cache) = (address("bob@example.org"), Cache::new());
        cache.put_resolution(4, &bob, Resolution::UnknownUser);
        cache.put_login(4, "bob", account());
        assert_eq!(cache.resolution(&address("BOB@example.org")), Some(&Resolution::UnknownUser));
        assert_eq!(cache.login("bob").map(|account| account.id), Some(AccountId(1)));

        cache.put_resolution(3, &bob, Resolution::NotLocal);
        assert_eq!(cache.resolution(&bob), Some(&Resolution::UnknownUser));
        cache.advance(3);
        assert!(cache.login("bob").is_some());

        cache.put_resolution(5, &bob, Resolution::NotLocal);
        assert_eq!((cache.generation(), cache.login("bob")), (5, None));
        assert_eq!(cache.resolution(&bob), Some(&Resolution::NotLocal));
        // A domain that is not ours has no address that is.
        assert_eq!(cache.resolution(&address("ann@Example.ORG")), Some(&Resolution::NotLocal));
        assert_eq!(cache.resolution(&address("ann@example.com")), None);
        assert_eq!(
            cache.sender_use(AccountId(1), &bob),
            Some(&SenderUse::Denied),
            "not with a foreign domain"
        );
        cache.advance(6);
        assert_eq!(cache.resolution(&bob), None);
        cache.put_sender_use(6, AccountId(1), &bob, SenderUse::Own);
        assert_eq!(cache.sender_use(AccountId(1), &address("BOB@example.org")), Some(&SenderUse::Own));
        assert_eq!(cache.sender_use(AccountId(2), &bob), None);
        cache.advance(7);
        assert_eq!(cache.sender_use(AccountId(1), &bob), None);
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut cache = Cache::new();
        for i in 0..CACHE_ENTRIES_MAX * 2 {
            cache.put_resolution(1, &address(&format!("u{i}@example.org")), Resolution::UnknownUser);
            cache.put_resolution(1, &address(&format!("u@d{i}.example.org")), Resolution::NotLocal);
            cache.put_login(1, &format!("u{i}"), account());
            cache.put_sender_use(1, AccountId(i as u64), &address("bob@example.org"), SenderUse::Denied);
        }
        assert!(cache.resolutions.len() <= CACHE_ENTRIES_MAX && cache.logins.len() <= CACHE_ENTRIES_MAX);
        assert!(cache.foreign.len() <= CACHE_ENTRIES_MAX && cache.uses.len() <= CACHE_ENTRIES_MAX);
        let account = account();
        let target = crate::Target {
            account: account.id,
            partition: account.partition,
            address: account.address.clone(),
            quota_bytes: account.quota_bytes,
            detail: None,
        };
        let long = Resolution::Local(vec![target; CACHED_TARGETS_MAX + 1]);
        cache.put_resolution(1, &account.address, long);
        assert_eq!(cache.resolution(&account.address), None);
    }
}
