//! A descriptor that a shard watches.

use std::fmt;
use std::io;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use super::{Ring, Side};

/// Tells when a descriptor can be read or written. Whoever has it keeps the descriptor open, drops this
/// first, and tries again when it was wrong: the kernel says that something has changed, not what.
pub(crate) struct Source {
    ring: Rc<Ring>,
    pub(super) place: usize,
    fd: RawFd,
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Source").field("fd", &self.fd).finish_non_exhaustive()
    }
}

impl Source {
    /// Nothing is watched before somebody waits.
    pub(crate) fn new(ring: &Rc<Ring>, fd: RawFd) -> Self {
        Self { ring: Rc::clone(ring), place: ring.insert(), fd }
    }

    /// Does `work`, which takes up to `wanted` bytes from the descriptor, when there may be some.
    pub(crate) fn poll_read(
        &self,
        cx: &mut Context<'_>,
        wanted: usize,
        mut work: impl FnMut() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_ready(cx, Side::Input));
            match tried(work()) {
                Tried::Done(count) => {
                    // The kernel has no more than that: the next bytes will be news. An end that has come
                    // already will not.
                    if count < wanted {
                        self.ring.exhausted(self.place);
                    }
                    return Poll::Ready(Ok(count));
                }
                Tried::NotNow => self.ring.clear(self.place, Side::Input),
                Tried::Again => {}
                Tried::Failed(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Does `work`, which brings one thing a call, when there may be one.
    pub(crate) fn poll_next<T>(
        &self,
        cx: &mut Context<'_>,
        mut work: impl FnMut() -> io::Result<T>,
    ) -> Poll<io::Result<T>> {
        loop {
            ready!(self.poll_ready(cx, Side::Input));
            match tried(work()) {
                Tried::Done(value) => return Poll::Ready(Ok(value)),
                Tried::NotNow => self.ring.clear(self.place, Side::Input),
                Tried::Again => {}
                Tried::Failed(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Does `work`, which gives the descriptor bytes, when there may be room.
    pub(crate) fn poll_write(
        &self,
        cx: &mut Context<'_>,
        mut work: impl FnMut() -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.poll_ready(cx, Side::Output));
            match tried(work()) {
                Tried::Done(count) => return Poll::Ready(Ok(count)),
                Tried::NotNow => self.ring.clear(self.place, Side::Output),
                Tried::Again => {}
                Tried::Failed(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    /// Ready each time the kernel has told of news since the last call, for descriptors that need not be
    /// read: an eventfd tells of each signal.
    pub(crate) fn poll_event(&self, cx: &mut Context<'_>) -> Poll<()> {
        ready!(self.poll_ready(cx, Side::Input));
        self.ring.clear(self.place, Side::Input);
        Poll::Ready(())
    }

    /// Waits for the kernel's word that there may be room, even if there seems to be.
    pub(crate) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll_ready(cx, Side::Output)
    }

    /// There is no room: a connection that is being made.
    pub(crate) fn full(&self) {
        self.ring.clear(self.place, Side::Output);
    }

    fn poll_ready(&self, cx: &mut Context<'_>, side: Side) -> Poll<()> {
        self.ring.poll_ready(cx, self.place, self.fd, side)
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.ring.remove(self.place);
    }
}

enum Tried<T> {
    Done(T),
    NotNow,
    Again,
    Failed(io::Error),
}

fn tried<T>(result: io::Result<T>) -> Tried<T> {
    match result {
        Ok(value) => Tried::Done(value),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Tried::NotNow,
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Tried::Again,
        Err(error) => Tried::Failed(error),
    }
}
