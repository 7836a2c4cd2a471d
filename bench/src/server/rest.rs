//! A server's memory once it has come to rest: servers give back what they no longer use some seconds late.

use serde_json::Value;

use super::{Server, Usage};
use crate::clock;
use crate::limits::{MEMORY_NOISE_KIB, REST_LOOKS, REST_LOOKS_MAX, REST_STEP};
use crate::report::rounded;
use crate::wrong::Wrong;

/// One of the two ways in which memory is counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Memory {
    /// At the last look.
    pub(crate) kib: u64,
    /// By how much the last looks differ.
    pub(crate) noise_kib: u64,
}

/// What a server holds while nothing is asked of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rest {
    pub(crate) rss: Memory,
    pub(crate) pss: Memory,
}

impl Server {
    /// Looks until memory has stayed the same for a while. Where it never does, what it still does is the noise.
    pub(crate) fn rest(&self) -> Result<Rest, Wrong> {
        let mut looks = Vec::new();
        loop {
            looks.push(self.usage()?);
            let rest = Rest::of(&looks[looks.len().saturating_sub(REST_LOOKS)..]);
            let is_at_rest = [rest.rss, rest.pss].iter().all(|memory| memory.noise_kib <= MEMORY_NOISE_KIB);
            if looks.len() >= REST_LOOKS && is_at_rest || looks.len() >= REST_LOOKS_MAX {
                return Ok(rest);
            }
            clock::pause(REST_STEP);
        }
    }
}

impl Rest {
    fn of(looks: &[Usage]) -> Self {
        let memory = |pick: fn(&Usage) -> u64| {
            let most = looks.iter().map(pick).max().unwrap_or(0);
            let least = looks.iter().map(pick).min().unwrap_or(0);
            Memory { kib: looks.last().map_or(0, pick), noise_kib: most - least }
        };
        Self { rss: memory(|usage| usage.rss_kib), pss: memory(|usage| usage.pss_kib) }
    }
}

impl Memory {
    /// KiB for each of `count`, or why that cannot be said: where a server gave memory back meanwhile, what the
    /// others took is not known.
    pub(crate) fn growth(self, before: Self, count: usize) -> Result<Value, String> {
        if self.kib == 0 {
            return Err("the system does not tell".into());
        }
        let noise = (self.noise_kib + before.noise_kib).max(MEMORY_NOISE_KIB);
        if self.kib <= before.kib + noise {
            return Err(format!(
                "{} KiB before, {} KiB with them, {noise} KiB of noise",
                before.kib, self.kib
            ));
        }
        Ok(self.each(count, before.kib))
    }

    /// All that is held, less `other_kib`, for each of `count`.
    pub(crate) fn each(self, count: usize, other_kib: u64) -> Value {
        rounded(self.kib.saturating_sub(other_kib) as f64 / count.max(1) as f64, 2)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn looks(rss: &[u64]) -> Rest {
        let usage = |rss_kib: &u64| Usage { rss_kib: *rss_kib, ..Usage::default() };
        Rest::of(&rss.iter().map(usage).collect::<Vec<_>>())
    }

    #[test]
    fn growth_is_told_only_above_the_noise_and_never_below_nothing() {
        let before = looks(&[10_000, 10_100, 10_050]).rss;
        assert_eq!(before, Memory { kib: 10_050, noise_kib: 100 });
        let grown = looks(&[20_050]).rss;
        assert_eq!(grown.growth(before, 1000), Ok(rounded(10.0, 2)));
        assert_eq!(grown.each(1000, 0), rounded(20.05, 2));
        let within_noise = Memory { kib: before.kib + MEMORY_NOISE_KIB.max(100), noise_kib: 0 };
        assert!(within_noise.growth(before, 1).is_err());
        let shrunk = looks(&[9_000]).rss;
        let why = shrunk.growth(before, 1).expect_err("memory was given back");
        assert!(why.contains("10050 KiB before") && why.contains("9000 KiB"), "{why}");
        assert_eq!(looks(&[0, 0]).pss.growth(before, 1), Err("the system does not tell".into()));
    }

    #[test]
    fn this_process_comes_to_rest_or_says_by_how_much_it_does_not() {
        let server = Server::new(vec![std::process::id()], None, None, None).expect("we are running");
        let rest = server.rest().expect("we are running");
        assert!(rest.rss.kib > 0 && rest.rss.noise_kib < rest.rss.kib, "{rest:?}");
    }
}
