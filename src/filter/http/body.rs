//! A request's body, made while it is written: a large message is not copied whole.

use alloc::vec::Vec;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::Content;
use crate::limits::OUTPUT_BYTES;

/// A part of a body.
#[derive(Debug)]
pub(crate) enum Part {
    /// These bytes.
    Bytes(Vec<u8>),
    /// What is shown of a message.
    Message(Content),
    /// The same in base64.
    MessageBase64(Content),
}

impl Part {
    fn source(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Message(content) | Self::MessageBase64(content) => content.shown(),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Bytes(_) | Self::Message(_) => self.source().len(),
            // RFC 4648 §4: four letters for each three bytes that are begun.
            Self::MessageBase64(content) => content.shown().len().div_ceil(3) * 4,
        }
    }
}

/// Parts, one after the other, and how far they are written.
#[derive(Debug)]
pub(crate) struct Body {
    parts: Vec<Part>,
    part: usize,
    at: usize,
}

impl Body {
    pub(crate) const fn new(parts: Vec<Part>) -> Self {
        Self { parts, part: 0, at: 0 }
    }

    pub(crate) fn bytes(&self) -> usize {
        self.parts.iter().map(Part::bytes).sum()
    }

    /// How large the message in it is.
    pub(crate) fn message_bytes(&self) -> usize {
        let messages = self.parts.iter().filter(|part| !matches!(part, Part::Bytes(_)));
        messages.map(|part| part.source().len()).sum()
    }

    pub(crate) fn is_sent(&self) -> bool {
        self.part >= self.parts.len()
    }

    /// Writes some more, up to [`OUTPUT_BYTES`] in all; `false` when there was nothing left.
    pub(crate) fn put(&mut self, out: &mut Vec<u8>) -> bool {
        let was_sent = self.is_sent();
        while out.len() < OUTPUT_BYTES
            && let Some(part) = self.parts.get(self.part)
        {
            let rest = part.source().get(self.at..).unwrap_or_default();
            // A number of bytes that base64 can stop at.
            let piece = rest.get(..rest.len().min(OUTPUT_BYTES / 4 * 3)).unwrap_or_default();
            match part {
                Part::Bytes(_) | Part::Message(_) => out.extend_from_slice(piece),
                Part::MessageBase64(_) => out.extend_from_slice(STANDARD.encode(piece).as_bytes()),
            }
            self.at += piece.len();
            if piece.len() == rest.len() {
                (self.part, self.at) = (self.part + 1, 0);
            }
        }
        !was_sent
    }
}
