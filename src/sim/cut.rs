//! The same bytes arriving otherwise, and other bytes arriving.

use base::Random;

use crate::{Action, Bindings, Transcript};

/// How a client's bytes arrive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cut {
    /// Lines that follow each other in one read.
    Whole,
    /// Each byte in a read of its own.
    EveryByte,
    /// In one read, but for a cut before this byte of all that is sent, from 0.
    At(usize),
    /// In reads of some bytes each, by seed.
    Seeded(u64),
}

/// Transcripts up to this many client bytes are cut at every position, longer ones by seed.
const CUT_EVERYWHERE_BYTES_MAX: usize = 400;
/// How many seeded cuts a long transcript gets.
const SEEDED_CUTS: u64 = 40;
/// Reads of a seeded cut have this many bytes at most.
const SEEDED_READ_BYTES_MAX: u64 = 48;
/// How many changes a mutated stream has at most.
const MUTATIONS_MAX: u64 = 6;

impl Cut {
    /// `bytes`, which follow `sent` earlier ones, as the reads they arrive in.
    pub(crate) fn pieces(self, bytes: &[u8], sent: usize) -> Vec<&[u8]> {
        match self {
            Self::Whole => vec![bytes],
            Self::EveryByte => bytes.chunks(1).collect(),
            Self::At(at) => match at.checked_sub(sent).and_then(|at| bytes.split_at_checked(at)) {
                Some((first, second)) if !first.is_empty() && !second.is_empty() => vec![first, second],
                _ => vec![bytes],
            },
            Self::Seeded(seed) => {
                let mut random = Random::new(seed.wrapping_mul(0x9E37).wrapping_add(sent as u64 + 1));
                let (mut pieces, mut rest) = (Vec::new(), bytes);
                while !rest.is_empty() {
                    let take = random.below(SEEDED_READ_BYTES_MAX) as usize + 1;
                    let (piece, after) = rest.split_at(take.min(rest.len()));
                    pieces.push(piece);
                    rest = after;
                }
                pieces
            }
        }
    }
}

/// Every cut this transcript is to be played with.
pub fn cuts(transcript: &Transcript) -> Vec<Cut> {
    let bytes: usize = sends(transcript).iter().map(Vec::len).sum();
    let mut cuts = vec![Cut::EveryByte];
    if bytes <= CUT_EVERYWHERE_BYTES_MAX {
        cuts.extend((1..bytes).map(Cut::At));
    } else {
        cuts.extend((1..=SEEDED_CUTS).map(Cut::Seeded));
    }
    cuts
}

/// What the transcript's client would send, with a few changes by seed: bytes flipped, lost,
/// doubled, inserted, reads swapped or repeated. The same seed gives the same reads.
pub fn mutate(transcript: &Transcript, seed: u64) -> Vec<Vec<u8>> {
    let mut reads = sends(transcript);
    let mut random = Random::new(seed.wrapping_mul(0x9E37_79B9).wrapping_add(seed));
    for _ in 0..=random.below(MUTATIONS_MAX) {
        let count = reads.len() as u64;
        let (at, other) = (random.below(count) as usize, random.below(count) as usize);
        match random.below(4) {
            0 if count > 0 => reads.swap(at, other),
            1 if count > 0 => {
                let again = reads.get(other).cloned().unwrap_or_default();
                reads.insert(at, again);
            }
            _ => {
                if let Some(read) = reads.get_mut(at) {
                    disturb(read, &mut random);
                }
            }
        }
    }
    reads
}

fn disturb(read: &mut Vec<u8>, random: &mut Random) {
    /// Bytes that mean something somewhere.
    const TELLING: &[&[u8]] = &[
        b"\r",
        b"\n",
        b"\0",
        b"\r\n",
        b"{99999999999}\r\n",
        b"{5+}\r\n",
        b"\"",
        b"(",
        b")",
        b"*",
        b".\r\n",
        b" ",
        b"\xff",
        b"4294967296",
        b"-1",
        b"%",
    ];
    let at = random.below(read.len() as u64 + 1) as usize;
    let end = (at + random.below(8) as usize + 1).min(read.len());
    match random.below(5) {
        0 => {
            if let Some(byte) = read.get_mut(at) {
                *byte ^= 1 << random.below(8);
            }
        }
        1 => drop(read.drain(at..end)),
        2 => {
            let again: Vec<u8> = read.get(at..end).unwrap_or_default().to_vec();
            read.splice(at..at, again);
        }
        3 => {
            let what = TELLING.get(random.below(TELLING.len() as u64) as usize).copied().unwrap_or_default();
            read.splice(at..at, what.iter().copied());
        }
        _ => {
            let length = 1 << random.below(17);
            read.splice(at..at, std::iter::repeat_n(b'A', length));
        }
    }
}

/// What the client sends, step by step; variables stand as they are written.
fn sends(transcript: &Transcript) -> Vec<Vec<u8>> {
    let bytes = |action: &Action| match action {
        Action::Send(pattern) => Some(pattern.fill_known(&Bindings::new())),
        _ => None,
    };
    transcript.steps.iter().filter_map(|step| bytes(&step.action)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_add_up_to_the_whole() {
        let bytes: Vec<u8> = (0..200).collect();
        for cut in [Cut::Whole, Cut::EveryByte, Cut::At(10), Cut::At(57), Cut::At(900), Cut::Seeded(3)] {
            assert_eq!(cut.pieces(&bytes, 50).concat(), bytes, "{cut:?}");
        }
        assert_eq!(Cut::At(57).pieces(&bytes, 50).len(), 2);
        assert_eq!(Cut::At(50).pieces(&bytes, 50).len(), 1);
    }

    #[test]
    fn a_seed_gives_the_same_noise_again() {
        let t = Transcript::parse("# c\nC: USER ann\nC: PASS x\nC: STAT").expect("valid");
        assert_eq!(mutate(&t, 7), mutate(&t, 7));
        assert!((1..20).any(|seed| mutate(&t, seed) != sends(&t)));
        mutate(&Transcript::parse("# c\nS: x").expect("valid"), 1);
    }
}
