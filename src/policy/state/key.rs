//! Keys of what is remembered: 128 bits of a keyed hash, so that an entry has the same size whatever a
//! peer calls itself, and so that nobody can choose two names that meet.

use std::hash::Hasher;
use std::net::IpAddr;

use crate::network::network_of;

/// What an entry is found by. Its upper 16 bits are its subject's [`Home`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(pub(crate) u128);

const HOME_SHIFT: u32 = 112;

impl Key {
    /// Where the entry lives.
    pub const fn home(self) -> Home {
        Home((self.0 >> HOME_SHIFT) as u16)
    }
}

/// Where all that is remembered of a subject lives: a number that comes out the same for ever, to be spread over
/// partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Home(pub u16);

impl Home {
    /// Of a source. Addresses that greylisting or reputation may see as one network have one home.
    pub fn of_source(source: IpAddr) -> Self {
        let (is_v4, network) = network_of(source, 16, 32);
        Self::of(&[&[u8::from(is_v4)], &network.to_be_bytes()])
    }

    /// Of the subject of a limit.
    pub fn of_subject(subject: &str) -> Self {
        Self::of(&[subject.as_bytes()])
    }

    fn of(parts: &[&[u8]]) -> Self {
        Self(KeyMaker::new(0).hash(parts) as u16)
    }
}

/// Makes keys of parts. Two makers with the same secret make the same keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyMaker {
    secret: [u64; 2],
}

impl KeyMaker {
    /// A maker with this secret, which should be by chance and the same on all shards.
    pub const fn new(secret: u128) -> Self {
        Self { secret: [secret as u64, (secret >> 64) as u64] }
    }

    /// The key of parts in this order, at a home; where one part ends is part of it.
    pub fn key(self, home: Home, parts: &[&[u8]]) -> Key {
        let below = self.hash(parts) & ((1 << HOME_SHIFT) - 1);
        Key(u128::from(home.0) << HOME_SHIFT | below)
    }

    fn hash(self, parts: &[&[u8]]) -> u128 {
        let mut sip = Sip::new(self.secret);
        for part in parts {
            sip.write(part);
            sip.write(&(part.len() as u64).to_le_bytes());
        }
        sip.finish()
    }
}

/// SipHash-2-4 with 128 bits of output (Aumasson and Bernstein, 2012).
struct Sip {
    v: [u64; 4],
    tail: [u8; 8],
    tail_bytes: usize,
    total: u64,
}

impl Sip {
    const fn new([k0, k1]: [u64; 2]) -> Self {
        let v = [
            k0 ^ 0x736f_6d65_7073_6575,
            k1 ^ 0x646f_7261_6e64_6f6d ^ 0xee,
            k0 ^ 0x6c79_6765_6e65_7261,
            k1 ^ 0x7465_6462_7974_6573,
        ];
        Self { v, tail: [0; 8], tail_bytes: 0, total: 0 }
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.tail[self.tail_bytes] = byte;
            self.tail_bytes += 1;
            self.total = self.total.wrapping_add(1);
            if self.tail_bytes == 8 {
                self.word(u64::from_le_bytes(self.tail));
                self.tail_bytes = 0;
            }
        }
    }

    fn word(&mut self, word: u64) {
        self.v[3] ^= word;
        self.round();
        self.round();
        self.v[0] ^= word;
    }

    fn finish(mut self) -> u128 {
        self.tail[self.tail_bytes..].fill(0);
        self.tail[7] = self.total as u8;
        self.word(u64::from_le_bytes(self.tail));
        self.v[2] ^= 0xee;
        let low = self.output();
        self.v[1] ^= 0xdd;
        let high = self.output();
        u128::from(low) | (u128::from(high) << 64)
    }

    fn output(&mut self) -> u64 {
        (0..4).for_each(|_| self.round());
        self.v[0] ^ self.v[1] ^ self.v[2] ^ self.v[3]
    }

    fn round(&mut self) {
        let [a, b, c, d] = &mut self.v;
        *a = a.wrapping_add(*b);
        *c = c.wrapping_add(*d);
        *b = b.rotate_left(13) ^ *a;
        *d = d.rotate_left(16) ^ *c;
        *a = a.rotate_left(32);
        *c = c.wrapping_add(*b);
        *a = a.wrapping_add(*d);
        *b = b.rotate_left(17) ^ *c;
        *d = d.rotate_left(21) ^ *a;
        *c = c.rotate_left(32);
    }
}

/// Keys are hashes already: a map takes their low bits.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct AsItIs(u64);

impl Hasher for AsItIs {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u128(&mut self, number: u128) {
        self.0 = number as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_the_published_one() {
        // The reference vectors: key 00..0f, input 00, 00 01, ...
        let secret = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908];
        let of = |bytes: &[u8]| {
            let mut sip = Sip::new(secret);
            sip.write(bytes);
            sip.finish().to_le_bytes()
        };
        assert_eq!(
            of(b""),
            [0xa3, 0x81, 0x7f, 0x04, 0xba, 0x25, 0xa8, 0xe6, 0x6d, 0xf6, 0x72, 0x14, 0xc7, 0x55, 0x02, 0x93]
        );
        assert_eq!(
            of(&[0]),
            [0xda, 0x87, 0xc1, 0xd8, 0x6b, 0x99, 0xaf, 0x44, 0x34, 0x76, 0x59, 0x11, 0x9b, 0x22, 0xfc, 0x45]
        );
    }

    #[test]
    fn where_a_part_ends_counts() {
        let (maker, home) = (KeyMaker::new(7), Home(3));
        assert_ne!(maker.key(home, &[b"ab", b"c"]), maker.key(home, &[b"a", b"bc"]));
        assert_ne!(maker.key(home, &[b"a"]), KeyMaker::new(8).key(home, &[b"a"]));
        assert_eq!(maker.key(home, &[b"a"]).home(), home);
    }

    #[test]
    fn a_home_is_the_same_for_ever_and_for_a_whole_network() {
        let of = |text: &str| Home::of_source(text.parse().unwrap());
        assert_eq!(of("192.0.2.1"), of("::ffff:192.0.77.9"));
        assert_eq!(of("2001:db8::1"), of("2001:db8:9::1"));
        assert_ne!(of("192.0.2.1"), of("192.1.2.1"));
        assert_eq!(Home::of_subject("ann@example.org"), Home(0xebb2));
    }
}
