//! The maildrop: INBOX as it was at login, with the marks of this session (RFC 1939 §5).

use base::{MailboxId, Ranges, Uid, UidValidity};

/// A snapshot of INBOX. Messages that come later are not in it; their numbers stay what they are
/// though others be removed meanwhile, by IMAP say: such a message can be listed or read no more,
/// and STAT counts it till the session ends. Sizes stay in the index, so this is small whatever
/// the mailbox holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Maildrop {
    mailbox: MailboxId,
    uid_validity: UidValidity,
    uids: Ranges,
    bytes: u64,
    marked: Ranges,
    marked_bytes: u64,
}

impl Maildrop {
    /// A mailbox with nothing in it yet.
    pub const fn new(mailbox: MailboxId, uid_validity: UidValidity) -> Self {
        Self { mailbox, uid_validity, uids: Ranges::new(), bytes: 0, marked: Ranges::new(), marked_bytes: 0 }
    }

    /// Adds a message of `size` bytes.
    pub fn add(&mut self, uid: Uid, size: u32) {
        self.uids.insert(uid.0);
        self.bytes += u64::from(size);
    }

    /// Marks a message of `size` bytes as deleted.
    pub fn mark(&mut self, uid: Uid, size: u32) {
        if self.uids.contains(uid.0) && !self.marked.contains(uid.0) {
            self.marked.insert(uid.0);
            self.marked_bytes += u64::from(size);
        }
    }

    /// Takes all marks back (RFC 1939 §5, RSET).
    pub fn unmark_all(&mut self) {
        self.marked = Ranges::new();
        self.marked_bytes = 0;
    }

    /// The mailbox behind it.
    pub const fn mailbox(&self) -> MailboxId {
        self.mailbox
    }

    /// The messages to be removed.
    pub const fn marked(&self) -> &Ranges {
        &self.marked
    }

    /// How many messages there are that are not marked.
    pub fn count(&self) -> usize {
        self.uids.len() - self.marked.len()
    }

    /// How many bytes those have.
    pub const fn bytes(&self) -> u64 {
        self.bytes - self.marked_bytes
    }

    /// The message of that number, from 1, unless it is marked.
    pub fn uid(&self, number: u32) -> Option<Uid> {
        self.uids.nth(number).filter(|uid| !self.marked.contains(*uid)).map(Uid)
    }

    /// A message's number, from 1.
    pub fn number(&self, uid: Uid) -> u32 {
        self.uids.rank(uid.0)
    }

    /// The messages that are not marked, with their numbers, ascending.
    pub fn numbered(&self) -> impl Iterator<Item = (u32, Uid)> + '_ {
        let all = (1..).zip(self.uids.iter());
        all.filter(|(_, uid)| !self.marked.contains(*uid)).map(|(number, uid)| (number, Uid(uid)))
    }

    /// The mailbox's incarnation: with the UID, the name of a message for ever (RFC 1939 §7, UIDL).
    pub const fn uid_validity(&self) -> UidValidity {
        self.uid_validity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_take_messages_out_and_numbers_stay() {
        let mut drop = Maildrop::new(MailboxId(1), UidValidity(9));
        for uid in [3, 4, 9] {
            drop.add(Uid(uid), uid * 10);
        }
        drop.mark(Uid(4), 40);
        drop.mark(Uid(4), 40);
        drop.mark(Uid(5), 50);
        assert_eq!((drop.count(), drop.bytes()), (2, 120));
        assert_eq!((drop.uid(1), drop.uid(2), drop.uid(3)), (Some(Uid(3)), None, Some(Uid(9))));
        assert_eq!((drop.uid(0), drop.uid(4), drop.uid(u32::MAX)), (None, None, None));
        assert_eq!(drop.numbered().collect::<Vec<_>>(), [(1, Uid(3)), (3, Uid(9))]);
        drop.unmark_all();
        assert_eq!((drop.count(), drop.bytes(), drop.number(Uid(9))), (3, 160, 3));
    }
}
