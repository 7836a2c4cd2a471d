//! One text part of a message with more text in it.

use mime::{ContentType, Encoding, Part, charset_known, decode_text, decode_transfer_strictly, fold};

use super::disclaimer::Place;
use super::encode::{base64_lines, has_short_lines, quoted_printable};
use super::fields::with_line;
use super::html::{ascii_html, place_at_end, place_at_start};

/// A part's header and body as they are to stand in the message.
pub(crate) struct NewPart {
    pub(crate) header: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

/// What is put into a part.
pub(crate) struct Addition<'a> {
    /// Lines of text, ended by CRLF but the last.
    pub(crate) text: &'a str,
    /// HTML.
    pub(crate) html: &'a str,
    pub(crate) place: Place,
    /// Whether the part is the message itself, whose last line has an end.
    pub(crate) is_whole: bool,
}

/// The part with the text in it; `None` when that cannot be done without harm: its encoding is broken, its
/// charset is not known, or it holds bytes that no encoding here keeps.
pub(crate) fn with_addition(message: &[u8], part: &Part, addition: &Addition<'_>) -> Option<NewPart> {
    let decoded = decode_transfer_strictly(part.encoding, part.body_of(message)).ok()?;
    let charset = part.content_type.param("charset").unwrap_or_default().to_ascii_lowercase();
    let is_html = part.content_type.is("text", "html");
    let wanted = if is_html { ascii_html(addition.html) } else { addition.text.to_owned() };
    let join = |old: &[u8]| {
        if is_html { joined_html(old, &wanted, addition.place) } else { joined_text(old, &wanted, addition) }
    };
    if is_armored(&decoded) {
        return None;
    }
    let is_default = charset.is_empty() || charset == "us-ascii";
    let (content, new_charset) = if (wanted.is_ascii() && keeps_ascii(&charset)) || charset == "utf-8" {
        (join(&decoded), None)
    } else if is_default && decoded.is_ascii() {
        (join(&decoded), Some("utf-8"))
    } else if is_default || charset_known(&charset) {
        let text = decode_text(&charset, &decoded);
        (join(text.as_bytes()), Some("utf-8"))
    } else {
        return None;
    };
    encoded(message, part, &content, new_charset)
}

fn encoded(message: &[u8], part: &Part, content: &[u8], charset: Option<&str>) -> Option<NewPart> {
    let is_plain_enough = match part.encoding {
        Encoding::SevenBit => content.is_ascii() && has_short_lines(content),
        Encoding::EightBit => has_short_lines(content),
        Encoding::Binary => true,
        Encoding::QuotedPrintable | Encoding::Base64 => false,
        Encoding::Other => return None,
    };
    let mut header = part.header_of(message).to_vec();
    let (body, encoding) = match part.encoding {
        _ if is_plain_enough => (content.to_vec(), None),
        Encoding::Base64 => (base64_lines(content), None),
        Encoding::QuotedPrintable => (quoted_printable(content), None),
        _ => (quoted_printable(content), Some("quoted-printable")),
    };
    if let Some(charset) = charset {
        header = with_line(&header, "Content-Type", &content_type_line(&part.content_type, charset));
    }
    if let Some(encoding) = encoding {
        header =
            with_line(&header, "Content-Transfer-Encoding", &fold("Content-Transfer-Encoding", encoding));
    }
    Some(NewPart { header, body })
}

fn joined_text(old: &[u8], wanted: &str, addition: &Addition<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(old.len() + wanted.len() + 6);
    let end: &[u8] = if addition.is_whole { b"\r\n" } else { b"" };
    if addition.place == Place::Start {
        out.extend(wanted.as_bytes());
        out.extend(b"\r\n\r\n");
        out.extend_from_slice(old);
        return out;
    }
    out.extend_from_slice(old);
    if !old.is_empty() {
        out.extend(if old.ends_with(b"\n") { &b"\r\n"[..] } else { b"\r\n\r\n" });
    }
    out.extend(wanted.as_bytes());
    out.extend_from_slice(end);
    out
}

fn joined_html(old: &[u8], wanted: &str, place: Place) -> Vec<u8> {
    let at = if place == Place::Start { place_at_start(old) } else { place_at_end(old) };
    let (before, after) = old.split_at_checked(at).unwrap_or((old, b""));
    [before, b"\r\n", wanted.as_bytes(), b"\r\n", after].concat()
}

/// Text that PGP has signed or encrypted as it stands (RFC 4880 §7).
fn is_armored(text: &[u8]) -> bool {
    let starts = [&b"-----BEGIN PGP SIGNED MESSAGE-----"[..], b"-----BEGIN PGP MESSAGE-----"];
    starts.iter().any(|start| text.trim_ascii_start().starts_with(start))
}

/// Whether a byte below 128 is that ASCII character wherever it stands, also at the end of a text.
fn keeps_ascii(charset: &str) -> bool {
    !["utf-16", "utf-32", "utf-7", "iso-2022", "hz", "ucs-", "iso-10646", "csiso", "cp1200"]
        .iter()
        .any(|odd| charset.starts_with(odd))
}

/// A Content-Type line with another charset and the other parameters as they were.
fn content_type_line(of: &ContentType, charset: &str) -> String {
    let mut value = format!("{}/{}; charset={charset}", of.kind, of.subtype);
    for (name, content) in
        of.params.iter().filter(|(name, _)| !name.to_ascii_lowercase().starts_with("charset"))
    {
        value.push_str("; ");
        value.push_str(name);
        if name.ends_with('*') {
            // RFC 2231 §4: percent-encoded, which quotes would end.
            value.push('=');
            value.push_str(content);
        } else {
            value.push_str("=\"");
            for c in content.chars().filter(|c| !c.is_control()) {
                if matches!(c, '"' | '\\') {
                    value.push('\\');
                }
                value.push(c);
            }
            value.push('"');
        }
    }
    fold("Content-Type", &value)
}
