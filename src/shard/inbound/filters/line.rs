//! One connection to a filter, and the driver of everything that is said on it.

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::rc::Rc;
use std::task::Poll;

use base::Timestamp;
use base::dns::{Query, Record, RecordKind};
use filter::{Exchange, Failure, Next, READ_BYTES_MAX};
use transport::Demand;

use super::{FilterPlace, FilterSettings};
use crate::limits::FILTER_ADDRESSES_MAX;
use crate::{Dial, Endpoint, LocalFuture, Shard, Wire, World};

/// A connection, driven by one question after the other.
pub(crate) struct Line {
    wire: Box<dyn Wire>,
    /// Nothing more can be written. What the filter said before it closed is still read.
    is_broken: bool,
    has_ended: bool,
}

/// What a wait brought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum News {
    /// Everything is written.
    Room,
    Bytes,
    /// There will be no more bytes.
    End,
    Late,
}

impl Line {
    /// Over a connection that is there.
    pub(crate) fn of(wire: Box<dyn Wire>) -> Self {
        Self { wire, is_broken: false, has_ended: false }
    }

    /// Connects to a filter, at the first of its addresses that lets us.
    pub(super) async fn open(shard: &Rc<Shard>, filter: &FilterSettings) -> Result<Self, String> {
        let (endpoints, tls) = match &filter.place {
            FilterPlace::Unix(path) => (vec![Endpoint::Unix(path.clone())], None),
            FilterPlace::Tcp { host, port, is_tls } => {
                let addresses = addresses(shard, host).await;
                let endpoint = |address| Endpoint::Tcp(SocketAddr::new(address, *port));
                (addresses.into_iter().map(endpoint).collect(), is_tls.then(|| Demand::authority(host)))
            }
        };
        let mut why = "its name has no address".to_owned();
        for endpoint in endpoints {
            let dial = Dial { endpoint, tls: tls.clone(), may_resume: true, limit: filter.connect };
            match shard.world.dial(dial).await {
                Ok(wire) => return Ok(Self::of(wire)),
                Err(error) => why = error,
            }
        }
        Err(why)
    }

    /// Drives a question to its answer, until `end` at most.
    pub(crate) async fn drive<E: Exchange>(
        &mut self,
        world: &dyn World,
        exchange: &mut E,
        end: Timestamp,
    ) -> Result<E::Answer, Failure> {
        loop {
            let next = exchange.next(world.now());
            self.give(exchange.output());
            let wants_room = match next {
                Next::Answer(answer) => return Ok(answer),
                Next::Failed(failure) => return Err(failure),
                Next::Write => true,
                Next::Read => false,
            };
            let deadline = exchange.deadline().min(end);
            let news = self.wait(world, wants_room, deadline, &mut |bytes| exchange.input(bytes)).await;
            match news {
                News::End => exchange.ended(),
                News::Late if world.now() >= end => return Err(Failure::Timeout),
                // Of the question's own deadline it knows what it means.
                News::Room | News::Bytes | News::Late => {}
            }
        }
    }

    /// Says a last word, until `end` at most. True when it is said and nothing came back, so that the connection can
    /// serve others.
    pub(super) async fn say(&mut self, world: &dyn World, output: &mut Vec<u8>, end: Timestamp) -> bool {
        self.give(output);
        self.wait(world, true, end, &mut |_| {}).await == News::Room && !self.is_stale()
    }

    /// Whether it is over, or has said something that nobody asked for: then it is not for another question.
    pub(super) fn is_stale(&mut self) -> bool {
        let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
        self.is_broken || self.has_ended || self.wire.poll_read(cx, 1, &mut |_| {}).is_ready()
    }

    fn give(&mut self, output: &mut Vec<u8>) {
        if self.is_broken {
            output.clear();
        } else {
            self.wire.give(output);
        }
    }

    /// Writes and reads at the same time: a filter may answer before it has heard everything, and one that is not
    /// listened to may not listen either.
    async fn wait(
        &mut self,
        world: &dyn World,
        wants_room: bool,
        deadline: Timestamp,
        take: &mut dyn FnMut(&[u8]),
    ) -> News {
        if self.has_ended {
            return News::End;
        }
        let mut sleep: Option<LocalFuture<()>> = None;
        let news = poll_fn(|cx| {
            if !self.is_broken {
                match self.wire.poll_flush(cx) {
                    Poll::Ready(Ok(())) if wants_room => return Poll::Ready(News::Room),
                    Poll::Ready(Err(_)) => self.is_broken = true,
                    Poll::Ready(Ok(())) | Poll::Pending => {}
                }
            }
            match self.wire.poll_read(cx, READ_BYTES_MAX, take) {
                Poll::Ready(Ok(0) | Err(_)) => Poll::Ready(News::End),
                Poll::Ready(Ok(_)) => Poll::Ready(News::Bytes),
                Poll::Pending => {
                    let sleep = sleep.get_or_insert_with(|| world.sleep_until(deadline));
                    sleep.as_mut().poll(cx).map(|()| News::Late)
                }
            }
        })
        .await;
        self.has_ended = news == News::End;
        news
    }
}

/// The addresses of a host, IPv6 first; `localhost` is known without asking (RFC 6761 §6.3).
pub(crate) async fn addresses(shard: &Rc<Shard>, host: &str) -> Vec<IpAddr> {
    if let Ok(address) = host.parse() {
        return vec![address];
    }
    if host.eq_ignore_ascii_case("localhost") {
        return vec![Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    }
    let mut found = Vec::new();
    for kind in [RecordKind::Aaaa, RecordKind::A] {
        let Ok(answer) = shard.world.lookup(Query::new(host, kind)).await else { continue };
        found.extend(answer.records.into_iter().filter_map(|record| match record {
            Record::A(address) => Some(IpAddr::V4(address)),
            Record::Aaaa(address) => Some(IpAddr::V6(address)),
            _ => None,
        }));
    }
    found.truncate(FILTER_ADDRESSES_MAX);
    found
}
