//! The part tree as bytes, to be kept beside the message so that it need not be scanned again.
//!
//! A version byte, the number of parts, then the parts in order. Numbers are variable-length: seven
//! bits a byte, the lowest first, the top bit meaning that more follow. Strings have their length
//! before them; an optional thing has 0 (none) or 1 before it.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

use crate::address::Address;
use crate::content::{ContentType, Disposition, Params};
use crate::envelope::Envelope;
use crate::limits::{DEPTH_MAX, PARTS_MAX};
use crate::part::{Part, PartId, PartTree};
use crate::transfer::Encoding;

/// Changes whenever the layout *or what the scanner finds* changes: a cache of another version is
/// made anew.
const VERSION: u8 = 1;

impl PartTree {
    /// The tree as bytes, for a cache.
    pub fn serialize(&self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(64 * self.parts.len()));
        out.0.push(VERSION);
        out.list(&self.parts, Writer::part);
        out.0
    }

    /// The tree of such bytes; `None` when they are of another version or damaged. What it gives is
    /// safe to walk whatever the bytes were, but only a checksum of the keeper's can tell that it
    /// belongs to the message.
    pub fn deserialize(bytes: &[u8]) -> Option<Self> {
        let (&version, bytes) = bytes.split_first()?;
        if version != VERSION {
            return None;
        }
        let mut input = Reader(bytes);
        let parts = input.list(Reader::part)?;
        let tree = Self { parts };
        if input.0.is_empty() && is_tree(&tree.parts) { Some(tree) } else { None }
    }
}

/// Each part but the first is the child of exactly one part before it, none is too deep, and each
/// has the children that its type promises.
fn is_tree(parts: &[Part]) -> bool {
    if parts.is_empty() || parts.len() > PARTS_MAX {
        return false;
    }
    // 0 is "no parent yet".
    let mut depths: Vec<usize> = parts.iter().map(|_| 0).collect();
    for (id, part) in parts.iter().enumerate() {
        let depth = if id == 0 { 1 } else { depths.get(id).copied().unwrap_or(0) };
        let is_promised = match (part.is_multipart(), part.is_message()) {
            (true, false) => !part.children.is_empty(),
            (false, true) => part.children.len() == 1,
            (false, false) => part.children.is_empty(),
            (true, true) => false,
        };
        if depth == 0 || depth > DEPTH_MAX || !is_promised {
            return false;
        }
        for child in &part.children {
            match depths.get_mut(child.0 as usize) {
                Some(slot) if *slot == 0 && child.0 as usize > id => *slot = depth + 1,
                _ => return false,
            }
        }
    }
    true
}

struct Writer(Vec<u8>);

impl Writer {
    fn number(&mut self, number: u32) {
        let mut number = number;
        while number >= 0x80 {
            self.0.push(number as u8 | 0x80);
            number >>= 7;
        }
        self.0.push(number as u8);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u32);
        self.0.extend_from_slice(bytes);
    }

    fn string(&mut self, string: &String) {
        self.bytes(string.as_bytes());
    }

    fn option<T>(&mut self, option: Option<&T>, put: impl FnOnce(&mut Self, &T)) {
        self.0.push(option.is_some().into());
        if let Some(value) = option {
            put(self, value);
        }
    }

    fn list<T>(&mut self, list: &[T], put: impl Fn(&mut Self, &T)) {
        self.number(list.len() as u32);
        for item in list {
            put(self, item);
        }
    }

    fn optional_bytes(&mut self, option: Option<&Vec<u8>>) {
        self.option(option, |out, bytes| out.bytes(bytes));
    }

    fn params(&mut self, params: &Params) {
        self.list(params, |out, (name, value)| {
            out.string(name);
            out.string(value);
        });
    }

    fn part(&mut self, part: &Part) {
        for range in [&part.header, &part.body] {
            self.number(range.start);
            self.number(range.end - range.start);
        }
        self.number(part.lines);
        self.string(&part.content_type.kind);
        self.string(&part.content_type.subtype);
        self.params(&part.content_type.params);
        self.string(&part.encoding_token);
        for option in [&part.id, &part.description, &part.md5, &part.location] {
            self.optional_bytes(option.as_ref());
        }
        self.option(part.disposition.as_ref(), |out, disposition| {
            out.string(&disposition.kind);
            out.params(&disposition.params);
        });
        self.list(&part.language, Self::string);
        self.list(&part.children, |out, child| out.number(child.0));
        self.option(part.envelope.as_ref(), |out, envelope| out.envelope(envelope));
    }

    fn envelope(&mut self, envelope: &Envelope) {
        for option in [&envelope.date, &envelope.subject, &envelope.in_reply_to, &envelope.message_id] {
            self.optional_bytes(option.as_ref());
        }
        for list in
            [&envelope.from, &envelope.sender, &envelope.reply_to, &envelope.to, &envelope.cc, &envelope.bcc]
        {
            self.list(list, |out, address| {
                for option in [&address.name, &address.adl, &address.mailbox, &address.host] {
                    out.optional_bytes(option.as_ref());
                }
            });
        }
    }
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(byte)
    }

    fn number(&mut self) -> Option<u32> {
        let mut number = 0_u64;
        for shift in [0, 7, 14, 21, 28] {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return u32::try_from(number).ok();
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.number()? as usize;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn string(&mut self) -> Option<String> {
        core::str::from_utf8(self.bytes()?).ok().map(String::from)
    }

    /// Whether an optional thing follows.
    fn is_some(&mut self) -> Option<bool> {
        match self.byte()? {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }
    }

    /// Every item takes a byte at least, so a false count ends with the input.
    fn list<T>(&mut self, take: impl Fn(&mut Self) -> Option<T>) -> Option<Vec<T>> {
        let count = self.number()?;
        (0..count).map(|_| take(self)).collect()
    }

    fn fill(&mut self, slot: &mut Option<Vec<u8>>) -> Option<()> {
        if self.is_some()? {
            *slot = Some(self.bytes()?.to_vec());
        }
        Some(())
    }

    fn params(&mut self) -> Option<Params> {
        self.list(|input| Some((input.string()?, input.string()?)))
    }

    fn range(&mut self) -> Option<core::ops::Range<u32>> {
        let start = self.number()?;
        Some(start..start.checked_add(self.number()?)?)
    }

    fn part(&mut self) -> Option<Part> {
        let (header, body, lines) = (self.range()?, self.range()?, self.number()?);
        let content_type =
            ContentType { kind: self.string()?, subtype: self.string()?, params: self.params()? };
        let mut part = Part { header, body, lines, ..Part::opaque(content_type, 0) };
        part.encoding_token = self.string()?;
        part.encoding = Encoding::named(&part.encoding_token);
        for slot in [&mut part.id, &mut part.description, &mut part.md5, &mut part.location] {
            self.fill(slot)?;
        }
        if self.is_some()? {
            part.disposition = Some(Disposition { kind: self.string()?, params: self.params()? });
        }
        part.language = self.list(Self::string)?;
        part.children = self.list(|input| input.number().map(PartId))?;
        if self.is_some()? {
            part.envelope = Some(Box::new(self.envelope()?));
        }
        Some(part)
    }

    fn envelope(&mut self) -> Option<Envelope> {
        let mut envelope = Envelope::default();
        for slot in
            [&mut envelope.date, &mut envelope.subject, &mut envelope.in_reply_to, &mut envelope.message_id]
        {
            self.fill(slot)?;
        }
        for slot in [
            &mut envelope.from,
            &mut envelope.sender,
            &mut envelope.reply_to,
            &mut envelope.to,
            &mut envelope.cc,
            &mut envelope.bcc,
        ] {
            *slot = self.list(|input| {
                let mut address = Address::default();
                for part in [&mut address.name, &mut address.adl, &mut address.mailbox, &mut address.host] {
                    input.fill(part)?;
                }
                Some(address)
            })?;
        }
        Some(envelope)
    }
}
