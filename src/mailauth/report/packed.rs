//! Reports come packed: gzip as RFC 9990 §3.5 asks, ZIP as many send, or plain. What is unpacked has a bound,
//! whatever the packed bytes say of themselves.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::{DeflateDecoder, GzDecoder};
use flate2::write::GzEncoder;

use crate::limits::REPORT_BYTES_MAX;

/// Why nothing came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnpackError {
    /// The bytes are damaged, or packed in another way.
    Damaged,
    /// More would come out than is taken.
    TooLarge,
}

/// Unpacks gzip or ZIP (the first file in it); everything else is taken as it is.
pub fn unpack(packed: &[u8]) -> Result<Vec<u8>, UnpackError> {
    if packed.starts_with(&[0x1f, 0x8b]) {
        return unpack_gzip(packed, REPORT_BYTES_MAX);
    }
    if packed.starts_with(b"PK\x03\x04") {
        return unzip(packed);
    }
    if packed.len() > REPORT_BYTES_MAX {
        return Err(UnpackError::TooLarge);
    }
    Ok(packed.to_vec())
}

/// Unpacks gzip and nothing else, to so many bytes at most.
pub fn unpack_gzip(packed: &[u8], bytes_max: usize) -> Result<Vec<u8>, UnpackError> {
    drain(GzDecoder::new(packed), bytes_max)
}

/// Packs with gzip.
pub fn pack(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(text).and_then(|()| encoder.finish()).expect("writing to memory cannot fail")
}

fn drain(from: impl Read, bytes_max: usize) -> Result<Vec<u8>, UnpackError> {
    let mut out = Vec::new();
    from.take(bytes_max as u64 + 1).read_to_end(&mut out).map_err(|_| UnpackError::Damaged)?;
    if out.len() > bytes_max { Err(UnpackError::TooLarge) } else { Ok(out) }
}

/// The first file of a ZIP archive. Its sizes stand in the directory at the end; the header in front of it may
/// leave them out (APPNOTE.TXT 4.3.7, 4.4.4).
fn unzip(archive: &[u8]) -> Result<Vec<u8>, UnpackError> {
    first_file(archive).ok_or(UnpackError::Damaged)?
}

fn first_file(archive: &[u8]) -> Option<Result<Vec<u8>, UnpackError>> {
    const STORED: u16 = 0;
    const DEFLATED: u16 = 8;
    const END_BYTES: usize = 22;
    const COMMENT_BYTES_MAX: usize = 65_535;
    let tail_at = archive.len().saturating_sub(END_BYTES + COMMENT_BYTES_MAX);
    let tail = archive.get(tail_at..)?;
    let end = tail.get(memchr::memmem::rfind(tail, b"PK\x05\x06")?..)?;
    let mut at = u32_at(end, 16)? as usize;
    loop {
        let entry = archive.get(at..)?;
        if !entry.starts_with(b"PK\x01\x02") {
            return None;
        }
        let name_bytes = usize::from(u16_at(entry, 28)?);
        let name = entry.get(46..46 + name_bytes)?;
        if name.ends_with(b"/") {
            at += 46 + name_bytes + usize::from(u16_at(entry, 30)?) + usize::from(u16_at(entry, 32)?);
            continue;
        }
        let is_encrypted = u16_at(entry, 8)? & 1 != 0;
        let local = archive.get(u32_at(entry, 42)? as usize..)?;
        if is_encrypted || !local.starts_with(b"PK\x03\x04") {
            return None;
        }
        let data_at = 30 + usize::from(u16_at(local, 26)?) + usize::from(u16_at(local, 28)?);
        let data = local.get(data_at..)?.get(..u32_at(entry, 20)? as usize)?;
        return match u16_at(entry, 10)? {
            STORED => Some(drain(data, REPORT_BYTES_MAX)),
            DEFLATED => Some(drain(DeflateDecoder::new(data), REPORT_BYTES_MAX)),
            _ => None,
        };
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::write::DeflateEncoder;

    /// An archive with a folder and one file.
    fn zip(text: &[u8], method: u16) -> Vec<u8> {
        let data = if method == 8 {
            let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
            encoder.write_all(text).unwrap();
            encoder.finish().unwrap()
        } else {
            text.to_vec()
        };
        let mut archive = b"PK\x03\x04".to_vec();
        archive.extend([0; 22]);
        archive.extend(5_u16.to_le_bytes());
        archive.extend([0; 2]);
        archive.extend(b"r.xml");
        archive.extend(&data);
        let directory = archive.len() as u32;
        for (name, bytes) in [(&b"d/"[..], 0), (b"r.xml", data.len() as u32)] {
            archive.extend(b"PK\x01\x02\0\0\0\0\0\0");
            archive.extend(method.to_le_bytes());
            archive.extend([0; 8]);
            archive.extend(bytes.to_le_bytes());
            archive.extend([0; 4]);
            archive.extend((name.len() as u16).to_le_bytes());
            archive.extend([0; 16]);
            archive.extend(name);
        }
        archive.extend(b"PK\x05\x06");
        archive.extend([0; 12]);
        archive.extend(directory.to_le_bytes());
        archive.extend([0; 2]);
        archive
    }

    #[test]
    fn packed_bytes_come_out() {
        for packed in [pack(b"<x/>"), zip(b"<x/>", 0), zip(b"<x/>", 8), b"<x/>".to_vec()] {
            assert_eq!(unpack(&packed), Ok(b"<x/>".to_vec()));
        }
    }

    #[test]
    fn bombs_and_damage_are_refused() {
        let zeros = vec![0; REPORT_BYTES_MAX + 1];
        for packed in [pack(&zeros), zip(&zeros, 8), zeros] {
            assert_eq!(unpack(&packed), Err(UnpackError::TooLarge));
        }
        let whole = zip(b"<x/>", 8);
        // The last two bytes only say that there is no comment.
        for end in 0..whole.len() - 2 {
            let cut = &whole[..end];
            assert!(unpack(cut).is_err() || !cut.starts_with(b"PK\x03\x04"), "{end}");
        }
        let gzip = pack(b"<x/>");
        assert_eq!(unpack_gzip(&gzip, 4), Ok(b"<x/>".to_vec()));
        assert_eq!(unpack_gzip(&gzip, 3), Err(UnpackError::TooLarge));
        assert_eq!(unpack_gzip(b"<x/>", 4), Err(UnpackError::Damaged));
        for end in 2..gzip.len() {
            assert_eq!(unpack(&gzip[..end]), Err(UnpackError::Damaged), "{end}");
        }
    }
}
