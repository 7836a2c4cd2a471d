//! Whence mail goes: pools of source addresses, each with its name in EHLO, its share and its bounds.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;

use base::Random;

/// Addresses to send from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EgressPool {
    /// Its name.
    pub name: String,
    /// At least one.
    pub sources: Vec<Source>,
}

/// A source: what other systems see a connection come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// For hosts with IPv4; without it they are not reached from here.
    pub ipv4: Option<Ipv4Addr>,
    /// For hosts with IPv6; likewise.
    pub ipv6: Option<Ipv6Addr>,
    /// Our name in EHLO; `None` is the server's.
    pub ehlo: Option<String>,
    /// Its share of the connections, beside those of the others: 1 or more.
    pub weight: u32,
    /// Connections from it to one destination; `None` is no bound.
    pub connections_max: Option<usize>,
    /// Messages from it to one destination in a minute; `None` is no bound.
    pub messages_per_minute_max: Option<NonZeroU32>,
}

impl Source {
    /// Its address for talking to a host; `None` when it has none of that kind.
    pub(super) fn towards(&self, host: IpAddr) -> Option<IpAddr> {
        match host.to_canonical() {
            IpAddr::V4(_) => self.ipv4.map(IpAddr::V4),
            IpAddr::V6(_) => self.ipv6.map(IpAddr::V6),
        }
    }
}

impl EgressPool {
    /// What all sources together may send to one destination in a minute; `None` when one of them has no bound.
    pub(super) fn messages_per_minute_max(&self) -> Option<NonZeroU32> {
        let all = self.sources.iter().map(|source| source.messages_per_minute_max.map(NonZeroU32::get));
        let sum = all.sum::<Option<u32>>();
        sum.and_then(NonZeroU32::new)
    }

    /// Whether a source may not do all that it is asked.
    pub(super) fn has_bounds(&self) -> bool {
        let is_bounded =
            |source: &Source| source.connections_max.is_some() || source.messages_per_minute_max.is_some();
        self.sources.iter().any(is_bounded)
    }

    /// The connections that all sources together may have to one destination; `None` when one of them has no bound.
    pub(super) fn connections_max(&self) -> Option<usize> {
        self.sources.iter().map(|source| source.connections_max).sum()
    }

    /// The places of the sources that are `free`, in the order in which they are to be tried: by chance, so that over time
    /// each comes first as often as its weight says.
    pub(super) fn order(&self, random: &mut Random, free: impl Fn(usize) -> bool) -> Vec<usize> {
        let mut left: Vec<usize> = (0..self.sources.len()).filter(|at| free(*at)).collect();
        let mut order = Vec::with_capacity(left.len());
        while !left.is_empty() {
            let weights = left.iter().map(|at| u64::from(self.sources[*at].weight));
            let mut chance = random.below(weights.clone().sum());
            let place = weights.take_while(|weight| match chance.checked_sub(*weight) {
                Some(rest) => {
                    chance = rest;
                    true
                }
                None => false,
            });
            let place = place.count();
            order.push(left.remove(place.min(left.len() - 1)));
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(weight: u32, per_minute: u32) -> Source {
        Source {
            ipv4: Some([192, 0, 2, 1].into()),
            ipv6: None,
            ehlo: None,
            weight,
            connections_max: None,
            messages_per_minute_max: NonZeroU32::new(per_minute),
        }
    }

    #[test]
    fn sources_come_first_as_often_as_their_weights_say() {
        let pool =
            EgressPool { name: "p".to_owned(), sources: vec![source(3, 0), source(1, 0), source(1, 0)] };
        let mut random = Random::new(7);
        let mut first = [0; 3];
        for _ in 0..5000 {
            let order = pool.order(&mut random, |_| true);
            assert_eq!(order.len(), 3);
            first[order[0]] += 1;
        }
        assert!((2800..3200).contains(&first[0]) && (850..1150).contains(&first[2]), "{first:?}");
        assert_eq!(pool.order(&mut random, |at| at == 1), [1]);
        assert_eq!(pool.order(&mut random, |_| false), [0; 0]);
    }

    #[test]
    fn a_pool_is_as_fast_as_its_sources() {
        let pool = |sources: Vec<Source>| EgressPool { name: "p".to_owned(), sources };
        assert_eq!(pool(vec![source(1, 30), source(1, 60)]).messages_per_minute_max(), NonZeroU32::new(90));
        assert_eq!(pool(vec![source(1, 30), source(1, 0)]).messages_per_minute_max(), None);
        let only = source(1, 0);
        assert_eq!(only.towards([198, 51, 100, 1].into()), Some([192, 0, 2, 1].into()));
        assert_eq!(
            only.towards("::ffff:198.51.100.1".parse().expect("an address")),
            Some([192, 0, 2, 1].into())
        );
        assert_eq!(only.towards("2001:db8::1".parse().expect("an address")), None);
    }
}
