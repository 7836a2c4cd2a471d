//! The keys that sign the mail of our domains (RFC 6376): list, add, change, remove. What a key is and how it signs is
//! `mailauth`'s; here it is bytes that never print.

use base::{Secret, Timestamp};
use serde::{Deserialize, Serialize};

use crate::address::parse_domain_name;
use crate::directory::{ACCOUNT, commit, in_transaction};
use crate::limits::{DKIM_KEYS_MAX, SELECTOR_BYTES_MAX};
use crate::record::{self, DkimKeyRecord};
use crate::{Directory, Error};

/// How a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DkimAlgorithm {
    /// RSA over SHA-256.
    #[serde(rename = "rsa-sha256")]
    Rsa,
    /// Ed25519 over SHA-256 (RFC 8463).
    #[serde(rename = "ed25519-sha256")]
    Ed25519,
}

/// Whether a key signs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DkimState {
    /// To be published, and not used yet.
    Waiting,
    /// It signs.
    Active,
    /// No longer used, and still published: mail that it signed is on its way.
    Retiring,
}

/// A key of a domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DkimKey {
    /// Its name in the domain: letters, digits and hyphens, in labels; lower case.
    pub selector: String,
    /// How it signs.
    pub algorithm: DkimAlgorithm,
    /// Whether it signs.
    pub state: DkimState,
    /// The private key, PKCS #8 in DER.
    pub der: Secret<Vec<u8>>,
    /// When it was made.
    pub created: Timestamp,
}

impl Directory {
    /// The keys of a domain in the order in which they came; none when it is not ours.
    pub fn dkim_keys(&self, domain: &str) -> Vec<DkimKey> {
        let Ok(name) = parse_domain_name(domain) else { return Vec::new() };
        self.view(|view| view.dkim_keys(&name)).into_iter().map(DkimKeyRecord::into_key).collect()
    }

    /// The keys that a name's mail is signed with: its own, or those of the nearest domain above it that is ours and
    /// has any that are active. With the name of that domain.
    pub fn signing_keys(&self, name: &str) -> Option<(String, Vec<DkimKey>)> {
        let name = parse_domain_name(name).ok()?;
        let mut rest = Some(name.as_str());
        while let Some(domain) = rest {
            let keys = self.dkim_keys(domain);
            if keys.iter().any(|key| key.state == DkimState::Active) {
                return Some((domain.to_owned(), keys));
            }
            rest = domain.split_once('.').map(|(_, above)| above);
        }
        None
    }

    /// Gives a domain of ours a key.
    pub async fn add_dkim_key(&self, domain: &str, key: DkimKey) -> Result<(), Error> {
        check_selector(&key.selector)?;
        self.change_keys(domain, |keys| {
            if keys.iter().any(|known| known.selector == key.selector) {
                return Err(Error::Exists);
            }
            keys.push(DkimKeyRecord::of(&key));
            Ok(())
        })
        .await
    }

    /// Says whether a key signs.
    pub async fn set_dkim_state(&self, domain: &str, selector: &str, state: DkimState) -> Result<(), Error> {
        self.change_keys(domain, |keys| {
            let key = keys.iter_mut().find(|key| key.selector.eq_ignore_ascii_case(selector));
            key.ok_or(Error::NotFound)?.state = state;
            Ok(())
        })
        .await
    }

    /// Forgets a key.
    pub async fn remove_dkim_key(&self, domain: &str, selector: &str) -> Result<(), Error> {
        self.change_keys(domain, |keys| {
            let count = keys.len();
            keys.retain(|key| !key.selector.eq_ignore_ascii_case(selector));
            if keys.len() < count { Ok(()) } else { Err(Error::NotFound) }
        })
        .await
    }

    async fn change_keys(
        &self,
        domain: &str,
        work: impl FnOnce(&mut Vec<DkimKeyRecord>) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let name = parse_domain_name(domain)?;
        let mut change = self.transaction();
        in_transaction(&change, |view| view.domain(&name)).ok_or(Error::UnknownDomain)?;
        let mut keys = in_transaction(&change, |view| view.dkim_keys(&name));
        work(&mut keys)?;
        if keys.len() > DKIM_KEYS_MAX {
            return Err(Error::Limit { what: "keys of a domain", max: DKIM_KEYS_MAX });
        }
        if keys.is_empty() {
            change.delete_value(ACCOUNT, &record::dkim_key(&name));
        } else {
            change.put_value(ACCOUNT, &record::dkim_key(&name), &record::encode(&keys));
        }
        commit(change).await
    }
}

/// A selector is a name below `_domainkey` (RFC 6376 §3.1), in lower case: names do not tell case apart.
fn check_selector(selector: &str) -> Result<(), Error> {
    if selector.is_empty() || selector.len() > SELECTOR_BYTES_MAX {
        return Err(Error::Limit { what: "bytes of a selector", max: SELECTOR_BYTES_MAX });
    }
    match parse_domain_name(selector) {
        Ok(name) if name == selector => Ok(()),
        _ => Err(Error::Selector),
    }
}
