//! BODY's and BODYSTRUCTURE's value (RFC 9051 §7.5.2, §9 `body`).

use alloc::string::String;
use alloc::vec::Vec;

use mime::{Part, PartTree};

use super::envelope::write_envelope;
use super::text::{write_nstring, write_number, write_string};

/// How much of the structure is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// BODY: without extension data.
    Plain,
    /// BODYSTRUCTURE: with extension data.
    Extended,
}

/// Writes the structure of a whole message. Parts nest at most [`mime::DEPTH_MAX`] deep, so the
/// recursion is bounded.
pub(crate) fn write_structure(out: &mut Vec<u8>, tree: &PartTree, extent: Extent) {
    write_part(out, tree, tree.root(), extent);
}

fn write_part(out: &mut Vec<u8>, tree: &PartTree, part: &Part, extent: Extent) {
    out.push(b'(');
    if part.is_multipart() {
        write_multipart(out, tree, part, extent);
    } else {
        write_single(out, tree, part, extent);
    }
    out.push(b')');
}

/// RFC 9051 §9 `body-type-mpart`: the parts, the subtype, then what only BODYSTRUCTURE tells.
fn write_multipart(out: &mut Vec<u8>, tree: &PartTree, part: &Part, extent: Extent) {
    for child in &part.children {
        write_part(out, tree, tree.part(*child), extent);
    }
    out.push(b' ');
    write_string(out, part.content_type.subtype.as_bytes());
    if extent == Extent::Extended {
        out.push(b' ');
        write_params(out, &part.content_type.params);
        write_tail(out, part);
    }
}

/// RFC 9051 §9 `body-type-1part`: `body-type-text`, `body-type-msg` or `body-type-basic`.
fn write_single(out: &mut Vec<u8>, tree: &PartTree, part: &Part, extent: Extent) {
    write_string(out, part.content_type.kind.as_bytes());
    out.push(b' ');
    write_string(out, part.content_type.subtype.as_bytes());
    out.push(b' ');
    write_params(out, &part.content_type.params);
    out.push(b' ');
    write_nstring(out, part.id.as_deref());
    out.push(b' ');
    write_nstring(out, part.description.as_deref());
    out.push(b' ');
    write_string(out, part.encoding_token.as_bytes());
    out.push(b' ');
    write_number(out, u64::from(part.size()));
    if let (Some(envelope), Some(inner)) = (&part.envelope, part.children.first()) {
        out.push(b' ');
        write_envelope(out, envelope);
        out.push(b' ');
        write_part(out, tree, tree.part(*inner), extent);
    }
    if part.is_text() || part.is_message() {
        out.push(b' ');
        write_number(out, u64::from(part.lines));
    }
    if extent == Extent::Extended {
        out.push(b' ');
        write_nstring(out, part.md5.as_deref());
        write_tail(out, part);
    }
}

/// Disposition, language and location, which end both kinds of extension data.
fn write_tail(out: &mut Vec<u8>, part: &Part) {
    out.push(b' ');
    match &part.disposition {
        None => out.extend_from_slice(b"NIL"),
        Some(disposition) => {
            out.push(b'(');
            write_string(out, disposition.kind.as_bytes());
            out.push(b' ');
            write_params(out, &disposition.params);
            out.push(b')');
        }
    }
    out.push(b' ');
    match part.language.as_slice() {
        [] => out.extend_from_slice(b"NIL"),
        [one] => write_string(out, one.as_bytes()),
        many => write_list(out, many.iter()),
    }
    out.push(b' ');
    write_nstring(out, part.location.as_deref());
}

/// RFC 9051 §9 `body-fld-param`.
fn write_params(out: &mut Vec<u8>, params: &[(String, String)]) {
    if params.is_empty() {
        out.extend_from_slice(b"NIL");
        return;
    }
    write_list(out, params.iter().flat_map(|(name, value)| [name, value]));
}

fn write_list<'a>(out: &mut Vec<u8>, strings: impl Iterator<Item = &'a String>) {
    let mut before = b'(';
    for string in strings {
        out.push(before);
        write_string(out, string.as_bytes());
        before = b' ';
    }
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(message: &str, extent: Extent) -> String {
        let mut out = Vec::new();
        write_structure(&mut out, &mime::scan(message.as_bytes()), extent);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_message_without_mime_is_text_plain() {
        let message = "Subject: x\r\n\r\none\r\ntwo\r\n";
        let plain = "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 10 2)";
        assert_eq!(written(message, Extent::Plain), plain);
        let extended =
            "(\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 10 2 NIL NIL NIL NIL)";
        assert_eq!(written(message, Extent::Extended), extended);
    }

    const MIXED: &str = "Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhi\r\n--b\r\n\
        Content-Type: application/pdf; name=\"a b.pdf\"\r\nContent-Transfer-Encoding: base64\r\n\
        Content-Disposition: attachment; filename=\"a b.pdf\"\r\nContent-Language: de, en\r\n\r\nAAAA\r\n--b--\r\n";

    #[test]
    fn a_multipart_lists_its_parts() {
        assert_eq!(
            written(MIXED, Extent::Plain),
            "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 2 0)\
             (\"application\" \"pdf\" (\"name\" \"a b.pdf\") NIL NIL \"base64\" 4) \"mixed\")"
        );
        assert_eq!(
            written(MIXED, Extent::Extended),
            "((\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 2 0 NIL NIL NIL NIL)\
             (\"application\" \"pdf\" (\"name\" \"a b.pdf\") NIL NIL \"base64\" 4 NIL \
             (\"attachment\" (\"filename\" \"a b.pdf\")) (\"de\" \"en\") NIL) \
             \"mixed\" (\"boundary\" \"b\") NIL NIL NIL)"
        );
    }

    #[test]
    fn an_embedded_message_has_its_envelope_structure_and_lines() {
        let message = "Content-Type: message/rfc822\r\n\r\nSubject: in\r\n\r\nx\r\n";
        let nils = "NIL NIL NIL NIL NIL NIL NIL NIL";
        assert_eq!(
            written(message, Extent::Plain),
            alloc::format!(
                "(\"message\" \"rfc822\" NIL NIL NIL \"7bit\" 18 (NIL \"in\" {nils}) \
                 (\"text\" \"plain\" (\"charset\" \"us-ascii\") NIL NIL \"7bit\" 3 1) 3)"
            )
        );
    }
}
