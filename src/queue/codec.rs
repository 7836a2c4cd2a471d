//! How records are written: little-endian numbers, and text with its length in front. Each record begins with a
//! version byte.

use base::Timestamp;

/// Writes one record.
#[derive(Debug)]
pub struct Writer(Vec<u8>);

impl Writer {
    /// A record of a version.
    pub fn new(version: u8) -> Self {
        Self(vec![version])
    }

    /// A byte.
    pub fn u8(&mut self, value: u8) -> &mut Self {
        self.0.push(value);
        self
    }

    /// Four bytes.
    pub fn u32(&mut self, value: u32) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Eight bytes.
    pub fn u64(&mut self, value: u64) -> &mut Self {
        self.0.extend(value.to_le_bytes());
        self
    }

    /// Milliseconds since 1970.
    pub fn time(&mut self, value: Timestamp) -> &mut Self {
        self.u64(value.as_ms().cast_unsigned())
    }

    /// Bytes, their number in front.
    pub fn bytes(&mut self, value: &[u8]) -> &mut Self {
        self.u32(value.len() as u32);
        self.0.extend(value);
        self
    }

    /// A text, its length in front.
    pub fn text(&mut self, value: &str) -> &mut Self {
        self.bytes(value.as_bytes())
    }

    /// A text that may not be there.
    pub fn maybe(&mut self, value: Option<&str>) -> &mut Self {
        match value {
            None => self.u8(0),
            Some(value) => self.u8(1).text(value),
        }
    }

    /// The record.
    pub fn finish(self) -> Vec<u8> {
        self.0
    }
}

/// Reads one record. Everything is checked: what cannot be read is `None`.
#[derive(Debug)]
pub struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// None for another version.
    pub fn new(bytes: &'a [u8], version: u8) -> Option<Self> {
        let (first, rest) = bytes.split_first()?;
        (*first == version).then_some(Self(rest))
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*first)
    }

    /// A byte.
    pub fn u8(&mut self) -> Option<u8> {
        self.array().map(u8::from_le_bytes)
    }

    /// Four bytes.
    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// Eight bytes.
    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// What [`Writer::time`] wrote.
    pub fn time(&mut self) -> Option<Timestamp> {
        self.u64().map(|ms| Timestamp::from_ms(ms.cast_signed()))
    }

    /// What [`Writer::bytes`] wrote.
    pub fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = self.u32()? as usize;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    /// What [`Writer::text`] wrote.
    pub fn text(&mut self) -> Option<String> {
        core::str::from_utf8(self.bytes()?).ok().map(str::to_owned)
    }

    /// What [`Writer::maybe`] wrote; none when it cannot be read.
    pub fn maybe(&mut self) -> Option<Option<String>> {
        match self.u8()? {
            0 => Some(None),
            _ => self.text().map(Some),
        }
    }

    /// A count of things of at least `bytes_each`: one that the rest could hold.
    pub fn count(&mut self, bytes_each: usize) -> Option<usize> {
        let count = self.u32()? as usize;
        (count.checked_mul(bytes_each)? <= self.0.len()).then_some(count)
    }
}
