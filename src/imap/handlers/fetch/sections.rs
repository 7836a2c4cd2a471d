//! Sections (RFC 9051 §6.4.5.1): which bytes of a message one means, and sending them.

use alloc::vec::Vec;
use core::ops::Range;

use account::Error;
use base::Out;
use mime::{Encoding, Headers, Part};

use super::content::Content;
use crate::command::fetch::{Item, Label, Partial, Section, What};
use crate::limits::{BODY_PIECE_BYTES, HEADER_BYTES_MAX};
use crate::reply::{Code, Failure};
use crate::response::section::write_label;
use crate::response::text::write_literal_head;

/// The bytes that a section means, before `<offset.length>` cuts them.
#[derive(Debug)]
pub(super) enum Piece {
    /// There is no such part: NIL.
    Nothing,
    /// They lie in the message so.
    Range(Range<u32>),
    /// They had to be made.
    Made(Vec<u8>),
    /// They are the decoded part that the content holds.
    Decoded,
}

/// Finds the bytes of a section.
pub(super) async fn find(section: &Section, content: &mut Content<'_>) -> Result<Piece, Failure> {
    if section.is_decoded() {
        return decoded(&section.path, content).await;
    }
    let range = match &section.what {
        What::All if section.path.is_empty() => Some(0..content.message().size),
        What::All => part(&section.path, content).map(|part| part.body.clone()),
        What::Mime => part(&section.path, content).map(|part| part.header.clone()),
        What::Header | What::Fields(_) | What::FieldsNot(_) => header(&section.path, content),
        What::Text if section.path.is_empty() => Some(content.header_end()..content.message().size),
        What::Text => message_in(&section.path, content).map(|part| part.body.clone()),
    };
    let Some(range) = range else { return Ok(Piece::Nothing) };
    let (names, is_wanted) = match &section.what {
        What::Fields(names) => (names, true),
        What::FieldsNot(names) => (names, false),
        What::All | What::Header | What::Text | What::Mime => return Ok(Piece::Range(range)),
    };
    // An embedded message's header is bounded as the message's own is.
    let looked_at = range.start..range.end.min(range.start.saturating_add(HEADER_BYTES_MAX));
    Ok(Piece::Made(fields(&content.bytes(&looked_at).await?, names, is_wanted)))
}

fn part<'c>(path: &[u32], content: &'c Content<'_>) -> Option<&'c Part> {
    let tree = content.tree();
    tree.section(path).map(|id| tree.part(id))
}

/// HEADER and TEXT of a part mean the message that it embeds (RFC 9051 §6.4.5.1).
fn message_in<'c>(path: &[u32], content: &'c Content<'_>) -> Option<&'c Part> {
    let tree = content.tree();
    tree.message_in(path).map(|id| tree.part(id))
}

fn header(path: &[u32], content: &Content<'_>) -> Option<Range<u32>> {
    if path.is_empty() {
        return Some(0..content.header_end());
    }
    message_in(path, content).map(|part| part.header.clone())
}

/// The fields of a header whose names are, or are not, among `names`, as they stand, and the empty
/// line (RFC 9051 §6.4.5.1).
fn fields(header: &[u8], names: &[Vec<u8>], is_wanted: bool) -> Vec<u8> {
    let mut out = Vec::new();
    for field in Headers::of(header) {
        if names.iter().any(|name| name.eq_ignore_ascii_case(field.name)) == is_wanted {
            out.extend_from_slice(header.get(field.range).unwrap_or(&[]));
        }
    }
    if !out.is_empty() && !out.ends_with(b"\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b"\r\n");
    out
}

/// A part with its transfer encoding undone (RFC 3516 §4.2).
async fn decoded(path: &[u32], content: &mut Content<'_>) -> Result<Piece, Failure> {
    let Some(part) = part(path, content) else { return Ok(Piece::Nothing) };
    let (encoding, range) = (part.encoding, part.body.clone());
    if matches!(encoding, Encoding::SevenBit | Encoding::EightBit | Encoding::Binary) {
        return Ok(Piece::Range(range));
    }
    content.decode(path, encoding, &range).await?;
    // RFC 3516 §4.3: what we cannot decode is refused, not sent as it is.
    match content.decoded(path) {
        Some(Ok(_)) => Ok(Piece::Decoded),
        _ => Err(Failure::No(Some(Code::Word("UNKNOWN-CTE")), "the part's encoding cannot be undone")),
    }
}

/// BINARY.SIZE (RFC 3516 §4.3). A part that is not there has no bytes.
pub(super) async fn binary_size(path: &[u32], content: &mut Content<'_>) -> Result<u64, Failure> {
    if path.is_empty() {
        return Ok(u64::from(content.message().size));
    }
    Ok(match decoded(path, content).await? {
        Piece::Nothing => 0,
        Piece::Range(range) => u64::from(range.end.saturating_sub(range.start)),
        Piece::Made(bytes) => bytes.len() as u64,
        Piece::Decoded => made(path, content).len() as u64,
    })
}

/// The bytes of a section, all at once; `None` when there is no such part.
pub(super) async fn bytes(section: &Section, content: &mut Content<'_>) -> Result<Option<Vec<u8>>, Error> {
    let range = match find(section, content).await {
        Ok(Piece::Range(range)) => range,
        Ok(Piece::Nothing) => return Ok(None),
        Ok(Piece::Made(bytes)) => {
            let cut = cut(bytes.len() as u64, section.partial);
            return Ok(bytes.get(cut.start as usize..cut.end as usize).map(<[u8]>::to_vec));
        }
        Ok(Piece::Decoded) => unreachable!("only BINARY decodes"),
        Err(Failure::Account(error)) => return Err(error),
        Err(_) => unreachable!("only decoding fails of itself"),
    };
    let cut = cut(u64::from(range.end.saturating_sub(range.start)), section.partial);
    let range = range.start + cut.start as u32..range.start + cut.end as u32;
    content.bytes(&range).await.map(|bytes| Some(bytes.into_owned()))
}

fn made<'c>(path: &[u32], content: &'c Content<'_>) -> &'c [u8] {
    content.decoded(path).and_then(Result::ok).expect("a piece is decoded when the content holds it so")
}

/// Bytes that had to be looked at to tell of an item, about.
pub(super) fn cost(item: &Item, content: &Content<'_>) -> usize {
    let section = match item {
        Item::Property(_) => return 0,
        Item::Envelope => return content.header().len(),
        Item::Body | Item::BodyStructure => return content.tree().parts().len() * PART_COST_BYTES,
        Item::BinarySize(path) => return part(path, content).map_or(0, |part| part.body.len()),
        Item::Section(section) => section,
    };
    match section.what {
        What::Fields(_) | What::FieldsNot(_) => header(&section.path, content).map_or(0, |range| range.len()),
        What::All if section.is_decoded() => part(&section.path, content).map_or(0, |part| part.body.len()),
        // Sending them is a wait.
        What::All | What::Header | What::Text | What::Mime => 0,
    }
}

/// What telling of a part counts as, in bytes.
const PART_COST_BYTES: usize = 256;

/// Writes a section with its name: what is held at once, the rest read and sent piece by piece.
pub(super) async fn write(
    section: &Section,
    piece: &Piece,
    content: &Content<'_>,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    write_label(&mut out.buffer, section);
    out.buffer.push(b' ');
    match piece {
        Piece::Nothing => out.buffer.extend_from_slice(b"NIL"),
        Piece::Made(bytes) => write_cut(section, bytes, out).await?,
        Piece::Decoded => write_cut(section, made(&section.path, content), out).await?,
        Piece::Range(range) => {
            let cut = cut(u64::from(range.end.saturating_sub(range.start)), section.partial);
            let range = range.start + cut.start as u32..range.start + cut.end as u32;
            match content.held(&range) {
                Some(bytes) => write_bytes(section, bytes, out).await?,
                None => stream(section, range, content, out).await?,
            }
        }
    }
    Ok(())
}

/// What `<offset.length>` leaves of so many bytes (RFC 9051 §6.4.5): it may reach beyond the end.
fn cut(size: u64, partial: Option<Partial>) -> Range<u64> {
    let Some(Partial { offset, length }) = partial else { return 0..size };
    let start = offset.min(size);
    start..offset.saturating_add(length).min(size)
}

async fn write_cut(section: &Section, bytes: &[u8], out: &mut Out<'_>) -> Result<(), Failure> {
    let cut = cut(bytes.len() as u64, section.partial);
    write_bytes(section, bytes.get(cut.start as usize..cut.end as usize).unwrap_or(&[]), out).await
}

async fn write_bytes(section: &Section, bytes: &[u8], out: &mut Out<'_>) -> Result<(), Failure> {
    // RFC 3516 §4.2: only a `literal8` can hold NUL, and only BINARY may be one.
    if section.label == Label::Binary && memchr::memchr(0, bytes).is_some() {
        out.buffer.push(b'~');
    }
    write_literal_head(&mut out.buffer, bytes.len() as u64);
    for piece in bytes.chunks(BODY_PIECE_BYTES as usize) {
        out.room().await?;
        write_piece(section, piece, &mut out.buffer);
    }
    Ok(())
}

/// A literal cannot hold NUL (RFC 9051 §9 `CHAR8`), and its length has been promised: another byte
/// that stands for nothing is in its place. Whoever wants the bytes as they are asks for BINARY.
fn write_piece(section: &Section, piece: &[u8], buffer: &mut Vec<u8>) {
    let start = buffer.len();
    buffer.extend_from_slice(piece);
    if section.label == Label::Binary {
        return;
    }
    // Looked for in what was given, which costs less than looking at what was just written.
    for at in memchr::memchr_iter(0, piece) {
        if let Some(byte) = buffer.get_mut(start + at) {
            *byte = NUL_STAND_IN;
        }
    }
}

/// Puts into bytes that stand in an answer what can stand there, as [`write_piece`] does.
pub(in crate::handlers) fn stand_in_for_nul(mut bytes: &mut [u8]) {
    while let Some(at) = memchr::memchr(0, bytes) {
        let (before, after) = bytes.split_at_mut(at + 1);
        if let Some(byte) = before.last_mut() {
            *byte = NUL_STAND_IN;
        }
        bytes = after;
    }
}

/// What is sent for NUL where NUL cannot be.
const NUL_STAND_IN: u8 = 0x80;

async fn stream(
    section: &Section,
    range: Range<u32>,
    content: &Content<'_>,
    out: &mut Out<'_>,
) -> Result<(), Failure> {
    if section.label == Label::Binary {
        // Whether there is a NUL will show too late.
        out.buffer.push(b'~');
    }
    write_literal_head(&mut out.buffer, u64::from(range.end - range.start));
    let mut at = range.start;
    while at < range.end {
        out.room().await?;
        let length = BODY_PIECE_BYTES.min(range.end - at);
        // The length has been promised: without the bytes the connection cannot go on.
        let piece = content.read(at, length).await.map_err(|_| Failure::Closed)?;
        if piece.len() != length as usize {
            return Err(Failure::Closed);
        }
        write_piece(section, &piece, &mut out.buffer);
        at += length;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partials_are_cut_at_the_end() {
        for (size, offset, length, want) in [
            (10, 0, 4, 0..4),
            (10, 8, 4, 8..10),
            (10, 10, 1, 10..10),
            (10, 99, 1, 10..10),
            (10, 3, u64::MAX, 3..10),
        ] {
            assert_eq!(cut(size, Some(Partial { offset, length })), want);
        }
        assert_eq!(cut(10, None), 0..10);
    }

    #[test]
    fn fields_are_picked_as_they_stand() {
        let header = b"From: a\r\nX-One: 1\r\n 2\r\nfrom: b\r\nTo: c\r\n\r\n";
        let names = [b"FROM".to_vec(), b"x-one".to_vec()];
        assert_eq!(fields(header, &names, true), b"From: a\r\nX-One: 1\r\n 2\r\nfrom: b\r\n\r\n");
        assert_eq!(fields(header, &names, false), b"To: c\r\n\r\n");
        assert_eq!(fields(header, &[b"Cc".to_vec()], true), b"\r\n");
    }
}
