//! A closed-loop generator on one thread: each connection sends, and receives as much, again and again.

use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

use io_uring::{IoUring, opcode, squeue, types};
use runtime::instant;

const ENTRIES: u32 = 4096;

/// Connections to one server.
pub(crate) struct Load {
    ring: IoUring,
    streams: Vec<TcpStream>,
    sent: Vec<u8>,
    received: Vec<Vec<u8>>,
}

impl Load {
    pub(crate) fn connect(address: SocketAddr, connections: usize, bytes: usize) -> Self {
        let ring = IoUring::builder().setup_single_issuer().setup_defer_taskrun().build(ENTRIES).unwrap();
        let connect = |_| {
            let stream = TcpStream::connect(address).unwrap();
            stream.set_nodelay(true).unwrap();
            stream
        };
        let streams = (0..connections).map(connect).collect();
        Self { ring, streams, sent: vec![b'.'; bytes], received: vec![vec![0; bytes]; connections] }
    }

    /// Round trips for `duration`, and until the last has come back: the nanoseconds each took.
    pub(crate) fn run(&mut self, duration: Duration) -> Vec<u32> {
        let start = instant();
        let mut begun: Vec<Instant> = vec![start; self.streams.len()];
        let mut latencies = Vec::with_capacity(1 << 20);
        (0..self.streams.len()).for_each(|at| self.push(at));
        let mut waiting = self.streams.len();
        while waiting > 0 {
            self.ring.submit_and_wait(1).unwrap();
            let ended: Vec<_> =
                self.ring.completion().map(|entry| (entry.user_data(), entry.result())).collect();
            let now = instant();
            for (at, result) in ended {
                let at = at as usize;
                assert_eq!(usize::try_from(result), Ok(self.sent.len()), "a whole echo");
                latencies.push(u32::try_from((now - begun[at]).as_nanos()).unwrap_or(u32::MAX));
                begun[at] = now;
                if now - start < duration {
                    self.push(at);
                } else {
                    waiting -= 1;
                }
            }
        }
        latencies
    }

    #[allow(unsafe_code)]
    fn push(&mut self, at: usize) {
        let fd = types::Fd(self.streams[at].as_raw_fd());
        let (length, received) = (self.sent.len() as u32, &mut self.received[at]);
        let send = opcode::Send::new(fd, self.sent.as_ptr(), length).flags(libc::MSG_WAITALL);
        let send = send.build().flags(squeue::Flags::SKIP_SUCCESS).user_data(at as u64);
        let receive = opcode::Recv::new(fd, received.as_mut_ptr(), length).flags(libc::MSG_WAITALL);
        // SAFETY: the buffers live as long as the ring, and each connection has one receive under way.
        unsafe {
            let entries = [send, receive.build().user_data(at as u64)];
            self.ring.submission().push_multiple(&entries).unwrap();
        }
    }
}

/// Keeps this thread on one core.
#[allow(unsafe_code)]
pub(crate) fn pin(cpu: usize) {
    // SAFETY: a set of plain bits, initialised by the call that follows, and read by the last.
    unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(cpu, &mut set);
        libc::sched_setaffinity(0, size_of::<libc::cpu_set_t>(), &raw const set);
    }
}
