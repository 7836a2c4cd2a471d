//! Changes of the header.

use std::borrow::Cow;

use mime::{Headers, decode_words, encode_word, end_of_headers, fold};

/// One change. Names are field names, values are text: what is not ASCII is written as encoded-words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FieldEdit {
    /// One more field, on top.
    Add {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// This field in place of the first of its name, and no other of that name.
    Set {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    },
    /// No field of that name.
    Remove {
        /// Its name.
        name: String,
    },
    /// A text in front of the subject, unless it is there already.
    PrefixSubject(String),
    /// One more address in To or Cc, unless it is there already.
    AddAddress {
        /// `To` or `Cc`.
        name: String,
        /// `local@domain`.
        address: String,
    },
}

/// The message with these changes, made in their order.
pub fn edit_fields(message: &[u8], edits: &[FieldEdit]) -> Vec<u8> {
    if edits.is_empty() {
        return message.to_vec();
    }
    let mut fields: Vec<Cow<'_, [u8]>> =
        Headers::of(message).filter_map(|field| message.get(field.range)).map(Cow::Borrowed).collect();
    let header_bytes: usize = fields.iter().map(|field| field.len()).sum();
    let rest = message.get(header_bytes..).unwrap_or_default();
    if let Some(last) = fields.last_mut().filter(|last| !last.ends_with(b"\n")) {
        last.to_mut().extend(b"\r\n");
    }
    for edit in edits {
        apply(&mut fields, edit);
    }
    let mut out = Vec::with_capacity(message.len() + 256);
    for field in &fields {
        out.extend_from_slice(field);
    }
    out.extend_from_slice(rest);
    out
}

fn apply(fields: &mut Vec<Cow<'_, [u8]>>, edit: &FieldEdit) {
    match edit {
        FieldEdit::Add { name, value } => fields.insert(top(fields), written(name, value)),
        FieldEdit::Set { name, value } => set(fields, name, written(name, value)),
        FieldEdit::Remove { name } => fields.retain(|field| !is(field, name)),
        FieldEdit::PrefixSubject(prefix) => {
            let subject = value_of(fields, "Subject").map(|value| decode_words(&value)).unwrap_or_default();
            let subject = subject.trim();
            if !subject.starts_with(prefix.trim_end()) {
                set(fields, "Subject", written("Subject", &format!("{prefix}{subject}")));
            }
        }
        FieldEdit::AddAddress { name, address } => add_address(fields, name, address),
    }
}

/// Where a new field goes: on top, but behind a first line that would go on with it.
fn top(fields: &[Cow<'_, [u8]>]) -> usize {
    usize::from(fields.first().is_some_and(|first| first.starts_with(b" ") || first.starts_with(b"\t")))
}

fn written(name: &str, value: &str) -> Cow<'static, [u8]> {
    Cow::Owned(fold(name, &encode_word(value)).into_bytes())
}

fn set<'a>(fields: &mut Vec<Cow<'a, [u8]>>, name: &str, line: Cow<'a, [u8]>) {
    let at = fields.iter().position(|field| is(field, name));
    fields.retain(|field| !is(field, name));
    fields.insert(at.unwrap_or_else(|| top(fields)), line);
}

fn is(field: &[u8], name: &str) -> bool {
    Headers::of(field).next().is_some_and(|field| field.is(name))
}

fn value_of(fields: &[Cow<'_, [u8]>], name: &str) -> Option<Vec<u8>> {
    let field = fields.iter().find(|field| is(field, name))?;
    Headers::of(field).next().map(|field| mime::unfold(field.value).trim_ascii().to_vec())
}

/// The address behind those that stand there, which stay as they are written.
fn add_address(fields: &mut Vec<Cow<'_, [u8]>>, name: &str, address: &str) {
    let there = fields.iter().any(|field| is(field, name) && names_address(field, address));
    if there {
        return;
    }
    let alone = fold(name, address).into_bytes();
    let Some(at) = fields.iter().position(|field| is(field, name)) else {
        fields.insert(top(fields), Cow::Owned(alone));
        return;
    };
    let old = value_of(fields, name).unwrap_or_default();
    let joined = match String::from_utf8(old) {
        Ok(old) if !old.is_empty() => fold(name, &format!("{old}, {address}")).into_bytes(),
        Ok(_) => alone,
        Err(_) => Vec::new(),
    };
    // A list that is broken would swallow the address, and bytes that are no UTF-8 cannot be written again as
    // they are: then it gets a field of its own.
    match fields.get_mut(at).filter(|_| names_address(&joined, address)) {
        Some(field) => *field = Cow::Owned(joined),
        None => fields.insert(top(fields), Cow::Owned(fold(name, address).into_bytes())),
    }
}

/// Whether a field of addresses has this one.
fn names_address(field: &[u8], address: &str) -> bool {
    let value = Headers::of(field).next().map(|field| mime::addresses(field.value)).unwrap_or_default();
    value.iter().any(|one| spelled(one).eq_ignore_ascii_case(address))
}

/// The addresses in all fields of a name, as `local@domain`; groups give those in them.
pub fn header_addresses(header: &[u8], name: &str) -> Vec<String> {
    let fields = Headers::of(header).filter(|field| field.is(name));
    let all = fields.flat_map(|field| mime::addresses(field.value));
    all.filter(|one| one.mailbox.is_some() && one.host.is_some()).map(|one| spelled(&one)).collect()
}

/// An address of a header as text.
fn spelled(address: &mime::Address) -> String {
    let text = |part: &Option<Vec<u8>>| {
        part.as_deref().map(String::from_utf8_lossy).unwrap_or_default().into_owned()
    };
    format!("{}@{}", text(&address.mailbox), text(&address.host))
}

/// A header section with `name` set to a line that is written already, behind the other fields when it
/// is new; with its empty line, if it had one.
pub(crate) fn with_line(header: &[u8], name: &str, line: &str) -> Vec<u8> {
    let end = end_of_headers(header);
    let mut fields: Vec<&[u8]> = Headers::of(header).filter_map(|field| header.get(field.range)).collect();
    let bytes: usize = fields.iter().map(|field| field.len()).sum();
    let at = fields.iter().position(|field| is(field, name)).unwrap_or(fields.len());
    fields.retain(|field| !is(field, name));
    fields.insert(at.min(fields.len()), line.as_bytes());
    let mut out = Vec::with_capacity(header.len() + line.len() + 2);
    for field in fields {
        out.extend_from_slice(field);
        if !field.ends_with(b"\n") {
            out.extend(b"\r\n");
        }
    }
    out.extend_from_slice(header.get(bytes..end).unwrap_or_default());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn edited(message: &str, edits: &[FieldEdit]) -> String {
        String::from_utf8(edit_fields(message.as_bytes(), edits)).unwrap()
    }

    fn set(name: &str, value: &str) -> FieldEdit {
        FieldEdit::Set { name: name.into(), value: value.into() }
    }

    const MESSAGE: &str = "X-A: 1\r\nSubject: =?utf-8?q?Gr=C3=BCn?=\r\n folded\r\nx-a: 2\r\nTo: A\r\n <a@b.c>\r\n\r\nX-A: body\r\n";

    #[test]
    fn fields_are_added_set_and_removed() {
        let rest = "Subject: =?utf-8?q?Gr=C3=BCn?=\r\n folded\r\n";
        assert_eq!(
            edited(MESSAGE, &[set("X-A", "new"), FieldEdit::Add { name: "X-B".into(), value: "ü".into() }]),
            format!("X-B: =?utf-8?B?w7w=?=\r\nX-A: new\r\n{rest}To: A\r\n <a@b.c>\r\n\r\nX-A: body\r\n")
        );
        assert_eq!(
            edited(MESSAGE, &[FieldEdit::Remove { name: "x-A".into() }, set("X-C", "1")]),
            format!("X-C: 1\r\n{rest}To: A\r\n <a@b.c>\r\n\r\nX-A: body\r\n")
        );
        assert_eq!(edited(MESSAGE, &[]), MESSAGE);
    }

    #[test]
    fn subjects_get_a_prefix_once() {
        let prefix = [FieldEdit::PrefixSubject("[EXT] ".into())];
        let once = edited(MESSAGE, &prefix);
        let field = mime::field(once.as_bytes(), "subject").unwrap();
        assert_eq!(decode_words(field.value).trim(), "[EXT] Grün folded");
        assert_eq!(edited(&once, &prefix), once);
        assert_eq!(edited("\r\nx", &prefix), "Subject: [EXT]\r\n\r\nx");
    }

    #[test]
    fn addresses_are_added_once() {
        let add =
            |name: &str, address: &str| FieldEdit::AddAddress { name: name.into(), address: address.into() };
        let once = edited(MESSAGE, &[add("To", "x@y.z")]);
        assert!(once.contains("\r\nTo: A <a@b.c>, x@y.z\r\n\r\n"), "{once}");
        assert_eq!(edited(&once, &[add("To", "X@y.z")]), once);
        assert!(edited(MESSAGE, &[add("Cc", "x@y.z")]).starts_with("Cc: x@y.z\r\n"));
    }

    #[test]
    fn a_header_without_an_end_gets_one_before_it_goes_on() {
        assert_eq!(edited("A: 1", &[set("B", "2")]), "B: 2\r\nA: 1\r\n");
        assert_eq!(edited(" x\r\nA: 1", &[set("B", "2")]), " x\r\nB: 2\r\nA: 1\r\n");
        assert_eq!(edited("", &[set("B", "2")]), "B: 2\r\n");
        assert_eq!(with_line(b"A: 1\r\nB: 2\r\n\r\n", "a", "A: 3\r\n"), b"A: 3\r\nB: 2\r\n\r\n");
        assert_eq!(with_line(b"\r\n", "a", "A: 3\r\n"), b"A: 3\r\n\r\n");
    }

    #[test]
    fn a_value_cannot_make_a_field() {
        assert_eq!(edited("A: 1\r\n\r\n", &[set("A", "2\r\nB: 3")]).matches('\n').count(), 2);
    }
}
