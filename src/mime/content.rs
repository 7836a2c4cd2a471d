//! Content-Type, Content-Disposition and their parameters (RFC 2045 §5.1, RFC 2183, RFC 2231).

use alloc::borrow::Cow;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::charset;
use crate::lex::{Lexer, text};
use crate::limits::{LANGUAGES_MAX, PARAMS_MAX};
use crate::words::decode_words;

/// Parameters in their order: names and values as they stand in the header, quoting removed;
/// RFC 2231 pieces (`name*0*`) are separate entries, as IMAP shows them.
pub type Params = Vec<(String, String)>;

/// A media type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContentType {
    /// The type in lower case: `text`.
    pub kind: String,
    /// The subtype in lower case: `plain`.
    pub subtype: String,
    /// See [`Params`].
    pub params: Params,
}

/// How a part wants to be shown (RFC 2183).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disposition {
    /// `inline`, `attachment` or another word, in lower case.
    pub kind: String,
    /// See [`Params`].
    pub params: Params,
}

impl ContentType {
    /// Reads a Content-Type field's value; `None` when it has no type and subtype. RFC 2045 §5.2
    /// then wants the default.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut lexer = Lexer::of(value);
        lexer.skip_cfws();
        let kind = lexer.token();
        lexer.skip_cfws();
        if kind.is_empty() || !lexer.skip(b'/') {
            return None;
        }
        lexer.skip_cfws();
        let subtype = lexer.token();
        if subtype.is_empty() {
            return None;
        }
        Some(Self { kind: word(kind), subtype: word(subtype), params: params(&mut lexer) })
    }

    /// A type without parameters.
    pub(crate) fn plain(kind: &str, subtype: &str) -> Self {
        Self { kind: kind.into(), subtype: subtype.into(), params: Vec::new() }
    }

    /// What a part is that does not say (RFC 2045 §5.2).
    pub(crate) fn text_plain() -> Self {
        let params = Vec::from([("charset".into(), "us-ascii".into())]);
        Self { params, ..Self::plain("text", "plain") }
    }

    /// Whether this is that type and subtype, both in lower case.
    pub fn is(&self, kind: &str, subtype: &str) -> bool {
        self.kind == kind && self.subtype == subtype
    }

    /// A parameter's value; see [`decode_param`].
    pub fn param(&self, name: &str) -> Option<String> {
        decode_param(&self.params, name)
    }
}

impl Disposition {
    /// Reads a Content-Disposition field's value; `None` when it begins with no word.
    pub fn parse(value: &[u8]) -> Option<Self> {
        let mut lexer = Lexer::of(value);
        lexer.skip_cfws();
        let kind = lexer.token();
        if kind.is_empty() {
            return None;
        }
        Some(Self { kind: word(kind), params: params(&mut lexer) })
    }

    /// A parameter's value; see [`decode_param`].
    pub fn param(&self, name: &str) -> Option<String> {
        decode_param(&self.params, name)
    }
}

/// A parameter's value as text: pieces joined and percent-encoding and charset decoded
/// (RFC 2231 §3, §4); encoded-words decoded too, though RFC 2047 §5 forbids them here, since many
/// programs send them.
pub fn decode_param(params: &[(String, String)], name: &str) -> Option<String> {
    if let Some(decoded) = decode_pieces(params, name) {
        return Some(decoded);
    }
    let value = find(params, name)?;
    Some(if value.contains("=?") { decode_words(value.as_bytes()) } else { value.to_string() })
}

/// Reads a Content-Language field's value (RFC 3282).
pub(crate) fn languages(value: &[u8]) -> Vec<String> {
    let mut lexer = Lexer::of(value);
    let mut tags = Vec::new();
    while lexer.peek().is_some() && tags.len() < LANGUAGES_MAX {
        lexer.skip_cfws();
        let tag = lexer.token();
        if !tag.is_empty() {
            tags.push(text(tag));
        } else if lexer.next().is_none() {
            break;
        }
    }
    tags
}

/// `*(";" parameter)`, junk between them skipped.
fn params(lexer: &mut Lexer<'_>) -> Params {
    let mut params = Vec::new();
    while params.len() < PARAMS_MAX {
        lexer.skip_cfws();
        if !lexer.skip(b';') {
            // A forgotten semicolon before the next name is tolerated; anything else is junk.
            match lexer.peek() {
                None => break,
                Some(byte) if byte.is_ascii_alphanumeric() => {}
                Some(_) => {
                    lexer.next();
                    continue;
                }
            }
        }
        lexer.skip_cfws();
        let name = lexer.token();
        lexer.skip_cfws();
        if name.is_empty() || !lexer.skip(b'=') {
            continue;
        }
        lexer.skip_cfws();
        params.push((text(name), value(lexer)));
    }
    params
}

/// A quoted string, or a token. Programs send `=`, `/`, `:` and the like in tokens, and spaces in
/// file names, without quoting; all but white space and `;` counts as the token here.
fn value(lexer: &mut Lexer<'_>) -> String {
    if lexer.peek() == Some(b'"') {
        let mut value = Vec::new();
        lexer.quoted_string(&mut value);
        return text(&value);
    }
    text(lexer.until(|byte| byte.is_ascii_whitespace() || byte == b';'))
}

fn find<'a>(params: &'a [(String, String)], name: &str) -> Option<&'a str> {
    params.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
}

/// The value in its RFC 2231 forms: `name*=`, or `name*0=`, `name*1*=` and so on.
fn decode_pieces(params: &[(String, String)], name: &str) -> Option<String> {
    if let Some(value) = find(params, &format!("{name}*")) {
        let (charset, value) = split_charset(value);
        return Some(decode(charset, &percent_decode(value)));
    }
    let mut bytes = Vec::new();
    let mut charset = "";
    for number in 0..params.len() {
        if let Some(piece) = find(params, &format!("{name}*{number}*")) {
            let piece = if number == 0 {
                let (named, piece) = split_charset(piece);
                charset = named;
                piece
            } else {
                piece
            };
            bytes.extend_from_slice(&percent_decode(piece));
        } else if let Some(piece) = find(params, &format!("{name}*{number}")) {
            bytes.extend_from_slice(piece.as_bytes());
        } else if number == 0 {
            return None;
        } else {
            break;
        }
    }
    if params.is_empty() { None } else { Some(decode(charset, &bytes)) }
}

/// `charset'language'text` (RFC 2231 §4); all is text when the quotes are missing.
fn split_charset(value: &str) -> (&str, &str) {
    let mut pieces = value.splitn(3, '\'');
    match (pieces.next(), pieces.next(), pieces.next()) {
        (Some(charset), Some(_language), Some(text)) => (charset, text),
        _ => ("", value),
    }
}

fn decode(charset: &str, bytes: &[u8]) -> String {
    if charset.is_empty() { text(bytes) } else { charset::decode_text(charset, bytes) }
}

fn percent_decode(value: &str) -> Cow<'_, [u8]> {
    if !value.contains('%') {
        return Cow::Borrowed(value.as_bytes());
    }
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first == b'%'
            && let [high, low, after @ ..] = rest
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            out.push(high << 4 | low);
            rest = after;
        } else {
            out.push(first);
        }
    }
    Cow::Owned(out)
}

/// The value of a hexadecimal digit.
pub(crate) fn hex(digit: u8) -> Option<u8> {
    (digit as char).to_digit(16).map(|value| value as u8)
}

fn word(token: &[u8]) -> String {
    text(token).to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(value: &str) -> ContentType {
        ContentType::parse(value.as_bytes()).expect("a type")
    }

    fn pairs(params: &Params) -> Vec<(&str, &str)> {
        params.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect()
    }

    #[test]
    fn types_and_parameters_are_read() {
        for (value, kind, subtype, params) in [
            ("text/plain", "text", "plain", &[][..]),
            (" Text / HTML (comment) ; Charset=UTF-8", "text", "html", &[("Charset", "UTF-8")][..]),
            ("text/plain; charset=us-ascii (Plain text)", "text", "plain", &[("charset", "us-ascii")][..]),
            (
                "multipart/mixed;\r\n\tboundary=\"a \\\"b; c\";;x=\"\"",
                "multipart",
                "mixed",
                &[("boundary", "a \"b; c"), ("x", "")][..],
            ),
            (
                "application/x-a; name=a=b/c.txt; broken; =v; y = z w=v",
                "application",
                "x-a",
                &[("name", "a=b/c.txt"), ("y", "z"), ("w", "v")][..],
            ),
        ] {
            let parsed = parse(value);
            assert_eq!((parsed.kind.as_str(), parsed.subtype.as_str()), (kind, subtype), "{value}");
            assert_eq!(pairs(&parsed.params), params, "{value}");
        }
        for value in ["", "text", "text/", "/plain", "(c)", "text plain", ";charset=x"] {
            assert_eq!(ContentType::parse(value.as_bytes()), None, "{value}");
        }
    }

    #[test]
    fn parameters_of_rfc_2231_stay_raw_and_are_decoded_on_demand() {
        // The examples of RFC 2231 §3 and §4.1.
        let url = parse(
            "message/external-body; access-type=URL;\r\n URL*0=\"ftp://\";\r\n URL*1=\"cs.utk.edu/pub/x.tar\"",
        );
        assert_eq!(url.params.len(), 3);
        assert_eq!(url.param("url").as_deref(), Some("ftp://cs.utk.edu/pub/x.tar"));
        let title = parse(
            "application/x-stuff; title*0*=us-ascii'en'This%20is%20even%20more%20;\
             title*1*=%2A%2A%2Afun%2A%2A%2A%20; title*2=\"isn't it!\"",
        );
        assert_eq!(title.param("title").as_deref(), Some("This is even more ***fun*** isn't it!"));
        let title = parse("application/x-stuff; title*=us-ascii'en-us'This%20is%20%2A%2A%2Afun%2A%2A%2A");
        assert_eq!(title.param("title").as_deref(), Some("This is ***fun***"));
        assert_eq!(title.param("other"), None);
        for (value, name) in [
            ("a/b; name*=iso-8859-1''caf%E9", "café"),
            ("a/b; name*=UTF-8''caf%C3%A9; name=cafe", "café"),
            ("a/b; name=\"=?utf-8?q?caf=C3=A9?=\"", "café"),
            ("a/b; name*=plain%zz%4", "plain%zz%4"),
            ("a/b; name*0*=utf-8''caf%C3; name*1*=%A9", "café"),
        ] {
            assert_eq!(parse(value).param("name").as_deref(), Some(name), "{value}");
        }
    }

    #[test]
    fn dispositions_and_languages_are_read() {
        let value = Disposition::parse(b"Attachment; filename=genome.jpeg; size=\"3\"").expect("a word");
        assert_eq!(value.kind, "attachment");
        assert_eq!(pairs(&value.params), [("filename", "genome.jpeg"), ("size", "3")]);
        assert_eq!(Disposition::parse(b" ; filename=x"), None);
        assert_eq!(languages(b" da, mi (Maori) ,,en-GB"), ["da", "mi", "en-GB"]);
        assert_eq!(languages(b"").len(), 0);
    }

    #[test]
    fn the_number_of_parameters_is_bounded() {
        let many = "; p=v".repeat(10_000);
        assert_eq!(parse(&format!("a/b{many}")).params.len(), PARAMS_MAX);
    }
}
