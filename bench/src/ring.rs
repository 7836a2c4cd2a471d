//! An io_uring with receive buffers, as safe calls: memory that the kernel may read or write belongs to
//! the ring until the completion that ends its use has been seen.

use std::io;
use std::os::fd::RawFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use io_uring::{IoUring, cqueue, opcode, squeue, types};
use socket2::SockAddr;

use crate::limits::{BUFFER_BYTES, BUFFERS, RING_ENTRIES};

const GROUP: u16 = 0;

/// What was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Connect,
    Receive,
    Send,
    /// The result is a descriptor, which is the caller's.
    Accept,
}

/// What came of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Completion {
    pub(crate) kind: Kind,
    /// The caller's number of the connection.
    pub(crate) connection: usize,
    /// A count, or an error as its negative number.
    pub(crate) result: i32,
    /// Where received bytes are, until [`Ring::give_back`].
    pub(crate) buffer: Option<u16>,
    /// More completions of the same receive will come.
    pub(crate) has_more: bool,
}

/// A thread's ring.
pub(crate) struct Ring {
    // First, so that it is dropped first: closing the ring ends what is in flight.
    uring: IoUring,
    buffers: Buffers,
    /// By connection: bytes being sent, and how many of them are gone.
    sending: Vec<(Vec<u8>, usize)>,
    /// By connection: where it is connecting to; the kernel copies it at submission.
    addresses: Vec<Option<SockAddr>>,
}

impl Ring {
    /// A ring for connections numbered from 0 up to, not including, `connections`. Kernel 6.1 or later.
    pub(crate) fn new(connections: usize) -> io::Result<Self> {
        let uring = IoUring::builder()
            .setup_single_issuer()
            .setup_defer_taskrun()
            .setup_submit_all()
            .setup_cqsize(RING_ENTRIES * 4)
            .build(RING_ENTRIES)?;
        let buffers = Buffers::new(&uring)?;
        Ok(Self {
            uring,
            buffers,
            sending: vec![Default::default(); connections],
            addresses: vec![None; connections],
        })
    }

    /// Starts a connection.
    pub(crate) fn connect(&mut self, connection: usize, socket: RawFd, to: SockAddr) -> io::Result<()> {
        let to = &*self.addresses[connection].insert(to);
        let entry = opcode::Connect::new(types::Fd(socket), to.as_ptr().cast(), to.len());
        self.push(entry.build(), Kind::Connect, connection)
    }

    /// Accepts from a listening socket until [`Completion::has_more`] is false.
    pub(crate) fn accept(&mut self, listener: RawFd) -> io::Result<()> {
        self.push(opcode::AcceptMulti::new(types::Fd(listener)).build(), Kind::Accept, 0)
    }

    /// Receives until the peer closes or [`Completion::has_more`] is false.
    pub(crate) fn receive(&mut self, connection: usize, socket: RawFd) -> io::Result<()> {
        let entry = opcode::RecvMulti::new(types::Fd(socket), GROUP);
        self.push(entry.build(), Kind::Receive, connection)
    }

    /// Sends `bytes`; one send a connection at a time.
    pub(crate) fn send(&mut self, connection: usize, socket: RawFd, bytes: Vec<u8>) -> io::Result<()> {
        let place = &mut self.sending[connection];
        assert!(place.0.is_empty(), "one send a connection");
        *place = (bytes, 0);
        self.send_rest(connection, socket)
    }

    /// A send has taken `count` bytes: the emptied buffer when that was all, else the rest is sent.
    pub(crate) fn sent(
        &mut self,
        connection: usize,
        socket: RawFd,
        count: usize,
    ) -> io::Result<Option<Vec<u8>>> {
        let place = &mut self.sending[connection];
        place.1 += count;
        if place.1 < place.0.len() {
            return self.send_rest(connection, socket).map(|()| None);
        }
        let mut bytes = std::mem::take(&mut place.0);
        bytes.clear();
        Ok(Some(bytes))
    }

    /// A send has failed: forgets its bytes.
    pub(crate) fn unsent(&mut self, connection: usize) {
        self.sending[connection].0.clear();
    }

    fn send_rest(&mut self, connection: usize, socket: RawFd) -> io::Result<()> {
        let (bytes, gone) = &self.sending[connection];
        let rest = &bytes[*gone..];
        let length = u32::try_from(rest.len()).unwrap_or(u32::MAX);
        let entry = opcode::Send::new(types::Fd(socket), rest.as_ptr(), length)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL);
        self.push(entry.build(), Kind::Send, connection)
    }

    #[allow(unsafe_code)]
    fn push(&mut self, entry: squeue::Entry, kind: Kind, connection: usize) -> io::Result<()> {
        let entry = entry.user_data((connection as u64) << 2 | kind as u64);
        loop {
            // SAFETY: addresses and sent bytes are owned by `self` until their completion; received bytes
            // go to the registered buffers, which live as long as the ring.
            if unsafe { self.uring.submission().push(&entry) }.is_ok() {
                return Ok(());
            }
            self.uring.submit()?;
        }
    }

    /// Submits what was asked for, waits for the first completion or `most`, and appends completions.
    pub(crate) fn wait(&mut self, most: Duration, completions: &mut Vec<Completion>) -> io::Result<()> {
        let timespec = types::Timespec::from(most);
        let arguments = types::SubmitArgs::new().timespec(&timespec);
        // One is wanted even where there is no time: without a wish the kernel keeps completions to itself.
        match self.uring.submitter().submit_with_args(1, &arguments) {
            Ok(_) => {}
            Err(error) if matches!(error.raw_os_error(), Some(libc::ETIME | libc::EINTR | libc::EBUSY)) => {}
            Err(error) => return Err(error),
        }
        completions.extend(self.uring.completion().map(|entry| {
            let kind = match entry.user_data() & 3 {
                0 => Kind::Connect,
                1 => Kind::Receive,
                2 => Kind::Send,
                _ => Kind::Accept,
            };
            Completion {
                kind,
                connection: (entry.user_data() >> 2) as usize,
                result: entry.result(),
                buffer: cqueue::buffer_select(entry.flags()),
                has_more: cqueue::more(entry.flags()),
            }
        }));
        Ok(())
    }

    /// The received bytes; empty when there are none.
    pub(crate) fn bytes(&self, completion: &Completion) -> &[u8] {
        let count = usize::try_from(completion.result).unwrap_or(0);
        completion.buffer.map_or(&[], |buffer| self.buffers.bytes(buffer, count))
    }

    /// The received bytes have been used.
    pub(crate) fn give_back(&mut self, completion: &Completion) {
        if let Some(buffer) = completion.buffer {
            self.buffers.give_back(buffer);
        }
    }
}

/// Receive buffers and the ring through which the kernel takes them. One mapping each.
struct Buffers {
    entries: NonNull<types::BufRingEntry>,
    bytes: NonNull<u8>,
    tail: u16,
}

const ENTRIES_BYTES: usize = BUFFERS as usize * size_of::<types::BufRingEntry>();

impl Buffers {
    #[allow(unsafe_code)]
    fn new(ring: &IoUring) -> io::Result<Self> {
        let entries = map(ENTRIES_BYTES)?.cast();
        let bytes = map(BUFFERS as usize * BUFFER_BYTES)?;
        // SAFETY: both mappings stay until `Ring` is dropped, which closes the ring first.
        unsafe { ring.submitter().register_buf_ring_with_flags(entries.as_ptr() as u64, BUFFERS, GROUP, 0) }?;
        let mut buffers = Self { entries, bytes, tail: 0 };
        (0..BUFFERS).for_each(|buffer| buffers.give_back(buffer));
        Ok(buffers)
    }

    #[allow(unsafe_code)]
    fn bytes(&self, buffer: u16, count: usize) -> &[u8] {
        assert!(buffer < BUFFERS && count <= BUFFER_BYTES, "the kernel names our buffers only");
        // SAFETY: within the mapping; the kernel does not write to a buffer until it is given back.
        unsafe {
            let start = self.bytes.as_ptr().add(buffer as usize * BUFFER_BYTES);
            std::slice::from_raw_parts(start, count)
        }
    }

    #[allow(unsafe_code)]
    fn give_back(&mut self, buffer: u16) {
        let place = (self.tail & (BUFFERS - 1)) as usize;
        self.tail = self.tail.wrapping_add(1);
        // SAFETY: `place` is below BUFFERS, and this entry is ours until the tail passes it. The tail
        // lies in the first entry's unused field and is only read by the kernel.
        unsafe {
            let entry = &mut *self.entries.as_ptr().add(place);
            entry.set_addr(self.bytes.as_ptr().add(buffer as usize * BUFFER_BYTES) as u64);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(buffer);
            let tail = types::BufRingEntry::tail(self.entries.as_ptr()).cast::<AtomicU16>();
            (*tail).store(self.tail, Ordering::Release);
        }
    }
}

impl Drop for Buffers {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: mapped by `new` with these sizes; the ring that knew them is closed.
        unsafe {
            libc::munmap(self.entries.as_ptr().cast(), ENTRIES_BYTES);
            libc::munmap(self.bytes.as_ptr().cast(), BUFFERS as usize * BUFFER_BYTES);
        }
    }
}

#[allow(unsafe_code)]
fn map(bytes: usize) -> io::Result<NonNull<u8>> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a new anonymous mapping; nothing is replaced.
    let at =
        unsafe { libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0) };
    if at == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    NonNull::new(at.cast()).ok_or_else(io::Error::last_os_error)
}
