//! From what the directory knows of a name to the answer of a query. Whoever runs queries looks the
//! account up and calls one of these: the rules about unknown and disabled names are here alone.

use base::Secret;
use directory::AccountEntry;

use crate::{Answer, Identity, Query, ScramCredential, ScramHash, verify_absent, verify_password};

impl Identity {
    /// Of an account.
    pub fn of(account: &AccountEntry) -> Self {
        Self { account: account.id, partition: account.partition, address: account.address.to_string() }
    }
}

impl Query {
    /// The name to look up.
    pub fn username(&self) -> &str {
        match self {
            Self::Password { username, .. } | Self::Scram { username, .. } => username,
        }
    }
}

/// The answer to [`Query::Password`], `account` being what its name led to. Slow, and equally slow
/// whether there is such an account or not: the blocking pool's work.
pub fn answer_password(account: Option<&AccountEntry>, password: &Secret<String>) -> Answer {
    let Some((account, credential)) = account.and_then(|a| a.credential.as_ref().map(|c| (a, c))) else {
        verify_absent(password);
        return Answer::Denied;
    };
    // The hash first: a disabled account takes as long as another.
    if verify_password(credential, password) && account.enabled {
        return Answer::Granted(Identity::of(account));
    }
    Answer::Denied
}

/// The answer to [`Query::Scram`], `account` being what its name led to. Quick. A name without an account
/// or a credential gets keys that nothing opens, see [`ScramCredential::fabricate`].
pub fn answer_scram(
    account: Option<&AccountEntry>,
    username: &str,
    hash: ScramHash,
    server_secret: &Secret<[u8; 32]>,
    iterations: u32,
) -> Answer {
    let known = account.and_then(|account| {
        let credential = account.credential.as_ref()?;
        let keys = match hash {
            ScramHash::Sha1 => credential.scram_sha1.clone(),
            ScramHash::Sha256 => credential.scram_sha256.clone(),
        };
        Some(ScramCredential { keys, identity: account.enabled.then(|| Identity::of(account)) })
    });
    let fabricate = || ScramCredential::fabricate(server_secret, username, hash, iterations);
    Answer::Scram(Box::new(known.unwrap_or_else(fabricate)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hash_password;
    use base::{AccountId, PartitionId, Timestamp};
    use directory::EmailAddress;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    fn account() -> AccountEntry {
        AccountEntry {
            id: AccountId(7),
            partition: PartitionId(3),
            address: EmailAddress::parse("bob@example.org").unwrap(),
            display_name: String::new(),
            credential: Some(hash_password(&secret("pencil"), [1; 16], 4_096)),
            quota_bytes: None,
            forward: None,
            sent_copy: directory::SentCopy::default(),
            enabled: true,
            created: Timestamp::from_ms(0),
        }
    }

    #[test]
    fn only_an_enabled_account_with_the_right_password_is_granted() {
        let bob = account();
        let granted = Answer::Granted(Identity {
            account: AccountId(7),
            partition: PartitionId(3),
            address: "bob@example.org".to_owned(),
        });
        assert_eq!(answer_password(Some(&bob), &secret("pencil")), granted);
        assert_eq!(answer_password(Some(&bob), &secret("Pencil")), Answer::Denied);
        assert_eq!(answer_password(None, &secret("pencil")), Answer::Denied);
        let disabled = AccountEntry { enabled: false, ..bob.clone() };
        assert_eq!(answer_password(Some(&disabled), &secret("pencil")), Answer::Denied);
        let without = AccountEntry { credential: None, ..bob };
        assert_eq!(answer_password(Some(&without), &secret("pencil")), Answer::Denied);
    }

    #[test]
    fn scram_keys_tell_nobody_which_names_there_are() {
        let ask = |account: Option<&AccountEntry>, hash| match answer_scram(
            account,
            "bob",
            hash,
            &Secret::new([4; 32]),
            4_096,
        ) {
            Answer::Scram(credential) => *credential,
            other => panic!("{other:?}"),
        };
        let bob = account();
        let keys = bob.credential.clone().unwrap();
        for (hash, keys) in [(ScramHash::Sha1, keys.scram_sha1), (ScramHash::Sha256, keys.scram_sha256)] {
            let found = ask(Some(&bob), hash);
            assert_eq!((&found.keys, found.identity), (&keys, Some(Identity::of(&bob))));
            let disabled = ask(Some(&AccountEntry { enabled: false, ..bob.clone() }), hash);
            assert_eq!((&disabled.keys, disabled.identity), (&keys, None));
            let without = ask(Some(&AccountEntry { credential: None, ..bob.clone() }), hash);
            assert_eq!(without, ask(None, hash));
            assert_eq!(without.keys.salt.len(), keys.salt.len());
            assert_eq!(without.keys.iterations, keys.iterations);
            assert_eq!(without.identity, None);
        }
    }
}
