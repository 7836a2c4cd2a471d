//! Reading bodies and their meta blocks: from the page cache what is in memory, the rest through the shard's ring. So
//! nothing here blocks the shard.

use std::future::poll_fn;

use crate::disk::ReadPart;
use crate::engine::Engine;
use crate::error::Error;
use crate::log::segment_file;
use crate::row::BodyRef;

impl Engine {
    /// The whole body, its checksum verified. Costs one read of its size.
    pub async fn body(&self, body: &BodyRef) -> Result<Vec<u8>, Error> {
        let bytes = self.read_part(body, body.meta_length, body.length).await?;
        if crc32c::crc32c(&bytes) != body.crc {
            return Err(corrupt(body, "a body with the checksum its row has"));
        }
        Ok(bytes)
    }

    /// A range of the body, clamped to it. Its checksum covers the whole and is not verified here.
    pub async fn body_range(&self, body: &BodyRef, offset: u32, length: u32) -> Result<Vec<u8>, Error> {
        let offset = offset.min(body.length);
        let length = length.min(body.length - offset);
        self.read_part(body, body.meta_length + offset, length).await
    }

    /// The meta block stored in front of the body, its checksum verified.
    pub async fn meta(&self, body: &BodyRef) -> Result<Vec<u8>, Error> {
        let bytes = self.read_part(body, 0, body.meta_length).await?;
        if crc32c::crc32c(&bytes) as u16 != body.meta_crc {
            return Err(corrupt(body, "a meta block with the checksum its row has"));
        }
        Ok(bytes)
    }

    /// Whether a body stands where bodies can stand.
    pub(crate) fn is_within(&self, body: &BodyRef) -> bool {
        let end = body.offset as u64 + body.meta_length as u64 + body.length as u64;
        body.segment != 0 && end <= self.segment_bytes() as u64
    }

    async fn read_part(&self, body: &BodyRef, skip: u32, length: u32) -> Result<Vec<u8>, Error> {
        if length == 0 {
            return Ok(Vec::new());
        }
        if !self.is_within(body) {
            return Err(corrupt(body, "a body within its segment"));
        }
        let part = ReadPart {
            journal: body.journal,
            segment: body.segment,
            offset: body.offset + skip,
            length: length as usize,
        };
        if let Some(bytes) = self.with_state(|state| state.read_at_hand(&part)) {
            return Ok(bytes);
        }
        let answer = self.with_state(|state| state.read(part));
        self.drive();
        let bytes = poll_fn(|context| answer.poll(context)).await?;
        if bytes.len() != length as usize {
            return Err(corrupt(body, "a segment that reaches to the body's end"));
        }
        Ok(bytes)
    }
}

pub(crate) fn corrupt(body: &BodyRef, expected: &'static str) -> Error {
    let file = segment_file(body.journal, body.segment);
    Error::Corrupt { what: "body", file: file.as_str().into(), offset: body.offset as u64, expected }
}
