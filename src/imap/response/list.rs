//! LIST, LSUB and STATUS responses (RFC 9051 §7.3.1, §7.3.4; RFC 3501 §7.2.3).

use alloc::vec::Vec;

use account::Mailbox;
use base::MailboxId;

use super::text::write_number;
use crate::command::StatusItems;
use crate::names;

/// One line of LIST or LSUB.
pub(crate) struct ListLine<'a> {
    pub(crate) is_lsub: bool,
    pub(crate) attributes: &'a [&'static str],
    pub(crate) name: &'a str,
    pub(crate) is_utf8: bool,
    /// CHILDINFO (RFC 5258 §4): the selection options that something below meets.
    pub(crate) child_info: &'a [&'static str],
}

impl ListLine<'_> {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.is_lsub { b"* LSUB (" } else { b"* LIST (" });
        for (index, attribute) in self.attributes.iter().enumerate() {
            if index > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(attribute.as_bytes());
        }
        out.extend_from_slice(b") \"/\" ");
        names::write(out, self.name, self.is_utf8);
        if !self.child_info.is_empty() {
            out.extend_from_slice(b" (CHILDINFO (");
            for (index, option) in self.child_info.iter().enumerate() {
                if index > 0 {
                    out.push(b' ');
                }
                out.push(b'"');
                out.extend_from_slice(option.as_bytes());
                out.push(b'"');
            }
            out.extend_from_slice(b"))");
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// `* STATUS name (…)`
pub(crate) fn write_status(
    out: &mut Vec<u8>,
    mailbox: &Mailbox,
    items: StatusItems,
    is_utf8: bool,
    append_bytes_max: u64,
) {
    out.extend_from_slice(b"* STATUS ");
    names::write(out, mailbox.name.as_str(), is_utf8);
    out.extend_from_slice(b" (");
    let start = out.len();
    let status = &mailbox.status;
    for (item, name) in StatusItems::NAMED {
        if !items.has(item) {
            continue;
        }
        if out.len() > start {
            out.push(b' ');
        }
        let value = match item {
            StatusItems::MESSAGES => u64::from(status.exists),
            StatusItems::UIDNEXT => u64::from(uid_next(mailbox)),
            StatusItems::UIDVALIDITY => u64::from(mailbox.uid_validity.0),
            StatusItems::UNSEEN => u64::from(status.unseen),
            StatusItems::DELETED => u64::from(status.deleted),
            StatusItems::SIZE => status.bytes,
            StatusItems::HIGHESTMODSEQ => status.highest_change.0,
            StatusItems::APPENDLIMIT => append_bytes_max,
            StatusItems::MAILBOXID => {
                write_mailbox_id(out, mailbox.id);
                continue;
            }
            // Nothing is ever recent (RFC 9051, appendix E, did away with it).
            _ => 0,
        };
        out.extend_from_slice(name.as_bytes());
        out.push(b' ');
        write_number(out, value);
    }
    out.extend_from_slice(b")\r\n");
}

/// UIDNEXT; the greatest number there is for a mailbox that has used up its UIDs.
pub(crate) const fn uid_next(mailbox: &Mailbox) -> u32 {
    match mailbox.status.uid_next.0 {
        0 => u32::MAX,
        next => next,
    }
}

/// `MAILBOXID (F12)` (RFC 8474 §4)
pub(crate) fn write_mailbox_id(out: &mut Vec<u8>, id: MailboxId) {
    out.extend_from_slice(b"MAILBOXID (F");
    write_number(out, u64::from(id.0));
    out.push(b')');
}
