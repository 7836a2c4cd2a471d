//! Any [`Session`] as a [`Peer`], in memory, with its handlers polled once.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{Future, pending};

use base::{ChannelBinding, Handled, Next, Out, Secret, Service, Session, Timestamp, TlsInfo};

use crate::{Clock, Peer, ready};

/// How often a session may be asked for more at one moment before it counts as stuck.
const TURNS_MAX: usize = 1_000_000;

type Make<S, V> = Box<dyn FnMut(u32) -> (S, V)>;
type Events = Box<dyn FnMut(&str, &str) -> Result<(), String>>;

/// Sessions and their handlers, one pair a connection.
pub struct SessionPeer<S, V> {
    clock: Clock,
    make: Make<S, V>,
    events: Option<Events>,
    is_tls_from_start: bool,
    connections: BTreeMap<u32, Connection<S, V>>,
}

struct Connection<S, V> {
    session: S,
    service: V,
    /// Said and not yet taken by the player.
    said: Vec<u8>,
    /// How many the handlers have answered.
    requests: u64,
    is_watching: bool,
    is_closed: bool,
}

impl<S: Session, V: Service<S>> SessionPeer<S, V> {
    /// `make` gives the session and the handlers of each new connection.
    pub fn new(clock: Clock, make: impl FnMut(u32) -> (S, V) + 'static) -> Self {
        Self {
            clock,
            make: Box::new(make),
            events: None,
            is_tls_from_start: false,
            connections: BTreeMap::new(),
        }
    }

    /// With `true`, connections are under TLS from their first byte.
    #[must_use]
    pub fn with_tls(mut self, is_tls_from_start: bool) -> Self {
        self.is_tls_from_start = is_tls_from_start;
        self
    }

    /// What happens at a transcript's `key: value` steps.
    #[must_use]
    pub fn with_events(mut self, events: impl FnMut(&str, &str) -> Result<(), String> + 'static) -> Self {
        self.events = Some(Box::new(events));
        self
    }

    /// The session of a connection that was opened and not given up by the client.
    pub fn session(&mut self, connection: u32) -> Option<&mut S> {
        self.connections.get_mut(&connection).map(|connection| &mut connection.session)
    }

    fn pump(&mut self, connection: u32) {
        let now = self.clock.now();
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.pump(now);
        }
    }

    /// Sessions that wait for a change of their account hear of it; hearing of one that was none
    /// must do no harm.
    fn tell_watchers(&mut self, but: Option<u32>) {
        let now = self.clock.now();
        let others = self.connections.iter_mut().filter(|(number, _)| Some(**number) != but);
        for (_, connection) in others.filter(|(_, c)| c.is_watching && !c.is_closed) {
            connection.session.changed();
            connection.pump(now);
        }
    }

    fn take(&mut self, connection: u32) -> Vec<u8> {
        self.connections.get_mut(&connection).map(|c| std::mem::take(&mut c.said)).unwrap_or_default()
    }
}

impl<S: Session, V: Service<S>> Connection<S, V> {
    fn feed(&mut self, mut bytes: &[u8], now: Timestamp) {
        while !bytes.is_empty() && !self.is_closed {
            let room = self.session.room().min(bytes.len());
            assert!(room > 0, "a session that wants input has no room for it");
            let (piece, rest) = bytes.split_at(room);
            self.session.input(piece);
            // What was read with the command that starts TLS is not TLS: it is dropped.
            bytes = if self.pump(now) { &[] } else { rest };
        }
    }

    /// Works until the session wants input; true when TLS was started on the way.
    fn pump(&mut self, now: Timestamp) -> bool {
        let mut is_secured = false;
        for _ in 0..TURNS_MAX {
            if self.is_closed {
                return is_secured;
            }
            self.is_watching = false;
            let next = self.session.next(now);
            let output = std::mem::take(self.session.output());
            match next {
                Next::Run(request) => self.run(request, output),
                Next::Read => {
                    self.said.extend(output);
                    return is_secured;
                }
                Next::Watch => {
                    self.said.extend(output);
                    self.is_watching = true;
                    return is_secured;
                }
                Next::StartTls => {
                    self.said.extend(output);
                    self.session.secured(tls());
                    is_secured = true;
                }
                Next::Close => {
                    self.said.extend(output);
                    self.is_closed = true;
                }
            }
        }
        panic!("a session did not come to rest");
    }

    fn run(&mut self, request: S::Request, output: Vec<u8>) {
        let mut out = Out::in_memory(output);
        let handled = ready(self.service.handle(&mut self.session, request, &mut out));
        self.said.extend(out.buffer);
        self.requests += 1;
        match handled {
            Handled::Reply(reply) | Handled::Move(_, reply) => self.session.reply(reply),
        }
    }
}

impl<S: Session, V: Service<S>> Peer for SessionPeer<S, V> {
    fn open(&mut self, connection: u32) -> Vec<u8> {
        let (session, service) = (self.make)(connection);
        let mut new = Connection {
            session,
            service,
            said: Vec::new(),
            requests: 0,
            is_watching: false,
            is_closed: false,
        };
        if self.is_tls_from_start {
            new.session.secured(tls());
        }
        self.connections.insert(connection, new);
        self.pump(connection);
        self.take(connection)
    }

    fn send(&mut self, connection: u32, bytes: &[u8]) -> Vec<u8> {
        let now = self.clock.now();
        let Some(sender) = self.connections.get_mut(&connection) else { return Vec::new() };
        let requests = sender.requests;
        sender.feed(bytes, now);
        // Only handlers change accounts.
        if sender.requests > requests {
            self.tell_watchers(Some(connection));
        }
        self.take(connection)
    }

    fn clock_ms(&mut self, ms: i64) -> Vec<u8> {
        let end = Timestamp::from_ms(self.clock.now().as_ms().saturating_add(ms));
        let Self { clock, connections, .. } = self;
        for _ in 0..TURNS_MAX {
            let open = connections.values_mut().filter(|connection| !connection.is_closed);
            let due = open.min_by_key(|connection| connection.session.deadline());
            let Some(due) = due.filter(|due| due.session.deadline() <= end) else { break };
            clock.set(due.session.deadline().max(clock.now()));
            due.pump(clock.now());
        }
        clock.set(end);
        self.take(1)
    }

    fn is_closed(&self, connection: u32) -> bool {
        self.connections.get(&connection).is_none_or(|connection| connection.is_closed)
    }

    fn more(&mut self, connection: u32) -> Vec<u8> {
        self.take(connection)
    }

    fn close(&mut self, connection: u32) {
        self.connections.remove(&connection);
    }

    fn event(&mut self, key: &str, value: &str) -> Result<(), String> {
        let events = self.events.as_mut().ok_or_else(|| format!("this peer knows no event `{key}:`"))?;
        events(key, value)?;
        self.tell_watchers(None);
        Ok(())
    }
}

impl<S, V> fmt::Debug for SessionPeer<S, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionPeer").field("connections", &self.connections.len()).finish_non_exhaustive()
    }
}

/// Handlers that answer at once, from a function.
pub struct FromFn<F>(F);

/// A [`Service`] whose answers come from `answer`, for protocols tested without a store.
pub const fn from_fn<F>(answer: F) -> FromFn<F> {
    FromFn(answer)
}

impl<F> fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FromFn")
    }
}

impl<S: Session, F: FnMut(S::Request) -> S::Reply> Service<S> for FromFn<F> {
    fn handle(
        &mut self,
        _session: &mut S,
        request: S::Request,
        _out: &mut Out<'_>,
    ) -> impl Future<Output = Handled<S::Reply>> {
        let reply = (self.0)(request);
        async move { Handled::Reply(reply) }
    }

    fn changed(&mut self) -> impl Future<Output = ()> {
        pending()
    }
}

/// A TLS connection that never was, with a channel binding that both sides of a test know.
fn tls() -> TlsInfo {
    TlsInfo {
        version: "TLS1.3".to_owned(),
        cipher: "TLS13_AES_256_GCM_SHA384".to_owned(),
        server_name: None,
        bindings: vec![ChannelBinding { name: "tls-exporter", data: Secret::new(vec![0x5A; 32]) }],
    }
}
