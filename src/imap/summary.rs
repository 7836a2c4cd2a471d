//! What listings ask of a message, made once when it is stored and kept in front of it: its ENVELOPE and
//! BODYSTRUCTURE as they go over the wire, and where its body begins. Byte by byte in `docs/formats/summary.md`.
//!
//! A summary is only ever what parsing the message gives: a message without one, or with one of another
//! version, is parsed.

use alloc::vec::Vec;

use crate::limits::{SUMMARY_BYTES_MAX, SUMMARY_HEADER_BYTES_MAX, SUMMARY_MESSAGE_BYTES_MAX};
use crate::response::bodystructure::{Extent, write_structure};
use crate::response::envelope::write_envelope;

/// Changes whenever the layout, or what ENVELOPE or BODYSTRUCTURE look like, changes: a summary of
/// another version is left alone.
const VERSION: u8 = 1;

/// Bytes in front of the envelope: version, zero, the envelope's length, where the body begins.
const FRONT_BYTES: usize = 8;

/// The summary of a message, for whoever stores it; empty when there would be no gain, for the message
/// is out of the ordinary (a header above 64 KiB, a summary above 8 KiB). Costs a pass over the message.
pub fn summarize(message: &[u8]) -> Vec<u8> {
    let looked_at = message.get(..SUMMARY_HEADER_BYTES_MAX).unwrap_or(message);
    let tree = (message.len() <= SUMMARY_MESSAGE_BYTES_MAX).then(|| mime::scan(message));
    // No line of a message's own header can be a delimiter, so this is where any reader finds its end.
    let known_end = tree.as_ref().map(|tree| tree.root().header.end as usize);
    let header_end = known_end.unwrap_or_else(|| mime::end_of_headers(looked_at));
    if header_end >= SUMMARY_HEADER_BYTES_MAX {
        return Vec::new();
    }
    let mut out = Vec::with_capacity(USUAL_BYTES);
    out.extend_from_slice(&[VERSION, 0, 0, 0]);
    out.extend_from_slice(&(header_end as u32).to_le_bytes());
    write_envelope(&mut out, &mime::envelope(message.get(..header_end).unwrap_or(message)));
    let envelope_end = out.len();
    let Some(length) =
        u16::try_from(envelope_end - FRONT_BYTES).ok().filter(|_| out.len() <= SUMMARY_BYTES_MAX)
    else {
        return Vec::new();
    };
    if let Some(place) = out.get_mut(2..4) {
        place.copy_from_slice(&length.to_le_bytes());
    }
    if let Some(tree) = tree {
        write_structure(&mut out, &tree, Extent::Extended);
    }
    if out.len() > SUMMARY_BYTES_MAX {
        out.truncate(envelope_end);
    }
    out
}

/// Room that most summaries need no more than.
const USUAL_BYTES: usize = 512;

/// A summary as it was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Summary<'a> {
    /// Where the message's body begins.
    pub(crate) header_end: u32,
    /// ENVELOPE's value.
    pub(crate) envelope: &'a [u8],
    /// BODYSTRUCTURE's value; none when it is long.
    pub(crate) structure: Option<&'a [u8]>,
}

impl<'a> Summary<'a> {
    /// Reads what [`summarize`] made; none for anything else. That the bytes are the ones that were stored is
    /// for a checksum to tell.
    pub(crate) fn read(bytes: &'a [u8]) -> Option<Self> {
        let &[VERSION, 0, length_low, length_high, a, b, c, d, ref rest @ ..] = bytes else { return None };
        let length = u16::from_le_bytes([length_low, length_high]);
        let (envelope, structure) = rest.split_at_checked(length.into())?;
        let is_list = |value: &[u8]| value.first() == Some(&b'(') && value.last() == Some(&b')');
        if !is_list(envelope) || !(structure.is_empty() || is_list(structure)) {
            return None;
        }
        let structure = Some(structure).filter(|structure| !structure.is_empty());
        Some(Self { header_end: u32::from_le_bytes([a, b, c, d]), envelope, structure })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::string::String;
    use base::Random;
    use sim::samples;

    /// What parsing says.
    fn parsed(message: &[u8]) -> (u32, Vec<u8>, Vec<u8>) {
        let header_end = mime::end_of_headers(message);
        let (mut envelope, mut structure) = (Vec::new(), Vec::new());
        write_envelope(&mut envelope, &mime::envelope(&message[..header_end]));
        write_structure(&mut structure, &mime::scan(message), Extent::Extended);
        (header_end as u32, envelope, structure)
    }

    #[test]
    fn a_summary_says_what_parsing_says() {
        for (name, message) in samples::ALL {
            let bytes = summarize(message);
            let summary = Summary::read(&bytes).expect(name);
            let (header_end, envelope, structure) = parsed(message);
            let want = Summary { header_end, envelope: &envelope, structure: Some(&structure) };
            assert_eq!(summary, want, "{name}");
        }
    }

    #[test]
    fn messages_made_by_chance_too() {
        let mut seen = (0, 0);
        for seed in 1..3000 {
            let mut random = Random::new(seed);
            let (_, sample) = samples::ALL[random.below(samples::ALL.len() as u64) as usize];
            let mut message = sample.to_vec();
            for _ in 0..random.below(8) {
                let at = random.below(message.len() as u64 + 1) as usize;
                let end = (at + random.below(30) as usize).min(message.len());
                match random.below(4) {
                    0 => drop(message.drain(at..end)),
                    1 => message.insert(at, random.next_u64() as u8),
                    2 => drop(message.splice(at..at, *b"\r\n")),
                    _ => {
                        let piece = message[at..end].to_vec();
                        message.splice(at..at, piece);
                    }
                }
            }
            let bytes = summarize(&message);
            let (header_end, envelope, structure) = parsed(&message);
            let summary = Summary::read(&bytes).expect("it is small");
            assert_eq!((summary.header_end, summary.envelope), (header_end, &envelope[..]), "seed {seed}");
            assert_eq!(summary.structure, Some(&structure[..]), "seed {seed}");
            seen.0 += usize::from(envelope.contains(&b'{'));
            seen.1 += usize::from(structure.len() > 100);
        }
        assert!(seen.0 > 100 && seen.1 > 100, "{seen:?}");
    }

    #[test]
    fn what_is_out_of_the_ordinary_is_left_to_parsing() {
        let header = |bytes: usize| format!("Subject: {}\r\n\r\nbody", "x".repeat(bytes));
        assert!(summarize(header(SUMMARY_HEADER_BYTES_MAX).as_bytes()).is_empty());
        assert!(summarize(header(SUMMARY_BYTES_MAX).as_bytes()).is_empty());
        let part = "--b\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nx\r\n".repeat(500);
        let wide = format!("Subject: x\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n{part}");
        let bytes = summarize(wide.as_bytes());
        let summary = Summary::read(&bytes).unwrap();
        assert_eq!(summary.structure, None);
        assert_eq!(summary.envelope, parsed(wide.as_bytes()).1);
        // A header that is as long as what is looked at, and no body.
        let edge = format!("Subject: {}\r\n\r\n", "x".repeat(SUMMARY_HEADER_BYTES_MAX - 13));
        assert_eq!(edge.len(), SUMMARY_HEADER_BYTES_MAX);
        assert!(summarize(edge.as_bytes()).is_empty(), "its envelope is long");
    }

    #[test]
    fn other_bytes_are_no_summary() {
        let bytes = summarize(samples::PLAIN);
        assert!(Summary::read(&bytes).is_some());
        assert_eq!(Summary::read(&[]), None);
        for length in 0..bytes.len() {
            let cut = Summary::read(&bytes[..length]).map(|cut| cut.envelope);
            assert!(cut.is_none_or(|envelope| bytes[FRONT_BYTES..].starts_with(envelope)), "{length}");
        }
        for version in (0..=u8::MAX).filter(|version| *version != VERSION) {
            let mut other = bytes.clone();
            other[0] = version;
            assert_eq!(Summary::read(&other), None);
        }
        let mut random = Random::new(5);
        for _ in 0..20_000 {
            let mut other = bytes.clone();
            let at = random.below(other.len() as u64) as usize;
            other[at] = random.next_u64() as u8;
            // Whatever it says, it says it of its own bytes.
            let _ = Summary::read(&other).map(|summary| String::from_utf8_lossy(summary.envelope).len());
        }
    }

    #[test]
    fn what_a_version_says_of_a_message_never_changes() {
        // FNV-1a of all there is. Another number: whoever has stored summaries would be told other things of old
        // messages than of new ones. Raise VERSION with it, unless it was only the samples that changed.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for (_, message) in samples::ALL {
            for byte in summarize(message) {
                hash = (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        assert_eq!((VERSION, hash), (1, 8_562_865_843_300_291_834));
    }
}
