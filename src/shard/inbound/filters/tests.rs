//! The driver and the queue in front of a filter, on a wire and a clock that do what a test says. Real filters are asked
//! in `tests/filter/test_server.py`.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, pending, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use base::Timestamp;
use filter::{Clamd, ClamdAnswer, ClamdConfig, Content, Failure};

use super::lane::{Lane, Lanes, Said};
use super::line::Line;
use crate::{Carrier, Hop, LocalFuture, Overloaded, Unopened, Wire, World};

const START: Timestamp = Timestamp::from_s(1_767_225_600);

/// Time stands until somebody waits for a moment and nothing else happens.
#[derive(Default)]
struct Still(Cell<u64>);

impl World for Still {
    fn now(&self) -> Timestamp {
        START + std::time::Duration::from_millis(self.0.get())
    }

    fn random(&self, bytes: &mut [u8]) {
        bytes.fill(7);
    }

    fn off_shard(&self, work: Box<dyn FnOnce() + Send>) -> LocalFuture<Result<(), Overloaded>> {
        work();
        Box::pin(ready(Ok(())))
    }

    fn spawn(&self, _: LocalFuture<()>) {
        unreachable!("nothing runs beside these tests");
    }

    fn spawn_aside(&self, _: LocalFuture<()>) {
        unreachable!("nothing runs beside these tests");
    }

    fn is_stopping(&self) -> bool {
        false
    }

    fn sleep_until(&self, moment: Timestamp) -> LocalFuture<()> {
        if self.0.get() == 0 && moment > self.now() {
            return Box::pin(pending());
        }
        Box::pin(ready(()))
    }

    fn open(&self, _: Hop) -> LocalFuture<Result<Box<dyn Carrier>, Unopened>> {
        unreachable!("nothing is relayed here");
    }
}

/// What the other side does.
#[derive(Default)]
struct Script {
    /// Bytes that it takes until it closes its ears.
    takes: usize,
    taken: Vec<u8>,
    /// What it says; an empty piece is its end.
    says: VecDeque<Vec<u8>>,
}

struct Scripted(Rc<RefCell<Script>>, Vec<u8>);

impl Wire for Scripted {
    fn give(&mut self, bytes: &mut Vec<u8>) {
        self.1.append(bytes);
    }

    fn poll_flush(&mut self, _: &mut Context<'_>) -> Poll<Result<(), String>> {
        let mut script = self.0.borrow_mut();
        if script.taken.len() + self.1.len() > script.takes {
            return Poll::Ready(Err("it does not listen".to_owned()));
        }
        script.taken.append(&mut self.1);
        Poll::Ready(Ok(()))
    }

    fn poll_read(
        &mut self,
        _: &mut Context<'_>,
        _: usize,
        take: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<usize, String>> {
        let Some(said) = self.0.borrow_mut().says.pop_front() else { return Poll::Pending };
        take(&said);
        Poll::Ready(Ok(said.len()))
    }
}

fn poll<T>(future: Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

fn scan(script: Script, world: &Still) -> (Poll<Result<ClamdAnswer, Failure>>, usize) {
    let script = Rc::new(RefCell::new(script));
    let mut line = Line::of(Box::new(Scripted(Rc::clone(&script), Vec::new())));
    let content = Content::new(Arc::new(vec![b'x'; 1 << 20]), 0);
    let mut clamd = Clamd::scan(ClamdConfig::default(), content);
    let mut driving = Box::pin(line.drive(world, &mut clamd, START + std::time::Duration::from_mins(1)));
    let answer = poll(driving.as_mut());
    drop(driving);
    let taken = script.borrow().taken.len();
    (answer, taken)
}

#[test]
fn an_answer_before_the_end_of_the_question_is_heard() {
    let found = b"stream: Eicar FOUND\0".to_vec();
    // It says what it found and listens no more.
    let script = Script { takes: 100_000, says: [found].into(), ..Script::default() };
    let (answer, taken) = scan(script, &Still::default());
    assert_eq!(answer, Poll::Ready(Ok(ClamdAnswer::Found("Eicar".to_owned()))));
    assert!(taken <= 100_000);
    // It closes without a word.
    let script = Script { takes: 100_000, says: [Vec::new()].into(), ..Script::default() };
    assert_eq!(scan(script, &Still::default()).0, Poll::Ready(Err(Failure::Closed)));
}

#[test]
fn the_filters_time_ends() {
    let script = || Script { takes: usize::MAX, ..Script::default() };
    let (answer, taken) = scan(script(), &Still::default());
    assert!(answer.is_pending() && taken > 1 << 20, "all was written, and it is waited for");
    assert_eq!(scan(script(), &Still(Cell::new(60_000))).0, Poll::Ready(Err(Failure::Timeout)));
}

#[test]
fn who_comes_first_is_first_and_who_goes_makes_room() {
    let (lanes, world) = (Lanes::default(), Still::default());
    let lane: Rc<Lane> = lanes.of("a", &[]);
    let end = START + std::time::Duration::from_secs(1);
    let permit = || Box::pin(lane.permit(&world, 1, end));
    let Poll::Ready(Ok(first)) = poll(permit().as_mut()) else { panic!("nobody is in front") };
    let (mut second, mut third, mut fourth) = (permit(), permit(), permit());
    assert!(poll(second.as_mut()).is_pending() && poll(third.as_mut()).is_pending());
    assert!(poll(fourth.as_mut()).is_pending());
    drop(first);
    // The turn is the second's, and when it goes without taking it, the third's.
    assert!(poll(third.as_mut()).is_pending());
    drop(second);
    let Poll::Ready(Ok(third)) = poll(third.as_mut()) else { panic!("it is first now") };
    assert!(poll(fourth.as_mut()).is_pending());
    world.0.set(1_000);
    let mut late = permit();
    assert!(matches!(poll(late.as_mut()), Poll::Ready(Err(Failure::Timeout))));
    drop(third);
    assert!(poll(fourth.as_mut()).is_ready());
}

#[test]
fn answers_are_counted_by_filter() {
    let lanes = Lanes::default();
    let lane = lanes.of("a", &[]);
    lane.count(Said::Junk);
    lane.count(Said::Junk);
    lanes.of("a", &[]).count(Said::Failed);
    let counts: Vec<_> = lanes.counts().into_iter().filter(|(.., count)| *count > 0).collect();
    assert_eq!(counts, [("a".to_owned(), "failed", 1), ("a".to_owned(), "junk", 2)]);
    // Another configuration forgets it.
    lanes.of("b", &[]);
    assert!(lanes.counts().iter().all(|(name, ..)| name == "b"));
}
