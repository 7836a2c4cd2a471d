//! Which addresses of a host are tried, and in which order.

use std::net::IpAddr;

use base::Random;
use base::dns::{Answer, Record};

use crate::limits::ADDRESSES_MAX;

/// Which kind of address goes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AddressOrder {
    /// IPv6 and IPv4 by turns, IPv6 first: neither kind can use up all attempts.
    #[default]
    ByTurns,
    /// All of IPv6, then IPv4.
    Ipv6First,
    /// All of IPv4, then IPv6.
    Ipv4First,
    /// IPv6 alone.
    Ipv6Only,
    /// IPv4 alone.
    Ipv4Only,
}

impl AddressOrder {
    /// Whether IPv4 addresses are wanted at all.
    pub const fn takes_ipv4(self) -> bool {
        !matches!(self, Self::Ipv6Only)
    }

    /// Whether IPv6 addresses are wanted at all.
    pub const fn takes_ipv6(self) -> bool {
        !matches!(self, Self::Ipv4Only)
    }
}

/// Who we are: nothing is delivered to ourselves over the network, or mail for a domain that is pointed
/// at us and is none of ours would go round.
#[derive(Clone, Debug, Default)]
pub struct Ourselves {
    /// Our host names, in any case.
    pub names: Vec<String>,
    /// The addresses at which we take mail from other servers.
    pub addresses: Vec<IpAddr>,
    /// We take it at every address of this machine, so loopback is us too.
    pub is_loopback: bool,
}

impl Ourselves {
    /// Whether a host has one of our names.
    pub fn is_name(&self, host: &str) -> bool {
        self.names.iter().any(|name| name.eq_ignore_ascii_case(host))
    }

    /// Whether connecting there is connecting to us.
    pub fn is_address(&self, address: IpAddr) -> bool {
        self.addresses.contains(&address) || (self.is_loopback && address.is_loopback())
    }
}

/// What the addresses of a host came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Addresses {
    /// In the order of trying, at most [`ADDRESSES_MAX`]; none that nobody can be at.
    pub list: Vec<IpAddr>,
    /// One of them was ours. None of the host's are in the list then.
    pub is_ourselves: bool,
}

/// The addresses in the order of trying, equals by chance.
pub fn addresses(
    answers: &[&Answer],
    order: AddressOrder,
    ourselves: &Ourselves,
    random: &mut Random,
) -> Addresses {
    let (mut fours, mut sixes) = (Vec::new(), Vec::new());
    for record in answers.iter().flat_map(|answer| &answer.records) {
        let address = match record {
            Record::A(address) => IpAddr::V4(*address),
            Record::Aaaa(address) => IpAddr::V6(*address).to_canonical(),
            _ => continue,
        };
        if ourselves.is_address(address) {
            return Addresses { list: Vec::new(), is_ourselves: true };
        }
        let list = if address.is_ipv4() { &mut fours } else { &mut sixes };
        if is_somewhere(address) && !list.contains(&address) {
            list.push(address);
        }
    }
    shuffle(&mut fours, random);
    shuffle(&mut sixes, random);
    let mut list = match order {
        AddressOrder::ByTurns => by_turns(sixes, fours),
        AddressOrder::Ipv6First => [sixes, fours].concat(),
        AddressOrder::Ipv4First => [fours, sixes].concat(),
        AddressOrder::Ipv6Only => sixes,
        AddressOrder::Ipv4Only => fours,
    };
    list.truncate(ADDRESSES_MAX);
    Addresses { list, is_ourselves: false }
}

/// Whether one host can be at the address.
fn is_somewhere(address: IpAddr) -> bool {
    let is_broadcast = matches!(address, IpAddr::V4(address) if address.is_broadcast());
    !(address.is_unspecified() || address.is_multicast() || is_broadcast)
}

/// Whether an address is one of the whole internet's, and not this machine's or a private network's (RFC 6890 §2.2).
pub fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            // Shared by carriers, for protocols, for measurements, and for nobody yet.
            let is_special = matches!(
                address.octets(),
                [100, 64..128, ..] | [192, 0, 0, _] | [198, 18..20, ..] | [240..=255, ..]
            );
            let is_own = address.octets()[0] == 0 || address.is_loopback() || address.is_link_local();
            !(is_own || is_special || address.is_private()) && is_somewhere(address.into())
        }
        IpAddr::V6(address) => {
            // RFC 8215: 64:ff9b:1::/48 leads to IPv4 addresses as its network likes.
            let is_local_use = matches!(address.segments(), [0x64, 0xff9b, 1, ..]);
            let is_own = address.is_loopback()
                || address.is_unique_local()
                || address.is_unicast_link_local()
                || is_local_use;
            // 64:ff9b::/96 and 2002::/16 lead to an IPv4 address.
            let inner = match address.segments() {
                [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
                    Some(u32::from(high) << 16 | u32::from(low))
                }
                _ => None,
            };
            !is_own
                && is_somewhere(address.into())
                && inner.is_none_or(|inner| is_public(IpAddr::V4(inner.into())))
        }
    }
}

fn shuffle(list: &mut [IpAddr], random: &mut Random) {
    for last in (1..list.len()).rev() {
        let other = random.below(last as u64 + 1) as usize;
        list.swap(last, other);
    }
}

fn by_turns(first: Vec<IpAddr>, second: Vec<IpAddr>) -> Vec<IpAddr> {
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut list = Vec::new();
    loop {
        let before = list.len();
        list.extend(first.next());
        list.extend(second.next());
        if list.len() == before {
            return list;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(addresses: &[&str]) -> Answer {
        let record = |text: &&str| match text.parse().unwrap() {
            IpAddr::V4(address) => Record::A(address),
            IpAddr::V6(address) => Record::Aaaa(address),
        };
        let records = addresses.iter().map(record).collect();
        Answer { records, name: "h".into(), is_secure: false, ttl_s: 1 }
    }

    fn order(order: AddressOrder, list: &[&str]) -> Vec<String> {
        let found = addresses(&[&answer(list)], order, &Ourselves::default(), &mut Random::new(7));
        found.list.iter().map(IpAddr::to_string).collect()
    }

    #[test]
    fn neither_family_can_use_up_all_attempts() {
        let list = ["::1:1", "::1:2", "::1:3", "192.0.2.1", "192.0.2.2"];
        let kinds: Vec<bool> =
            order(AddressOrder::ByTurns, &list).iter().map(|address| address.contains(':')).collect();
        assert_eq!(kinds, [true, false, true, false, true]);
        assert!(order(AddressOrder::Ipv4First, &list)[..2].iter().all(|address| !address.contains(':')));
        assert!(order(AddressOrder::Ipv6First, &list)[..3].iter().all(|address| address.contains(':')));
        assert_eq!(order(AddressOrder::Ipv4Only, &list).len(), 2);
        assert_eq!(order(AddressOrder::Ipv6Only, &list).len(), 3);
    }

    #[test]
    fn addresses_at_which_nobody_is_are_not_tried() {
        let list = ["0.0.0.0", "255.255.255.255", "224.0.0.1", "::", "ff02::1", "192.0.2.1", "192.0.2.1"];
        assert_eq!(order(AddressOrder::ByTurns, &list), ["192.0.2.1"]);
    }

    #[test]
    fn private_networks_are_not_public() {
        for text in [
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.31.0.1",
            "192.168.1.1",
            "192.0.0.8",
            "198.18.0.1",
            "198.19.255.255",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::1",
            "64:ff9b::198.18.0.1",
            "2002:a00:1::1",
            "fd00::1",
            "fe80::1",
            "ff02::1",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "1.1.1.1",
            "100.128.0.1",
            "172.32.0.1",
            "192.0.2.1",
            "198.20.0.1",
            "64:ff9b:2::1",
            "2001:db8::1",
            "2606:4700::1",
        ] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
    }

    #[test]
    fn a_host_with_one_of_our_addresses_is_ourselves() {
        let find = |ourselves: &Ourselves, list: &[&str]| {
            addresses(&[&answer(list)], AddressOrder::ByTurns, ourselves, &mut Random::new(1))
        };
        let us = Ourselves { addresses: vec!["192.0.2.7".parse().unwrap()], ..Ourselves::default() };
        assert!(find(&us, &["192.0.2.1", "192.0.2.7"]).is_ourselves);
        assert!(!find(&us, &["127.0.0.1"]).is_ourselves);
        let everywhere = Ourselves { is_loopback: true, ..Ourselves::default() };
        assert!(find(&everywhere, &["::ffff:127.0.0.1"]).is_ourselves);
    }

    #[test]
    fn many_addresses_are_cut() {
        let list: Vec<String> = (1..100).map(|last| format!("192.0.2.{last}")).collect();
        let list: Vec<&str> = list.iter().map(String::as_str).collect();
        assert_eq!(order(AddressOrder::ByTurns, &list).len(), ADDRESSES_MAX);
    }
}
