//! The names that FETCH responses call bytes of a message by (RFC 9051 §9 `section`), as the client
//! asked for them.

use alloc::vec::Vec;

use super::text::{write_number, write_string};
use crate::command::fetch::{Label, Section, What};
use crate::parse::is_astring_char;

/// `BODY[1.HEADER.FIELDS (From)]<0>`, without the value.
pub(crate) fn write_label(out: &mut Vec<u8>, section: &Section) {
    match section.label {
        Label::Body => {
            out.extend_from_slice(b"BODY[");
            write_spec(out, section);
            out.push(b']');
        }
        Label::Binary => {
            out.extend_from_slice(b"BINARY[");
            write_path(out, &section.path);
            out.push(b']');
        }
        Label::Rfc822 => out.extend_from_slice(b"RFC822"),
        Label::Rfc822Header => out.extend_from_slice(b"RFC822.HEADER"),
        Label::Rfc822Text => out.extend_from_slice(b"RFC822.TEXT"),
    }
    // RFC 9051 §7.5.2: the answer names where the bytes begin, not how many were asked for.
    if let Some(partial) = section.partial {
        out.push(b'<');
        write_number(out, partial.offset);
        out.push(b'>');
    }
}

/// `BINARY.SIZE[1.2]`, without the value.
pub(crate) fn write_size_label(out: &mut Vec<u8>, path: &[u32]) {
    out.extend_from_slice(b"BINARY.SIZE[");
    write_path(out, path);
    out.push(b']');
}

/// `section-spec`: what stands between the brackets.
pub(crate) fn write_spec(out: &mut Vec<u8>, section: &Section) {
    write_path(out, &section.path);
    write_what(out, section);
}

fn write_path(out: &mut Vec<u8>, path: &[u32]) {
    for (index, number) in path.iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        write_number(out, u64::from(*number));
    }
}

fn write_what(out: &mut Vec<u8>, section: &Section) {
    if section.what != What::All && !section.path.is_empty() {
        out.push(b'.');
    }
    match &section.what {
        What::All => {}
        What::Header => out.extend_from_slice(b"HEADER"),
        What::Text => out.extend_from_slice(b"TEXT"),
        What::Mime => out.extend_from_slice(b"MIME"),
        What::Fields(names) => write_names(out, b"HEADER.FIELDS (", names),
        What::FieldsNot(names) => write_names(out, b"HEADER.FIELDS.NOT (", names),
    }
}

fn write_names(out: &mut Vec<u8>, start: &[u8], names: &[Vec<u8>]) {
    out.extend_from_slice(start);
    for (index, name) in names.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        if !name.is_empty() && name.iter().all(|&byte| is_astring_char(byte)) {
            out.extend_from_slice(name);
        } else {
            write_string(out, name);
        }
    }
    out.push(b')');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::fetch::Partial;
    use alloc::string::String;

    #[test]
    fn labels_repeat_what_was_asked_for() {
        let names = Vec::from([b"From".to_vec(), b"a b".to_vec()]);
        let partial = Some(Partial { offset: 7, length: 3 });
        for (label, path, what, partial, want) in [
            (Label::Body, &[][..], What::All, None, "BODY[]"),
            (Label::Body, &[], What::Text, partial, "BODY[TEXT]<7>"),
            (Label::Body, &[1, 2], What::Mime, None, "BODY[1.2.MIME]"),
            (Label::Body, &[3], What::All, None, "BODY[3]"),
            (Label::Body, &[3], What::FieldsNot(names), None, "BODY[3.HEADER.FIELDS.NOT (From \"a b\")]"),
            (Label::Binary, &[2], What::All, partial, "BINARY[2]<7>"),
            (Label::Rfc822Text, &[], What::Text, None, "RFC822.TEXT"),
        ] {
            let mut out = Vec::new();
            write_label(&mut out, &Section { label, path: path.to_vec(), what, partial, sets_seen: false });
            assert_eq!(String::from_utf8(out).unwrap(), want);
        }
    }
}
