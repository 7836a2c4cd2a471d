//! One thread's event loop: many connections, each driven by a scenario, which is bytes in and bytes out.

mod connection;
mod io;
mod pacing;

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use rustls::ClientConfig;

use crate::clock;
use crate::limits::{CONNECT_PAUSE, CONNECT_TRIES, GOODBYE, STALL, TURN};
use crate::measured::Measured;
use crate::ring::{Completion, Kind, Ring};
use crate::wrong::Wrong;
use connection::{Connection, Link, Standing};
pub(crate) use io::Io;
use io::{Effect, Latency};
use pacing::Pacing;
pub(crate) use pacing::Plan;

/// Where a connection goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// TLS from the first byte on.
    pub(crate) is_tls: bool,
}

/// What is said on the connections of one thread. Connections are numbered from 0; each goes from opening
/// to ready ([`Io::ready`]), and from there through operations ([`Io::done`]).
pub(crate) trait Scenario: Send {
    /// Where connection `id` goes.
    fn target(&self, id: usize) -> Target;

    /// Whether an operation includes opening the connection. The scenario ends it by [`Io::close`].
    /// [`Scenario::begin`] then comes before the connection is there.
    fn opens_per_operation(&self) -> bool {
        false
    }

    /// The connection is there.
    fn opened(&mut self, id: usize, io: &mut Io);

    /// The connection is under TLS, as [`Io::start_tls`] asked.
    fn secured(&mut self, _id: usize, _io: &mut Io) {}

    /// The time that [`Io::wake_after`] named has come.
    fn woken(&mut self, _id: usize, _io: &mut Io) -> Result<(), Wrong> {
        Ok(())
    }

    /// The server has said `bytes`.
    fn input(&mut self, id: usize, bytes: &[u8], io: &mut Io) -> Result<(), Wrong>;

    /// Starts the next operation on a connection that is ready.
    fn begin(&mut self, id: usize, io: &mut Io) -> Result<(), Wrong>;

    /// Says goodbye on a connection that has no more to do.
    fn finish(&mut self, id: usize, io: &mut Io);
}

/// Whether the system acknowledges what it receives at once, or with what is sent next or 40 ms later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum QuickAck {
    On,
    Off,
}

/// What a thread's loop needs to know beside the scenario.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    /// How many connections.
    pub(crate) connections: usize,
    /// Bind to these in turn; empty: the machine chooses.
    pub(crate) sources: Vec<IpAddr>,
    pub(crate) quick_ack: QuickAck,
    /// Connections between connect and ready at a time.
    pub(crate) opening: usize,
    /// Counts operations for whoever shows progress.
    pub(crate) progress: Arc<AtomicU64>,
}

/// The loop and its connections.
pub(crate) struct Load {
    setup: Setup,
    ring: Ring,
    tls: Arc<ClientConfig>,
    connections: Vec<Connection>,
    io: Io,
    ready: VecDeque<usize>,
    /// Connections between connect and ready.
    opening: usize,
    /// Those to be tried again, and when.
    again: VecDeque<(Instant, usize)>,
    busy: usize,
    open: usize,
    opens: usize,
    last_answer: Instant,
    completions: Vec<Completion>,
    plain: Vec<u8>,
    began: Instant,
    measured: Measured,
    is_finishing: bool,
}

impl Load {
    pub(crate) fn new(setup: Setup) -> Result<Self, Wrong> {
        let ring = Ring::new(setup.connections).map_err(|error| Wrong::io("io_uring", &error))?;
        let now = clock::now();
        let count = setup.connections;
        Ok(Self {
            ring,
            tls: crate::tls::config(),
            connections: (0..count).map(|_| Connection::new(now)).collect(),
            io: Io::new(count, now),
            ready: VecDeque::with_capacity(count),
            opening: 0,
            again: VecDeque::new(),
            busy: 0,
            open: 0,
            opens: 0,
            last_answer: now,
            completions: Vec::new(),
            plain: Vec::new(),
            began: now,
            measured: Measured::new(),
            is_finishing: false,
            setup,
        })
    }

    /// Opens all connections and brings them to ready.
    pub(crate) fn prepare(&mut self, scenario: &mut dyn Scenario) -> Result<(), Wrong> {
        let count = self.connections.len();
        if scenario.opens_per_operation() {
            self.connections.iter_mut().for_each(|connection| connection.standing = Standing::Ready);
            self.ready.extend(0..count);
            return Ok(());
        }
        self.last_answer = clock::now();
        let mut next = 0;
        while next < count || self.opening > 0 || !self.again.is_empty() {
            while self.opening < self.setup.opening {
                if let Some(id) = self.due_again() {
                    self.open(scenario, id)?;
                } else if next < count {
                    self.open(scenario, next)?;
                    next += 1;
                } else {
                    break;
                }
            }
            let latest = clock::now() + TURN;
            self.turn(scenario, self.again.front().map_or(latest, |(at, _)| latest.min(*at)))?;
            self.check_stall()?;
        }
        Ok(())
    }

    /// The next connection that is to be tried again by now.
    fn due_again(&mut self) -> Option<usize> {
        self.again.pop_front_if(|(at, _)| *at <= clock::now()).map(|(_, id)| id)
    }

    /// Gives up a connection that did not come about, and plans to try again; `false` where that is no use.
    fn try_again(&mut self, completion: &Completion) -> bool {
        let is_full = [libc::ECONNREFUSED, libc::ETIMEDOUT, libc::ECONNRESET].contains(&-completion.result);
        let connection = &mut self.connections[completion.connection];
        if !is_full || connection.standing != Standing::Opening || connection.tries >= CONNECT_TRIES {
            return false;
        }
        connection.close();
        self.io.clear(completion.connection);
        self.open -= 1;
        self.opening -= 1;
        self.again.push_back((clock::now() + CONNECT_PAUSE, completion.connection));
        true
    }

    /// Runs operations as planned, and waits for those that were begun.
    pub(crate) fn run(&mut self, scenario: &mut dyn Scenario, plan: &Plan) -> Result<Measured, Wrong> {
        self.began = clock::now();
        self.last_answer = self.began;
        self.measured = Measured::new();
        let mut pacing = Pacing::new(plan, self.began);
        loop {
            let mut now = clock::now();
            while let Some(due) = pacing.due(now).filter(|_| !self.ready.is_empty()) {
                pacing.taken();
                self.begin(scenario, due)?;
                now = clock::now();
            }
            let is_over = pacing.is_over(now);
            if is_over && self.busy == 0 {
                break;
            }
            self.turn(scenario, pacing.next_look(now, self.ready.is_empty()))?;
            self.check_stall()?;
        }
        let ended = clock::now();
        for due in pacing.never_began(ended) {
            self.measured.never_began(ended.saturating_duration_since(due));
        }
        Ok(std::mem::replace(&mut self.measured, Measured::new()))
    }

    /// Says goodbye on every connection; those that do not close in time are dropped.
    pub(crate) fn finish(&mut self, scenario: &mut dyn Scenario) -> Result<(), Wrong> {
        self.is_finishing = true;
        for id in 0..self.connections.len() {
            if self.connections[id].link == Link::Open {
                scenario.finish(id, &mut self.io);
                self.connections[id].link = Link::Closing;
            }
        }
        let end = clock::now() + GOODBYE;
        while self.open > 0 && clock::now() < end {
            self.turn(scenario, end.min(clock::now() + TURN))?;
        }
        Ok(())
    }

    /// How many connections are ready.
    pub(crate) fn ready(&self) -> usize {
        self.ready.len()
    }

    fn check_stall(&self) -> Result<(), Wrong> {
        let is_waiting = self.busy > 0 || self.opening > 0;
        if is_waiting && clock::now().saturating_duration_since(self.last_answer) > STALL {
            let (busy, opening) = (self.busy, self.opening);
            return Err(Wrong::Answer(format!(
                "nothing came for {} s; {busy} operations and {opening} logins wait",
                STALL.as_secs()
            )));
        }
        Ok(())
    }

    fn open(&mut self, scenario: &dyn Scenario, id: usize) -> Result<(), Wrong> {
        let Target { address, is_tls } = scenario.target(id);
        let source = match self.setup.sources.len() {
            0 => None,
            count => Some(self.setup.sources[self.opens % count]),
        };
        self.opens += 1;
        let failed = |error| Wrong::io(address, &error);
        let socket = crate::socket::open(address, source).map_err(failed)?;
        let connection = &mut self.connections[id];
        connection.tls = if is_tls { Some(crate::tls::Tls::new(&self.tls, address.ip())?) } else { None };
        connection.opened(socket);
        self.ring.connect(id, connection.descriptor(), address.into()).map_err(failed)?;
        self.open += 1;
        self.opening += usize::from(connection.standing == Standing::Opening);
        Ok(())
    }

    fn begin(&mut self, scenario: &mut dyn Scenario, due: Instant) -> Result<(), Wrong> {
        let id = self.ready.pop_front().expect("the caller saw one that is ready");
        let connection = &mut self.connections[id];
        connection.due = due;
        connection.standing = Standing::Busy;
        self.busy += 1;
        (self.io.now, self.io.due) = (clock::now(), due);
        scenario.begin(id, &mut self.io)?;
        if scenario.opens_per_operation() {
            return self.open(scenario, id);
        }
        self.settle(scenario)
    }

    /// Sends what there is to send, waits until something happens or `until`, and works on it.
    fn turn(&mut self, scenario: &mut dyn Scenario, until: Instant) -> Result<(), Wrong> {
        self.flush()?;
        let until = self.io.next_wake().map_or(until, |wake| wake.min(until));
        let most = until.saturating_duration_since(clock::now());
        let mut completions = std::mem::take(&mut self.completions);
        self.ring.wait(most, &mut completions).map_err(|error| Wrong::io("io_uring", &error))?;
        if !completions.is_empty() {
            self.last_answer = clock::now();
        }
        for completion in completions.drain(..) {
            self.io.now = clock::now();
            match completion.kind {
                Kind::Connect => self.connected(scenario, &completion)?,
                Kind::Receive => self.received(scenario, &completion)?,
                Kind::Send => self.sent(&completion)?,
                Kind::Accept => {}
            }
        }
        self.completions = completions;
        self.io.now = clock::now();
        while let Some(id) = self.io.woken() {
            scenario.woken(id, &mut self.io)?;
        }
        self.settle(scenario)
    }

    fn connected(&mut self, scenario: &mut dyn Scenario, completion: &Completion) -> Result<(), Wrong> {
        let id = completion.connection;
        if self.try_again(completion) {
            return Ok(());
        }
        check(completion.result, &scenario.target(id).address.to_string())?;
        let connection = &mut self.connections[id];
        connection.link = Link::Open;
        connection.is_receiving = true;
        let descriptor = connection.descriptor();
        self.ring.receive(id, descriptor).map_err(|error| Wrong::io("receive", &error))?;
        if connection.tls.is_some() {
            self.io.touch(id);
        }
        scenario.opened(id, &mut self.io);
        Ok(())
    }

    fn received(&mut self, scenario: &mut dyn Scenario, completion: &Completion) -> Result<(), Wrong> {
        let id = completion.connection;
        let connection = &mut self.connections[id];
        connection.is_receiving = completion.has_more;
        let has_ended = completion.result <= 0 && completion.result != -libc::ENOBUFS;
        if has_ended && connection.link != Link::Closing && !self.is_finishing {
            check(completion.result, "receive")?;
            return Err(Wrong::Answer("the server closed a connection in use".into()));
        }
        if completion.result > 0 && self.setup.quick_ack == QuickAck::On {
            connection.acknowledge();
        }
        if completion.result > 0 && connection.link != Link::Dropped {
            let wire = self.ring.bytes(completion);
            match &mut connection.tls {
                None => scenario.input(id, wire, &mut self.io)?,
                Some(tls) => {
                    self.plain.clear();
                    tls.receive(wire, &mut self.plain)?;
                    // TLS may have answers of its own.
                    self.io.touch(id);
                    if !self.plain.is_empty() {
                        scenario.input(id, &self.plain, &mut self.io)?;
                    }
                }
            }
        }
        self.ring.give_back(completion);
        if has_ended {
            self.connections[id].link = Link::Dropped;
        } else if !completion.has_more {
            // The kernel ran out of our buffers for a moment.
            self.connections[id].is_receiving = true;
            let descriptor = self.connections[id].descriptor();
            self.ring.receive(id, descriptor).map_err(|error| Wrong::io("receive", &error))?;
        }
        self.settle(scenario)?;
        self.drop_if_over(id);
        Ok(())
    }

    fn sent(&mut self, completion: &Completion) -> Result<(), Wrong> {
        let id = completion.connection;
        let connection = &mut self.connections[id];
        let Ok(count) = usize::try_from(completion.result) else {
            self.ring.unsent(id);
            connection.is_sending = false;
            if connection.link == Link::Open {
                return check(completion.result, "send");
            }
            self.drop_if_over(id);
            return Ok(());
        };
        let descriptor = connection.descriptor();
        let rest = self.ring.sent(id, descriptor, count).map_err(|error| Wrong::io("send", &error))?;
        if let Some(spare) = rest {
            connection.is_sending = false;
            self.io.note_sent(id);
            if connection.tls.is_some() {
                // TLS may have had something to say meanwhile.
                self.io.touch(id);
            }
            self.io.sent(id, spare);
            self.drop_if_over(id);
        }
        Ok(())
    }

    /// Starts a send on every connection that has something to say.
    fn flush(&mut self) -> Result<(), Wrong> {
        for at in 0..self.io.touched.len() {
            let id = self.io.touched[at];
            let connection = &mut self.connections[id];
            if connection.is_sending
                || matches!(connection.link, Link::Closed | Link::Connecting | Link::Dropped)
            {
                continue;
            }
            let mut bytes = self.io.take(id);
            if let Some(tls) = &mut connection.tls {
                let mut wire = Vec::new();
                tls.send(&bytes, &mut wire)?;
                bytes = wire;
            }
            if bytes.is_empty() {
                continue;
            }
            connection.is_sending = true;
            let descriptor = connection.descriptor();
            self.ring.send(id, descriptor, bytes).map_err(|error| Wrong::io("send", &error))?;
        }
        self.io.touched.clear();
        Ok(())
    }

    /// Carries out what the scenario decided.
    fn settle(&mut self, scenario: &mut dyn Scenario) -> Result<(), Wrong> {
        while let Some((id, effect)) = self.io.effects.pop_front() {
            let now = self.io.now;
            let connection = &mut self.connections[id];
            match effect {
                Effect::Ready | Effect::Listening if connection.standing == Standing::Opening => {
                    connection.standing = Standing::Ready;
                    self.opening -= 1;
                    if matches!(effect, Effect::Ready) {
                        self.ready.push_back(id);
                    }
                }
                Effect::Done(latency) if connection.standing == Standing::Busy => {
                    let whole = now.saturating_duration_since(connection.due);
                    let latency = match latency {
                        Latency::Whole => whole,
                        Latency::Since(since) => now.saturating_duration_since(since),
                        Latency::Without(pauses) => whole.saturating_sub(pauses),
                    };
                    self.measured.complete(latency, self.began, now);
                    self.setup.progress.fetch_add(1, Ordering::Relaxed);
                    self.busy -= 1;
                    connection.standing = Standing::Ready;
                    if connection.link == Link::Open {
                        self.ready.push_back(id);
                    }
                }
                Effect::Close => connection.link = Link::Closing,
                Effect::HangUp => connection.hang_up(),
                Effect::StartTls => {
                    let host = scenario.target(id).address.ip();
                    connection.tls = Some(crate::tls::Tls::new(&self.tls, host)?);
                    self.io.touch(id);
                    scenario.secured(id, &mut self.io);
                }
                Effect::Ready | Effect::Listening | Effect::Done(_) => {
                    return Err(Wrong::Answer("an answer came that nothing was asked for".into()));
                }
            }
        }
        Ok(())
    }

    /// A connection whose peer has closed goes once nothing of it is in flight.
    fn drop_if_over(&mut self, id: usize) {
        let connection = &mut self.connections[id];
        if connection.link != Link::Dropped || connection.is_sending || connection.is_receiving {
            return;
        }
        connection.close();
        self.io.clear(id);
        self.open -= 1;
        if connection.standing == Standing::Ready && !self.is_finishing {
            self.ready.push_back(id);
        }
    }
}

fn check(result: i32, what: &str) -> Result<(), Wrong> {
    if result >= 0 {
        return Ok(());
    }
    Err(Wrong::io(what, &std::io::Error::from_raw_os_error(-result)))
}

#[cfg(test)]
mod tests;
