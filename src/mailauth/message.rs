//! A message as header fields and a body, by ranges of its bytes. Lines end at CRLF and nothing else.

use std::collections::BTreeMap;

/// One header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field<'a> {
    /// The name, without blanks after it.
    pub name: &'a [u8],
    /// All of the field, with the CRLF of its last line.
    pub raw: &'a [u8],
    /// What follows the colon, with the CRLF of its last line.
    pub value: &'a [u8],
}

impl Field<'_> {
    /// Whether the field has this name, in whatever case.
    pub fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name.as_bytes())
    }
}

/// A message that is looked at.
#[derive(Clone, Debug)]
pub struct Message<'a> {
    /// The fields from the top down. What is no field (a line without a colon) is not here.
    pub fields: Vec<Field<'a>>,
    /// What follows the empty line.
    pub body: &'a [u8],
    /// The positions of each name in `fields`, names in lower case.
    positions: BTreeMap<Vec<u8>, Vec<usize>>,
}

impl<'a> Message<'a> {
    /// Divides the bytes of a message. It takes time linear in the header's bytes.
    pub fn parse(bytes: &'a [u8]) -> Self {
        let (fields, body) = split(bytes);
        let mut positions: BTreeMap<Vec<u8>, Vec<usize>> = BTreeMap::new();
        for (i, field) in fields.iter().enumerate() {
            positions.entry(field.name.to_ascii_lowercase()).or_default().push(i);
        }
        Self { fields, body, positions }
    }

    /// The fields of a name (in lower case), from the top down.
    pub fn named<'b>(&'b self, name: &str) -> impl DoubleEndedIterator<Item = Field<'a>> + 'b {
        let positions = self.positions.get(name.as_bytes()).map_or(&[][..], Vec::as_slice);
        positions.iter().filter_map(|position| self.fields.get(*position).copied())
    }

    /// The fields that a signature's `h=` names: each mention takes the next field of that name from the
    /// bottom up, or nothing when there is none left (RFC 6376 §5.4.2).
    pub(crate) fn signed<'n>(&self, names: impl Iterator<Item = &'n [u8]>) -> Vec<Field<'a>> {
        let mut used: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        let mut picked = Vec::new();
        for name in names {
            let name = name.to_ascii_lowercase();
            let positions = self.positions.get(&name).map_or(&[][..], Vec::as_slice);
            let taken = used.entry(name).or_default();
            *taken += 1;
            let position = positions.len().checked_sub(*taken).and_then(|at| positions.get(at));
            picked.extend(position.and_then(|position| self.fields.get(*position)).copied());
        }
        picked
    }
}

/// The fields and the body of a message.
pub(crate) fn split(bytes: &[u8]) -> (Vec<Field<'_>>, &[u8]) {
    let mut fields = Vec::new();
    let mut at = 0;
    while at < bytes.len() {
        let rest = bytes.get(at..).unwrap_or_default();
        if let Some(body) = rest.strip_prefix(b"\r\n") {
            return (fields, body);
        }
        let end = field_end(rest);
        let raw = rest.get(..end).unwrap_or_default();
        at += end;
        fields.extend(field(raw));
    }
    (fields, &[])
}

/// Where the field at the start of `rest` ends: after a CRLF that no blank follows.
fn field_end(rest: &[u8]) -> usize {
    let mut at = 0;
    loop {
        at += line_bytes(rest.get(at..).unwrap_or_default());
        if !matches!(rest.get(at), Some(b' ' | b'\t')) {
            return at;
        }
    }
}

/// The bytes of the first line with its CRLF, or all when it has none.
fn line_bytes(rest: &[u8]) -> usize {
    for at in memchr::memchr_iter(b'\n', rest) {
        if at > 0 && rest.get(at - 1) == Some(&b'\r') {
            return at + 1;
        }
    }
    rest.len()
}

fn field(raw: &[u8]) -> Option<Field<'_>> {
    let colon = memchr::memchr(b':', raw)?;
    let name = raw.get(..colon)?.trim_ascii_end();
    let is_name = !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
    is_name.then_some(Field { name, raw, value: raw.get(colon + 1..)? })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &[u8] = b"A: 1\r\nb : 2\r\n 3\r\nno colon\r\na: 4\nx\r\n\r\nbody\r\n";

    #[test]
    fn fields_end_where_no_blank_follows() {
        let message = Message::parse(TEXT);
        let raws: Vec<&[u8]> = message.fields.iter().map(|field| field.raw).collect();
        assert_eq!(raws, [&b"A: 1\r\n"[..], b"b : 2\r\n 3\r\n", b"a: 4\nx\r\n"]);
        assert_eq!(message.body, b"body\r\n");
        assert_eq!(message.named("a").count(), 2);
        assert_eq!(Message::parse(b"A: 1").fields.len(), 1);
        assert!(Message::parse(b"\r\n").fields.is_empty());
    }

    #[test]
    fn mentions_are_counted_from_the_bottom() {
        let message = Message::parse(TEXT);
        let names: [&[u8]; 4] = [b"A", b"a", b"a", b"c"];
        let picked = message.signed(names.into_iter());
        assert_eq!(
            picked.iter().map(|field| field.value).collect::<Vec<_>>(),
            [&b" 4\nx\r\n"[..], b" 1\r\n"]
        );
    }
}
