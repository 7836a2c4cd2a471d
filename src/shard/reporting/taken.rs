//! TLS reports that are posted to us (RFC 8460 §5.4): kept like those that come by mail, and durable before they are
//! acknowledged.

use std::net::{IpAddr, Ipv6Addr};
use std::rc::Rc;
use std::sync::Arc;

use http::{Http, Posts, Request};
use mailauth::report::UnpackError;
use reports::{Found, Origin, Summary, read_posted};

use super::count;
use crate::Shard;
use crate::limits::{DIRECTORY_PARTITION, POST_LOOK, POST_LOOKS_MAX, POSTED_BYTES_MAX};

/// The media types (RFC 8460 §6.4, §6.5), the packed one first.
const KINDS: [&str; 2] = ["application/tlsrpt+gzip", "application/tlsrpt+json"];

/// What becomes of a report that was posted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It is kept, or was before.
    Kept,
    /// It cannot be read.
    Unreadable,
    /// It unpacks to more than anybody has to say.
    TooLarge,
    /// So many came from that network within the hour.
    TooMany,
    /// It cannot be kept now.
    Unavailable,
}

/// A session that takes reports, if any are taken.
pub(crate) fn session(shard: &Shard) -> Http {
    let settings = shard.settings();
    let Some(taking) = &settings.reporting.https else { return Http::new() };
    let budget = Arc::clone(&shard.reports.posted);
    let posts = Posts { target: taking.path.clone(), kinds: &KINDS, bytes_max: POSTED_BYTES_MAX, budget };
    Http::new().with_posts(Arc::new(posts))
}

/// Keeps a report that was posted from an address.
pub(crate) async fn take(shard: &Rc<Shard>, source: &str, request: Request) -> Taken {
    let (tally, owner) = (&shard.reports.tally, shard.router.partition_shard(DIRECTORY_PARTITION));
    let network = network(source);
    match shard.router.on(owner, async move |there: Rc<Shard>| there.has_turn(network)).await {
        Err(_gone) => return Taken::Unavailable,
        Ok(false) => {
            count(&tally.throttled, 1);
            tracing::debug!(event = "reports.throttled", source);
            return Taken::TooMany;
        }
        Ok(true) => {}
    }
    let is_packed = request.kind == KINDS[0];
    // A report may be large when it is unpacked. Strangers have one place in the pool, which logins need too.
    let Some(reading) = Reading::begin(shard).await else { return Taken::Unavailable };
    let read = shard.off_shard(move || read_posted(&request.content, is_packed)).await;
    drop(reading);
    let Found { report, content } = match read {
        Err(_overloaded) => return Taken::Unavailable,
        Ok(Ok(found)) => found,
        Ok(Err(error)) => {
            count(&tally.unreadable_posts, 1);
            tracing::info!(event = "reports.unreadable_post", source, ?error);
            let is_large = error == UnpackError::TooLarge;
            return if is_large { Taken::TooLarge } else { Taken::Unreadable };
        }
    };
    let mut summary = Summary::of(&report, "", shard.world.now());
    (summary.origin, summary.sender) = (Origin::Posted, source.to_owned());
    let (domain, reporter) = (summary.domain.clone(), summary.reporter.clone());
    let work = async move |there: Rc<Shard>| there.reports.kept.as_ref()?.put(&summary, content).await.ok();
    let Ok(Some(kept)) = shard.router.on(owner, work).await else { return Taken::Unavailable };
    count(&tally.posted, 1);
    tracing::info!(event = "reports.taken", source, domain, reporter, ?kept);
    Taken::Kept
}

/// The one report that is being read.
struct Reading(Rc<Shard>);

impl Reading {
    /// In its turn; `None` when that does not come soon.
    async fn begin(shard: &Rc<Shard>) -> Option<Self> {
        for _ in 0..POST_LOOKS_MAX {
            if !shard.reports.is_reading.replace(true) {
                return Some(Self(Rc::clone(shard)));
            }
            shard.world.sleep_until(shard.world.now() + POST_LOOK).await;
        }
        None
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.reports.is_reading.set(false);
    }
}

impl Shard {
    /// Whether another report may come from a network this hour; notes it. On the shard that has the reports.
    fn has_turn(&self, network: IpAddr) -> bool {
        let settings = self.settings();
        let Some(taking) = &settings.reporting.https else { return false };
        let hour = self.world.now().as_s() / 3600;
        let mut posts = self.reports.posts.borrow_mut();
        let known = posts.get(&network).copied().filter(|(known, _)| *known == hour);
        let count = known.map_or(0, |(_, count)| count);
        if count >= taking.per_hour_max {
            return false;
        }
        posts.insert(network, (hour, count + 1));
        true
    }
}

/// What one has who has an address: its /24, or its /48. What does not come over the network has one place together.
fn network(source: &str) -> IpAddr {
    let address = source.parse().unwrap_or(IpAddr::V6(Ipv6Addr::UNSPECIFIED));
    match IpAddr::to_canonical(&address) {
        IpAddr::V4(address) => IpAddr::V4((address.to_bits() & (u32::MAX << 8)).into()),
        IpAddr::V6(address) => IpAddr::V6((address.to_bits() & (u128::MAX << 80)).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::tests::rig::{Rig, outbound};

    #[test]
    fn strangers_have_one_place_in_the_pool() {
        let rig = Rig::new(outbound());
        let begin = || {
            let shard = rig.shard();
            rig.wait(async move { Reading::begin(&shard).await })
        };
        let first = begin().expect("nobody is there");
        let before = rig.now();
        assert!(begin().is_none());
        assert!(rig.now() >= before + POST_LOOK, "it has waited for its turn");
        drop(first);
        assert!(begin().is_some());
    }

    #[test]
    fn a_network_is_what_one_has() {
        for (source, expected) in [
            ("192.0.2.77", "192.0.2.0"),
            ("::ffff:192.0.2.77", "192.0.2.0"),
            ("2001:db8:1:2:3::4", "2001:db8:1::"),
            ("unix", "::"),
        ] {
            assert_eq!(network(source).to_string(), expected);
        }
    }
}
