//! The fields a server adds: Received (RFC 5321 §4.4) and Return-Path; and what must be read of a header:
//! how often a message has been received already.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt::{self, Write};

use base::Timestamp;

use crate::config::Mode;
use crate::envelope::Envelope;
use crate::path::Path;

/// The Return-Path field, with its CRLF, that final delivery puts in front (RFC 5321 §4.4).
pub fn return_path_header(sender: Option<&Path>) -> Vec<u8> {
    let mut field = Vec::from(&b"Return-Path: <"[..]);
    field.extend_from_slice(sender.map_or("", Path::as_str).as_bytes());
    field.extend_from_slice(b">\r\n");
    field
}

/// Our Received field, with its CRLF, for what the envelope says.
pub(crate) fn received_field(envelope: &Envelope, hostname: &str) -> String {
    let mut field = String::with_capacity(256);
    write_received(&mut field, envelope, hostname).expect("a String takes all");
    field
}

fn write_received(field: &mut String, envelope: &Envelope, hostname: &str) -> fmt::Result {
    write!(field, "Received: from {} ({})\r\n", Claimed(&envelope.helo), TcpInfo(&envelope.peer.address))?;
    if let Some(tls) = &envelope.tls {
        write!(field, "\t(using {} with cipher {})\r\n", tls.version, tls.cipher)?;
    }
    write!(field, "\tby {hostname} with {} id {}", protocol(envelope), envelope.id)?;
    // Several recipients are nobody's business but the sender's (RFC 5321 §7.2).
    if let [only] = envelope.recipients.as_slice() {
        write!(field, "\r\n\tfor <{}>", only.address)?;
    }
    write!(field, ";\r\n\t{}\r\n", Date(envelope.received))
}

/// The `with` keyword (RFC 3848, RFC 6531 §4.3). A client that said HELO speaks plain SMTP.
fn protocol(envelope: &Envelope) -> String {
    let mut name = String::from(match (envelope.mode, envelope.is_extended, envelope.is_smtputf8) {
        (Mode::Lmtp, _, false) => "LMTP",
        (Mode::Lmtp, _, true) => "UTF8LMTP",
        (Mode::Mx | Mode::Submission, true, true) => "UTF8SMTP",
        (Mode::Mx | Mode::Submission, true, false) => "ESMTP",
        (Mode::Mx | Mode::Submission, false, _) => return "SMTP".into(),
    });
    if envelope.tls.is_some() {
        name.push('S');
    }
    if envelope.identity.is_some() {
        name.push('A');
    }
    name
}

/// What a client called itself, so that it cannot end the clause or begin another: signs with a meaning in
/// header fields become `?`.
struct Claimed<'a>(&'a str);

impl fmt::Display for Claimed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
        self.0.chars().try_for_each(|c| f.write_char(if is_plain(c) { c } else { '?' }))
    }
}

/// `TCP-info` (RFC 5321 §4.4); a local socket is no address and stands as a word.
struct TcpInfo<'a>(&'a str);

impl fmt::Display for TcpInfo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            address if address.contains(':') => write!(f, "[IPv6:{address}]"),
            address if address.contains('.') => write!(f, "[{address}]"),
            word => f.write_str(word),
        }
    }
}

/// `date-time` (RFC 5322 §3.3) in UTC.
struct Date(Timestamp);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
        const MONTHS: [&str; 12] =
            ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
        let (year, month, day, hour, minute, second) = self.0.civil_utc();
        let weekday = DAYS.get(self.0.weekday_utc() as usize).expect("a week has seven days");
        let month = MONTHS.get(month as usize - 1).expect("a year has twelve months");
        write!(f, "{weekday}, {day} {month} {year:04} {hour:02}:{minute:02}:{second:02} +0000")
    }
}

/// What a header section was found to hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct HeaderFacts {
    /// Its length with the blank line, in bytes.
    pub(crate) bytes: usize,
    /// Its Received fields.
    pub(crate) received_fields: usize,
}

/// Looks through the header section at the front of `content`. It ends at the first empty line.
pub(crate) fn header_facts(content: &[u8]) -> HeaderFacts {
    const NAME: &[u8] = b"received:";
    let (mut at, mut received_fields) = (0, 0);
    while let Some(rest) = content.get(at..).filter(|rest| !rest.is_empty()) {
        let line_bytes = memchr::memchr(b'\n', rest).map_or(rest.len(), |end| end + 1);
        let line = rest.get(..line_bytes).unwrap_or(rest);
        at += line_bytes;
        if matches!(line, b"\r\n" | b"\n") {
            break;
        }
        if line.get(..NAME.len()).is_some_and(|name| name.eq_ignore_ascii_case(NAME)) {
            received_fields += 1;
        }
    }
    HeaderFacts { bytes: at, received_fields }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn received_fields_are_counted_in_the_header_only() {
        let content = b"Received: a\r\n\tfolded\r\nreceived: b\r\nReceived-SPF: c\r\n\r\nReceived: body\r\n";
        assert_eq!(header_facts(content), HeaderFacts { bytes: 54, received_fields: 2 });
        assert_eq!(header_facts(b""), HeaderFacts { bytes: 0, received_fields: 0 });
        assert_eq!(header_facts(b"Received:"), HeaderFacts { bytes: 9, received_fields: 1 });
    }

    #[test]
    fn a_date_is_as_rfc_5322_has_it() {
        assert_eq!(Date(Timestamp::from_s(951_868_800)).to_string(), "Wed, 1 Mar 2000 00:00:00 +0000");
    }

    #[test]
    fn a_return_path_names_the_sender_or_nobody() {
        assert_eq!(return_path_header(None), b"Return-Path: <>\r\n");
        let path = Path::parse("a@b").unwrap();
        assert_eq!(return_path_header(Some(&path)), b"Return-Path: <a@b>\r\n");
    }

    #[test]
    fn addresses_are_written_as_tcp_info() {
        assert_eq!(TcpInfo("192.0.2.1").to_string(), "[192.0.2.1]");
        assert_eq!(TcpInfo("2001:db8::1").to_string(), "[IPv6:2001:db8::1]");
        assert_eq!(TcpInfo("unix").to_string(), "unix");
    }

    #[test]
    fn a_claimed_name_cannot_leave_its_clause() {
        assert_eq!(Claimed("[IPv6:::1]").to_string(), "[IPv6:::1]");
        assert_eq!(Claimed("a(b);from@c").to_string(), "a?b??from?c");
    }
}
