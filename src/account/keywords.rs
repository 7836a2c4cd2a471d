//! The account's table of keyword names (RFC 9051 §2.3.2): a name's place in it is its bit in a message's
//! row. When the table is full, a new name takes the place of one that no message has.

use base::ChangeNumber;
use storage_engine::Transaction;

use crate::limits::{KEYWORD_BYTES_MAX, KEYWORDS_MAX};
use crate::{Account, Error, FlagMode, Keywords, record};

/// The table while a transaction is built; read when the first name is asked for.
#[derive(Default)]
pub(crate) struct KeywordTable {
    names: Vec<String>,
    is_read: bool,
    is_changed: bool,
    /// Bits that no message has, once they were looked for.
    unused: Option<u64>,
    /// Bits that this transaction gives to messages.
    given: u64,
}

impl KeywordTable {
    /// The bits of keyword names, and whether there was room for all of them. New names enter the
    /// table, except to be removed.
    pub(crate) fn bits(
        &mut self,
        account: &Account,
        transaction: &mut Transaction,
        names: &[String],
        mode: FlagMode,
    ) -> (Keywords, bool) {
        let (mut bits, mut has_room) = (0, true);
        if !self.is_read && !names.is_empty() {
            let table = transaction.value(account.id.0, record::KEYWORDS);
            self.names = table.map(|bytes| record::decode_keywords(&bytes)).unwrap_or_default();
            self.is_read = true;
        }
        for name in names {
            let known = self.names.iter().position(|have| have.eq_ignore_ascii_case(name));
            let place = match known {
                None if mode == FlagMode::Remove => continue,
                None => self.enter(account, transaction, name),
                known => known,
            };
            match place {
                Some(at) => bits |= 1 << at,
                None => has_room = false,
            }
            self.given |= bits;
        }
        (Keywords(bits), has_room)
    }

    /// Puts the table into the transaction, if it has changed.
    pub(crate) fn write(&self, account: &Account, transaction: &mut Transaction) {
        if self.is_changed {
            transaction.put_value(account.id.0, record::KEYWORDS, &record::encode_keywords(&self.names));
        }
    }

    fn enter(&mut self, account: &Account, transaction: &mut Transaction, name: &str) -> Option<usize> {
        if name.len() > KEYWORD_BYTES_MAX {
            return None;
        }
        let at = self.names.len();
        if at < KEYWORDS_MAX {
            self.names.push(name.to_owned());
            self.is_changed = true;
            return Some(at);
        }
        let unused = *self.unused.get_or_insert_with(|| account.unused_keywords(transaction));
        let at = (unused & !self.given).trailing_zeros() as usize;
        let place = self.names.get_mut(at)?;
        name.clone_into(place);
        self.is_changed = true;
        Some(at)
    }
}

impl Account {
    /// Before new names come into a full table: waits until what was proposed is applied, for only then
    /// can be seen which names messages have.
    pub(crate) async fn settle_keywords(&self, names: impl Iterator<Item = &String>) -> Result<(), Error> {
        let mut names = names.peekable();
        if names.peek().is_none() {
            return Ok(());
        }
        let table = self.keywords();
        let is_new = |name: &String| !table.iter().any(|have| have.eq_ignore_ascii_case(name));
        if table.len() >= KEYWORDS_MAX && names.any(is_new) {
            self.settled().await?;
        }
        Ok(())
    }

    /// The bits that no message of the account has; none while changes are on their way, which may be
    /// giving them to messages.
    fn unused_keywords(&self, transaction: &mut Transaction) -> u64 {
        if ChangeNumber(transaction.change(self.id.0) - 1) != self.highest_change() {
            return 0;
        }
        let mut used = 0;
        for (key, _) in self.values(record::MAILBOXES) {
            let Some(mailbox) = record::mailbox_of_key(&key) else { continue };
            self.for_each(mailbox, |message| used |= message.keywords.0);
            if used == u64::MAX {
                break;
            }
        }
        !used
    }
}
