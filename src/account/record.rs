//! The account's small values: keys and encodings. Each value begins with a version byte, now 1.
//!
//! | key | value |
//! |---|---|
//! | `a` | the account: next mailbox, next message, last UIDVALIDITY, bytes used |
//! | `m` mailbox (u32, big-endian) | the mailbox: UIDVALIDITY, special use, name |
//! | `c` mailbox (u32, big-endian) | its counters |
//! | `k` | names of keywords, each ended by NUL |
//! | `s` name | the name is subscribed |
//! | `r` | the mailbox (u32) that INBOX is being renamed to, while that takes several transactions |
//! | `u` mailbox (u32, big-endian) | the key behind its URLs for others (RFC 4467 §2.2), 32 bytes |
//! | `i` name | an import's bookmark: the position after the last message taken from it |

use base::{ChangeNumber, MailboxId, Secret, Uid, UidValidity};

use crate::limits::BOOKMARK_NAME_BYTES_MAX;
use crate::{MailboxName, SpecialUse, Status};

const VERSION: u8 = 1;

/// Key of the account record.
pub(crate) const ACCOUNT: &[u8] = b"a";
/// Key of the keyword table.
pub(crate) const KEYWORDS: &[u8] = b"k";
/// Prefix of the mailbox records.
pub(crate) const MAILBOXES: &[u8] = b"m";
/// Prefix of the subscriptions.
pub(crate) const SUBSCRIPTIONS: &[u8] = b"s";

/// Key of a renaming of INBOX that is under way.
pub(crate) const INBOX_RENAME: &[u8] = b"r";
/// The first mailbox an account is given: its INBOX.
pub(crate) const FIRST_MAILBOX: MailboxId = MailboxId(1);

/// Key of a mailbox record.
pub(crate) fn mailbox_key(id: MailboxId) -> [u8; 5] {
    keyed(b'm', id)
}

/// Key of a mailbox's counters.
pub(crate) fn status_key(id: MailboxId) -> [u8; 5] {
    keyed(b'c', id)
}

/// Name of a mailbox's access key.
pub(crate) fn access_key(id: MailboxId) -> [u8; 5] {
    keyed(b'u', id)
}

/// Key of a subscription.
pub(crate) fn subscription_key(name: &MailboxName) -> Vec<u8> {
    [SUBSCRIPTIONS, name.as_str().as_bytes()].concat()
}

/// Key of an import's bookmark; a long name is cut to the store's bound, its end being what differs.
pub(crate) fn bookmark_key(name: &str) -> Vec<u8> {
    let start = name.len().saturating_sub(BOOKMARK_NAME_BYTES_MAX);
    [b"i", name.as_bytes().get(start..).unwrap_or_default()].concat()
}

/// The mailbox that a key of prefix `m` or `c` is about.
pub(crate) fn mailbox_of_key(key: &[u8]) -> Option<MailboxId> {
    Some(MailboxId(u32::from_be_bytes(key.get(1..)?.try_into().ok()?)))
}

/// The value under [`INBOX_RENAME`].
pub(crate) fn encode_mailbox(id: MailboxId) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend(id.0.to_le_bytes());
    out
}

/// The mailbox in a value under [`INBOX_RENAME`].
pub(crate) fn decode_mailbox(bytes: &[u8]) -> Option<MailboxId> {
    Reader::new(bytes)?.u32().map(MailboxId)
}

/// The value of an access key.
pub(crate) fn encode_access_key(key: &Secret<[u8; 32]>) -> Vec<u8> {
    let mut out = vec![VERSION];
    out.extend(key.reveal());
    out
}

/// The access key in its value.
pub(crate) fn decode_access_key(bytes: &[u8]) -> Option<Secret<[u8; 32]>> {
    Reader::new(bytes)?.rest.try_into().ok().map(Secret::new)
}

fn keyed(kind: u8, id: MailboxId) -> [u8; 5] {
    let [a, b, c, d] = id.0.to_be_bytes();
    [kind, a, b, c, d]
}

/// What the account as a whole counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub(crate) struct AccountRecord {
    pub(crate) next_mailbox: u32,
    pub(crate) last_uid_validity: u32,
    pub(crate) next_message: u64,
    pub(crate) used_bytes: u64,
    pub(crate) messages: u64,
}

impl AccountRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend(self.next_mailbox.to_le_bytes());
        out.extend(self.last_uid_validity.to_le_bytes());
        out.extend(self.next_message.to_le_bytes());
        out.extend(self.used_bytes.to_le_bytes());
        out.extend(self.messages.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes)?;
        Some(Self {
            next_mailbox: reader.u32()?,
            last_uid_validity: reader.u32()?,
            next_message: reader.u64()?,
            used_bytes: reader.u64()?,
            messages: reader.u64()?,
        })
    }
}

/// What a mailbox is, without its counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MailboxRecord {
    pub(crate) uid_validity: UidValidity,
    pub(crate) special_use: Option<SpecialUse>,
    pub(crate) name: MailboxName,
}

impl MailboxRecord {
    pub(crate) fn encode(&self) -> Vec<u8> {
        let special = SpecialUse::NAMED.iter().position(|(use_, _)| Some(*use_) == self.special_use);
        let mut out = vec![VERSION];
        out.extend(self.uid_validity.0.to_le_bytes());
        out.push(special.map_or(0, |at| at as u8 + 1));
        out.extend(self.name.as_str().as_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes)?;
        let uid_validity = UidValidity(reader.u32()?);
        let special = reader.u8()?;
        let special_use = SpecialUse::NAMED.get((special as usize).wrapping_sub(1)).map(|(use_, _)| *use_);
        let name = MailboxName::new(core::str::from_utf8(reader.rest).ok()?).ok()?;
        Some(Self { uid_validity, special_use, name })
    }
}

impl Status {
    /// The counters of a mailbox that has just been made. HIGHESTMODSEQ is 1, for RFC 7162 §3.1.2.1
    /// wants a positive number.
    pub(crate) const NEW: Self = Self {
        uid_next: Uid(1),
        exists: 0,
        unseen: 0,
        deleted: 0,
        bytes: 0,
        highest_change: ChangeNumber(1),
        unseen_from: Uid(1),
    };

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        for part in [self.uid_next.0, self.exists, self.unseen, self.deleted] {
            out.extend(part.to_le_bytes());
        }
        out.extend(self.bytes.to_le_bytes());
        out.extend(self.highest_change.0.to_le_bytes());
        out.extend(self.unseen_from.0.to_le_bytes());
        out
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes)?;
        Some(Self {
            uid_next: Uid(reader.u32()?),
            exists: reader.u32()?,
            unseen: reader.u32()?,
            deleted: reader.u32()?,
            bytes: reader.u64()?,
            highest_change: ChangeNumber(reader.u64()?),
            // Counters written before there was this one end here; it is a bound, and 1 is always true.
            unseen_from: Uid(reader.u32().unwrap_or(1)),
        })
    }
}

/// The keyword table's bytes.
pub(crate) fn encode_keywords(names: &[String]) -> Vec<u8> {
    let mut out = vec![VERSION];
    for name in names {
        out.extend(name.as_bytes());
        out.push(0);
    }
    out
}

/// The names in a keyword table, in the order of their bits.
pub(crate) fn decode_keywords(bytes: &[u8]) -> Vec<String> {
    let Some(reader) = Reader::new(bytes) else { return Vec::new() };
    let names = reader.rest.split(|&byte| byte == 0).filter(|name| !name.is_empty());
    names.map(|name| String::from_utf8_lossy(name).into_owned()).collect()
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(bytes: &'a [u8]) -> Option<Self> {
        let (version, rest) = bytes.split_first()?;
        (*version == VERSION).then_some(Self { rest })
    }

    fn u8(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    fn u32(&mut self) -> Option<u32> {
        let (first, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u32::from_le_bytes(*first))
    }

    fn u64(&mut self) -> Option<u64> {
        let (first, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(u64::from_le_bytes(*first))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_come_back_as_they_went_in() {
        let account = AccountRecord {
            next_mailbox: 7,
            last_uid_validity: 9,
            next_message: 11,
            used_bytes: 13,
            messages: 2,
        };
        assert_eq!(AccountRecord::decode(&account.encode()), Some(account));
        let mailbox = MailboxRecord {
            uid_validity: UidValidity(5),
            special_use: Some(SpecialUse::Trash),
            name: MailboxName::new("Entwürfe").expect("valid"),
        };
        assert_eq!(MailboxRecord::decode(&mailbox.encode()), Some(mailbox));
        let status = Status {
            uid_next: Uid(3),
            exists: 2,
            unseen: 1,
            bytes: 1 << 40,
            unseen_from: Uid(2),
            ..Status::NEW
        };
        assert_eq!(Status::decode(&status.encode()), Some(status));
        let old = &status.encode()[..status.encode().len() - 4];
        assert_eq!(Status::decode(old), Some(Status { unseen_from: Uid(1), ..status }));
        let names = vec!["$Forwarded".to_owned(), "work".to_owned()];
        assert_eq!(decode_keywords(&encode_keywords(&names)), names);
        let key = Secret::new([9; 32]);
        assert_eq!(decode_access_key(&encode_access_key(&key)), Some(key));
        assert_eq!(decode_access_key(&[1; 32]), None);
        assert_eq!(Status::decode(&[2, 0, 0]), None);
    }
}
