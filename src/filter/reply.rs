//! An SMTP reply in a filter's words. Whatever the filter said, no line of it can break out of the reply.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::fmt;

use crate::limits::{REPLY_LINES_MAX, REPLY_TEXT_BYTES_MAX};

/// A refusal: code, enhanced code and text lines, as RFC 5321 §4.2 and RFC 3463 §2 have them.
#[derive(Clone, PartialEq, Eq)]
pub struct Reply {
    code: u16,
    enhanced: Option<String>,
    lines: Vec<String>,
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {:?}", self.code, self.enhanced.as_deref().unwrap_or("-"), self.lines)
    }
}

impl Reply {
    /// One line of ours: `code` is 4yz or 5yz, `enhanced` goes with it.
    pub(crate) fn new(code: u16, enhanced: &str, text: &str) -> Self {
        Self { code, enhanced: Some(enhanced.to_string()), lines: lines_of(text.as_bytes()) }
    }

    /// A filter's code and words. An enhanced code that does not go with the code is left out. `None` when
    /// the code is no refusal.
    pub(crate) fn from_parts(code: u16, enhanced: Option<&str>, text: &[u8]) -> Option<Self> {
        if !(400..=599).contains(&code) {
            return None;
        }
        let enhanced = enhanced.filter(|enhanced| is_enhanced(enhanced.as_bytes(), code)).map(str::to_string);
        Some(Self { code, enhanced, lines: lines_of(text) })
    }

    /// What a milter says with SMFIR_REPLYCODE: lines as they would go to the client, divided by CRLF, each
    /// with its code and perhaps an enhanced one; `%%` is a percent sign.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reply: Option<Self> = None;
        for line in bytes.split(|byte| *byte == b'\n').take(REPLY_LINES_MAX) {
            let line = line.strip_suffix(b"\r").unwrap_or(line);
            let (code, rest) = line.split_at_checked(3)?;
            let code: u16 = core::str::from_utf8(code).ok()?.parse().ok()?;
            let rest = match rest.split_first() {
                None => rest,
                Some((b' ' | b'-', rest)) => rest,
                Some(_) => return None,
            };
            let (word, after) = match rest.iter().position(|byte| *byte == b' ') {
                Some(at) => (rest.get(..at)?, rest.get(at + 1..)?),
                None => (rest, [].as_slice()),
            };
            let (enhanced, text) =
                if is_enhanced(word, code) { (core::str::from_utf8(word).ok(), after) } else { (None, rest) };
            let text = clean(&unescape(text));
            match &mut reply {
                None if !(400..=599).contains(&code) => return None,
                None => {
                    let enhanced = enhanced.map(str::to_string);
                    reply = Some(Self { code, enhanced, lines: Vec::from([text]) });
                }
                Some(reply) if reply.code == code => reply.lines.push(text),
                Some(_) => return None,
            }
        }
        reply
    }

    /// 400 to 599.
    pub const fn code(&self) -> u16 {
        self.code
    }

    /// Whether it refuses for good.
    pub const fn is_permanent(&self) -> bool {
        self.code >= 500
    }

    /// The enhanced code, if the filter gave one that goes with the code.
    pub fn enhanced(&self) -> Option<&str> {
        self.enhanced.as_deref()
    }

    /// The text, one or more lines of printable ASCII without codes, each short enough for a reply line.
    pub fn lines(&self) -> &[String] {
        &self.lines
    }
}

/// `class.subject.detail` (RFC 3463 §2) of the code's class.
fn is_enhanced(word: &[u8], code: u16) -> bool {
    let mut parts = word.split(|byte| *byte == b'.');
    let class = parts.next();
    let is_class = matches!(class, Some([digit]) if u16::from(*digit) == u16::from(b'0') + code / 100);
    let is_number = |part: Option<&[u8]>| {
        part.is_some_and(|part| matches!(part.len(), 1..=3) && part.iter().all(u8::is_ascii_digit))
    };
    is_class && is_number(parts.next()) && is_number(parts.next()) && parts.next().is_none()
}

fn unescape(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len());
    let mut is_escaped = false;
    for byte in text {
        if *byte == b'%' && !is_escaped && out.last() == Some(&b'%') {
            is_escaped = true;
            continue;
        }
        is_escaped = false;
        out.push(*byte);
    }
    out
}

fn lines_of(text: &[u8]) -> Vec<String> {
    text.split(|byte| *byte == b'\n')
        .take(REPLY_LINES_MAX)
        .map(|line| clean(line.strip_suffix(b"\r").unwrap_or(line)))
        .collect()
}

/// Printable ASCII and nothing else (RFC 5321 §4.2), and no more than fits.
fn clean(line: &[u8]) -> String {
    let printable = |byte: &u8| if matches!(byte, b' '..=b'~') { char::from(*byte) } else { '?' };
    line.iter().take(REPLY_TEXT_BYTES_MAX).map(printable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Option<(u16, Option<String>, Vec<String>)> {
        Reply::parse(text.as_bytes()).map(|reply| (reply.code, reply.enhanced, reply.lines))
    }

    #[test]
    fn replies_of_milters_are_read() {
        let lines = |lines: &[&str]| lines.iter().map(ToString::to_string).collect::<Vec<_>>();
        let some =
            |code, enhanced: &str, text: &[&str]| Some((code, Some(enhanced.to_string()), lines(text)));
        assert_eq!(parse("550 5.7.1 Spam"), some(550, "5.7.1", &["Spam"]));
        assert_eq!(parse("550-5.7.0 a\r\n550 5.7.0 b"), some(550, "5.7.0", &["a", "b"]));
        assert_eq!(parse("451 4.7.1"), some(451, "4.7.1", &[""]));
        assert_eq!(parse("450 wait 100%% sure %x"), Some((450, None, lines(&["wait 100% sure %x"]))));
        // The wrong class is text, and a code that refuses nothing is none.
        assert_eq!(parse("451 5.7.1 no"), Some((451, None, lines(&["5.7.1 no"]))));
        for bad in ["", "55", "250 2.0.0 ok", "abc def", "550x", "550 a\r\n451 b", "650 1"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_filter_cannot_break_out_of_its_reply() {
        let reply =
            Reply::from_parts(550, Some("5.7.1\r\n250"), b"no\r\n250 ok\0\rx\xff").expect("a refusal");
        assert_eq!(reply.enhanced(), None);
        assert_eq!(reply.lines(), ["no", "250 ok??x?"]);
        let long = Reply::from_parts(550, None, &[b'x'; 5000]).expect("a refusal");
        assert_eq!(long.lines().first().map(String::len), Some(REPLY_TEXT_BYTES_MAX));
        assert_eq!(
            Reply::from_parts(550, None, &[b'\n'; 5000]).map(|reply| reply.lines.len()),
            Some(REPLY_LINES_MAX)
        );
        assert!(Reply::from_parts(250, None, b"ok").is_none());
    }
}
