//! A report posted to whoever takes it by HTTPS (RFC 8460 §3, §5.4).

use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use base::Timestamp;
use filter::{HttpConfig, Post, Url};
use mailauth::name::is_within;
use transport::{Demand, Fault, Identity, is_public};

use crate::inbound::{Line, addresses};
use crate::limits::{REPORT_ANSWER_BYTES_MAX, REPORT_CONNECT, REPORT_POST};
use crate::{Dial, Endpoint, Shard};

/// What became of it.
pub(super) enum Posted {
    /// It was taken.
    Taken {
        /// The answer's code.
        status: u16,
        /// What the certificate lacks. RFC 8460 §3: the report may go all the same.
        lacks: Option<Fault>,
    },
    /// It was not.
    Not {
        /// Why, for people to read.
        why: String,
        /// It will not be later either.
        is_over: bool,
    },
}

/// Posts the gzip of a report about a domain, until a moment at most.
pub(super) async fn post(
    shard: &Rc<Shard>,
    domain: &str,
    to: &str,
    (content, end): (Vec<u8>, Timestamp),
) -> Posted {
    let url = match Url::parse(to) {
        Ok(url) if url.is_tls() => url,
        Ok(_) => return Posted::Not { why: "it is no https address".to_owned(), is_over: true },
        Err(error) => return Posted::Not { why: error.to_string(), is_over: true },
    };
    let place = (url.host().to_ascii_lowercase(), url.port());
    if shard.reports.silent.borrow().contains(&place) {
        return Posted::Not { why: "it did not answer just now".to_owned(), is_over: false };
    }
    let now = shard.world.now();
    if now >= end {
        return Posted::Not { why: "others took the time for it".to_owned(), is_over: false };
    }
    match within_time(shard, domain, &url, (content, end.min(now + REPORT_POST))).await {
        Err(Unanswered { why, is_tried }) => {
            if is_tried {
                shard.reports.silent.borrow_mut().insert(place);
            }
            Posted::Not { why, is_over: false }
        }
        Ok((status @ 200..300, lacks)) => Posted::Taken { status, lacks },
        Ok((status, _)) => Posted::Not { why: format!("it answered {status}"), is_over: is_final(status) },
    }
}

/// RFC 9110 §15: these may be other ones later. Nobody is followed to another address.
const fn is_final(status: u16) -> bool {
    !matches!(status, 408 | 425 | 429 | 500..=599)
}

/// Why there is no answer, for people to read, and whether anybody was asked for one.
struct Unanswered {
    why: String,
    is_tried: bool,
}

/// The status of the answer, and what the certificate lacks.
async fn within_time(
    shard: &Rc<Shard>,
    domain: &str,
    url: &Url,
    (content, end): (Vec<u8>, Timestamp),
) -> Result<(u16, Option<Fault>), Unanswered> {
    let (mut why, mut is_tried) = ("its name has no address".to_owned(), false);
    for address in addresses(shard, url.host()).await {
        if shard.world.now() >= end {
            break;
        }
        let Some(demand) = demand(address, url.host(), domain) else {
            why = format!("{address} is in a private network, and the host is not in the domain");
            continue;
        };
        is_tried = true;
        let endpoint = Endpoint::Tcp(SocketAddr::new(address, url.port()));
        match shard
            .world
            .dial(Dial { endpoint, tls: Some(demand), may_resume: false, limit: REPORT_CONNECT })
            .await
        {
            Err(error) => why = error,
            Ok(wire) => {
                let lacks = wire.lacks();
                let answer_ms_max = i64::try_from(REPORT_POST.as_millis()).unwrap_or(i64::MAX);
                let usual = HttpConfig::default();
                let config = HttpConfig { answer_ms_max, answer_bytes_max: REPORT_ANSWER_BYTES_MAX, ..usual };
                let mut post = Post::new(config, url, "application/tlsrpt+gzip", content);
                let status = Line::of(wire).drive(&*shard.world, &mut post, end).await;
                let why = |failure: filter::Failure| Unanswered { why: failure.to_string(), is_tried };
                return status.map(|status| (status, lacks)).map_err(why);
            }
        }
    }
    Err(Unanswered { why, is_tried })
}

/// What is demanded at an address. Whoever writes the record is a stranger, and we may be where strangers are not: in a
/// private network a report goes to a host of the domain itself alone, which proves its name.
fn demand(address: IpAddr, host: &str, domain: &str) -> Option<Demand> {
    let is_public = is_public(address);
    let is_own = is_within(&base::dns::normal(host), &base::dns::normal(domain));
    let identity = Identity::Authority { names: vec![host.to_owned()] };
    let demand = Demand { server_name: host.to_owned(), identity, is_required: !is_public };
    (is_public || is_own).then_some(demand)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::relay::tests::rig::{Rig, outbound};

    #[test]
    fn who_comes_when_the_time_is_over_is_tried_later() {
        let rig = Rig::new(outbound());
        let (shard, end) = (rig.shard(), rig.now());
        let posted =
            rig.wait(async move { post(&shard, "d.example", "https://r.example/", (Vec::new(), end)).await });
        let Posted::Not { why, is_over } = posted else { panic!("there was no time") };
        assert_eq!((why.as_str(), is_over), ("others took the time for it", false));
        assert!(rig.shard().reports.silent.borrow().is_empty(), "it may be asked about another domain");
    }

    #[test]
    fn a_private_network_is_open_to_its_own_domain_alone() {
        let demand = |address: &str, host: &str| demand(address.parse().unwrap(), host, "d.example");
        assert!(demand("192.0.2.1", "r.other.example").is_some_and(|demand| !demand.is_required));
        assert!(demand("10.0.0.1", "R.d.example").is_some_and(|demand| demand.is_required));
        assert!(demand("127.0.0.1", "d.example").is_some_and(|demand| demand.is_required));
        assert_eq!(demand("10.0.0.1", "other.example"), None);
        assert_eq!(demand("127.0.0.1", "127.0.0.1"), None);
        assert_eq!(demand("::1", "bad.example"), None);
    }

    #[test]
    fn what_may_be_otherwise_later_is_tried_again() {
        for (status, expected) in
            [(301, true), (400, true), (404, true), (413, true), (429, false), (503, false)]
        {
            assert_eq!(is_final(status), expected, "{status}");
        }
    }
}
