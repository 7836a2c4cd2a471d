//! SEARCH over one message (RFC 9051 §6.4.4): what is compared is text, not its encoding.

use alloc::borrow::Cow;
use alloc::string::String;

use crate::charset;
use crate::header::{Header, Headers};
use crate::lex;
use crate::needle::Needle;
use crate::part::{Part, PartTree};
use crate::transfer::decode_transfer;
use crate::words::decode_words;

/// TEXT: in the header or the body, which [`body_matches`] explains.
pub fn text_matches(message: &[u8], tree: &PartTree, needle: &Needle) -> bool {
    needle.is_empty()
        || any_field_matches(tree.root().header_of(message), needle)
        || body_matches(message, tree, needle)
}

/// BODY: in the text of any part of type `text`, decoded, or in the headers of parts and embedded
/// messages. Reports inside of `message/delivery-status` and the like are text too.
pub fn body_matches(message: &[u8], tree: &PartTree, needle: &Needle) -> bool {
    needle.is_empty()
        || tree.parts().iter().enumerate().any(|(id, part)| {
            (id > 0 && any_field_matches(part.header_of(message), needle))
                || part_matches(message, part, needle)
        })
        || (tree.is_cut() && rest_matches(message, needle))
}

/// What the limits kept from being taken apart is compared as it stands.
fn rest_matches(message: &[u8], needle: &Needle) -> bool {
    needle.matches_bytes_ascii(message)
        || (!needle.is_ascii() && needle.matches_text(&charset::decode("utf-8", message)))
}

/// HEADER: in any field of that name; an empty needle asks whether there is such a field.
pub fn header_matches(header: &[u8], field: &str, needle: &Needle) -> bool {
    Headers::of(header).filter(|candidate| candidate.is(field)).any(|field| text_in(field.value, needle))
}

/// In any field of a header, its name included.
fn any_field_matches(header: &[u8], needle: &Needle) -> bool {
    Headers::of(header).any(|field| {
        let Header { name, value, range } = field;
        let Some(whole) = header.get(range) else { return false };
        if needle.is_ascii() && is_plain(value) {
            return needle.matches_bytes_ascii(whole);
        }
        let mut text = lex::text(name);
        text.push(':');
        text.push_str(&decode_words(value));
        needle.matches_text(&text)
    })
}

fn text_in(value: &[u8], needle: &Needle) -> bool {
    if needle.is_ascii() && is_plain(value) {
        return needle.matches_bytes_ascii(value);
    }
    needle.matches_text(&decode_words(value))
}

/// Neither folded nor encoded: the bytes are the text.
fn is_plain(value: &[u8]) -> bool {
    memchr::memchr(b'\n', value).is_none() && memchr::memmem::find(value, b"=?").is_none()
}

fn part_matches(message: &[u8], part: &Part, needle: &Needle) -> bool {
    let is_report = part.content_type.kind == "message" && !part.is_message();
    if !part.is_text() && !is_report {
        return false;
    }
    let body = part.body_of(message);
    let decoded = if part.encoding.is_identity() {
        Cow::Borrowed(body)
    } else {
        Cow::Owned(decode_transfer(part.encoding, body))
    };
    let charset = charset_of(part);
    if needle.is_ascii() && charset::keeps_ascii(&charset) {
        return needle.matches_bytes_ascii(&decoded);
    }
    needle.matches_text(&charset::decode(&charset, &decoded))
}

/// An undeclared charset is guessed; programs that say `us-ascii` and send more are many, so that
/// counts as undeclared.
fn charset_of(part: &Part) -> String {
    part.content_type
        .param("charset")
        .filter(|name| !name.eq_ignore_ascii_case("us-ascii"))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::scan;

    const MESSAGE: &str = "Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= aus\r\n K=?utf-8?q?=C3=B6ln?=\r\n\
        From: Anna <anna@example.org>\r\nX-Empty:\r\n\
        Content-Type: multipart/mixed; boundary=b\r\n\r\npreamble\r\n\
        --b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nplain tëxt\r\n\
        --b\r\nContent-Type: text/html; charset=iso-8859-1\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n\
        <p>caf=E9 long=\r\nword</p>\r\n\
        --b\r\nContent-Type: text/plain; charset=iso-2022-jp\r\n\r\n\x1b$B%F%9%H\x1b(B\r\n\
        --b\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64\r\n\r\naGlkZGVuIHdvcmRz\r\n\
        --b\r\nContent-Type: image/png; name=chart.png\r\n\r\nbinarytext\r\n\
        --b\r\nContent-Type: message/rfc822\r\n\r\nSubject: inner subject\r\n\r\ninner body\r\n\
        --b--\r\nepilogue\r\n";

    #[test]
    fn text_is_compared_decoded() {
        let message = MESSAGE.as_bytes();
        let tree = scan(message);
        for (needle, is_in_text, is_in_body) in [
            ("", true, true),
            ("grüsse", false, false),
            ("GRÜßE AUS KÖLN", true, false),
            ("anna@EXAMPLE", true, false),
            ("from: anna", true, false),
            ("TËXT", true, true),
            ("plain t", true, true),
            ("CAFÉ LONGWORD", true, true),
            ("longword", true, true),
            ("テスト", true, true),
            ("%F%9", false, false),
            ("hidden words", true, true),
            ("aGlkZGVu", false, false),
            ("binarytext", false, false),
            ("chart.png", true, true),
            ("inner subject", true, true),
            ("Inner Body", true, true),
            ("preamble", false, false),
        ] {
            let prepared = Needle::new(needle);
            assert_eq!(text_matches(message, &tree, &prepared), is_in_text, "TEXT {needle}");
            assert_eq!(body_matches(message, &tree, &prepared), is_in_body, "BODY {needle}");
        }
    }

    #[test]
    fn what_the_limits_leave_whole_is_searched_all_the_same() {
        let part = |i: usize| alloc::format!("--b\r\nContent-Type: text/plain\r\n\r\nn{i}.\r\n");
        let wide: String = (0..3000).map(part).collect();
        let wide = alloc::format!("Content-Type: multipart/mixed; boundary=b\r\n\r\n{wide}--b--\r\n");
        let level =
            |i: usize| alloc::format!("Content-Type: multipart/mixed; boundary=b{i}\r\n\r\n--b{i}\r\n");
        let deep: String = (0..60).map(level).collect::<String>() + "\r\nn2999. grün";
        for message in [wide.as_bytes(), deep.as_bytes()] {
            assert!(body_matches(message, &scan(message), &Needle::new("N2999.")));
        }
        assert!(body_matches(deep.as_bytes(), &scan(deep.as_bytes()), &Needle::new("GRÜN")));
        assert!(!body_matches(deep.as_bytes(), &scan(deep.as_bytes()), &Needle::new("absent")));
    }

    #[test]
    fn fields_are_compared_decoded() {
        for (field, needle, is_in) in [
            ("subject", "grüße aus köln", true),
            ("SUBJECT", "utf-8", false),
            ("from", "ANNA", true),
            ("from", "", true),
            ("x-empty", "", true),
            ("x-empty", "x", false),
            ("x-none", "", false),
        ] {
            assert_eq!(
                header_matches(MESSAGE.as_bytes(), field, &Needle::new(needle)),
                is_in,
                "{field} {needle}"
            );
        }
    }
}
