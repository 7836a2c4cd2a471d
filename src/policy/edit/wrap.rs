//! Messages around messages: the wrapped disclaimer, and journal reports.

use std::fmt::Write as _;

use base::Timestamp;
use mime::{Headers, decode_words, encode_word, field, fold, rfc5322_date};

use super::encode::quoted_printable;

/// A message with the fields of this one and `text` as its text, to which this one is attached as it is.
/// `seed` makes the boundary.
pub fn wrap(message: &[u8], text: &str, seed: u64) -> Vec<u8> {
    let mut header = Vec::new();
    for field in Headers::of(message).filter(|field| !field.name.is_empty()) {
        let is_of_mime = field.is("MIME-Version")
            || field.name.get(..8).is_some_and(|start| start.eq_ignore_ascii_case(b"Content-"));
        if let Some(line) = message.get(field.range).filter(|_| !is_of_mime) {
            header.extend_from_slice(line);
            if !line.ends_with(b"\n") {
                header.extend(b"\r\n");
            }
        }
    }
    around(header, text, message, seed)
}

/// A header without fields of MIME, made a message of text and one attached message.
fn around(mut header: Vec<u8>, text: &str, message: &[u8], seed: u64) -> Vec<u8> {
    let boundary = boundary(message, seed);
    let encoding = if message.is_ascii() { "7bit" } else { "8bit" };
    header.extend(b"MIME-Version: 1.0\r\n");
    header.extend(fold("Content-Type", &format!("multipart/mixed; boundary=\"{boundary}\"")).into_bytes());
    let mut out = header;
    out.extend(format!("\r\n--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n").into_bytes());
    out.extend(quoted_printable(text.as_bytes()));
    out.extend(format!("\r\n--{boundary}\r\nContent-Type: message/rfc822\r\nContent-Transfer-Encoding: {encoding}\r\nContent-Disposition: attachment\r\n\r\n").into_bytes());
    out.extend_from_slice(message);
    out.extend(format!("\r\n--{boundary}--\r\n").into_bytes());
    out
}

/// A boundary that is not in the message.
fn boundary(message: &[u8], seed: u64) -> String {
    (0..=u64::MAX)
        .map(|more| format!("=_{:016x}", seed.wrapping_add(more)))
        .find(|boundary| memchr::memmem::find(message, boundary.as_bytes()).is_none())
        .expect("a message is shorter than all boundaries together")
}

/// How a recipient was addressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecipientKind {
    /// In To.
    To,
    /// In Cc.
    Cc,
    /// In neither: the message's header does not tell.
    Bcc,
}

/// A recipient in a journal report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JournalRecipient {
    /// Its address.
    pub address: String,
    /// How it was addressed.
    pub kind: RecipientKind,
    /// The list or alias that it came from.
    pub expanded_from: Option<String>,
}

/// What a journal report tells of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Journal<'a> {
    /// The reverse path; empty for `<>`.
    pub sender: &'a str,
    /// Who sent it on behalf of the sender.
    pub on_behalf_of: Option<&'a str>,
    /// Everybody it went to.
    pub recipients: &'a [JournalRecipient],
    /// Who the report is from.
    pub from: &'a str,
    /// The journal's mailbox.
    pub to: &'a str,
    /// When it is written.
    pub now: Timestamp,
    /// The left part of the report's Message-ID and the seed of its boundary: by chance.
    pub seed: u64,
}

/// A journal report: the envelope in lines of text, as Exchange writes them, and the message as it was.
pub fn journal_report(journal: &Journal<'_>, message: &[u8]) -> Vec<u8> {
    let of = |name: &str| field(message, name).map(|field| decode_words(field.value).trim().to_owned());
    let subject = of("Subject").unwrap_or_default();
    let mut text = format!("Sender: {}\r\n", journal.sender);
    if let Some(other) = journal.on_behalf_of {
        let _infallible = write!(text, "On-Behalf-Of: {other}\r\n");
    }
    let plain = |text: &str| text.replace(['\r', '\n'], " ");
    let _infallible = write!(text, "Subject: {}\r\n", plain(&subject));
    let _infallible = write!(text, "Message-Id: {}\r\n", plain(&of("Message-ID").unwrap_or_default()));
    for recipient in journal.recipients {
        let word = match recipient.kind {
            RecipientKind::To => "To",
            RecipientKind::Cc => "Cc",
            RecipientKind::Bcc => "Bcc",
        };
        let expanded =
            recipient.expanded_from.as_ref().map(|from| format!(", Expanded: {from}")).unwrap_or_default();
        let _infallible = write!(text, "{word}: {}{expanded}\r\n", recipient.address);
    }
    let host = journal.from.rsplit_once('@').map_or("localhost", |(_, host)| host);
    let header = [
        fold("From", journal.from),
        fold("To", journal.to),
        fold("Subject", &encode_word(&plain(&subject))),
        fold("Date", &rfc5322_date(journal.now, 0)),
        fold("Message-ID", &format!("<journal.{:016x}@{host}>", journal.seed)),
        fold("Auto-Submitted", "auto-generated"),
        "X-MS-Journal-Report:\r\n".to_owned(),
    ];
    around(header.concat().into_bytes(), &text, message, journal.seed)
}
