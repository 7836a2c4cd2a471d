//! The scanner: one pass over a message that finds where its parts lie (RFC 2046 §5.1).
//!
//! The parts that are open at a place form a stack: the message, the multipart that it is, the part
//! of it that is being read, and so on inwards. A delimiter line of any of them closes all that
//! is open inside. So a missing final delimiter costs nothing, and no byte is looked at more than
//! a few times however deep the nesting is.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ops::Range;

use memchr::memmem::Finder;

use crate::content::{ContentType, Disposition, languages};
use crate::envelope::{Envelope, envelope};
use crate::header::{Header, Headers, clean, line_end, line_end_at_start, without_line_end};
use crate::lex::{Lexer, text};
use crate::limits::{BOUNDARY_BYTES_MAX, DEPTH_MAX, EMBEDDED_HEADER_BYTES_MAX, MESSAGE_BYTES_MAX, PARTS_MAX};
use crate::part::{Part, PartId, PartTree};
use crate::transfer::Encoding;

/// Finds the parts of a message. Any bytes are a message: what is not MIME is one part of text.
pub fn scan(message: &[u8]) -> PartTree {
    let bytes = message.get(..MESSAGE_BYTES_MAX).unwrap_or(message);
    let mut scanner = Scanner {
        bytes,
        parts: Vec::new(),
        open: Vec::new(),
        dashes: Finder::new(b"\n--"),
        lines: LineCount::default(),
        embedded_header_bytes: 0,
    };
    let mut at = scanner.open_part(0);
    while let Some(delimiter) = scanner.next_delimiter(at) {
        scanner.close_to(delimiter.open_index + 1, before_line_end(bytes, delimiter.line));
        let after = line_end(bytes, delimiter.line);
        at = if delimiter.is_final {
            scanner.end_parts(delimiter.open_index, after)
        } else {
            scanner.open_part(after)
        };
    }
    scanner.close_to(0, bytes.len());
    PartTree { parts: scanner.parts }
}

struct Scanner<'a> {
    bytes: &'a [u8],
    parts: Vec<Part>,
    /// Parts whose end has not been seen, outermost first; each contains the next.
    open: Vec<Open>,
    dashes: Finder<'static>,
    lines: LineCount,
    embedded_header_bytes: usize,
}

struct Open {
    part: usize,
    /// Two dashes and the boundary, while the multipart's final delimiter has not been seen.
    delimiter: Option<Vec<u8>>,
    lines_before: u32,
}

struct Delimiter {
    /// Where its line begins.
    line: usize,
    open_index: usize,
    is_final: bool,
}

impl Scanner<'_> {
    /// Opens the part that begins at `at`, and the message in it, and in that. Returns where the
    /// innermost body begins.
    fn open_part(&mut self, at: usize) -> usize {
        let mut at = at;
        loop {
            if self.parts.len() + 1 >= PARTS_MAX {
                return self.open_rest(at);
            }
            let header = at..self.header_end(at);
            at = header.end;
            let part = self.read_part(header);
            if !self.push(part) {
                return at;
            }
        }
    }

    /// The last part that [`PARTS_MAX`] allows takes all that is left. When a part that was shown in a
    /// multipart without parts was the last already, what is left is epilogue.
    fn open_rest(&mut self, at: usize) -> usize {
        if self.parts.len() < PARTS_MAX {
            let mut rest = Part::opaque(ContentType::plain("application", "octet-stream"), at as u32);
            (rest.encoding, rest.encoding_token) = (Encoding::Binary, "binary".into());
            self.push(rest);
        }
        for open in &mut self.open {
            open.delimiter = None;
        }
        self.bytes.len()
    }

    /// Puts a part whose header has been read on the stack. True when a message begins in it.
    fn push(&mut self, mut part: Part) -> bool {
        let id = self.parts.len();
        let at = part.body.start as usize;
        let is_deepest = self.open.len() + 1 >= DEPTH_MAX;
        if is_deepest && (part.is_multipart() || is_message_type(&part.content_type)) {
            part.content_type = ContentType::plain("application", "octet-stream");
        }
        let delimiter = if part.is_multipart() { delimiter_of(&part.content_type) } else { None };
        let mut embeds = false;
        if is_message_type(&part.content_type) {
            part.envelope = Some(Box::default());
            // RFC 2046 §5.2.1 allows no other encodings. What they hide cannot be shown as offsets.
            embeds = part.encoding.is_identity();
        }
        if let Some(parent) = self.open.last().and_then(|open| self.parts.get_mut(open.part)) {
            parent.children.push(PartId(id as u32));
            if parent.is_message() && part.header.start < part.header.end {
                parent.envelope =
                    Some(Box::new(embedded_envelope(self.bytes, &part, &mut self.embedded_header_bytes)));
            }
        }
        let lines_before = self.lines.at(self.bytes, at);
        self.open.push(Open { part: id, delimiter, lines_before });
        self.parts.push(part);
        embeds
    }

    /// Closes what is open beyond the outermost `keep`, at `end`.
    fn close_to(&mut self, keep: usize, end: usize) {
        let mut end = end;
        while self.open.len() > keep {
            let Some(open) = self.open.pop() else { return };
            let parts_full = self.parts.len() >= PARTS_MAX;
            let Some(part) = self.parts.get_mut(open.part) else { return };
            // Between an empty header and a delimiter there may be one line end only, which both claim.
            // The header keeps it, so that no body ends before it begins or before its last part does.
            end = end.max(part.body.start as usize);
            part.body.end = end as u32;
            part.lines = self.lines.at(self.bytes, end) - open.lines_before;
            if !part.children.is_empty() || !(part.is_multipart() || part.is_message()) {
                continue;
            }
            if parts_full {
                part.content_type = ContentType::plain("application", "octet-stream");
                part.envelope = None;
                continue;
            }
            let only = only_part(part);
            part.children.push(PartId(open.part as u32 + 1));
            self.parts.push(only);
        }
    }

    /// The final delimiter of a multipart: what follows is its epilogue.
    fn end_parts(&mut self, open_index: usize, after: usize) -> usize {
        if let Some(open) = self.open.get_mut(open_index) {
            open.delimiter = None;
        }
        after
    }

    /// Where the header that begins at `at` ends: behind its empty line, or at a delimiter.
    fn header_end(&self, at: usize) -> usize {
        let mut at = at;
        while let Some(rest) = self.bytes.get(at..).filter(|rest| !rest.is_empty()) {
            if let Some(length) = line_end_at_start(rest) {
                return at + length;
            }
            if rest.starts_with(b"--") && self.delimiter(at).is_some() {
                return at;
            }
            at = line_end(self.bytes, at);
        }
        self.bytes.len()
    }

    /// The next delimiter of any open multipart, from a line's beginning at `at`.
    fn next_delimiter(&self, at: usize) -> Option<Delimiter> {
        if self.open.iter().all(|open| open.delimiter.is_none()) {
            return None;
        }
        let mut line = at;
        loop {
            let rest = self.bytes.get(line..)?;
            if rest.starts_with(b"--")
                && let Some(delimiter) = self.delimiter(line)
            {
                return Some(delimiter);
            }
            line += self.dashes.find(rest)? + 1;
        }
    }

    /// Whether the line is a delimiter, innermost multipart first.
    ///
    /// Deviates from RFC 2046 §5.1.1: a line that only begins with the delimiter is text. With the
    /// prefix rule of that clause a boundary that begins another boundary, or a line of dashes,
    /// would end parts.
    fn delimiter(&self, line: usize) -> Option<Delimiter> {
        let content = self.bytes.get(line..line_end(self.bytes, line))?;
        // `delimiter transport-padding CRLF`
        let content = without_line_end(content).trim_ascii_end();
        self.open.iter().enumerate().rev().find_map(|(open_index, open)| {
            match content.strip_prefix(open.delimiter.as_deref()?)? {
                b"" => Some(Delimiter { line, open_index, is_final: false }),
                b"--" => Some(Delimiter { line, open_index, is_final: true }),
                _ => None,
            }
        })
    }

    /// What a header says of its part.
    fn read_part(&self, header: Range<usize>) -> Part {
        let mut part = Part::opaque(self.default_type(), header.end as u32);
        part.header = header.start as u32..header.end as u32;
        let mut seen = Seen::default();
        for field in Headers::of(self.bytes.get(header).unwrap_or_default()) {
            // Of several fields of one name the first counts.
            read_field(&field, &mut part, &mut seen);
        }
        part
    }

    fn default_type(&self) -> ContentType {
        let parent = self.open.last().and_then(|open| self.parts.get(open.part));
        if parent.is_some_and(|parent| parent.content_type.is("multipart", "digest")) {
            return ContentType::plain("message", "rfc822");
        }
        ContentType::text_plain()
    }
}

/// Line ends before a place that only moves forward, or back by the line end of a delimiter.
#[derive(Default)]
struct LineCount {
    at: usize,
    lines: u32,
}

impl LineCount {
    fn at(&mut self, bytes: &[u8], at: usize) -> u32 {
        let count = |range| memchr::memchr_iter(b'\n', bytes.get(range).unwrap_or_default()).count() as u32;
        if at >= self.at {
            self.lines += count(self.at..at);
        } else {
            self.lines -= count(at..self.at);
        }
        self.at = at;
        self.lines
    }
}

/// Fields that have been read once already.
#[derive(Default)]
struct Seen {
    content_type: bool,
    encoding: bool,
}

fn read_field(field: &Header<'_>, part: &mut Part, seen: &mut Seen) {
    const PREFIX: usize = "content-".len();
    if !field.name.get(..PREFIX).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"content-")) {
        return;
    }
    let is =
        |name: &str| field.name.get(PREFIX..).is_some_and(|rest| rest.eq_ignore_ascii_case(name.as_bytes()));
    if is("type") {
        if !core::mem::replace(&mut seen.content_type, true) {
            // RFC 2045 §5.2: what cannot be read counts as text, also in a digest.
            part.content_type = ContentType::parse(field.value).unwrap_or_else(ContentType::text_plain);
        }
    } else if is("transfer-encoding") {
        let mut lexer = Lexer::of(field.value);
        lexer.skip_cfws();
        let token = lexer.token();
        if !token.is_empty() && !core::mem::replace(&mut seen.encoding, true) {
            part.encoding_token = text(token);
            part.encoding = Encoding::named(&part.encoding_token);
        }
    } else if is("disposition") {
        keep(&mut part.disposition, || Disposition::parse(field.value));
    } else if is("language") {
        if part.language.is_empty() {
            part.language = languages(field.value);
        }
    } else if is("id") {
        keep(&mut part.id, || nonempty(field.value));
    } else if is("description") {
        keep(&mut part.description, || nonempty(field.value));
    } else if is("md5") {
        keep(&mut part.md5, || nonempty(field.value));
    } else if is("location") {
        keep(&mut part.location, || nonempty(field.value));
    }
}

fn keep<T>(slot: &mut Option<T>, read: impl FnOnce() -> Option<T>) {
    if slot.is_none() {
        *slot = read();
    }
}

fn nonempty(value: &[u8]) -> Option<Vec<u8>> {
    let value = clean(value).into_owned();
    if value.is_empty() { None } else { Some(value) }
}

/// The one part of a multipart without parts, or of an encoded message: its body. So nothing is out
/// of reach, and BODYSTRUCTURE has the part its grammar asks for.
fn only_part(part: &Part) -> Part {
    let at = part.body.start;
    let mut only = if part.is_multipart() {
        Part::opaque(ContentType::text_plain(), at)
    } else {
        let content_type = ContentType::plain("application", "octet-stream");
        let encoding_token = part.encoding_token.clone();
        Part { encoding: part.encoding, encoding_token, ..Part::opaque(content_type, at) }
    };
    (only.body, only.lines) = (part.body.clone(), part.lines);
    only
}

/// RFC 2046 §5.2.1 and RFC 6532 §3.7.
fn is_message_type(content_type: &ContentType) -> bool {
    content_type.is("message", "rfc822") || content_type.is("message", "global")
}

fn embedded_envelope(bytes: &[u8], part: &Part, read_bytes: &mut usize) -> Envelope {
    let header = part.header_of(bytes);
    *read_bytes += header.len();
    if *read_bytes > EMBEDDED_HEADER_BYTES_MAX { Envelope::default() } else { envelope(header) }
}

fn delimiter_of(content_type: &ContentType) -> Option<Vec<u8>> {
    let boundary = content_type.param("boundary")?;
    // RFC 2046 §5.1.1: a boundary does not end in white space, but some add it.
    let boundary = boundary.trim_end();
    if boundary.is_empty() || boundary.len() > BOUNDARY_BYTES_MAX {
        return None;
    }
    Some([b"--", boundary.as_bytes()].concat())
}

/// The place before the line end that ends at `at`: it belongs to the delimiter (RFC 2046 §5.1.1).
fn before_line_end(bytes: &[u8], at: usize) -> usize {
    without_line_end(bytes.get(..at).unwrap_or_default()).len()
}

#[cfg(test)]
mod tests;
