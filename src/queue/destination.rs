//! Where mail goes next, as a number.

use core::fmt;

/// A next hop: a domain whose mail exchangers are asked for, or a smarthost. A number that comes out the same for the
/// same name for ever, for it stands in rows; two names may share one (then they share a lane, and nothing else).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Destination(pub u64);

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

impl Destination {
    /// The number of a name; case does not matter.
    pub fn of(name: &str) -> Self {
        let step = |hash: u64, byte: u8| (hash ^ u64::from(byte.to_ascii_lowercase())).wrapping_mul(PRIME);
        let hash = name.bytes().fold(OFFSET, step);
        // The lower bits choose a shard: they must depend on every byte.
        let mixed = (hash ^ (hash >> 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        Self(mixed ^ (mixed >> 29))
    }

    /// Which of `shards` has the connections to it.
    pub const fn shard(self, shards: u16) -> u16 {
        (self.0 % shards as u64) as u16
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_one_number_for_ever_and_shards_get_their_share() {
        assert_eq!(Destination::of("Example.ORG"), Destination::of("example.org"));
        assert_eq!(Destination::of("example.org").to_string(), "b02a79598dc94dfa");
        let mut counts = [0_u32; 4];
        for number in 0..4000 {
            counts[usize::from(Destination::of(&format!("d{number}.example")).shard(4))] += 1;
        }
        assert!(counts.iter().all(|count| (900..1100).contains(count)), "{counts:?}");
    }
}
