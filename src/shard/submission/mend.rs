//! What a submission server mends in a message (RFC 6409 §8): it is the first system that sees it, and what it lacks
//! nobody later can know.

use std::ops::Range;

use base::Timestamp;
use mime::{Headers, field, rfc5322_date};

/// What is needed to make up for what may be lacking. `unique` has not been used before.
pub(super) struct Lacks<'a> {
    pub(super) hostname: &'a str,
    pub(super) unique: u64,
    pub(super) now: Timestamp,
}

/// What is put into a message and taken out of it. Places are those of its own header.
#[derive(Debug, Default)]
pub(super) struct Mending {
    added: String,
    /// What nobody is to see.
    removed: Vec<Range<usize>>,
    /// What nobody else is to see.
    private: Vec<Range<usize>>,
}

impl Mending {
    /// Date and Message-ID where there are none. Bcc is for nobody else (RFC 5322 §3.6.3), Return-Path is the last
    /// server's (RFC 5321 §4.4).
    pub(super) fn of(header: &[u8], lacks: &Lacks<'_>) -> Self {
        let Lacks { hostname, unique, now } = *lacks;
        let mut mending = Self::default();
        if field(header, "Date").is_none() {
            mending.add(&format!("Date: {}\r\n", rfc5322_date(now, 0)));
        }
        if field(header, "Message-ID").is_none() {
            mending.add(&format!("Message-ID: <{:x}.{unique:016x}@{hostname}>\r\n", now.as_ms()));
        }
        for field in Headers::of(header) {
            if field.is("Return-Path") {
                mending.removed.push(field.range);
            } else if field.is("Bcc") || field.is("Resent-Bcc") {
                mending.private.push(field.range);
            }
        }
        mending
    }

    /// One field more, with its line end.
    pub(super) fn add(&mut self, field: &str) {
        self.added.push_str(field);
    }

    /// One field less.
    pub(super) fn remove(&mut self, field: Range<usize>) {
        self.removed.push(field);
    }

    /// The message as it goes out: what is added stands behind our own field, which has so many bytes. Nothing is
    /// copied when nothing is to be done.
    pub(super) fn sent(&self, data: Vec<u8>, received_bytes: usize) -> Vec<u8> {
        let (front, own) = data.split_at_checked(received_bytes).unwrap_or((&data, &[]));
        let gone: Vec<_> = self.removed.iter().chain(&self.private).cloned().collect();
        if self.added.is_empty() && gone.is_empty() {
            return data;
        }
        let mut out = Vec::with_capacity(data.len() + self.added.len());
        out.extend_from_slice(front);
        self.write(own, gone, &mut out);
        out
    }

    /// The message as its author knows it: without what only servers write, with whom it went to in secret.
    pub(super) fn kept(&self, data: &[u8], received_bytes: usize) -> Vec<u8> {
        let own = data.get(received_bytes..).unwrap_or_default();
        let mut out = Vec::with_capacity(own.len() + self.added.len());
        self.write(own, self.removed.clone(), &mut out);
        out
    }

    fn write(&self, own: &[u8], mut gone: Vec<Range<usize>>, out: &mut Vec<u8>) {
        out.extend_from_slice(self.added.as_bytes());
        gone.sort_by_key(|range| range.start);
        let mut from = 0;
        for range in gone {
            out.extend_from_slice(&own[from..range.start]);
            from = range.end;
        }
        out.extend_from_slice(&own[from..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mime::end_of_headers;

    const NOW: Timestamp = Timestamp::from_s(1_795_500_000);
    const RECEIVED: &str = "Received: by us\r\n";

    fn mending(message: &str) -> Mending {
        let header = &message.as_bytes()[..end_of_headers(message.as_bytes())];
        Mending::of(header, &Lacks { hostname: "mx.example.org", unique: 7, now: NOW })
    }

    fn mended(message: &str) -> String {
        let data = format!("{RECEIVED}{message}").into_bytes();
        String::from_utf8(mending(message).sent(data, RECEIVED.len())).expect("it was text")
    }

    fn kept(message: &str) -> String {
        let data = format!("{RECEIVED}{message}").into_bytes();
        String::from_utf8(mending(message).kept(&data, RECEIVED.len())).expect("it was text")
    }

    #[test]
    fn what_lacks_is_added_behind_our_own_field() {
        let date = format!("Date: {}\r\n", rfc5322_date(NOW, 0));
        let id = "Message-ID: <1a20b3c0700.0000000000000007@mx.example.org>\r\n";
        let id = id.replace("1a20b3c0700", &format!("{:x}", NOW.as_ms()));
        assert_eq!(
            mended("Subject: x\r\n\r\nDate: y\r\n"),
            format!("Received: by us\r\n{date}{id}Subject: x\r\n\r\nDate: y\r\n")
        );
        assert_eq!(mended("\r\nbody\r\n"), format!("Received: by us\r\n{date}{id}\r\nbody\r\n"));
        assert_eq!(
            mended("date: d\r\nX: y\r\n\r\n"),
            format!("Received: by us\r\n{id}date: d\r\nX: y\r\n\r\n")
        );
        assert_eq!(kept("date: d\r\nX: y\r\n\r\n"), format!("{id}date: d\r\nX: y\r\n\r\n"));
    }

    #[test]
    fn what_is_for_nobody_else_is_taken_out_and_kept_for_the_author() {
        let whole = "Date: d\r\nBcc: a@x,\r\n b@y\r\nMessage-ID: <m>\r\nbcc: c@z\r\nReturn-Path: <r>\r\nResent-Bcc: d\r\nTo: t\r\n\r\nBcc: stays\r\n";
        let left = "Received: by us\r\nDate: d\r\nMessage-ID: <m>\r\nTo: t\r\n\r\nBcc: stays\r\n";
        assert_eq!(mended(whole), left);
        assert_eq!(kept(whole), whole.replace("Return-Path: <r>\r\n", ""));
    }

    #[test]
    fn a_field_that_another_takes_the_place_of_is_gone() {
        let whole =
            "Date: d\r\nMessage-ID: <m>\r\nBcc: b\r\nSender: eve\r\nSender: fay\r\nReturn-Path: r\r\n\r\n";
        let mut mending = mending(whole);
        let fields = Headers::of(whole.as_bytes()).filter(|field| field.is("Sender"));
        fields.for_each(|field| mending.remove(field.range));
        mending.add("Sender: ann\r\n");
        let kept = String::from_utf8(mending.kept(whole.as_bytes(), 0)).expect("it was text");
        assert_eq!(kept, "Sender: ann\r\nDate: d\r\nMessage-ID: <m>\r\nBcc: b\r\n\r\n");
        let sent = String::from_utf8(mending.sent(whole.as_bytes().to_vec(), 0)).expect("it was text");
        assert_eq!(sent, "Sender: ann\r\nDate: d\r\nMessage-ID: <m>\r\n\r\n");
    }

    #[test]
    fn a_message_that_has_all_is_not_touched() {
        let whole = "Date: d\r\nMessage-ID: <m>\r\n\r\nbody\r\n";
        assert_eq!(mended(whole), format!("Received: by us\r\n{whole}"));
        assert_eq!(kept(whole), whole);
    }
}
