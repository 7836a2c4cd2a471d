//! The law of message content: lines end at CRLF and at nothing else, the content of DATA at CRLF.CRLF and at
//! nothing else, and what breaks the law is refused whole, never repaired (RFC 5321 §2.3.8, §4.1.1.4).

use alloc::vec::Vec;

use base::Charge;

use crate::envelope::BodyKind;
use crate::limits::CONTENT_DOUBLING_BYTES;

/// What is wrong with content; the first fault found is the one that is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A CR without LF or an LF without CR.
    BareLineBreak,
    /// A NUL (RFC 5321 §4.5.2 leaves it to us; RFC 6152 §3 has it out of 8BITMIME).
    Nul,
    /// More than the limit.
    TooLarge,
    /// More than the memory that all connections share has left now.
    NoMemory,
}

/// Content as it gathers. Once it is at fault its memory is given back, and nothing more is kept.
pub(crate) struct Content {
    data: Vec<u8>,
    /// Covers the room that `data` has.
    charge: Charge,
    /// How much of `data` is our own header.
    prefix_bytes: usize,
    bytes_max: usize,
    fault: Option<Fault>,
    law: Law,
}

/// Which octets are lawful.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Law {
    /// Lines; the flag says that the last octet was a CR.
    Lines { is_after_cr: bool },
    /// Any octets (RFC 3030 §3).
    Binary,
}

impl Content {
    /// Content that follows `prefix`, with room for `start_bytes` at once. What it holds is taken of
    /// `charge`.
    pub(crate) fn new(
        prefix: &[u8],
        kind: BodyKind,
        bytes_max: usize,
        start_bytes: usize,
        charge: Charge,
    ) -> Self {
        let law = match kind {
            BodyKind::SevenBit | BodyKind::EightBitMime => Law::Lines { is_after_cr: false },
            BodyKind::BinaryMime => Law::Binary,
        };
        let prefix_bytes = prefix.len();
        let mut content = Self { data: Vec::new(), charge, prefix_bytes, bytes_max, fault: None, law };
        if content.make_room(prefix_bytes + start_bytes.min(bytes_max)) {
            content.data.extend_from_slice(prefix);
        } else {
            content.fail(Fault::NoMemory);
        }
        content
    }

    /// Memory held, in bytes.
    pub(crate) fn buffered_bytes(&self) -> usize {
        self.data.capacity()
    }

    /// What is wrong so far.
    pub(crate) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// How many bytes more it may have.
    pub(crate) fn bytes_left(&self) -> usize {
        self.bytes_max.saturating_sub(self.data.len() - self.prefix_bytes)
    }

    /// Takes the bytes of a chunk (RFC 3030 §2): they are content as they are.
    pub(crate) fn push_chunk(&mut self, bytes: &[u8]) {
        if self.fault.is_none()
            && let Law::Lines { is_after_cr } = self.law
        {
            self.fault = line_fault(is_after_cr, bytes);
            if let Some(&last) = bytes.last() {
                self.law = Law::Lines { is_after_cr: last == b'\r' };
            }
        }
        self.append(bytes);
    }

    /// The whole of it: our header and the content, with what covers it while it is delivered; or what
    /// was wrong.
    pub(crate) fn finish(mut self) -> Result<(Vec<u8>, Charge), Fault> {
        if let Law::Lines { is_after_cr: true } = self.law {
            self.fail(Fault::BareLineBreak);
        }
        self.fault.map_or(Ok((self.data, self.charge)), Err)
    }

    fn append(&mut self, bytes: &[u8]) {
        let is_too_large = self.data.len() - self.prefix_bytes + bytes.len() > self.bytes_max;
        if self.fault.is_none() && is_too_large {
            self.fault = Some(Fault::TooLarge);
        }
        if self.fault.is_none() && !self.make_room(bytes.len()) {
            self.fault = Some(Fault::NoMemory);
        }
        if self.fault.is_some() {
            self.data = Vec::new();
            self.charge.release();
            self.prefix_bytes = 0;
            return;
        }
        self.data.extend_from_slice(bytes);
    }

    /// Room for so many bytes more, by doubling while there is little and by a quarter then. False when
    /// there is no memory for them.
    fn make_room(&mut self, bytes: usize) -> bool {
        let (held, needed) = (self.data.capacity(), self.data.len() + bytes);
        if needed <= held {
            return true;
        }
        let step = if held < CONTENT_DOUBLING_BYTES { held } else { held / 4 };
        let ample = (held + step).min(self.prefix_bytes + self.bytes_max).max(needed);
        let room = if self.charge.cover(ample) {
            ample
        } else if self.charge.cover(needed) {
            needed
        } else {
            return false;
        };
        self.data.reserve_exact(room - self.data.len());
        true
    }

    fn fail(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
        self.append(b"");
    }
}

/// What is wrong with the lines of a header section. Of binary content only the body is free of the law (RFC 3030
/// §3): a bare LF in its header would be the end of a field to some readers and not to others.
pub(crate) fn header_lines_fault(content: &[u8]) -> Option<Fault> {
    let end = memchr::memmem::find(content, b"\r\n\r\n").map_or(content.len(), |at| at + 4);
    if content.starts_with(b"\r\n") {
        return None;
    }
    line_fault(false, content.get(..end).unwrap_or(content))
}

/// The first break of the law of lines in `bytes`, which follow a CR if `is_after_cr`.
fn line_fault(is_after_cr: bool, bytes: &[u8]) -> Option<Fault> {
    let mut rest = bytes;
    if is_after_cr && let Some((&first, after)) = bytes.split_first() {
        if first != b'\n' {
            return Some(Fault::BareLineBreak);
        }
        rest = after;
    }
    while let Some(at) = memchr::memchr3(b'\r', b'\n', 0, rest) {
        match rest.get(at..) {
            Some([b'\r', b'\n', after @ ..]) => rest = after,
            Some([b'\r']) => return None,
            Some([0, ..]) => return Some(Fault::Nul),
            _ => return Some(Fault::BareLineBreak),
        }
    }
    None
}

/// Reads what follows DATA: takes the dots off (RFC 5321 §4.5.2) and finds the end.
pub(crate) struct DataReader {
    content: Content,
    at: At,
}

/// Where in a line the next octet stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum At {
    LineStart,
    Inside,
    AfterCr,
    AfterDot,
    AfterDotCr,
}

impl DataReader {
    /// `content` is empty but for our header.
    pub(crate) fn new(content: Content) -> Self {
        Self { content, at: At::LineStart }
    }

    /// What has been read.
    pub(crate) fn content(&self) -> &Content {
        &self.content
    }

    /// The content, after the end.
    pub(crate) fn into_content(self) -> Content {
        self.content
    }

    /// Takes bytes. `Some(n)` once the message has ended: the last `n` of them are not part of it.
    pub(crate) fn push(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut rest = bytes;
        while let Some((&byte, after)) = rest.split_first() {
            match (self.at, byte) {
                (At::LineStart, b'.') => (self.at, rest) = (At::AfterDot, after),
                (At::AfterDot, b'\r') => (self.at, rest) = (At::AfterDotCr, after),
                (At::AfterDotCr, b'\n') => return Some(after.len()),
                (At::AfterCr, b'\n') => {
                    self.content.append(b"\r\n");
                    (self.at, rest) = (At::LineStart, after);
                }
                // Also after a dot: `.` CR and something else than LF is not the end, and no line either.
                (At::AfterCr | At::AfterDotCr, _) => {
                    self.content.fail(Fault::BareLineBreak);
                    self.at = At::Inside;
                }
                (At::LineStart | At::AfterDot | At::Inside, _) => rest = self.push_line(rest),
            }
        }
        None
    }

    /// Takes octets up to the next line break, and the break with them when it is whole and at hand.
    fn push_line<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        self.at = At::Inside;
        let Some(at) = memchr::memchr3(b'\r', b'\n', 0, bytes) else {
            self.content.append(bytes);
            return &[];
        };
        let (line, rest) = bytes.split_at_checked(at).unwrap_or((bytes, &[]));
        match rest {
            [b'\r', b'\n', after @ ..] => {
                self.content.append(bytes.get(..at + 2).unwrap_or(bytes));
                self.at = At::LineStart;
                after
            }
            [b'\r', after @ ..] => {
                self.content.append(line);
                self.at = At::AfterCr;
                after
            }
            [byte, after @ ..] => {
                // A bare LF begins no line: the dot after it is content, and can end nothing.
                self.content.fail(if *byte == 0 { Fault::Nul } else { Fault::BareLineBreak });
                after
            }
            [] => &[],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::sync::Arc;
    use base::{Budget, Random};

    fn read(input: &[u8], cut: usize) -> (Option<usize>, Result<Vec<u8>, Fault>) {
        let content = Content::new(b"", BodyKind::SevenBit, 1000, 0, Charge::default());
        let mut reader = DataReader::new(content);
        let (front, back) = input.split_at(cut);
        let left = match reader.push(front) {
            Some(left) => Some(left + back.len()),
            None => reader.push(back),
        };
        (left, reader.into_content().finish().map(|(data, _)| data))
    }

    #[test]
    fn content_ends_at_crlf_dot_crlf_wherever_it_is_cut() {
        for (input, left, content) in [
            (&b".\r\n"[..], Some(0), Ok(&b""[..])),
            (b"a\r\n.\r\nQUIT", Some(4), Ok(b"a\r\n")),
            (b"..\r\n.a\r\n...\r\n.\r\n", Some(0), Ok(b".\r\na\r\n..\r\n")),
            (b"a.\r\n.\r\n", Some(0), Ok(b"a.\r\n")),
            (b"\r\n\r\n.\r\n", Some(0), Ok(b"\r\n\r\n")),
            (b"a\n.\r\n.\r\n", Some(0), Err(Fault::BareLineBreak)),
            (b"a\r\n.\n.\r\n", None, Err(Fault::BareLineBreak)),
            (b"a\r\n.\rb\r\n.\r\n", Some(0), Err(Fault::BareLineBreak)),
            (b"a\r\n.\r\r\n.\r\n", Some(0), Err(Fault::BareLineBreak)),
            (b"a\n.\nMAIL FROM:<>\r\n.\r\n", Some(0), Err(Fault::BareLineBreak)),
            (b"a\r.\r\n.\r\n", Some(0), Err(Fault::BareLineBreak)),
            (b"a\r\r\n.\r\n", Some(0), Err(Fault::BareLineBreak)),
            (b"a\0b\r\n.\r\n", Some(0), Err(Fault::Nul)),
        ] {
            for cut in 0..=input.len() {
                assert_eq!(read(input, cut), (left, content.map(<[u8]>::to_vec)), "{input:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn a_chunk_is_lawful_wherever_it_is_cut() {
        for (input, kind, content) in [
            (&b"a\r\n.\r\nb"[..], BodyKind::SevenBit, Ok(&b"a\r\n.\r\nb"[..])),
            (b"a\nb\r\n", BodyKind::SevenBit, Err(Fault::BareLineBreak)),
            (b"a\rb\r\n", BodyKind::EightBitMime, Err(Fault::BareLineBreak)),
            (b"a\r\r\n", BodyKind::EightBitMime, Err(Fault::BareLineBreak)),
            (b"a\r", BodyKind::SevenBit, Err(Fault::BareLineBreak)),
            (b"\0", BodyKind::EightBitMime, Err(Fault::Nul)),
            (b"\0\r\n\n\r", BodyKind::BinaryMime, Ok(b"\0\r\n\n\r")),
        ] {
            for cut in 0..=input.len() {
                let mut chunks = Content::new(b"", kind, 1000, 0, Charge::default());
                let (front, back) = input.split_at(cut);
                chunks.push_chunk(front);
                chunks.push_chunk(back);
                let finished = chunks.finish().map(|(data, _)| data);
                assert_eq!(finished, content.map(<[u8]>::to_vec), "{input:?} cut at {cut}");
            }
        }
    }

    #[test]
    fn content_beyond_the_limit_is_counted_and_not_kept() {
        let mut content = Content::new(b"Received: x\r\n", BodyKind::SevenBit, 4, 0, Charge::default());
        content.push_chunk(b"1234");
        assert_eq!(content.fault(), None);
        content.push_chunk(b"5");
        assert_eq!(content.fault(), Some(Fault::TooLarge));
        content.push_chunk(&[b'x'; 1000]);
        assert_eq!(content.buffered_bytes(), 0);
        assert_eq!(content.finish().map(|(data, _)| data), Err(Fault::TooLarge));
    }

    #[test]
    fn the_room_that_content_has_is_covered_and_little_more_than_it_needs() {
        let budget = Budget::new(16 << 20);
        let charge = Charge::new(Some(Arc::clone(&budget)));
        let mut content = Content::new(b"Received: x\r\n", BodyKind::BinaryMime, 20 << 20, 0, charge);
        for piece in 1..=8 * 16 {
            content.push_chunk(&vec![b'x'; 64 * 1024]);
            assert_eq!(content.buffered_bytes(), budget.used());
            let needed = piece * 64 * 1024 + 13;
            let is_tight = needed <= CONTENT_DOUBLING_BYTES || budget.used() <= needed + needed / 4 + 1;
            assert!(is_tight, "{} bytes for {needed}", budget.used());
        }
        let (data, charge) = content.finish().unwrap();
        assert_eq!((data.len(), budget.used()), ((8 << 20) + 13, charge.bytes()));
    }

    #[test]
    fn content_that_the_budget_has_no_memory_for_is_dropped_and_gives_back_what_it_had() {
        let budget = Budget::new(100_000);
        let charge = Charge::new(Some(Arc::clone(&budget)));
        let mut content = Content::new(b"", BodyKind::BinaryMime, 1_000_000, 0, charge);
        content.push_chunk(&vec![b'x'; 60_000]);
        content.push_chunk(&vec![b'x'; 30_000]);
        assert_eq!(
            (content.fault(), budget.used()),
            (None, 90_000),
            "what is needed, where more is not to be had"
        );
        content.push_chunk(&vec![b'x'; 30_000]);
        assert_eq!((content.fault(), budget.used()), (Some(Fault::NoMemory), 0));
        content.push_chunk(&vec![b'x'; 30_000]);
        assert_eq!((content.buffered_bytes(), budget.used()), (0, 0));
    }

    #[test]
    fn stuffed_content_comes_out_as_it_was() {
        let mut random = Random::new(3);
        for _ in 0..500 {
            let words: [&[u8]; 6] = [b"\r\n", b".", b"a", b"..", b"\r\n.\r\n", b"bc"];
            let mut content = Vec::new();
            for _ in 0..random.below(20) {
                content.extend_from_slice(words[random.below(6) as usize]);
            }
            content.extend_from_slice(b"\r\n");
            let mut stuffed = Vec::new();
            crate::client::stuff(&content, &mut stuffed);
            let (left, read) = read(&stuffed, random.below(stuffed.len() as u64) as usize);
            assert_eq!((left, read), (Some(0), Ok(content)));
        }
    }
}
