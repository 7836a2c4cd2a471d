//! Sets of networks: sorted ranges of addresses, so that a large list costs as little as a small one.

use std::net::IpAddr;

/// Networks in CIDR notation or single addresses. An IPv4 address within IPv6 counts as IPv4.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Networks {
    v4: Vec<(u128, u128)>,
    v6: Vec<(u128, u128)>,
}

impl Networks {
    /// Reads them; the error is the remedy for the entry of that number.
    pub(crate) fn compile<'a>(entries: impl Iterator<Item = &'a str>) -> Result<Self, (usize, String)> {
        let mut networks = Self::default();
        for (at, entry) in entries.enumerate() {
            let (is_v4, first, last) = range(entry).map_err(|message| (at, message))?;
            if is_v4 { &mut networks.v4 } else { &mut networks.v6 }.push((first, last));
        }
        networks.v4 = merged(networks.v4);
        networks.v6 = merged(networks.v6);
        Ok(networks)
    }

    pub(crate) fn contains(&self, address: IpAddr) -> bool {
        let (ranges, number) = match address.to_canonical() {
            IpAddr::V4(v4) => (&self.v4, u128::from(v4.to_bits())),
            IpAddr::V6(v6) => (&self.v6, v6.to_bits()),
        };
        let after = ranges.partition_point(|&(first, _)| first <= number);
        after.checked_sub(1).and_then(|at| ranges.get(at)).is_some_and(|&(_, last)| number <= last)
    }
}

/// The network that stands for a source when it is counted: an IPv4 address's first `v4` bits, an
/// IPv6 address's first `v6`; the rest is zero.
pub(crate) fn network_of(address: IpAddr, v4: u8, v6: u8) -> (bool, u128) {
    match address.to_canonical() {
        IpAddr::V4(address) => (true, u128::from(address.to_bits()) & !low_bits(32 - v4.min(32))),
        IpAddr::V6(address) => (false, address.to_bits() & !low_bits(128 - v6.min(128))),
    }
}

fn low_bits(count: u8) -> u128 {
    if count >= 128 { u128::MAX } else { (1 << count) - 1 }
}

fn range(entry: &str) -> Result<(bool, u128, u128), String> {
    let remedy = || format!("{entry:?} is no network: write 192.0.2.0/24, 2001:db8::/32 or one address");
    let (address, bits) = match entry.split_once('/') {
        Some((address, bits)) => (address, Some(bits.parse::<u8>().map_err(|_| remedy())?)),
        None => (entry, None),
    };
    let address: IpAddr = address.parse().map_err(|_| remedy())?;
    let (is_v4, number, width) = match address {
        IpAddr::V4(v4) => (true, u128::from(v4.to_bits()), 32),
        IpAddr::V6(v6) => (false, v6.to_bits(), 128),
    };
    let bits = bits.unwrap_or(width);
    if bits > width {
        return Err(remedy());
    }
    let host = low_bits(width - bits);
    if number & host != 0 {
        let first = number & !host;
        let first = if is_v4 { IpAddr::V4((first as u32).into()) } else { IpAddr::V6(first.into()) };
        return Err(format!("{entry:?} has bits behind its length: write {first}/{bits}"));
    }
    Ok((is_v4, number, number | host))
}

/// Sorted, and those that overlap made one.
fn merged(mut ranges: Vec<(u128, u128)>) -> Vec<(u128, u128)> {
    ranges.sort_unstable();
    let mut out: Vec<(u128, u128)> = Vec::with_capacity(ranges.len());
    for (first, last) in ranges {
        match out.last_mut() {
            Some((_, end)) if first <= *end => *end = last.max(*end),
            _ => out.push((first, last)),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_in_networks() {
        let set = Networks::compile(
            ["10.0.0.0/8", "10.1.0.0/16", "192.0.2.7", "2001:db8::/32", "::1", "0.0.0.0/32"].into_iter(),
        )
        .unwrap();
        for (address, is_in) in [
            ("10.255.255.255", true),
            ("11.0.0.0", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("::ffff:10.0.0.1", true),
            ("2001:db8:ffff::", true),
            ("2001:db9::", false),
            ("::1", true),
            ("::", false),
            ("0.0.0.0", true),
        ] {
            assert_eq!(set.contains(address.parse().unwrap()), is_in, "{address}");
        }
        let all = Networks::compile(["0.0.0.0/0", "::/0"].into_iter()).unwrap();
        assert!(all.contains("255.255.255.255".parse().unwrap()) && all.contains("ffff::".parse().unwrap()));
    }

    #[test]
    fn what_is_no_network_is_refused_with_a_remedy() {
        for (entry, word) in [
            ("10.0.0.1/8", "write 10.0.0.0/8"),
            ("10.0.0.0/33", "is no network"),
            ("example.org", "is no network"),
        ] {
            let (at, message) = Networks::compile(["::1", entry].into_iter()).unwrap_err();
            assert!(at == 1 && message.contains(word), "{message}");
        }
    }

    #[test]
    fn a_source_is_counted_by_its_network() {
        let of = |text: &str| network_of(text.parse().unwrap(), 24, 64);
        assert_eq!(of("192.0.2.77"), of("::ffff:192.0.2.1"));
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(network_of("10.1.2.3".parse().unwrap(), 0, 0), (true, 0));
    }
}
