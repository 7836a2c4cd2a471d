//! The part tree: what BODYSTRUCTURE (RFC 9051 §7.5.2) tells and what BODY[1.2] (RFC 9051 §6.4.5.1)
//! needs, as offsets into the message.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::ops::Range;

use crate::content::{ContentType, Disposition};
use crate::envelope::Envelope;
use crate::limits::{DEPTH_MAX, PARTS_MAX};
use crate::transfer::Encoding;

/// A part's place in [`PartTree::parts`]; 0 is the message itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartId(pub u32);

/// One part: a header, a body, and what the header says of the body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Bytes of the header with the empty line that ends it; empty when the part has none.
    pub header: Range<u32>,
    /// Bytes of the body. The line end before a delimiter belongs to the delimiter
    /// (RFC 2046 §5.1.1), so it is not in here. A multipart's body has all of its parts, its
    /// preamble and its epilogue; an embedded message is the body of its part.
    pub body: Range<u32>,
    /// Line ends in the body.
    pub lines: u32,
    /// Content-Type; `text/plain; charset=us-ascii` when there is none (RFC 2045 §5.2), or
    /// `message/rfc822` in a digest (RFC 2046 §5.1.5). `application/octet-stream` for what limits or
    /// its encoding keep closed.
    pub content_type: ContentType,
    /// Content-ID, as it stands.
    pub id: Option<Vec<u8>>,
    /// Content-Description, as it stands: encoded-words are not decoded.
    pub description: Option<Vec<u8>>,
    /// Content-Transfer-Encoding.
    pub encoding: Encoding,
    /// The same as it stands in the header; `7bit` when there is none (RFC 2045 §6.1).
    pub encoding_token: String,
    /// Content-MD5, as it stands.
    pub md5: Option<Vec<u8>>,
    /// Content-Disposition (RFC 2183).
    pub disposition: Option<Disposition>,
    /// Content-Language's tags (RFC 3282).
    pub language: Vec<String>,
    /// Content-Location, as it stands (RFC 2557).
    pub location: Option<Vec<u8>>,
    /// The parts of a multipart, never none; the one embedded message of a `message/rfc822` or
    /// `message/global`; nothing for any other part. Always greater than this part's own id.
    pub children: Vec<PartId>,
    /// The embedded message's envelope: present when and only when [`Part::is_message`].
    pub envelope: Option<Box<Envelope>>,
}

impl Part {
    /// A part without a header whose body begins, and so far ends, at `at`.
    pub(crate) fn opaque(content_type: ContentType, at: u32) -> Self {
        Self {
            header: at..at,
            body: at..at,
            lines: 0,
            content_type,
            id: None,
            description: None,
            encoding: Encoding::SevenBit,
            encoding_token: String::from("7bit"),
            md5: None,
            disposition: None,
            language: Vec::new(),
            location: None,
            children: Vec::new(),
            envelope: None,
        }
    }

    /// A multipart: its `children` are its parts, at least one.
    pub fn is_multipart(&self) -> bool {
        self.content_type.kind == "multipart"
    }

    /// An embedded message: its only child is that message, and `envelope` is its envelope.
    pub fn is_message(&self) -> bool {
        self.envelope.is_some()
    }

    /// A part of type `text`, of any subtype.
    pub fn is_text(&self) -> bool {
        self.content_type.kind == "text"
    }

    /// The header's bytes in the message that was scanned.
    pub fn header_of<'a>(&self, message: &'a [u8]) -> &'a [u8] {
        slice(message, &self.header)
    }

    /// The body's bytes in the message that was scanned, transfer encoding and all.
    pub fn body_of<'a>(&self, message: &'a [u8]) -> &'a [u8] {
        slice(message, &self.body)
    }

    /// Bytes of the body, transfer encoding and all (RFC 9051 §7.5.2 body size).
    pub fn size(&self) -> u32 {
        self.body.end.saturating_sub(self.body.start)
    }
}

/// All parts of one message, each before its children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartTree {
    pub(crate) parts: Vec<Part>,
}

impl PartTree {
    /// The parts, the message itself first; never empty.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The message itself.
    pub fn root(&self) -> &Part {
        self.parts.first().expect("a tree is made with its root")
    }

    /// The part of an id that this tree gave.
    pub fn part(&self, id: PartId) -> &Part {
        self.parts.get(id.0 as usize).expect("an id belongs to the tree that gave it")
    }

    /// Whether a limit was reached, so that some of the message was not taken apart: its parts are
    /// as many, or as deep, as [`crate::limits`] allows.
    pub fn is_cut(&self) -> bool {
        if self.parts.len() < DEPTH_MAX {
            return false;
        }
        // A child comes behind its parent, so one pass knows every depth.
        let mut depths: Vec<usize> = self.parts.iter().map(|_| 1).collect();
        let mut deepest = 1;
        for (at, part) in self.parts.iter().enumerate() {
            let below = depths.get(at).map_or(1, |depth| depth + 1);
            for child in &part.children {
                if let Some(depth) = depths.get_mut(child.0 as usize) {
                    *depth = below;
                    deepest = deepest.max(below);
                }
            }
        }
        self.parts.len() >= PARTS_MAX || deepest + 1 >= DEPTH_MAX
    }

    /// The part of a section's part numbers (RFC 9051 §6.4.5.1); none is the message itself.
    ///
    /// Numbers pass through an embedded message into its parts. A message that is no multipart
    /// has one part, number 1, which is then the message itself: its `body` is the part, its
    /// `header` what `BODY[1.MIME]` asks for.
    pub fn section(&self, path: &[u32]) -> Option<PartId> {
        let mut at = PartId(0);
        let mut is_whole_message = true;
        for &number in path {
            if !is_whole_message && self.part(at).is_message() {
                at = *self.part(at).children.first()?;
                is_whole_message = true;
            }
            let part = self.part(at);
            if part.is_multipart() {
                at = *part.children.get((number as usize).checked_sub(1)?)?;
            } else if !is_whole_message || number != 1 {
                return None;
            }
            is_whole_message = false;
        }
        Some(at)
    }

    /// The message that a part embeds: where `BODY[2.HEADER]` and `BODY[2.TEXT]` look. The root
    /// (for an empty path) is its own message; `None` when the part embeds none.
    pub fn message_in(&self, path: &[u32]) -> Option<PartId> {
        if path.is_empty() {
            return Some(PartId(0));
        }
        let part = self.part(self.section(path)?);
        if part.is_message() { part.children.first().copied() } else { None }
    }
}

fn slice<'a>(message: &'a [u8], range: &Range<u32>) -> &'a [u8] {
    message.get(range.start as usize..range.end as usize).unwrap_or_default()
}
