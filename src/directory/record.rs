//! How the directory is stored: keys and values of account 0 in partition 0.
//!
//! | key | value |
//! |---|---|
//! | `d` domain | a domain, with how many accounts and aliases it has |
//! | `i` id (8 bytes, big-endian) | an account |
//! | `a` domain NUL local | the id of the account with that address |
//! | `l` domain NUL local | the alias with that address |
//! | `n` | the id the next account gets |
//! | `p` partition (2 bytes, big-endian) | how many accounts the partition has |
//! | `s` name | a secret of the server's own |
//! | `k` domain | the domain's DKIM keys |
//! | `g` domain NUL local | who may send as the account or alias with that address, or on behalf of it |
//!
//! Domains stand before local parts so that one domain's addresses lie together. A value is a version
//! byte and JSON: new optional fields need no new version.

use base::{AccountId, PartitionId, Secret, Timestamp};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::{
    AccountEntry, AliasEntry, Credential, DkimAlgorithm, DkimKey, DkimState, DomainEntry, EmailAddress,
    Forwarding, ScramKeys, SendRight, SentCopy,
};

/// The version this program writes.
const VERSION: u8 = 1;

/// Where the id counter is.
pub(crate) const NEXT_ID: &[u8] = b"n";
pub(crate) const DOMAINS: &[u8] = b"d";
pub(crate) const ACCOUNTS: &[u8] = b"a";
pub(crate) const ALIASES: &[u8] = b"l";
pub(crate) const DELEGATES: &[u8] = b"g";

pub(crate) fn domain_key(name: &str) -> Vec<u8> {
    [DOMAINS, name.as_bytes()].concat()
}

pub(crate) fn account_key(id: AccountId) -> Vec<u8> {
    [b"i", &id.0.to_be_bytes()[..]].concat()
}

pub(crate) fn partition_key(partition: PartitionId) -> Vec<u8> {
    [b"p", &partition.0.to_be_bytes()[..]].concat()
}

pub(crate) fn dkim_key(domain: &str) -> Vec<u8> {
    [b"k", domain.as_bytes()].concat()
}

pub(crate) fn secret_key(name: &str) -> Vec<u8> {
    [b"s", name.as_bytes()].concat()
}

pub(crate) fn delegates_key(address: &EmailAddress) -> Vec<u8> {
    address_key(DELEGATES, address)
}

/// `kind` is [`ACCOUNTS`] or [`ALIASES`].
pub(crate) fn address_key(kind: &[u8], address: &EmailAddress) -> Vec<u8> {
    [kind, address.domain().as_bytes(), b"\0", address.folded_local().as_bytes()].concat()
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DomainRecord {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub(crate) catch_all: Option<String>,
    pub(crate) created_ms: i64,
    /// Counted here, and not by looking, so that a transaction sees those still on their way.
    pub(crate) accounts: u64,
    pub(crate) aliases: u64,
}

impl DomainRecord {
    pub(crate) fn into_entry(self, name: &str) -> DomainEntry {
        let catch_all = self.catch_all.map(|text| parse(&text));
        DomainEntry { name: name.to_owned(), catch_all, created: Timestamp::from_ms(self.created_ms) }
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct AccountRecord {
    partition: u16,
    address: String,
    display_name: String,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    credential: Option<CredentialRecord>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    quota_bytes: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    sent_copy: Option<SentCopy>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    forward: Option<ForwardRecord>,
    enabled: bool,
    created_ms: i64,
}

#[derive(Serialize, Deserialize)]
struct ForwardRecord {
    to: String,
    keeps_copy: bool,
}

#[derive(Serialize, Deserialize)]
struct CredentialRecord {
    argon2id: String,
    scram_sha256: ScramRecord,
    scram_sha1: ScramRecord,
}

/// Bytes are in base64.
#[derive(Serialize, Deserialize)]
struct ScramRecord {
    salt: String,
    iterations: u32,
    stored_key: String,
    server_key: String,
}

impl AccountRecord {
    pub(crate) fn of(entry: &AccountEntry) -> Self {
        let credential = entry.credential.as_ref().map(|credential| CredentialRecord {
            argon2id: credential.argon2id.clone(),
            scram_sha256: ScramRecord::of(&credential.scram_sha256),
            scram_sha1: ScramRecord::of(&credential.scram_sha1),
        });
        Self {
            partition: entry.partition.0,
            address: entry.address.to_string(),
            display_name: entry.display_name.clone(),
            credential,
            quota_bytes: entry.quota_bytes,
            forward: entry
                .forward
                .as_ref()
                .map(|forward| ForwardRecord { to: forward.to.to_string(), keeps_copy: forward.keeps_copy }),
            sent_copy: Some(entry.sent_copy).filter(|copy| *copy != SentCopy::None),
            enabled: entry.enabled,
            created_ms: entry.created.as_ms(),
        }
    }

    pub(crate) fn into_entry(self, id: AccountId) -> AccountEntry {
        let credential = self.credential.map(|record| Credential {
            argon2id: record.argon2id,
            scram_sha256: record.scram_sha256.into_keys(),
            scram_sha1: record.scram_sha1.into_keys(),
        });
        AccountEntry {
            id,
            partition: PartitionId(self.partition),
            address: parse(&self.address),
            display_name: self.display_name,
            credential,
            quota_bytes: self.quota_bytes,
            forward: self
                .forward
                .map(|forward| Forwarding { to: parse(&forward.to), keeps_copy: forward.keeps_copy }),
            sent_copy: self.sent_copy.unwrap_or_default(),
            enabled: self.enabled,
            created: Timestamp::from_ms(self.created_ms),
        }
    }
}

impl ScramRecord {
    fn of(keys: &ScramKeys) -> Self {
        Self {
            salt: STANDARD.encode(&keys.salt),
            iterations: keys.iterations,
            stored_key: STANDARD.encode(&keys.stored_key),
            server_key: STANDARD.encode(&keys.server_key),
        }
    }

    fn into_keys(self) -> ScramKeys {
        let bytes = |text: &str| STANDARD.decode(text).expect("we wrote it in base64 and its checksum held");
        ScramKeys {
            salt: bytes(&self.salt),
            iterations: self.iterations,
            stored_key: bytes(&self.stored_key),
            server_key: bytes(&self.server_key),
        }
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct AliasRecord {
    /// As it was written: the key has lost its case.
    address: String,
    targets: Vec<String>,
}

impl AliasRecord {
    pub(crate) fn of(entry: &AliasEntry) -> Self {
        let targets = entry.targets.iter().map(EmailAddress::to_string).collect();
        Self { address: entry.address.to_string(), targets }
    }

    pub(crate) fn into_entry(self) -> AliasEntry {
        let targets = self.targets.iter().map(|text| parse(text)).collect();
        AliasEntry { address: parse(&self.address), targets }
    }
}

/// One of an address's list of those who may send under it.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct DelegateRecord {
    pub(crate) who: DelegateKey,
    pub(crate) right: SendRight,
}

/// An account by its id, which nobody else gets; an alias by its address, for that is all it is.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum DelegateKey {
    Account(u64),
    Alias(String),
}

impl DelegateKey {
    pub(crate) fn alias(address: &str) -> EmailAddress {
        parse(address)
    }
}

/// One of a domain's list of keys.
#[derive(Serialize, Deserialize)]
pub(crate) struct DkimKeyRecord {
    pub(crate) selector: String,
    algorithm: DkimAlgorithm,
    pub(crate) state: DkimState,
    /// In base64.
    key: String,
    created_ms: i64,
}

impl DkimKeyRecord {
    pub(crate) fn of(key: &DkimKey) -> Self {
        Self {
            selector: key.selector.clone(),
            algorithm: key.algorithm,
            state: key.state,
            key: STANDARD.encode(key.der.reveal()),
            created_ms: key.created.as_ms(),
        }
    }

    pub(crate) fn into_key(self) -> DkimKey {
        let der = STANDARD.decode(&self.key).expect("we wrote it in base64 and its checksum held");
        DkimKey {
            selector: self.selector,
            algorithm: self.algorithm,
            state: self.state,
            der: Secret::new(der),
            created: Timestamp::from_ms(self.created_ms),
        }
    }
}

/// A value's bytes.
pub(crate) fn encode<T: Serialize + ?Sized>(value: &T) -> Vec<u8> {
    let mut bytes = vec![VERSION];
    serde_json::to_writer(&mut bytes, value).expect("these values have a JSON form and memory takes them");
    bytes
}

/// A value from its bytes. The store's checksums held, so anything unreadable was written by a newer
/// program, and to go on without it could lose it.
pub(crate) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> T {
    let (version, json) = bytes.split_first().expect("a directory value is never empty");
    assert!(*version == VERSION, "the directory was written by a newer version: format {version}");
    serde_json::from_slice(json).expect("a directory value of a known version is readable")
}

/// An address from its stored spelling.
fn parse(text: &str) -> EmailAddress {
    EmailAddress::parse(text).expect("an address reads back from its own spelling")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What version 1 wrote must be readable for ever.
    #[test]
    fn records_of_version_1_are_read_and_written() {
        let account = concat!(
            "\u{1}",
            r#"{"partition":3,"address":"Bob@example.org","display_name":"Bob","credential":{"#,
            r#""argon2id":"$argon2id$","scram_sha256":{"salt":"AQ==","iterations":4096,"stored_key":"Ag==","#,
            r#""server_key":"Aw=="},"scram_sha1":{"salt":"BA==","iterations":5000,"stored_key":"BQ==","#,
            r#""server_key":"Bg=="}},"quota_bytes":1000,"enabled":true,"created_ms":-1}"#
        );
        let entry = decode::<AccountRecord>(account.as_bytes()).into_entry(AccountId(7));
        assert_eq!(
            (entry.id, entry.partition, entry.created),
            (AccountId(7), PartitionId(3), Timestamp::from_ms(-1))
        );
        let keys = entry.credential.clone().map(|credential| credential.scram_sha1);
        let expected =
            ScramKeys { salt: vec![4], iterations: 5_000, stored_key: vec![5], server_key: vec![6] };
        assert_eq!(keys, Some(expected));
        assert_eq!(encode(&AccountRecord::of(&entry)), account.as_bytes());

        let least = concat!(
            "\u{1}",
            r#"{"partition":0,"address":"b@example.org","display_name":"","#,
            r#""enabled":false,"created_ms":0}"#
        );
        let entry = decode::<AccountRecord>(least.as_bytes()).into_entry(AccountId(7));
        assert_eq!((entry.credential.is_none(), entry.quota_bytes), (true, None));
        assert_eq!(encode(&AccountRecord::of(&entry)), least.as_bytes());

        let copying = concat!(
            "\u{1}",
            r#"{"partition":0,"address":"b@example.org","display_name":"","#,
            r#""sent_copy":"all","forward":{"to":"b@elsewhere.example","keeps_copy":true},"#,
            r#""enabled":true,"created_ms":0}"#
        );
        let entry = decode::<AccountRecord>(copying.as_bytes()).into_entry(AccountId(7));
        assert_eq!(entry.sent_copy, SentCopy::All);
        assert!(entry.forward.as_ref().is_some_and(|forward| forward.keeps_copy));
        assert_eq!(encode(&AccountRecord::of(&entry)), copying.as_bytes());
        let delegates = concat!(
            "\u{1}",
            r#"[{"who":{"account":7},"right":"send-as"},{"who":{"alias":"Sales@example.org"},"right":"on-behalf"}]"#
        );
        assert_eq!(encode(&decode::<Vec<DelegateRecord>>(delegates.as_bytes())), delegates.as_bytes());

        let domain =
            concat!("\u{1}", r#"{"catch_all":"b@example.org","created_ms":5,"accounts":2,"aliases":1}"#);
        assert_eq!(encode(&decode::<DomainRecord>(domain.as_bytes())), domain.as_bytes());
        let alias = concat!("\u{1}", r#"{"address":"Sales@example.org","targets":["b+x@example.org"]}"#);
        let entry = decode::<AliasRecord>(alias.as_bytes()).into_entry();
        assert_eq!(encode(&AliasRecord::of(&entry)), alias.as_bytes());
        assert_eq!(encode(&7_u64), b"\x017");
        let keys = concat!(
            "\u{1}",
            r#"[{"selector":"a","algorithm":"rsa-sha256","state":"retiring","key":"AQI=","created_ms":5},"#,
            r#"{"selector":"b","algorithm":"ed25519-sha256","state":"waiting","key":"Aw==","created_ms":6}]"#
        );
        let read = decode::<Vec<DkimKeyRecord>>(keys.as_bytes());
        assert_eq!(encode(&read), keys.as_bytes());
        let first = read.into_iter().next().map(DkimKeyRecord::into_key);
        let state = (DkimAlgorithm::Rsa, DkimState::Retiring, Some(vec![1, 2]));
        assert_eq!(first.map(|key| (key.algorithm, key.state, Some(key.der.into_inner()))), Some(state));
    }
}
