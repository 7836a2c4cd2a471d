//! The shard's ring: the one place where a shard waits. Descriptors (sockets, the store's eventfd, the
//! bell of other threads) are watched by polls on it, moments by timeouts.
//!
//! A watch for reading is set once and tells of each change. It tells *that* something has come; the bytes
//! are then read by a system call into whatever buffer is at hand. So an idle connection holds no buffer, a
//! peer that sends too much is held back by its window, nothing of ours is in the kernel's hands, and a
//! connection leaves a shard without waiting for anything.
//!
//! Wakers are called after the state's borrow has ended: what they wake may want the ring.

mod source;
mod uring;

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::os::fd::RawFd;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

pub(crate) use source::Source;
use uring::{News, Uring, What};

use crate::clock;

/// One shard's ring.
pub(crate) struct Ring {
    state: RefCell<State>,
    start: Instant,
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").finish_non_exhaustive()
    }
}

struct State {
    uring: Uring,
    slots: Vec<Slot>,
    vacant: Vec<usize>,
    /// Who waits for which moment, in nanoseconds since the start; the second number tells them apart.
    alarms: BTreeMap<(u64, u64), Waker>,
    alarms_set: u64,
}

/// One watched descriptor. Its place is given to another only after the last completion for it.
#[derive(Default)]
struct Slot {
    has_owner: bool,
    input: Watch,
    output: Watch,
    /// The peer has closed, or the socket is broken: there will be no more news, so a short read does not
    /// mean that the next one has to wait. Nor does it once there was an urgent byte, at which a read ends.
    has_ended: bool,
}

#[derive(Default)]
struct Watch {
    is_ready: bool,
    is_set: bool,
    waker: Option<Waker>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Input,
    Output,
}

const INPUT: u32 = (libc::POLLIN | libc::POLLPRI | libc::POLLRDHUP) as u32;
const OUTPUT: u32 = libc::POLLOUT as u32;
/// After these nothing more comes, or a read ends before the bytes do.
const ENDED: i32 = (libc::POLLPRI | libc::POLLRDHUP | libc::POLLHUP | libc::POLLERR | libc::POLLNVAL) as i32;

impl Ring {
    /// A ring for the calling thread.
    pub(crate) fn new() -> io::Result<Self> {
        let state = State {
            uring: Uring::new()?,
            slots: Vec::new(),
            vacant: Vec::new(),
            alarms: BTreeMap::new(),
            alarms_set: 0,
        };
        Ok(Self { state: RefCell::new(state), start: clock::instant() })
    }

    /// Whether something has happened that can be had without waiting.
    pub(crate) fn has_news(&self) -> bool {
        self.state.borrow_mut().uring.has_news()
    }

    /// Hands over and takes in what there is, without waiting.
    pub(crate) fn turn(&self) {
        let uring = &mut self.state.borrow_mut().uring;
        if uring.has_entries() || uring.has_news() {
            uring.enter(false);
        }
    }

    /// Hands over what there is, and sleeps until something has happened.
    pub(crate) fn sleep(&self) {
        self.state.borrow_mut().uring.enter(true);
    }

    /// Moves the wakers of all that has happened to `wakers`.
    pub(crate) fn collect(&self, wakers: &mut Vec<Waker>) {
        let mut state = self.state.borrow_mut();
        let mut is_alarm = false;
        while let Some(news) = state.uring.next() {
            is_alarm |= matches!(news.what, What::Alarm(_));
            wakers.extend(state.take(&news));
        }
        if is_alarm {
            let now = self.now();
            state.due(now, wakers);
            state.set_alarm(now);
        }
    }

    /// Waits, exactly.
    pub(crate) async fn pause(&self, duration: Duration) {
        let at = self.now().saturating_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
        let mut alarm = Alarm { ring: self, key: None };
        poll_fn(|cx| alarm.poll(cx, at)).await;
    }

    fn now(&self) -> u64 {
        u64::try_from((clock::instant() - self.start).as_nanos()).unwrap_or(u64::MAX)
    }

    fn insert(&self) -> usize {
        let mut state = self.state.borrow_mut();
        let place = state.vacant.pop().unwrap_or(state.slots.len());
        if place == state.slots.len() {
            state.slots.push(Slot::default());
        }
        // A new socket has room to write; what it has to read the first watch tells.
        let output = Watch { is_ready: true, ..Watch::default() };
        state.slots[place] = Slot { has_owner: true, output, ..Slot::default() };
        place
    }

    fn remove(&self, place: usize) {
        let mut state = self.state.borrow_mut();
        let State { uring, slots, .. } = &mut *state;
        let slot = &mut slots[place];
        slot.has_owner = false;
        for (watch, what) in [(&mut slot.input, What::Input(place)), (&mut slot.output, What::Output(place))]
        {
            watch.waker = None;
            if watch.is_set {
                uring.forget(what);
            }
        }
        state.vacate(place);
    }

    fn poll_ready(&self, cx: &mut Context<'_>, place: usize, fd: RawFd, side: Side) -> Poll<()> {
        let mut state = self.state.borrow_mut();
        let State { uring, slots, .. } = &mut *state;
        let watch = slots[place].watch(side);
        if watch.is_ready {
            return Poll::Ready(());
        }
        if !watch.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            watch.waker = Some(cx.waker().clone());
        }
        if !std::mem::replace(&mut watch.is_set, true) {
            match side {
                Side::Input => uring.watch(fd, INPUT, What::Input(place)),
                Side::Output => uring.watch(fd, OUTPUT, What::Output(place)),
            }
        }
        Poll::Pending
    }

    fn clear(&self, place: usize, side: Side) {
        self.state.borrow_mut().slots[place].watch(side).is_ready = false;
    }

    /// All that had come has been read.
    fn exhausted(&self, place: usize) {
        let slot = &mut self.state.borrow_mut().slots[place];
        slot.input.is_ready = slot.has_ended;
    }
}

impl State {
    /// Whom the news is for.
    fn take(&mut self, news: &News) -> Option<Waker> {
        let (place, side) = match news.what {
            What::Input(place) => (place, Side::Input),
            What::Output(place) => (place, Side::Output),
            What::Alarm(_) | What::Forget => return None,
        };
        let slot = &mut self.slots[place];
        slot.has_ended |= side == Side::Input && news.result & ENDED != 0;
        let has_owner = slot.has_owner;
        let watch = slot.watch(side);
        watch.is_set = news.has_more;
        if news.has_more && !has_owner {
            // Once more, for nobody: it can only have been on its way.
            self.uring.forget(news.what);
        }
        // A watch that failed is news too: the system call that follows says what is wrong.
        watch.is_ready = true;
        let waker = watch.waker.take();
        self.vacate(place);
        waker
    }

    fn vacate(&mut self, place: usize) {
        let slot = &self.slots[place];
        if !slot.has_owner && !slot.input.is_set && !slot.output.is_set {
            self.vacant.push(place);
        }
    }

    fn due(&mut self, now: u64, wakers: &mut Vec<Waker>) {
        while let Some(first) = self.alarms.first_entry().filter(|first| first.key().0 <= now) {
            wakers.push(first.remove());
        }
    }

    /// Has the kernel tell of the first moment that somebody waits for.
    fn set_alarm(&mut self, now: u64) {
        if let Some((&(at, _), _)) = self.alarms.first_key_value()
            && !self.uring.has_alarm_by(at)
        {
            self.uring.alarm(at, Duration::from_nanos(at.saturating_sub(now)));
        }
    }
}

impl Slot {
    fn watch(&mut self, side: Side) -> &mut Watch {
        match side {
            Side::Input => &mut self.input,
            Side::Output => &mut self.output,
        }
    }
}

/// Somebody who waits for a moment; gone from the list when dropped.
struct Alarm<'a> {
    ring: &'a Ring,
    key: Option<(u64, u64)>,
}

impl Alarm<'_> {
    fn poll(&mut self, cx: &mut Context<'_>, at: u64) -> Poll<()> {
        let now = self.ring.now();
        if at <= now {
            return Poll::Ready(());
        }
        let mut state = self.ring.state.borrow_mut();
        let key = *self.key.get_or_insert_with(|| {
            state.alarms_set += 1;
            (at, state.alarms_set)
        });
        state.alarms.insert(key, cx.waker().clone());
        state.set_alarm(now);
        Poll::Pending
    }
}

impl Drop for Alarm<'_> {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.ring.state.borrow_mut().alarms.remove(&key);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpStream;
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixStream;
    use std::pin::pin;
    use std::rc::Rc;

    use super::*;
    use crate::limits::{RING_COMPLETIONS, RING_ENTRIES};
    use crate::wakes::Wakes;

    fn pair(ring: &Rc<Ring>) -> (Source, UnixStream, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Source::new(ring, ours.as_raw_fd()), ours, theirs)
    }

    /// As the pump does it when nothing is ready.
    fn sleep(ring: &Ring) {
        let mut wakers = Vec::new();
        ring.sleep();
        ring.collect(&mut wakers);
        wakers.into_iter().for_each(Waker::wake);
    }

    fn read(source: &Source, from: &UnixStream, cx: &mut Context<'_>) -> Poll<Vec<u8>> {
        let mut buffer = [0; 100];
        let mut from = from;
        let poll = source.poll_read(cx, buffer.len(), || from.read(&mut buffer));
        poll.map(|count| count.map(|count| buffer[..count].to_vec()).unwrap())
    }

    #[test]
    fn bytes_and_the_end_are_told_also_when_they_came_together_or_before_the_watch() {
        let ring = Rc::new(Ring::new().unwrap());
        let (wakes, waker) = Wakes::counted();
        let cx = &mut Context::from_waker(&waker);
        let (source, ours, mut theirs) = pair(&ring);
        assert!(read(&source, &ours, cx).is_pending());
        theirs.write_all(b"one").unwrap();
        sleep(&ring);
        assert_eq!(wakes.count(), 1);
        assert_eq!(read(&source, &ours, cx), Poll::Ready(b"one".to_vec()));
        assert!(read(&source, &ours, cx).is_pending());
        // The second watch is still the first.
        theirs.write_all(b"two").unwrap();
        drop(theirs);
        sleep(&ring);
        assert_eq!(read(&source, &ours, cx), Poll::Ready(b"two".to_vec()));
        assert_eq!(read(&source, &ours, cx), Poll::Ready(Vec::new()));
        let (source, ours, mut theirs) = pair(&ring);
        theirs.write_all(b"three").unwrap();
        drop(theirs);
        assert!(read(&source, &ours, cx).is_pending());
        sleep(&ring);
        assert_eq!(read(&source, &ours, cx), Poll::Ready(b"three".to_vec()));
        assert_eq!(read(&source, &ours, cx), Poll::Ready(Vec::new()));
    }

    #[test]
    fn what_stands_behind_an_urgent_byte_is_read_without_further_news() {
        let ring = Rc::new(Ring::new().unwrap());
        let cx = &mut Context::from_waker(Waker::noop());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let theirs = socket2::Socket::from(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
        let (ours, _) = listener.accept().unwrap();
        ours.set_nonblocking(true).unwrap();
        let source = Source::new(&ring, ours.as_raw_fd());
        let read = |cx: &mut Context<'_>| {
            let mut buffer = [0; 100];
            let poll = source.poll_read(cx, buffer.len(), || (&ours).read(&mut buffer));
            poll.map(|count| buffer[..count.unwrap()].to_vec())
        };
        assert!(read(cx).is_pending());
        assert_eq!(theirs.send_out_of_band(b"before!").unwrap(), 7);
        theirs.send(b"behind").unwrap();
        // On loopback both have come when they are sent.
        sleep(&ring);
        assert_eq!(read(cx), Poll::Ready(b"before".to_vec()));
        assert_eq!(read(cx), Poll::Ready(b"behind".to_vec()));
        assert!(read(cx).is_pending());
    }

    #[test]
    fn a_watch_that_ended_for_want_of_room_is_set_anew() {
        let ring = Rc::new(Ring::new().unwrap());
        let cx = &mut Context::from_waker(Waker::noop());
        let (source, ours, mut theirs) = pair(&ring);
        assert!(read(&source, &ours, cx).is_pending());
        for _ in 0..RING_COMPLETIONS + 10 {
            theirs.write_all(b"1").unwrap();
            ring.turn();
            // The socket's room is for few writes.
            (&ours).read_exact(&mut [0]).unwrap();
        }
        for _ in 0..3 {
            ring.turn();
            ring.collect(&mut Vec::new());
        }
        assert!(!ring.state.borrow().slots[source.place].input.is_set);
        assert!(read(&source, &ours, cx).is_pending());
        theirs.write_all(b"more").unwrap();
        sleep(&ring);
        assert_eq!(read(&source, &ours, cx), Poll::Ready(b"more".to_vec()));
    }

    #[test]
    fn places_are_few_however_many_descriptors_come_and_go() {
        let ring = Rc::new(Ring::new().unwrap());
        let cx = &mut Context::from_waker(Waker::noop());
        for round in 0..5000 {
            let (source, ours, mut theirs) = pair(&ring);
            assert!(read(&source, &ours, cx).is_pending());
            if round % 2 == 0 {
                ring.turn();
                theirs.write_all(b"on its way").unwrap();
            }
            drop((source, ours));
            ring.turn();
            ring.collect(&mut Vec::new());
        }
        let count = ring.state.borrow().slots.len();
        assert!(count < 10, "{count} places");
    }

    #[test]
    fn a_place_is_given_away_only_after_the_last_word_about_it() {
        let ring = Rc::new(Ring::new().unwrap());
        let cx = &mut Context::from_waker(Waker::noop());
        let (unwatched, ..) = pair(&ring);
        drop(unwatched);
        assert_eq!(ring.state.borrow().vacant, [0]);
        let (source, ours, theirs) = pair(&ring);
        assert!(read(&source, &ours, cx).is_pending());
        drop(source);
        // The news that comes now is for nobody.
        drop(theirs);
        assert!(ring.state.borrow().vacant.is_empty());
        let (next, ..) = pair(&ring);
        assert_eq!(ring.state.borrow().slots.len(), 2);
        drop(next);
        for _ in 0..10 {
            ring.turn();
            ring.collect(&mut Vec::new());
        }
        assert_eq!(ring.state.borrow().vacant.len(), 2);
    }

    #[test]
    fn more_watches_than_the_queue_has_room_for_are_all_set() {
        let ring = Rc::new(Ring::new().unwrap());
        let (wakes, waker) = Wakes::counted();
        let cx = &mut Context::from_waker(&waker);
        let count = RING_ENTRIES as usize + 10;
        let mut all: Vec<_> = (0..count).map(|_| pair(&ring)).collect();
        for (source, ours, _) in &all {
            assert!(read(source, ours, cx).is_pending());
        }
        for (.., theirs) in &mut all {
            theirs.write_all(b"here").unwrap();
        }
        while wakes.count() < count {
            sleep(&ring);
        }
        for (source, ours, _) in &all {
            assert_eq!(read(source, ours, cx), Poll::Ready(b"here".to_vec()));
        }
    }

    #[test]
    fn a_full_socket_is_waited_for_and_a_broken_one_is_told() {
        let ring = Rc::new(Ring::new().unwrap());
        let (wakes, waker) = Wakes::counted();
        let cx = &mut Context::from_waker(&waker);
        let (source, ours, mut theirs) = pair(&ring);
        let write = |cx: &mut Context<'_>| {
            let mut ours = &ours;
            source.poll_write(cx, || ours.write(&[7; 8192]))
        };
        let mut sent = 0;
        while let Poll::Ready(count) = write(cx) {
            sent += count.unwrap();
        }
        let mut received = vec![0; sent];
        theirs.read_exact(&mut received).unwrap();
        sleep(&ring);
        assert_eq!(wakes.count(), 1);
        while write(cx).is_ready() {}
        drop(theirs);
        sleep(&ring);
        assert!(matches!(write(cx), Poll::Ready(Err(_))));
    }

    #[test]
    fn moments_come_in_their_order_and_never_early() {
        let ring = Ring::new().unwrap();
        let (_, waker) = Wakes::counted();
        let cx = &mut Context::from_waker(&waker);
        let start = ring.now();
        let (mut late, mut soon) =
            (pin!(ring.pause(Duration::from_millis(20))), pin!(ring.pause(Duration::from_millis(2))));
        let mut dropped = Box::pin(ring.pause(Duration::from_millis(1)));
        // The later ones first: each earlier one needs an alarm of its own.
        assert!(late.as_mut().poll(cx).is_pending());
        assert!(soon.as_mut().poll(cx).is_pending());
        assert!(dropped.as_mut().poll(cx).is_pending());
        drop(dropped);
        while soon.as_mut().poll(cx).is_pending() {
            sleep(&ring);
        }
        assert!(ring.now() - start >= 2_000_000);
        while late.as_mut().poll(cx).is_pending() {
            sleep(&ring);
        }
        assert!(ring.now() - start >= 20_000_000);
        assert!(ring.state.borrow().alarms.is_empty());
    }
}
