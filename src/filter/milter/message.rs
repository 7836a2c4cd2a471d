//! A message going out in packets: a header field each, the header's end, pieces of the body, the end.

use alloc::vec::Vec;

use super::wire::{command, put};
use crate::Content;
use crate::limits::{MILTER_DATA_BYTES_MAX, OUTPUT_BYTES};
use crate::message::{body_at, field_at};

/// What comes next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Field,
    HeaderEnd,
    Body,
    End,
}

/// A message, and how far it is sent.
#[derive(Debug)]
pub(crate) struct Sending {
    content: Content,
    at: usize,
    piece: Piece,
}

impl Sending {
    pub(crate) fn new(content: Content) -> Self {
        let mut sending = Self { content, at: 0, piece: Piece::Field };
        sending.settle();
        sending
    }

    pub(crate) const fn piece(&self) -> Piece {
        self.piece
    }

    /// Writes the next piece and goes on to the one after it.
    pub(crate) fn put(&mut self, out: &mut Vec<u8>, has_leading_space: bool) {
        let message = self.content.shown();
        match self.piece {
            Piece::Field => {
                if let Some(field) = field_at(message, self.at) {
                    let name = message.get(field.name).unwrap_or_default();
                    let value = message.get(field.value).unwrap_or_default();
                    put_field(out, name, value, has_leading_space);
                    self.at = field.end;
                }
            }
            Piece::HeaderEnd => {
                put(out, command::HEADER_END, &[]);
                self.at = body_at(message, self.at);
                self.piece = Piece::Body;
            }
            Piece::Body => {
                let rest = message.get(self.at..).unwrap_or_default();
                let piece = rest.get(..rest.len().min(OUTPUT_BYTES - 1)).unwrap_or_default();
                put(out, command::BODY, &[piece]);
                self.at += piece.len();
            }
            Piece::End => put(out, command::BODY_END, &[]),
        }
        self.settle();
    }

    /// Passes over all of this kind that is left.
    pub(crate) fn skip(&mut self) {
        let message = self.content.shown();
        match self.piece {
            Piece::Field => {
                while let Some(field) = field_at(message, self.at) {
                    self.at = field.end;
                }
            }
            Piece::HeaderEnd => {
                self.at = body_at(message, self.at);
                self.piece = Piece::Body;
            }
            Piece::Body => self.at = message.len(),
            Piece::End => {}
        }
        self.settle();
    }

    /// From a kind that is used up to the next.
    fn settle(&mut self) {
        let message = self.content.shown();
        if self.piece == Piece::Field && field_at(message, self.at).is_none() {
            self.piece = Piece::HeaderEnd;
        }
        if self.piece == Piece::Body && self.at >= message.len() {
            self.piece = Piece::End;
        }
    }
}

/// A value's lines are divided by LF on this wire. One that is longer than a packet is shown cut.
fn put_field(out: &mut Vec<u8>, name: &[u8], value: &[u8], has_leading_space: bool) {
    let mut text = Vec::with_capacity(value.len());
    let mut rest = if has_leading_space {
        value
    } else {
        let begin = value.iter().position(|byte| !matches!(byte, b' ' | b'\t')).unwrap_or(value.len());
        value.get(begin..).unwrap_or_default()
    };
    while let Some(at) = memchr::memmem::find(rest, b"\r\n") {
        text.extend_from_slice(rest.get(..at).unwrap_or_default());
        text.push(b'\n');
        rest = rest.get(at + 2..).unwrap_or_default();
    }
    text.extend_from_slice(rest);
    text.retain(|byte| *byte != 0);
    text.truncate(MILTER_DATA_BYTES_MAX.saturating_sub(name.len() + 2));
    let name = name.get(..name.len().min(MILTER_DATA_BYTES_MAX - 2)).unwrap_or_default();
    put(out, command::HEADER, &[name, b"\0", &text, b"\0"]);
}
