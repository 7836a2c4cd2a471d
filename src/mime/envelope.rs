//! The envelope: the fields of a header that IMAP shows in one (RFC 9051 §7.5.2).

use alloc::vec::Vec;

use crate::address::{Address, addresses};
use crate::header::{Headers, clean};
use crate::limits::ADDRESSES_MAX;

/// What ENVELOPE shows. Strings are unfolded and otherwise as they stand: encoded-words are kept.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Envelope {
    /// Date.
    pub date: Option<Vec<u8>>,
    /// Subject.
    pub subject: Option<Vec<u8>>,
    /// From.
    pub from: Vec<Address>,
    /// Sender, as it stands; see [`Envelope::sender_or_from`].
    pub sender: Vec<Address>,
    /// Reply-To, as it stands; see [`Envelope::reply_to_or_from`].
    pub reply_to: Vec<Address>,
    /// To.
    pub to: Vec<Address>,
    /// Cc.
    pub cc: Vec<Address>,
    /// Bcc.
    pub bcc: Vec<Address>,
    /// In-Reply-To.
    pub in_reply_to: Option<Vec<u8>>,
    /// Message-ID.
    pub message_id: Option<Vec<u8>>,
}

impl Envelope {
    /// What ENVELOPE shows as sender: From when Sender is absent or empty (RFC 9051 §7.5.2).
    pub fn sender_or_from(&self) -> &[Address] {
        if self.sender.is_empty() { &self.from } else { &self.sender }
    }

    /// What ENVELOPE shows as reply-to: From when Reply-To is absent or empty (RFC 9051 §7.5.2).
    pub fn reply_to_or_from(&self) -> &[Address] {
        if self.reply_to.is_empty() { &self.from } else { &self.reply_to }
    }
}

/// Reads the envelope off a header. Address fields that stand several times count as one
/// (RFC 5322 §4.5.3); of other fields the first counts.
pub fn envelope(header: &[u8]) -> Envelope {
    let mut envelope = Envelope::default();
    for field in Headers::of(header) {
        if let Some(text) = text_slot(&mut envelope, field.name) {
            if text.is_none() {
                *text = Some(clean(field.value).into_owned());
            }
        } else if let Some(list) = address_slot(&mut envelope, field.name) {
            list.extend(addresses(field.value));
            list.truncate(ADDRESSES_MAX);
        }
    }
    envelope
}

fn text_slot<'a>(envelope: &'a mut Envelope, name: &[u8]) -> Option<&'a mut Option<Vec<u8>>> {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    match name.first()?.to_ascii_lowercase() {
        b'd' if is("date") => Some(&mut envelope.date),
        b's' if is("subject") => Some(&mut envelope.subject),
        b'i' if is("in-reply-to") => Some(&mut envelope.in_reply_to),
        b'm' if is("message-id") => Some(&mut envelope.message_id),
        _ => None,
    }
}

fn address_slot<'a>(envelope: &'a mut Envelope, name: &[u8]) -> Option<&'a mut Vec<Address>> {
    let is = |other: &str| name.eq_ignore_ascii_case(other.as_bytes());
    match name.first()?.to_ascii_lowercase() {
        b'f' if is("from") => Some(&mut envelope.from),
        b's' if is("sender") => Some(&mut envelope.sender),
        b'r' if is("reply-to") => Some(&mut envelope.reply_to),
        b't' if is("to") => Some(&mut envelope.to),
        b'c' if is("cc") => Some(&mut envelope.cc),
        b'b' if is("bcc") => Some(&mut envelope.bcc),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fields_are_read_and_defaults_are_offered() {
        let read = envelope(
            b"DATE: Mon, 7 Feb 1994\r\n 21:52:25 -0800\r\nSubject:  =?utf-8?q?x?=\r\nSubject: second\r\n\
              From: Terry <terry@example.org>\r\nTo: a@example.org\r\nTo: b@example.org\r\n\
              Message-ID: <1@x>\r\nReply-To:\r\nIn-Reply-To: <0@x> <00@x>\r\nBcc: \r\n\r\nCc: body@example.org\r\n",
        );
        assert_eq!(read.date.as_deref(), Some(&b"Mon, 7 Feb 1994 21:52:25 -0800"[..]));
        assert_eq!(read.subject.as_deref(), Some(&b"=?utf-8?q?x?="[..]));
        assert_eq!(read.message_id.as_deref(), Some(&b"<1@x>"[..]));
        assert_eq!(read.in_reply_to.as_deref(), Some(&b"<0@x> <00@x>"[..]));
        assert_eq!(read.to.len(), 2);
        assert_eq!((read.cc.len(), read.bcc.len(), read.sender.len()), (0, 0, 0));
        assert_eq!(read.sender_or_from(), read.from);
        assert_eq!(read.reply_to_or_from(), read.from);
    }
}
