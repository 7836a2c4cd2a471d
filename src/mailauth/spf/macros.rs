//! SPF macro strings (RFC 7208 §7).

use std::net::IpAddr;

use super::Sender;
use super::record::Malformed;
use crate::limits::{NAME_BYTES_MAX, SPF_EXPANSION_BYTES_MAX};
use crate::text::put;

/// Where a macro string stands, which decides what it may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// `domain-spec`: no `%{c}`, `%{r}`, `%{t}`; ends in a top label or a macro.
    Domain,
    /// The text of an explanation, where spaces and all letters are allowed.
    Explanation,
    /// An unknown modifier's value: only the form counts.
    AnyText,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Letter(Letter),
}

/// `%{` letter transformers delimiters `}`
#[derive(Clone, Debug, PartialEq, Eq)]
struct Letter {
    /// In lower case.
    name: u8,
    /// Written in upper case: escape as in a URL.
    is_escaped: bool,
    /// Parts to keep from the right, all when 0.
    keep: usize,
    is_reversed: bool,
    delimiters: Vec<u8>,
}

/// A parsed macro string.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Macros {
    pieces: Vec<Piece>,
}

/// What macros stand for in one evaluation.
pub(super) struct Values<'a> {
    pub(super) sender: &'a Sender<'a>,
    pub(super) local: &'a str,
    /// The domain of the sender's address: `%{o}`.
    pub(super) origin: &'a str,
    /// The domain whose record is evaluated: `%{d}`.
    pub(super) domain: &'a str,
    /// `%{p}`, if it has been looked up.
    pub(super) validated: Option<&'a str>,
}

impl Macros {
    pub(super) fn parse(text: &str, purpose: Use) -> Result<Self, Malformed> {
        let mut pieces = Vec::new();
        let mut plain = String::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = rest.get(c.len_utf8()..).unwrap_or_default();
            let is_visible = c.is_ascii_graphic() || (c == ' ' && purpose == Use::Explanation);
            if !is_visible {
                return Err(Malformed);
            }
            if c != '%' {
                plain.push(c);
                continue;
            }
            let code = rest.chars().next().ok_or(Malformed)?;
            rest = rest.get(code.len_utf8()..).unwrap_or_default();
            match code {
                '%' => plain.push('%'),
                '_' => plain.push(' '),
                '-' => plain.push_str("%20"),
                '{' => {
                    let (inside, after) = rest.split_once('}').ok_or(Malformed)?;
                    rest = after;
                    if !plain.is_empty() {
                        pieces.push(Piece::Text(std::mem::take(&mut plain)));
                    }
                    pieces.push(Piece::Letter(letter(inside, purpose)?));
                }
                _ => return Err(Malformed),
            }
        }
        if !plain.is_empty() {
            pieces.push(Piece::Text(plain));
        }
        if purpose == Use::Domain && !ends_like_a_domain(&pieces) {
            return Err(Malformed);
        }
        Ok(Self { pieces })
    }

    /// Whether `%{p}` must be looked up before this is expanded.
    pub(super) fn needs_validated_name(&self) -> bool {
        self.pieces.iter().any(|piece| matches!(piece, Piece::Letter(letter) if letter.name == b'p'))
    }

    /// The text, with every macro replaced.
    pub(super) fn expand(&self, values: &Values<'_>) -> String {
        let mut text = String::new();
        for piece in &self.pieces {
            match piece {
                Piece::Text(plain) => text.push_str(plain),
                Piece::Letter(letter) => letter.expand(values, &mut text),
            }
            if text.len() > SPF_EXPANSION_BYTES_MAX {
                break;
            }
        }
        text
    }

    /// The expansion as a name: labels are dropped from the left until 253 bytes are enough (RFC 7208 §7.3).
    pub(super) fn expand_name(&self, values: &Values<'_>) -> String {
        let text = self.expand(values);
        let mut name = text.strip_suffix('.').unwrap_or(&text);
        while name.len() > NAME_BYTES_MAX {
            let Some((_, rest)) = name.split_once('.') else { break };
            name = rest;
        }
        name.to_ascii_lowercase()
    }
}

impl Letter {
    fn expand(&self, values: &Values<'_>, text: &mut String) {
        let value = self.value(values);
        let mut parts: Vec<&str> =
            value.split(|c: char| c.is_ascii() && self.delimiters.contains(&(c as u8))).collect();
        if self.is_reversed {
            parts.reverse();
        }
        let skip = if self.keep == 0 { 0 } else { parts.len().saturating_sub(self.keep) };
        let joined = parts.get(skip..).unwrap_or_default().join(".");
        if !self.is_escaped {
            text.push_str(&joined);
            return;
        }
        for byte in joined.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~') {
                text.push(char::from(byte));
            } else {
                put(text, format_args!("%{byte:02X}"));
            }
        }
    }

    fn value(&self, values: &Values<'_>) -> String {
        let sender = values.sender;
        match self.name {
            b's' => format!("{}@{}", values.local, values.origin),
            b'l' => values.local.to_owned(),
            b'o' => values.origin.to_owned(),
            b'd' => values.domain.to_owned(),
            b'i' => dotted(sender.ip),
            b'p' => values.validated.unwrap_or("unknown").to_owned(),
            b'v' => if sender.ip.is_ipv4() { "in-addr" } else { "ip6" }.to_owned(),
            b'h' => sender.helo.to_owned(),
            b'c' => sender.ip.to_string(),
            b'r' => sender.receiver.to_owned(),
            // Only `t` is left: the parser lets no other letter through.
            _ => sender.now.as_s().to_string(),
        }
    }
}

/// An address as `%{i}` has it: IPv6 as nibbles with dots.
fn dotted(ip: IpAddr) -> String {
    match ip {
        IpAddr::V4(ip) => ip.to_string(),
        IpAddr::V6(ip) => {
            let nibbles = ip.octets().into_iter().flat_map(|byte| [byte >> 4, byte & 15]);
            nibbles.map(|nibble| format!("{nibble:X}")).collect::<Vec<_>>().join(".")
        }
    }
}

/// `macro-letter transformers *delimiter`
fn letter(inside: &str, purpose: Use) -> Result<Letter, Malformed> {
    let first = *inside.as_bytes().first().ok_or(Malformed)?;
    let name = first.to_ascii_lowercase();
    let is_known = match name {
        b's' | b'l' | b'o' | b'd' | b'i' | b'p' | b'v' | b'h' => true,
        b'c' | b'r' | b't' => purpose != Use::Domain,
        _ => false,
    };
    if !is_known {
        return Err(Malformed);
    }
    let rest = inside.get(1..).unwrap_or_default();
    let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
    let (number, rest) = rest.split_at(digits);
    let keep = if number.is_empty() {
        0
    } else {
        // More parts than there can be are all parts. Zero parts are an error (RFC 7208 §7.1).
        number.parse::<usize>().unwrap_or(usize::MAX)
    };
    if !number.is_empty() && keep == 0 {
        return Err(Malformed);
    }
    let (is_reversed, rest) = match rest.strip_prefix(['r', 'R']) {
        Some(rest) => (true, rest),
        None => (false, rest),
    };
    if !rest.bytes().all(|byte| b".-+,/_=".contains(&byte)) {
        return Err(Malformed);
    }
    let delimiters = if rest.is_empty() { b".".to_vec() } else { rest.as_bytes().to_vec() };
    Ok(Letter { name, is_escaped: first.is_ascii_uppercase(), keep, is_reversed, delimiters })
}

/// `domain-end = ( "." toplabel [ "." ] ) / macro-expand`
fn ends_like_a_domain(pieces: &[Piece]) -> bool {
    let Some(Piece::Text(text)) = pieces.last() else { return !pieces.is_empty() };
    // `%%`, `%_` and `%-` are macros too, and may end a name; they leave what no top label holds.
    if text.ends_with('%') || text.ends_with(' ') || text.ends_with("%20") {
        return true;
    }
    let text = text.strip_suffix('.').unwrap_or(text);
    let Some((_, top)) = text.rsplit_once('.') else { return false };
    let is_ldh = top.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let has_more_than_digits = top.bytes().any(|byte| !byte.is_ascii_digit());
    is_ldh && has_more_than_digits && !top.is_empty() && !top.starts_with('-') && !top.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Timestamp;

    /// The examples of RFC 7208 §7.4.
    #[test]
    fn macros_expand_as_the_rfc_shows() {
        let v4 = Sender {
            ip: "192.0.2.3".parse().unwrap(),
            helo: "mx.example.org",
            mail_from: "strong-bad@email.example.com",
            receiver: "here",
            now: Timestamp::from_s(7),
        };
        let v6 = Sender { ip: "2001:db8::cb01".parse().unwrap(), ..v4 };
        for (sender, text, expected) in [
            (&v4, "%{s}", "strong-bad@email.example.com"),
            (&v4, "%{d4}", "email.example.com"),
            (&v4, "%{d1}", "com"),
            (&v4, "%{dr}", "com.example.email"),
            (&v4, "%{d2r}", "example.email"),
            (&v4, "%{l-}", "strong.bad"),
            (&v4, "%{lr-}", "bad.strong"),
            (&v4, "%{l1r-}", "strong"),
            (&v4, "%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
            (&v4, "%{lr-}.lp.%{ir}.%{v}._spf.%{d2}", "bad.strong.lp.3.2.0.192.in-addr._spf.example.com"),
            (&v4, "%{S}%%%_%-x.%{t}", "strong-bad%40email.example.com% %20x.7"),
            (
                &v6,
                "%{ir}.%{v}._spf.%{d2}",
                "1.0.B.C.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.B.D.0.1.0.0.2.ip6._spf.example.com",
            ),
        ] {
            let values = Values {
                sender,
                local: "strong-bad",
                origin: "email.example.com",
                domain: "email.example.com",
                validated: None,
            };
            let macros = Macros::parse(text, Use::Explanation).unwrap();
            assert_eq!(macros.expand(&values), expected, "{text}");
        }
    }

    #[test]
    fn malformed_macros_are_refused() {
        for text in ["%", "%a", "%{", "%{}", "%{d0}", "%{dx}", "%{z}", "a b"] {
            assert_eq!(Macros::parse(text, Use::AnyText), Err(Malformed), "{text}");
        }
        assert_eq!(Macros::parse("%{t}.example.com", Use::Domain), Err(Malformed));
    }
}
