//! How a task is woken: on its own shard at once, from any other thread through the shard's bell.
//!
//! The executor's own wakers never leave the shard's thread. Its way of waking from elsewhere costs a
//! system call each time, is looked at only now and then while the shard is busy, and not at all while the
//! shard sleeps in its ring.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};
use std::task::Wake;

use crossbeam::queue::SegQueue;

use super::CURRENT;

/// What other threads have of a shard.
pub(super) struct Bell {
    /// The shard sleeps, or is about to look once more whether it may; whoever resets this must ring.
    is_asleep: AtomicBool,
    /// Woken from elsewhere. Each task is in it once at most.
    woken: SegQueue<Arc<Handle>>,
    /// An eventfd. Nobody reads it: each write is news to who polls it.
    event: File,
}

impl Bell {
    pub(super) fn new() -> io::Result<Arc<Self>> {
        let event = File::from(eventfd()?);
        Ok(Arc::new(Self { is_asleep: AtomicBool::new(false), woken: SegQueue::new(), event }))
    }

    pub(super) fn fd(&self) -> RawFd {
        self.event.as_raw_fd()
    }

    fn ring(&self, handle: Arc<Handle>) {
        self.woken.push(handle);
        // Pairs with the fence in `lie_down`: the shard sees the task, or we see that it sleeps.
        fence(Ordering::SeqCst);
        if self.is_asleep.load(Ordering::Relaxed) && self.is_asleep.swap(false, Ordering::AcqRel) {
            self.tell();
        }
    }

    /// Ends the shard's sleep.
    pub(super) fn tell(&self) {
        // It fails only when the count is full, and then the shard has been told.
        let _told = (&self.event).write(&1u64.to_ne_bytes());
    }

    /// Says that the shard sleeps from now on; false when it may not, because somebody was woken.
    pub(super) fn lie_down(&self) -> bool {
        self.is_asleep.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.woken.is_empty() {
            return true;
        }
        self.get_up();
        false
    }

    pub(super) fn get_up(&self) {
        self.is_asleep.store(false, Ordering::Relaxed);
    }

    pub(super) fn is_rung(&self) -> bool {
        !self.woken.is_empty()
    }

    /// The next task that was woken from elsewhere, by its place.
    pub(super) fn next(&self) -> Option<usize> {
        let handle = self.woken.pop()?;
        // From here on it can be woken again. Who was too late for that sees its waking done by ours, which
        // therefore has to see what it did before.
        handle.is_queued.swap(false, Ordering::AcqRel);
        Some(handle.place.load(Ordering::Relaxed))
    }
}

#[allow(unsafe_code)]
fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: takes numbers and returns a new descriptor or a negative number.
    let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A task, as its wakers know it.
pub(super) struct Handle {
    bell: Arc<Bell>,
    /// Its place among the shard's tasks; changed on the shard's thread only.
    place: AtomicUsize,
    is_queued: AtomicBool,
}

/// The place of a task that has none yet, or no more.
const NOWHERE: usize = usize::MAX;

impl Handle {
    pub(super) fn new(bell: &Arc<Bell>) -> Arc<Self> {
        let place = AtomicUsize::new(NOWHERE);
        Arc::new(Self { bell: Arc::clone(bell), place, is_queued: AtomicBool::new(false) })
    }

    pub(super) fn place(&self) -> Option<usize> {
        Some(self.place.load(Ordering::Relaxed)).filter(|place| *place != NOWHERE)
    }

    pub(super) fn move_to(&self, place: Option<usize>) {
        self.place.store(place.unwrap_or(NOWHERE), Ordering::Relaxed);
    }
}

impl Wake for Handle {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let is_here = CURRENT.with_borrow(|current| {
            let shard = current.as_ref().filter(|local| Arc::ptr_eq(&local.0.bell, &self.bell));
            shard.map(|local| local.0.wake(self.place.load(Ordering::Relaxed))).is_some()
        });
        if !is_here && !self.is_queued.swap(true, Ordering::AcqRel) {
            self.bell.ring(Arc::clone(self));
        }
    }
}
