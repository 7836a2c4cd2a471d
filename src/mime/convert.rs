//! A message for a host that takes nothing but 7-bit lines, or nothing but lines (RFC 6152 §3, RFC 3030 §3): each part that
//! cannot go as it is gets another transfer encoding, and the fields that say so. The content of every part stays what it was.
//! Text in fields becomes encoded-words.
//!
//! Only leaves are encoded: RFC 2045 §6.4 forbids it for multiparts and RFC 2046 §5.2.1 for embedded messages, whose own
//! parts are encoded instead.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::encode::{base64_lines, has_whole_lines, is_line_safe, lines, quoted_printable};
use crate::header::{Header, Headers, field, line_end_at_start, without_line_end};
use crate::limits::{LINE_BYTES_MAX, MESSAGE_BYTES_MAX};
use crate::part::{Part, PartId, PartTree};
use crate::scan::scan;
use crate::transfer::{Encoding, decode_transfer};

mod fields;

/// What a host takes. All is in lines that end at CRLF and have at most 998 bytes, without NUL (RFC 2045 §2.7, §2.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// ASCII, but for what fields hold that cannot be encoded.
    SevenBit,
    /// All octets, in the header too.
    EightBit,
}

/// Why a message cannot be converted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unconvertible {
    /// A header has lines that cannot be carried.
    Header,
    /// A part is signed or encrypted as it is: any change would break that (RFC 1847 §2.1, §2.2).
    Sealed,
    /// A part is of a type that may not be encoded (RFC 2046 §5.2), or in an encoding that is not known.
    Part,
    /// The parts cannot be told from each other: a multipart has none, or they are too many or too deep.
    Structure,
}

impl fmt::Display for Unconvertible {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "its header has lines that cannot be carried",
            Self::Sealed => "it is signed or encrypted",
            Self::Part => "a part of it may not be encoded",
            Self::Structure => "its parts cannot be made out",
        })
    }
}

/// The same message as the host takes it. Parts that can go as they are do, and their fields claim no more than that.
pub fn convert(message: &[u8], target: Target) -> Result<Vec<u8>, Unconvertible> {
    if message.len() > MESSAGE_BYTES_MAX {
        return Err(Unconvertible::Structure);
    }
    let tree = scan(message);
    if tree.is_cut() {
        return Err(Unconvertible::Structure);
    }
    let out = Vec::with_capacity(message.len() + message.len() / 2);
    let mut conversion = Conversion { message, tree: &tree, target, out };
    conversion.part(PartId(0), Role::Message)?;
    let mut out = conversion.out;
    if !out.is_empty() && !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    Ok(out)
}

/// What a part is to the one around it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// A message: the whole one, or one that is embedded.
    Message,
    /// One of the parts of a multipart.
    Piece,
}

/// What a header is to say of its body that it does not say yet.
#[derive(Clone, Copy)]
struct Said {
    /// The encoding; `None` leaves what is said of it.
    encoding: Option<&'static str>,
    /// The text's charset, which nobody knows (RFC 1428 §3).
    is_unknown_text: bool,
}

struct Conversion<'a> {
    message: &'a [u8],
    tree: &'a PartTree,
    target: Target,
    out: Vec<u8>,
}

impl Conversion<'_> {
    /// As deep as the tree, which is bounded.
    fn part(&mut self, id: PartId, role: Role) -> Result<(), Unconvertible> {
        let part = self.tree.part(id);
        let is_sealed =
            part.content_type.is("multipart", "signed") || part.content_type.is("multipart", "encrypted");
        let is_embedding = part.content_type.is("message", "rfc822") && part.encoding.is_identity();
        if is_sealed {
            self.sealed(part, role)
        } else if part.is_multipart() || is_embedding {
            self.composite(part, role)
        } else {
            self.leaf(part, role)
        }
    }

    /// RFC 1847 §2.1: nothing of what is signed may be changed, not even the fields of its parts.
    fn sealed(&mut self, part: &Part, role: Role) -> Result<(), Unconvertible> {
        let body = part.body_of(self.message);
        if !self.can_go(body) {
            return Err(Unconvertible::Sealed);
        }
        self.as_it_is(part, role)
    }

    /// A multipart or an embedded message: its own encoding says what its parts are at most.
    fn composite(&mut self, part: &Part, role: Role) -> Result<(), Unconvertible> {
        if part.is_multipart() && !self.has_delimiters(part) {
            let body = part.body_of(self.message);
            return if self.can_go(body) { self.as_it_is(part, role) } else { Err(Unconvertible::Structure) };
        }
        self.put_header(part, role, self.relabelled(part))?;
        let role = if part.is_multipart() { Role::Piece } else { Role::Message };
        let mut at = part.body.start;
        for child in &part.children {
            let inner = self.tree.part(*child);
            self.put_between(at, inner.header.start)?;
            self.part(*child, role)?;
            at = inner.body.end;
        }
        self.put_between(at, part.body.end)
    }

    /// The scanner gives a multipart without parts its body as the only one.
    fn has_delimiters(&self, part: &Part) -> bool {
        let first = part.children.first().map(|child| self.tree.part(*child));
        first.is_some_and(|first| first.header.start > part.body.start)
    }

    fn leaf(&mut self, part: &Part, role: Role) -> Result<(), Unconvertible> {
        let body = part.body_of(self.message);
        if self.can_go(body) {
            return self.as_it_is(part, role);
        }
        // RFC 2046 §5.2.4; RFC 6532 §3.7 and RFC 6533 §5 allow it for their types.
        let content_type = &part.content_type;
        let is_global = content_type.subtype.split('-').next() == Some("global");
        if content_type.kind == "message" && !is_global {
            return Err(Unconvertible::Part);
        }
        let content: Cow<'_, [u8]> = match part.encoding {
            Encoding::SevenBit | Encoding::EightBit | Encoding::Binary => body.into(),
            Encoding::QuotedPrintable | Encoding::Base64 => decode_transfer(part.encoding, body).into(),
            Encoding::Other => return Err(Unconvertible::Part),
        };
        let is_quoted = part.is_text() && part.encoding != Encoding::Base64 && is_legible(&content);
        let encoding = if is_quoted { "quoted-printable" } else { "base64" };
        let is_typed = field(part.header_of(self.message), "Content-Type").is_some();
        let is_unknown_text = !is_typed && !content.is_ascii();
        self.put_header(part, role, Said { encoding: Some(encoding), is_unknown_text })?;
        self.out.extend(if is_quoted { quoted_printable(&content) } else { base64_lines(&content) });
        let is_last = part.body.end as usize == self.message.len();
        if is_quoted && is_last && !content.ends_with(b"\r\n") {
            // The message's last line gets an end, which is none of the content's.
            self.out.extend_from_slice(b"=\r\n");
        }
        Ok(())
    }

    /// Copies a part whose body can go.
    fn as_it_is(&mut self, part: &Part, role: Role) -> Result<(), Unconvertible> {
        self.put_header(part, role, self.relabelled(part))?;
        self.out.extend_from_slice(part.body_of(self.message));
        Ok(())
    }

    fn can_go(&self, bytes: &[u8]) -> bool {
        (self.target == Target::EightBit || bytes.is_ascii()) && is_line_safe(bytes)
    }

    /// What a part says whose bytes go as they are.
    fn relabelled(&self, part: &Part) -> Said {
        let encoding = match (self.target, part.encoding) {
            (Target::SevenBit, Encoding::EightBit | Encoding::Binary) => Some("7bit"),
            (Target::EightBit, Encoding::Binary) => Some("8bit"),
            _ => None,
        };
        Said { encoding, is_unknown_text: false }
    }

    /// Copies a header with what it is to say.
    fn put_header(&mut self, part: &Part, role: Role, said: Said) -> Result<(), Unconvertible> {
        let header = part.header_of(self.message);
        let (mut at, mut is_said, mut is_mime) = (0, false, false);
        for field in Headers::of(header) {
            at = field.range.end;
            is_mime |= field.is("MIME-Version");
            if let Some(encoding) = said.encoding
                && field.is("Content-Transfer-Encoding")
            {
                // Of several the first counts.
                if !core::mem::replace(&mut is_said, true) {
                    self.put_field("Content-Transfer-Encoding", encoding);
                }
                continue;
            }
            let as_it_is = header.get(field.range.clone()).unwrap_or_default();
            match self.in_ascii(&field, as_it_is) {
                Some(encoded) => self.put_lines(encoded.as_bytes())?,
                None => self.put_lines(as_it_is)?,
            }
        }
        let rest = header.get(at..).unwrap_or_default();
        if let Some(encoding) = said.encoding.filter(|_| !is_said) {
            // What has a body has the empty line that comes behind these.
            if line_end_at_start(rest).is_none() {
                return Err(Unconvertible::Structure);
            }
            if role == Role::Message && !is_mime {
                self.put_field("MIME-Version", "1.0");
            }
            if said.is_unknown_text {
                self.put_field("Content-Type", "text/plain; charset=unknown-8bit");
            }
            self.put_field("Content-Transfer-Encoding", encoding);
        }
        self.put_lines(rest)
    }

    /// A field with text of programs that know no encoded-words. Where there is no form for it, it goes as it is: hosts that
    /// say nothing of 8-bit take it all the same, and the alternative is no message at all.
    fn in_ascii(&self, field: &Header<'_>, as_it_is: &[u8]) -> Option<String> {
        let is_foreign = self.target == Target::SevenBit && !as_it_is.is_ascii();
        is_foreign.then(|| fields::in_ascii(field)).flatten()
    }

    fn put_field(&mut self, name: &str, value: &str) {
        for piece in [name, ": ", value, "\r\n"] {
            self.out.extend_from_slice(piece.as_bytes());
        }
    }

    /// Copies lines of a header. One that is too long is folded where it has white space (RFC 5322 §2.2.3).
    fn put_lines(&mut self, header: &[u8]) -> Result<(), Unconvertible> {
        for line in lines(header) {
            let content = without_line_end(line);
            if memchr::memchr2(b'\r', 0, content).is_some() {
                return Err(Unconvertible::Header);
            }
            let mut rest = content;
            while rest.len() > LINE_BYTES_MAX {
                let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
                let start = rest.get(1..LINE_BYTES_MAX).unwrap_or_default();
                let fold = start.iter().rposition(is_space).ok_or(Unconvertible::Header)? + 1;
                let (line, after) = rest.split_at(fold);
                // A line of white space alone would be taken for the header's end by some.
                if line.trim_ascii().is_empty() {
                    return Err(Unconvertible::Header);
                }
                self.out.extend_from_slice(line);
                self.out.extend_from_slice(b"\r\n");
                rest = after;
            }
            self.out.extend_from_slice(rest);
            if content.len() < line.len() {
                self.out.extend_from_slice(b"\r\n");
            }
        }
        Ok(())
    }

    /// Copies delimiters, and what is before, between and behind the parts. That is for nobody (RFC 2046 §5.1.1), so a
    /// line of it that cannot go is left empty.
    fn put_between(&mut self, from: u32, to: u32) -> Result<(), Unconvertible> {
        let between = self.message.get(from as usize..to as usize).unwrap_or_default();
        for line in lines(between) {
            let content = without_line_end(line);
            if self.can_go(content) {
                self.out.extend_from_slice(content);
            } else if content.starts_with(b"--") {
                // It may be a delimiter.
                return Err(Unconvertible::Structure);
            }
            if content.len() < line.len() {
                self.out.extend_from_slice(b"\r\n");
            }
        }
        Ok(())
    }
}

/// Whether people can read some of a text in quoted-printable. Else base64 is shorter.
fn is_legible(text: &[u8]) -> bool {
    let encoded = text.iter().filter(|byte| !byte.is_ascii()).count();
    has_whole_lines(text) && encoded <= text.len() / 2
}

#[cfg(test)]
mod tests;
