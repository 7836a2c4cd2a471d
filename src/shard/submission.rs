//! What a submission server mends in a message (RFC 6409 §8): it is the first system that sees it, and what it lacks
//! nobody later can know.

use base::Timestamp;
use mime::{Headers, end_of_headers, field, rfc5322_date};

/// Adds Date and Message-ID where there are none, and takes out what is for nobody else: Bcc (RFC 5322 §3.6.3) and
/// Return-Path, which is the last server's (RFC 5321 §4.4). `received_bytes` is the length of our own field in front;
/// `unique` has not been used before. Nothing is copied when nothing is to be done.
pub(crate) fn mend(
    data: Vec<u8>,
    received_bytes: usize,
    hostname: &str,
    unique: u64,
    now: Timestamp,
) -> Vec<u8> {
    let Some(own) = data.get(received_bytes..) else { return data };
    let header = own.get(..end_of_headers(own)).unwrap_or(own);
    let mut added = String::new();
    if field(header, "Date").is_none() {
        added = format!("Date: {}\r\n", rfc5322_date(now, 0));
    }
    if field(header, "Message-ID").is_none() {
        added = format!("{added}Message-ID: <{:x}.{unique:016x}@{hostname}>\r\n", now.as_ms());
    }
    let is_private = |field: &mime::Header<'_>| ["Bcc", "Return-Path"].iter().any(|name| field.is(name));
    let private: Vec<_> = Headers::of(header).filter(is_private).map(|field| field.range).collect();
    if added.is_empty() && private.is_empty() {
        return data;
    }
    let mut out = Vec::with_capacity(data.len() + added.len());
    out.extend_from_slice(&data[..received_bytes]);
    out.extend_from_slice(added.as_bytes());
    let mut from = 0;
    for range in private {
        out.extend_from_slice(&own[from..range.start]);
        from = range.end;
    }
    out.extend_from_slice(&own[from..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_s(1_795_500_000);

    fn mended(message: &str) -> String {
        let received = "Received: by us\r\n";
        let data = format!("{received}{message}").into_bytes();
        String::from_utf8(mend(data, received.len(), "mx.example.org", 7, NOW)).expect("it was text")
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
    }

    #[test]
    fn what_is_for_nobody_else_is_taken_out() {
        let whole = "Date: d\r\nBcc: a@x,\r\n b@y\r\nMessage-ID: <m>\r\nbcc: c@z\r\nReturn-Path: <r>\r\nTo: t\r\n\r\nBcc: stays\r\n";
        let left = "Received: by us\r\nDate: d\r\nMessage-ID: <m>\r\nTo: t\r\n\r\nBcc: stays\r\n";
        assert_eq!(mended(whole), left);
    }

    #[test]
    fn a_message_that_has_all_is_not_touched() {
        let whole = "Date: d\r\nMessage-ID: <m>\r\n\r\nbody\r\n";
        assert_eq!(mended(whole), format!("Received: by us\r\n{whole}"));
    }
}
