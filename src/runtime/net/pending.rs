//! Bytes on their way out.

/// A buffer that is written from its front without moving the rest.
#[derive(Debug, Default)]
pub(super) struct Pending {
    bytes: Vec<u8>,
    written: usize,
}

impl Pending {
    pub(super) fn is_empty(&self) -> bool {
        self.written == self.bytes.len()
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    pub(super) fn rest(&self) -> &[u8] {
        self.bytes.get(self.written..).unwrap_or_default()
    }

    /// `count` bytes of the rest are done.
    pub(super) fn advance(&mut self, count: usize) {
        self.written = (self.written + count).min(self.bytes.len());
        if self.is_empty() {
            self.bytes.clear();
            self.written = 0;
        }
    }

    /// Takes all of `bytes`, without copying when nothing waits.
    pub(super) fn take(&mut self, bytes: &mut Vec<u8>) {
        if self.is_empty() {
            self.written = 0;
            self.bytes.clear();
            std::mem::swap(&mut self.bytes, bytes);
        } else {
            self.bytes.append(bytes);
        }
    }

    pub(super) fn extend(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The buffer to append to.
    pub(super) fn tail(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }

    /// The empty buffer with its capacity, for its next use.
    pub(super) fn reclaim(&mut self) -> Vec<u8> {
        debug_assert!(self.is_empty(), "what is not written must not be lost");
        self.written = 0;
        std::mem::take(&mut self.bytes)
    }
}
