//! Asking moderators: the message that asks, the addresses by which they decide, and the answer.
//!
//! ```text
//! moderation+approve.0123456789abcdef.0123456789abcdef0123@mail.example.org
//! ```
//!
//! The local part names the message and ends with a keyed hash over it, so nobody who was not asked can name one.

use aws_lc_rs::{constant_time, hmac};
use base::{Secret, Timestamp};
use mime::{encode_word, is_line_safe, quoted_printable, rfc5322_date};

use crate::compose::{Content, Part, Report, Reporter, returned_part};
use crate::fields::FieldForm;
use crate::limits::{MODERATED_LINE_BYTES_MAX, MODERATED_RECIPIENTS_MAX, TOKEN_HASH_CHARS};
use crate::write::{Letters, boundary, one_line, printable, put_field};

/// What a moderator decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// The message goes on.
    Approve,
    /// It does not.
    Reject,
}

impl Decision {
    const ALL: [Self; 2] = [Self::Approve, Self::Reject];

    const fn word(self) -> &'static str {
        match self {
            Self::Approve => "approve",
            Self::Reject => "reject",
        }
    }
}

/// The beginning of the local part of every address by which is decided.
const PREFIX: &str = "moderation+";

/// Makes addresses by which moderators decide, and reads them.
#[derive(Clone)]
pub struct Tokens(hmac::Key);

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tokens")
    }
}

impl Tokens {
    /// With a lasting secret of the server's.
    pub fn new(secret: &Secret<[u8; 32]>) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret.reveal()))
    }

    /// The address by which this is decided of the message with that id.
    pub fn address(&self, id: u64, decision: Decision, domain: &str) -> String {
        let word = decision.word();
        format!("{PREFIX}{word}.{id:016x}.{}@{domain}", self.hash(id, decision))
    }

    fn hash(&self, id: u64, decision: Decision) -> String {
        let text = format!("{}.{id:016x}", decision.word());
        let tag = hmac::sign(&self.0, text.as_bytes());
        let hex = tag.as_ref().iter().map(|byte| format!("{byte:02x}"));
        hex.collect::<String>().chars().take(TOKEN_HASH_CHARS).collect()
    }

    /// What an address decides, and of which message; `None` when it is not one that was made here. Case does not matter:
    /// it is lost on the way.
    pub fn read(&self, address: &str, domain: &str) -> Option<(u64, Decision)> {
        let address = address.to_ascii_lowercase();
        let (local, of) = address.rsplit_once('@')?;
        let rest = local.strip_prefix(PREFIX).filter(|_| of.eq_ignore_ascii_case(domain))?;
        let (word, rest) = rest.split_once('.')?;
        let decision = Decision::ALL.into_iter().find(|decision| decision.word() == word)?;
        let (id, hash) = rest.split_once('.')?;
        let id = u64::from_str_radix(id, 16).ok().filter(|_| id.len() == 16)?;
        let is_ours =
            constant_time::verify_slices_are_equal(self.hash(id, decision).as_bytes(), hash.as_bytes());
        is_ours.is_ok().then_some((id, decision))
    }
}

/// What a moderator is asked.
#[derive(Clone, Copy, Debug)]
pub struct Asked<'a> {
    /// Who is asked.
    pub to: &'a str,
    /// The sender of the message, `None` for the null path.
    pub sender: Option<&'a str>,
    /// Its recipients.
    pub recipients: &'a [&'a str],
    /// Its subject, decoded.
    pub subject: &'a str,
    /// Until when there is time.
    pub until: Timestamp,
    /// All of it.
    pub content: &'a [u8],
    /// The address that approves it.
    pub approve: &'a str,
    /// The address that rejects it.
    pub reject: &'a str,
}

/// The message that asks: who writes to whom about what, how to decide, and the message itself.
pub fn ask(asked: &Asked<'_>, reporter: &Reporter<'_>) -> Report {
    let line = |text: &str| one_line(text, MODERATED_LINE_BYTES_MAX);
    let mut to: Vec<String> =
        asked.recipients.iter().take(MODERATED_RECIPIENTS_MAX).map(|to| line(to)).collect();
    let more = asked.recipients.len().saturating_sub(MODERATED_RECIPIENTS_MAX);
    if more > 0 {
        to.push(format!("and {more} more"));
    }
    let text = format!(
        "A message waits until you, or another moderator, decide about it.\r\n\r\n\
         From:     {}\r\nTo:       {}\r\nSubject:  {}\r\n\r\n\
         To let it go on, send a mail with any text to\r\n\r\n  <mailto:{}>\r\n\r\n\
         To reject it, to\r\n\r\n  <mailto:{}>\r\n\r\n\
         The mail must come from you: sent by way of this server with your login, or from a system whose\r\n\
         signature or sender policy proves your address. If nobody decides until {},\r\n\
         the message goes back to its sender. The message itself is attached.\r\n",
        asked.sender.map_or_else(|| "(nobody)".to_owned(), line),
        to.join("\r\n          "),
        line(asked.subject),
        asked.approve,
        asked.reject,
        rfc5322_date(asked.until, reporter.utc_offset_minutes),
    );
    let subject = format!("Approve? {}", line(asked.subject));
    let attached =
        returned_part(Content::Whole(asked.content), true, FieldForm::Ascii, reporter.returned_bytes_max);
    let parts: Vec<Part> = [text_part(&text)].into_iter().chain(attached).collect();
    let mut out = header(asked.to, &subject, "auto-generated", reporter);
    let bodies: Vec<&[u8]> = parts.iter().map(|part| part.body.as_slice()).collect();
    let boundary = boundary(reporter.message_id, &bodies);
    put_field(&mut out, "Content-Type", &format!("multipart/mixed; boundary=\"{boundary}\""));
    let is_8bit = parts.iter().any(|part| !part.body.is_ascii());
    if is_8bit {
        put_field(&mut out, "Content-Transfer-Encoding", "8bit");
    }
    out.extend_from_slice(b"\r\n");
    for part in &parts {
        out.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        out.extend_from_slice(&part.header);
        out.extend_from_slice(b"\r\n");
        out.extend_from_slice(&part.body);
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    finish(asked.to, out, is_8bit)
}

/// The answer to a moderator: what has become of the message.
pub fn answer(to: &str, subject: &str, what: &str, reporter: &Reporter<'_>) -> Report {
    let subject = one_line(subject, MODERATED_LINE_BYTES_MAX);
    let part = text_part(&format!("{}\r\n", one_line(what, MODERATED_LINE_BYTES_MAX)));
    let mut out = header(to, &format!("Re: {subject}"), "auto-replied", reporter);
    out.extend_from_slice(&part.header);
    out.extend_from_slice(b"\r\n");
    out.extend_from_slice(&part.body);
    finish(to, out, false)
}

fn finish(to: &str, message: Vec<u8>, is_8bit: bool) -> Report {
    let is_smtputf8 = !to.is_ascii();
    Report { is_8bit: is_8bit || is_smtputf8, is_smtputf8, message }
}

fn header(to: &str, subject: &str, automatic: &str, reporter: &Reporter<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(4096);
    let letters = if to.is_ascii() { Letters::Ascii } else { Letters::All };
    put_field(&mut out, "Date", &rfc5322_date(reporter.now, reporter.utc_offset_minutes));
    put_field(&mut out, "From", &format!("\"Moderation\" <{}>", printable(reporter.from, letters)));
    put_field(&mut out, "To", &format!("<{}>", printable(to, letters)));
    put_field(&mut out, "Subject", &encode_word(subject));
    put_field(&mut out, "Message-ID", &format!("<{}>", printable(reporter.message_id, Letters::Ascii)));
    // RFC 3834 §5, and what others look at: a vacation program is not to decide anything.
    put_field(&mut out, "Auto-Submitted", automatic);
    put_field(&mut out, "X-Auto-Response-Suppress", "All");
    put_field(&mut out, "MIME-Version", "1.0");
    out
}

fn text_part(text: &str) -> Part {
    let mut header = Vec::new();
    if text.is_ascii() && is_line_safe(text.as_bytes()) {
        put_field(&mut header, "Content-Type", "text/plain; charset=us-ascii");
        return Part { header, body: text.as_bytes().to_vec() };
    }
    put_field(&mut header, "Content-Type", "text/plain; charset=utf-8");
    put_field(&mut header, "Content-Transfer-Encoding", "quoted-printable");
    Part { header, body: quoted_printable(text.as_bytes()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Templates;

    const HOST: &str = "mail.example.org";

    #[test]
    fn an_address_names_a_message_and_cannot_be_made_up() {
        let tokens = Tokens::new(&Secret::new([7; 32]));
        for decision in Decision::ALL {
            let address = tokens.address(0x1234, decision, HOST);
            let (local, _) = address.split_once('@').unwrap();
            assert!(local.len() <= 64 && local.starts_with("moderation+"), "{address}");
            assert_eq!(tokens.read(&address, HOST), Some((0x1234, decision)));
            assert_eq!(tokens.read(&address.to_uppercase(), HOST), Some((0x1234, decision)));
            for at in 0..local.len() {
                let other = if local.as_bytes()[at] == b'0' { "1" } else { "0" };
                let forged = format!("{}{other}{}", &address[..at], &address[at + 1..]);
                assert_eq!(tokens.read(&forged, HOST), None, "{forged}");
            }
            assert_eq!(tokens.read(&address, "example.org"), None);
            assert_eq!(Tokens::new(&Secret::new([8; 32])).read(&address, HOST), None);
        }
        let approve = tokens.address(1, Decision::Approve, HOST);
        assert_eq!(tokens.read(&approve.replace("approve", "reject"), HOST), None, "each has its own hash");
        for none in ["ann@mail.example.org", "moderation+approve@mail.example.org", "moderation+@x", ""] {
            assert_eq!(tokens.read(none, HOST), None);
        }
    }

    #[test]
    fn who_is_asked_sees_what_it_is_about_and_nothing_of_it_can_break_the_message() {
        let templates = Templates::default();
        let reporter = Reporter {
            hostname: HOST,
            from: "postmaster@example.org",
            postmaster: "postmaster@example.org",
            message_id: "1.ask@mail.example.org",
            now: Timestamp::from_s(1_800_000_000),
            utc_offset_minutes: 0,
            templates: &templates,
            returned_bytes_max: 1000,
        };
        let asked = Asked {
            to: "boss@example.org",
            sender: Some("eve@example.org"),
            recipients: &["all@example.org"],
            subject: "gr\u{fc}n\r\nBcc: x@y\r\n\r\nfree",
            until: Timestamp::from_s(1_800_100_000),
            content: b"From: eve@x\r\nSubject: y\r\n\r\nhello\r\n",
            approve: "moderation+approve.1.2@x",
            reject: "moderation+reject.1.2@x",
        };
        let text = String::from_utf8(ask(&asked, &reporter).message).unwrap();
        let (header, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(!header.lines().any(|line| line.starts_with("Bcc")), "{header}");
        assert!(
            header.contains("Auto-Submitted: auto-generated") && header.contains("To: <boss@example.org>")
        );
        assert!(
            body.contains("Content-Type: message/rfc822") && body.contains("Subject: y\r\n\r\nhello"),
            "{body}"
        );
        let plain = Asked { subject: "y", ..asked };
        let text = String::from_utf8(ask(&plain, &reporter).message).unwrap();
        assert!(text.contains("<mailto:moderation+approve.1.2@x>") && text.contains("Approve? y"), "{text}");
        let content = [b"Subject: y\r\n\r\n".as_slice(), &[b'x'; 2000]].concat();
        let large = ask(&Asked { content: &content, ..plain }, &reporter).message;
        assert!(large.len() < 3000 && String::from_utf8(large).unwrap().contains("text/rfc822-headers"));
        let told =
            String::from_utf8(answer("boss@example.org", "y", "It goes on.", &reporter).message).unwrap();
        assert!(told.ends_with("\r\n\r\nIt goes on.\r\n") && told.contains("Subject: Re: y"), "{told}");
    }
}
