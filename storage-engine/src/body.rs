//! Reading bodies and their meta blocks: from the page cache what is in memory, the rest through the shard's ring. So
//! nothing here blocks the shard.

use std::future::poll_fn;
use std::rc::Rc;

use crate::disk::ReadPart;
use crate::engine::Engine;
use crate::error::Error;
use crate::log::segment_file;
use crate::row::BodyRef;
use crate::state::ReadAnswer;

impl Engine {
    /// The whole body, its checksum verified. Costs one read of its size.
    pub async fn body(&self, body: &BodyRef) -> Result<Vec<u8>, Error> {
        let is_right = |bytes: &[u8]| crc32c::crc32c(bytes) == body.crc;
        let bytes = self.read_right(body, body.meta_length, body.length, is_right).await?;
        bytes.ok_or_else(|| corrupt(body, "a body with the checksum its row has"))
    }

    /// Appends the whole body to `out`, its checksum verified, if it is in memory: without a wait and without another
    /// copy. False, and `out` is as it was, when it is not, or is not right there: that is for [`Engine::body`].
    pub fn append_body(&self, body: &BodyRef, out: &mut Vec<u8>) -> bool {
        if body.length == 0 {
            return crc32c::crc32c(&[]) == body.crc;
        }
        let start = out.len();
        let Ok(part) = self.part(body, body.meta_length, body.length) else { return false };
        let is_there = self.with_state(|state| state.read_at_hand(&part, out));
        let is_right = is_there && crc32c::crc32c(&out[start..]) == body.crc;
        out.truncate(if is_right { out.len() } else { start });
        is_right
    }

    /// A range of the body, clamped to it. Its checksum covers the whole and is not verified here.
    pub async fn body_range(&self, body: &BodyRef, offset: u32, length: u32) -> Result<Vec<u8>, Error> {
        let offset = offset.min(body.length);
        let length = length.min(body.length - offset);
        self.read_part(body, body.meta_length + offset, length).await
    }

    /// The meta block stored in front of the body, its checksum verified.
    pub async fn meta(&self, body: &BodyRef) -> Result<Vec<u8>, Error> {
        let is_right = |bytes: &[u8]| body.open_meta(bytes).is_some();
        let stored = self.read_right(body, 0, body.meta_length, is_right).await?;
        let meta = stored.as_deref().and_then(|stored| body.open_meta(stored)).map(<[u8]>::to_vec);
        meta.ok_or_else(|| corrupt(body, "a meta block with its checksum"))
    }

    /// Whether a body stands where bodies can stand.
    pub(crate) fn is_within(&self, body: &BodyRef) -> bool {
        let end = body.offset as u64 + body.meta_length as u64 + body.length as u64;
        body.segment != 0 && end <= self.segment_bytes() as u64
    }

    /// A part that `is_right`; none when it is not so on the disk either. What is in memory may be older than what was
    /// written past it: when somebody else reads a page at that moment, the kernel cannot take it out and only warns.
    async fn read_right(
        &self,
        body: &BodyRef,
        skip: u32,
        length: u32,
        is_right: impl Fn(&[u8]) -> bool,
    ) -> Result<Option<Vec<u8>>, Error> {
        let bytes = self.read_part(body, skip, length).await?;
        if is_right(&bytes) {
            return Ok(Some(bytes));
        }
        if length == 0 {
            return Ok(None);
        }
        let part = self.part(body, skip, length)?;
        let bytes =
            self.wait_for(body, self.with_state(|state| state.read_past_memory(part)), length).await?;
        Ok(is_right(&bytes).then_some(bytes))
    }

    async fn read_part(&self, body: &BodyRef, skip: u32, length: u32) -> Result<Vec<u8>, Error> {
        if length == 0 {
            return Ok(Vec::new());
        }
        let part = self.part(body, skip, length)?;
        let mut bytes = Vec::new();
        if self.with_state(|state| state.read_at_hand(&part, &mut bytes)) {
            return Ok(bytes);
        }
        drop(bytes);
        self.wait_for(body, self.with_state(|state| state.read(part)), length).await
    }

    fn part(&self, body: &BodyRef, skip: u32, length: u32) -> Result<ReadPart, Error> {
        if !self.is_within(body) {
            return Err(corrupt(body, "a body within its segment"));
        }
        let offset = body.offset + skip;
        Ok(ReadPart { journal: body.journal, segment: body.segment, offset, length: length as usize })
    }

    async fn wait_for(&self, body: &BodyRef, answer: Rc<ReadAnswer>, length: u32) -> Result<Vec<u8>, Error> {
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
