//! Mailboxes as others see them.

use base::{ChangeNumber, MailboxId, Uid, UidValidity};

use crate::MailboxName;

/// A mailbox with its counters at the moment of asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mailbox {
    /// Never reused within the account.
    pub id: MailboxId,
    /// Its name now.
    pub name: MailboxName,
    /// RFC 9051 §2.3.1.1.
    pub uid_validity: UidValidity,
    /// What it is for, if anything special (RFC 6154 §2).
    pub special_use: Option<SpecialUse>,
    /// What it holds.
    pub status: Status,
}

/// A mailbox's counters, each kept up to date by every change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Status {
    /// The UID the next message gets (RFC 9051 §2.3.1.1); 0 when all UIDs are used up.
    pub uid_next: Uid,
    /// Messages.
    pub exists: u32,
    /// Messages without `\Seen`.
    pub unseen: u32,
    /// Messages with `\Deleted`.
    pub deleted: u32,
    /// Bytes of all messages (RFC 8438 SIZE).
    pub bytes: u64,
    /// The last change of any message in it (RFC 7162 HIGHESTMODSEQ); never 0, for 1 stands for
    /// "nothing has changed yet".
    pub highest_change: ChangeNumber,
    /// No message below this UID is without `\\Seen`; see [`crate::Account::first_unseen`].
    pub(crate) unseen_from: Uid,
}

impl Status {
    /// Moves the bound below which nothing is unseen, before `unseen` is counted: a message becomes unseen, or the
    /// one at the bound no longer is.
    pub(crate) fn count_unseen(&mut self, uid: Uid, is_more: bool) {
        if is_more && (self.unseen == 0 || uid < self.unseen_from) {
            self.unseen_from = uid;
        } else if !is_more && uid == self.unseen_from {
            self.unseen_from = uid.next().unwrap_or(uid);
        }
    }
}

/// What a mailbox is for (RFC 6154 §2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SpecialUse {
    /// `\Archive`
    Archive,
    /// `\Drafts`
    Drafts,
    /// `\Flagged`
    Flagged,
    /// `\Junk`
    Junk,
    /// `\Sent`
    Sent,
    /// `\Trash`
    Trash,
}

impl SpecialUse {
    /// Every use with the attribute LIST shows for it. The place is the number on disk, less one.
    pub const NAMED: [(Self, &'static str); 6] = [
        (Self::Archive, "\\Archive"),
        (Self::Drafts, "\\Drafts"),
        (Self::Flagged, "\\Flagged"),
        (Self::Junk, "\\Junk"),
        (Self::Sent, "\\Sent"),
        (Self::Trash, "\\Trash"),
    ];

    /// The attribute, e.g. `\Sent`.
    pub fn attribute(self) -> &'static str {
        Self::NAMED.iter().find(|(use_, _)| *use_ == self).map_or("", |(_, name)| name)
    }

    /// The use with that attribute, compared without regard to case.
    pub fn from_attribute(attribute: &str) -> Option<Self> {
        Self::NAMED.iter().find(|(_, name)| name.eq_ignore_ascii_case(attribute)).map(|(use_, _)| *use_)
    }

    /// The mailboxes a new account gets beside INBOX.
    pub const PROVISIONED: [(Self, &'static str); 5] = [
        (Self::Drafts, "Drafts"),
        (Self::Sent, "Sent"),
        (Self::Junk, "Junk"),
        (Self::Trash, "Trash"),
        (Self::Archive, "Archive"),
    ];
}
