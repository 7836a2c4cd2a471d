//! The `Authentication-Results` field (RFC 8601): building ours, and removing those that claim to be ours.

use std::ops::Range;

use crate::arc::Arc;
use crate::dkim::Dkim;
use crate::dmarc::{Dmarc, DmarcResult};
use crate::iprev::Iprev;
use crate::limits::RESULT_VALUE_BYTES_MAX;
use crate::message::{Field, split};
use crate::spf::{Identity, Spf};
use crate::text::put;

/// What one server says about one message, in the order in which it was added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Results {
    authserv_id: String,
    lines: Vec<String>,
}

impl Results {
    /// Nothing yet, said by this server.
    pub fn new(authserv_id: &str) -> Self {
        Self { authserv_id: value(authserv_id), lines: Vec::new() }
    }

    /// Adds the address's name (RFC 8601 §2.7.3).
    pub fn iprev(&mut self, iprev: &Iprev, ip: std::net::IpAddr) {
        let name = iprev.name.as_deref().map(|name| format!(" ({})", comment(name))).unwrap_or_default();
        let ip = value(&ip.to_canonical().to_string());
        self.lines.push(format!("iprev={}{name} policy.iprev={ip}", iprev.result.word()));
    }

    /// Adds an SPF result (RFC 8601 §2.7.2). `given` is the identity as the client said it.
    pub fn spf(&mut self, spf: &Spf, given: &str) {
        let property = match spf.identity {
            Identity::Helo => "smtp.helo",
            Identity::MailFrom => "smtp.mailfrom",
        };
        let mut line = format!("spf={}", spf.result.word());
        if !given.is_empty() {
            put(&mut line, format_args!(" {property}={}", value(given)));
        }
        self.lines.push(line);
    }

    /// Adds DKIM's results (RFC 8601 §2.7.1, RFC 6008 for `header.b`); `none` when there are none.
    pub fn dkim(&mut self, outcomes: &[Dkim]) {
        if outcomes.is_empty() {
            self.lines.push("dkim=none".to_owned());
        }
        for outcome in outcomes {
            let mut line = format!("dkim={}", outcome.result.word());
            if let Some(trouble) = outcome.trouble {
                put(&mut line, format_args!(" ({})", trouble.words()));
            } else if outcome.has_unsigned_body {
                line.push_str(" (part of the body is not signed)");
            }
            for (property, text) in [
                ("header.d", outcome.domain.as_str()),
                ("header.i", &outcome.identity),
                ("header.s", &outcome.selector),
                ("header.a", outcome.algorithm.map_or("", crate::Algorithm::word)),
                ("header.b", &outcome.mark),
            ] {
                if !text.is_empty() {
                    put(&mut line, format_args!(" {property}={}", value(text)));
                }
            }
            self.lines.push(line);
        }
    }

    /// Adds the state of the chain (RFC 8617 §10.1).
    pub fn arc(&mut self, arc: &Arc) {
        let trouble = arc.trouble.map(|trouble| format!(" ({})", trouble.words())).unwrap_or_default();
        self.lines.push(format!("arc={}{trouble}", arc.result.word()));
    }

    /// Adds DMARC's result (RFC 8601 §2.7.5; RFC 9989 §9 for the policy).
    pub fn dmarc(&mut self, dmarc: &Dmarc) {
        let mut line = format!("dmarc={}", dmarc.result.word());
        if !dmarc.author.is_empty() {
            put(&mut line, format_args!(" header.from={}", value(&dmarc.author)));
        }
        if matches!(dmarc.result, DmarcResult::Pass | DmarcResult::Fail) {
            put(&mut line, format_args!(" policy.dmarc={}", dmarc.policy.word()));
        }
        self.lines.push(line);
    }

    /// The text after the field's name, in one line: what an ARC seal carries on.
    pub fn text(&self) -> String {
        if self.lines.is_empty() {
            return format!("{}; none", self.authserv_id);
        }
        format!("{}; {}", self.authserv_id, self.lines.join("; "))
    }

    /// The whole field, folded, with its CRLF.
    pub fn field(&self) -> String {
        let mut field = format!("Authentication-Results: {}", self.authserv_id);
        if self.lines.is_empty() {
            field.push_str("; none");
        }
        for line in &self.lines {
            field.push_str(";\r\n ");
            fold(line, &mut field);
        }
        field.push_str("\r\n");
        field
    }
}

/// A value as it may stand in the field: as it is when it is a token or an address, else in quotes. Control
/// characters and bytes that are not ASCII become question marks: a stranger wrote them.
fn value(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._@+!#$%&'*^`{|}~".contains(&byte);
    let text: String = text.chars().take(RESULT_VALUE_BYTES_MAX).collect();
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text;
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            ' '..='~' => quoted.push(c),
            _ => quoted.push('?'),
        }
    }
    quoted.push('"');
    quoted
}

/// A name as it may stand in a comment.
fn comment(text: &str) -> String {
    let is_plain = |c: &char| c.is_ascii_alphanumeric() || "-._:".contains(*c);
    text.chars().take(RESULT_VALUE_BYTES_MAX).filter(is_plain).collect()
}

/// Breaks a line at spaces outside of quotes and comments, at about 76 characters.
fn fold(line: &str, out: &mut String) {
    const LINE_BYTES: usize = 76;
    let mut column = 1;
    let (mut is_quoted, mut is_escaped, mut depth) = (false, false, 0_u32);
    let mut word = String::new();
    let put = |word: &mut String, column: &mut usize, out: &mut String| {
        if *column > 1 {
            if *column + word.len() + 1 > LINE_BYTES {
                out.push_str("\r\n  ");
                *column = 2;
            } else {
                out.push(' ');
                *column += 1;
            }
        }
        out.push_str(word);
        *column += word.len();
        word.clear();
    };
    for c in line.chars() {
        match c {
            ' ' if !is_quoted && depth == 0 => {
                put(&mut word, &mut column, out);
                continue;
            }
            '"' if !is_escaped && depth == 0 => is_quoted = !is_quoted,
            '(' if !is_quoted => depth += 1,
            ')' if !is_quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        is_escaped = c == '\\' && !is_escaped;
        word.push(c);
    }
    put(&mut word, &mut column, out);
}

/// Where in a header stand `Authentication-Results` fields that claim to be of this server (RFC 8601 §5): what
/// came from outside with our name on it is a lie. A field whose server cannot be read is one too. The ranges
/// are whole fields with their CRLF, in order.
pub fn forged(header: &[u8], authserv_id: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for field in split(header).0 {
        if !field.is("authentication-results") || !is_forged(&field, authserv_id) {
            continue;
        }
        let start = field.raw.as_ptr().addr() - header.as_ptr().addr();
        found.push(start..start + field.raw.len());
    }
    found
}

/// The header, or the whole message, without the fields that [`forged`] finds.
pub fn strip_forged<'a>(header: &'a [u8], authserv_id: &str) -> std::borrow::Cow<'a, [u8]> {
    let found = forged(header, authserv_id);
    if found.is_empty() {
        return header.into();
    }
    let mut left = Vec::with_capacity(header.len());
    let mut at = 0;
    for range in found {
        left.extend_from_slice(header.get(at..range.start).unwrap_or_default());
        at = range.end;
    }
    left.extend_from_slice(header.get(at..).unwrap_or_default());
    left.into()
}

fn is_forged(field: &Field<'_>, authserv_id: &str) -> bool {
    match server(field.value) {
        Some(server) => server.trim_end_matches('.').eq_ignore_ascii_case(authserv_id.trim_end_matches('.')),
        None => true,
    }
}

/// `[CFWS] authserv-id [ CFWS authres-version ]`: the first word, quotes removed.
fn server(text: &[u8]) -> Option<String> {
    let mut word = Vec::new();
    let (mut depth, mut is_quoted) = (0_u32, false);
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' if is_quoted || depth > 0 => {
                let escaped = bytes.next()?;
                if depth == 0 {
                    word.push(escaped);
                }
            }
            b'"' if depth == 0 => is_quoted = !is_quoted,
            b'(' if !is_quoted => {
                if depth == 0 && !word.is_empty() {
                    break;
                }
                depth += 1;
            }
            b')' if depth > 0 => depth -= 1,
            _ if depth > 0 => {}
            _ if is_quoted => word.push(byte),
            b';' => break,
            _ if byte.is_ascii_whitespace() => {
                if !word.is_empty() {
                    break;
                }
            }
            _ => word.push(byte),
        }
    }
    let is_whole = depth == 0 && !is_quoted && !word.is_empty();
    if is_whole { String::from_utf8(word).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spf::SpfResult;

    #[test]
    fn forged_fields_are_found_in_every_spelling() {
        for (value, expected) in [
            (" mx.example; spf=pass", true),
            (" MX.Example.; spf=pass", true),
            (" \"mx.example\"; spf=pass", true),
            (" \"mx\\.example\" 1; spf=pass", true),
            (" (a (nested) comment) mx.example(x) 1; none", true),
            ("\r\n\tmx.example\r\n ;none", true),
            (" mx.example", true),
            (" other.example; mx.example", false),
            (" other.example (mx.example); none", false),
            (" (unclosed other.example", true),
            ("", true),
        ] {
            let header = format!("A: b\r\nAuthentication-Results:{value}\r\nB: c\r\n\r\nbody");
            let left = strip_forged(header.as_bytes(), "mx.example");
            let is_stripped = left.as_ref() == b"A: b\r\nB: c\r\n\r\nbody";
            assert_eq!(is_stripped, expected, "{value:?}");
            assert!(is_stripped || left.as_ref() == header.as_bytes());
        }
        let twice = b"authentication-results : mx.example; none\r\nAUTHENTICATION-RESULTS: mx.example\r\n";
        assert!(strip_forged(twice, "mx.example").is_empty());
    }

    #[test]
    fn strangers_cannot_break_out_of_a_value() {
        assert_eq!(value("a@b.example"), "a@b.example");
        assert_eq!(value("a b"), "\"a b\"");
        assert_eq!(value("x;\r\n dkim=pass \"(\\"), "\"x;?? dkim=pass \\\"(\\\\\"");
        assert_eq!(value(""), "\"\"");
        assert_eq!(value("ü"), "\"?\"");
    }

    #[test]
    fn lines_are_folded_outside_of_quotes() {
        let mut results = Results::new("mx.example");
        assert_eq!(results.field(), "Authentication-Results: mx.example; none\r\n");
        let spf = Spf {
            result: SpfResult::Pass,
            identity: Identity::MailFrom,
            domain: "d.example".to_owned(),
            mechanism: None,
            explanation: None,
        };
        let long = format!("{} {}@d.example", "a".repeat(40), "b".repeat(40));
        results.spf(&spf, &long);
        results.spf(&Spf { identity: Identity::Helo, ..spf }, "h.example");
        assert_eq!(
            results.field(),
            format!(
                "Authentication-Results: mx.example;\r\n spf=pass\r\n  smtp.mailfrom=\"{long}\";\r\n spf=pass smtp.helo=h.example\r\n"
            )
        );
    }
}
