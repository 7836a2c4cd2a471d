//! Echo by a loop around an io_uring, without futures or tasks: what can be had at most.

use std::collections::HashMap;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, RawFd};
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::{BufRingEntry, Fd};
use io_uring::{IoUring, cqueue, opcode, squeue};

use super::{SERVER_CPU, load};

/// What tells that bytes have come.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum How {
    /// A multishot receive into provided buffers; sends go through the ring too.
    Receive,
    /// A multishot poll; then the system calls.
    Poll,
}

const ENTRIES: u32 = 2048;
const BUFFERS: u16 = 1024;
const BUFFER_BYTES: usize = 16 * 1024;
const ACCEPT: u64 = 1;
const INPUT: u64 = 2;
const SENT: u64 = 3;

/// Buffers that the kernel takes from.
struct Buffers {
    entries: Box<[Page]>,
    bytes: Vec<u8>,
    tail: u16,
}

/// The kernel wants the ring of buffers at the beginning of a page.
#[repr(align(4096))]
struct Page {
    _entries: [[u8; 16]; 256],
}

impl Buffers {
    #[allow(unsafe_code)]
    fn new(ring: &IoUring) -> Self {
        let pages = usize::from(BUFFERS) / 256;
        let entries = (0..pages).map(|_| Page { _entries: [[0; 16]; 256] }).collect();
        let mut buffers = Self { entries, bytes: vec![0; usize::from(BUFFERS) * BUFFER_BYTES], tail: 0 };
        let address = buffers.entries.as_mut_ptr() as u64;
        // SAFETY: the memory is of the size that is said, and lives as long as the ring.
        unsafe { ring.submitter().register_buf_ring_with_flags(address, BUFFERS, 0, 0).unwrap() };
        (0..BUFFERS).for_each(|id| buffers.give_back(id));
        buffers
    }

    #[allow(unsafe_code)]
    fn give_back(&mut self, id: u16) {
        let base = self.entries.as_mut_ptr().cast::<BufRingEntry>();
        // SAFETY: the place is within the ring of buffers, which the kernel reads up to its tail only.
        unsafe {
            let entry = &mut *base.add(usize::from(self.tail % BUFFERS));
            entry.set_addr(self.bytes.as_mut_ptr().add(usize::from(id) * BUFFER_BYTES) as u64);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(id);
            self.tail = self.tail.wrapping_add(1);
            (*BufRingEntry::tail(base).cast::<AtomicU16>()).store(self.tail, Ordering::Release);
        }
    }

    fn get(&self, id: u16, count: usize) -> &[u8] {
        &self.bytes[usize::from(id) * BUFFER_BYTES..][..count]
    }
}

struct Raw {
    ring: IoUring,
    how: How,
    buffers: Buffers,
    /// What is being sent, and what waits behind it, by descriptor.
    output: HashMap<RawFd, (Vec<u8>, Vec<u8>)>,
    scratch: Vec<u8>,
}

pub(crate) fn serve(listener: &TcpListener, how: How) {
    load::pin(SERVER_CPU);
    let ring = IoUring::builder()
        .setup_single_issuer()
        .setup_defer_taskrun()
        .setup_cqsize(ENTRIES * 8)
        .build(ENTRIES)
        .unwrap();
    let buffers = Buffers::new(&ring);
    let mut raw = Raw { ring, how, buffers, output: HashMap::new(), scratch: vec![0; 64 * 1024] };
    raw.push(opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).build(), listener.as_raw_fd(), ACCEPT);
    loop {
        raw.ring.submit_and_wait(1).unwrap();
        loop {
            let next = raw.ring.completion().next();
            let Some(entry) = next else { break };
            raw.ended(&entry);
        }
    }
}

impl Raw {
    #[allow(unsafe_code)]
    fn push(&mut self, entry: squeue::Entry, fd: RawFd, what: u64) {
        let entry = entry.user_data(u64::try_from(fd).unwrap() << 2 | what);
        // SAFETY: buffers live as long as the ring; what is sent stays in `output` until it has gone.
        while unsafe { self.ring.submission().push(&entry) }.is_err() {
            self.ring.submit().unwrap();
        }
    }

    fn ended(&mut self, entry: &cqueue::Entry) {
        let fd = (entry.user_data() >> 2) as RawFd;
        match (entry.user_data() & 3, self.how) {
            (ACCEPT, _) => self.arm(entry.result()),
            (INPUT, How::Receive) => self.received(fd, entry),
            (INPUT, How::Poll) => self.is_ready(fd),
            _ => self.sent(fd, entry.result()),
        }
    }

    #[allow(unsafe_code)]
    fn arm(&mut self, fd: RawFd) {
        let on: libc::c_int = 1;
        // SAFETY: an option of the size that is said.
        unsafe {
            let (option, size) = ((&raw const on).cast(), size_of::<libc::c_int>() as u32);
            libc::setsockopt(fd, libc::IPPROTO_TCP, libc::TCP_NODELAY, option, size);
        }
        let entry = match self.how {
            How::Receive => opcode::RecvMulti::new(Fd(fd), 0).build(),
            How::Poll => opcode::PollAdd::new(Fd(fd), libc::POLLIN as u32).multi(true).build(),
        };
        self.output.insert(fd, Default::default());
        self.push(entry, fd, INPUT);
    }

    #[allow(unsafe_code)]
    fn close(&mut self, fd: RawFd) {
        self.output.remove(&fd);
        // SAFETY: the descriptor came from the accept and is closed once.
        unsafe { libc::close(fd) };
    }

    fn received(&mut self, fd: RawFd, entry: &cqueue::Entry) {
        let Some(id) = cqueue::buffer_select(entry.flags()) else {
            if entry.result() == -libc::ENOBUFS {
                return self.push(opcode::RecvMulti::new(Fd(fd), 0).build(), fd, INPUT);
            }
            return self.close(fd);
        };
        let bytes = self.buffers.get(id, usize::try_from(entry.result()).unwrap());
        let (sending, waiting) = self.output.get_mut(&fd).unwrap();
        if sending.is_empty() {
            sending.extend_from_slice(bytes);
            self.send(fd);
        } else {
            waiting.extend_from_slice(bytes);
        }
        self.buffers.give_back(id);
        if !cqueue::more(entry.flags()) {
            self.push(opcode::RecvMulti::new(Fd(fd), 0).build(), fd, INPUT);
        }
    }

    fn send(&mut self, fd: RawFd) {
        let (sending, _) = &self.output[&fd];
        let send = opcode::Send::new(Fd(fd), sending.as_ptr(), sending.len() as u32);
        self.push(send.flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL).build(), fd, SENT);
    }

    fn sent(&mut self, fd: RawFd, result: i32) {
        let Some((sending, waiting)) = self.output.get_mut(&fd) else { return };
        if result < 0 {
            return;
        }
        sending.clear();
        std::mem::swap(sending, waiting);
        if !sending.is_empty() {
            self.send(fd);
        }
    }

    #[allow(unsafe_code)]
    fn is_ready(&mut self, fd: RawFd) {
        loop {
            let (buffer, size) = (self.scratch.as_mut_ptr().cast::<libc::c_void>(), self.scratch.len());
            // SAFETY: as many bytes as the buffer has.
            let count = unsafe { libc::recv(fd, buffer, size, libc::MSG_DONTWAIT) };
            let Ok(count) = usize::try_from(count) else { return };
            if count == 0 {
                return self.close(fd);
            }
            // SAFETY: bytes that were received just now. A generator that reads leaves room for its echo.
            unsafe { libc::send(fd, buffer, count, libc::MSG_NOSIGNAL) };
            if count < size {
                return;
            }
        }
    }
}
