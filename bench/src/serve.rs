//! The server's side of a loop: what the sink and the echo of the self-check run on. One thread, one ring.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd as _, FromRawFd as _, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use crate::clock;
use crate::limits::{BACKLOG, SERVED_MAX, TURN};
use crate::ring::{Completion, Kind, Ring};
use crate::wrong::Wrong;

/// What is said on the connections of one thread. Their numbers are used again.
pub(crate) trait Service {
    /// A client has come; `output` is what it is told first.
    fn opened(&mut self, id: usize, output: &mut Vec<u8>);

    /// A client has said `bytes`.
    fn input(&mut self, id: usize, bytes: &[u8], output: &mut Vec<u8>) -> Then;
}

/// What happens after some input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Then {
    Answer,
    /// Keep all answers back for so long.
    Hold(Duration),
    Close,
}

/// The loop and its connections.
pub(crate) struct Serve<'a> {
    ring: Ring,
    listener: &'a TcpListener,
    slots: Vec<Slot>,
    free: Vec<usize>,
    held: BinaryHeap<Reverse<(Instant, usize)>>,
}

#[derive(Default)]
struct Slot {
    socket: Option<Socket>,
    output: Vec<u8>,
    is_sending: bool,
    is_receiving: bool,
    is_held: bool,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Open,
    /// It is over once all is said.
    Closing,
}

/// A listener that several threads may accept from.
pub(crate) fn listen(address: SocketAddr) -> Result<TcpListener, Wrong> {
    let open = || {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG)?;
        Ok(TcpListener::from(socket))
    };
    open().map_err(|error: std::io::Error| Wrong::io(address, &error))
}

impl<'a> Serve<'a> {
    /// For the thread that calls it.
    pub(crate) fn new(listener: &'a TcpListener) -> Result<Self, Wrong> {
        let failed = |error| Wrong::io("io_uring", &error);
        let mut ring = Ring::new(SERVED_MAX).map_err(failed)?;
        ring.accept(listener.as_raw_fd()).map_err(failed)?;
        Ok(Self { ring, listener, slots: Vec::new(), free: Vec::new(), held: BinaryHeap::new() })
    }

    /// Serves until told to stop.
    pub(crate) fn run(&mut self, service: &mut dyn Service, stop: &AtomicBool) -> Result<(), Wrong> {
        let mut completions = Vec::new();
        while !stop.load(Ordering::Relaxed) {
            let now = clock::now();
            let wake = self.held.peek().map_or(TURN, |Reverse((at, _))| at.saturating_duration_since(now));
            self.ring
                .wait(wake.min(TURN), &mut completions)
                .map_err(|error| Wrong::io("io_uring", &error))?;
            for completion in completions.drain(..) {
                self.take(service, &completion).map_err(|error| Wrong::io("a connection", &error))?;
            }
            self.release().map_err(|error| Wrong::io("send", &error))?;
        }
        Ok(())
    }

    fn take(&mut self, service: &mut dyn Service, completion: &Completion) -> std::io::Result<()> {
        match completion.kind {
            Kind::Accept => self.accepted(service, completion),
            Kind::Receive => self.received(service, completion),
            Kind::Send => self.sent(completion),
            Kind::Connect => Ok(()),
        }
    }

    #[allow(unsafe_code)]
    fn accepted(&mut self, service: &mut dyn Service, completion: &Completion) -> std::io::Result<()> {
        if !completion.has_more {
            self.ring.accept(self.listener.as_raw_fd())?;
        }
        if completion.result < 0 {
            return Err(std::io::Error::from_raw_os_error(-completion.result));
        }
        // SAFETY: accepted a moment ago, and known to nobody else.
        let socket = unsafe { Socket::from_raw_fd(completion.result) };
        socket.set_tcp_nodelay(true)?;
        let id = match self.free.pop() {
            Some(id) => id,
            None if self.slots.len() < SERVED_MAX => {
                self.slots.push(Slot::default());
                self.slots.len() - 1
            }
            None => return Ok(()),
        };
        let descriptor = socket.as_raw_fd();
        let slot = &mut self.slots[id];
        *slot = Slot { socket: Some(socket), is_receiving: true, ..Slot::default() };
        service.opened(id, &mut slot.output);
        self.ring.receive(id, descriptor)?;
        self.flush(id)
    }

    fn received(&mut self, service: &mut dyn Service, completion: &Completion) -> std::io::Result<()> {
        let id = completion.connection;
        let slot = &mut self.slots[id];
        slot.is_receiving = completion.has_more;
        let has_ended = completion.result <= 0 && completion.result != -libc::ENOBUFS;
        if completion.result > 0 && slot.stage == Stage::Open {
            match service.input(id, self.ring.bytes(completion), &mut slot.output) {
                Then::Close => slot.stage = Stage::Closing,
                Then::Hold(time) if !slot.is_held => {
                    slot.is_held = true;
                    self.held.push(Reverse((clock::now() + time, id)));
                }
                Then::Answer | Then::Hold(_) => {}
            }
        }
        self.ring.give_back(completion);
        if has_ended {
            slot.stage = Stage::Closing;
            slot.output.clear();
        } else if !completion.has_more {
            slot.is_receiving = true;
            let descriptor = slot.descriptor();
            self.ring.receive(id, descriptor)?;
        }
        self.flush(id)
    }

    fn sent(&mut self, completion: &Completion) -> std::io::Result<()> {
        let id = completion.connection;
        let slot = &mut self.slots[id];
        match usize::try_from(completion.result) {
            Ok(count) => {
                let descriptor = slot.descriptor();
                let Some(spare) = self.ring.sent(id, descriptor, count)? else { return Ok(()) };
                if slot.output.is_empty() {
                    slot.output = spare;
                }
            }
            // The client is gone, and that will be read too.
            Err(_) => self.ring.unsent(id),
        }
        slot.is_sending = false;
        self.flush(id)
    }

    /// Sends what there is to send; closes when all is said.
    fn flush(&mut self, id: usize) -> std::io::Result<()> {
        let slot = &mut self.slots[id];
        if slot.is_sending || slot.is_held {
            return Ok(());
        }
        if !slot.output.is_empty() {
            slot.is_sending = true;
            let (descriptor, bytes) = (slot.descriptor(), std::mem::take(&mut slot.output));
            return self.ring.send(id, descriptor, bytes);
        }
        if slot.stage == Stage::Open {
            return Ok(());
        }
        if slot.is_receiving {
            // What is being received ends with that, and then the slot is free.
            if let Some(socket) = &slot.socket {
                // A client that is gone already is no news.
                let _gone = socket.shutdown(std::net::Shutdown::Both);
            }
        } else if slot.socket.take().is_some() {
            self.free.push(id);
        }
        Ok(())
    }

    /// Lets answers go whose time has come.
    fn release(&mut self) -> std::io::Result<()> {
        let now = clock::now();
        while let Some(Reverse((_, id))) = self.held.peek().copied().filter(|Reverse((at, _))| *at <= now) {
            self.held.pop();
            self.slots[id].is_held = false;
            self.flush(id)?;
        }
        Ok(())
    }
}

impl Slot {
    fn descriptor(&self) -> RawFd {
        self.socket.as_ref().expect("nothing is in flight without a socket").as_raw_fd()
    }
}
