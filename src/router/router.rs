//! Who is where, and the call that goes there.

use std::fmt;
use std::future::Future;
use std::rc::Rc;
use std::sync::Arc;

use base::{PartitionId, ShardId};

use crate::answer::answer_slot;
use crate::inbox::{Depth, Inbox, Queue};
use crate::job::Job;
use crate::limits::INBOX_JOBS_MAX;

/// The shard is not there any more, or the work panicked there. Whether the work was done is
/// unknown, as after a lost connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gone;

impl fmt::Display for Gone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the shard did not answer")
    }
}

impl std::error::Error for Gone {}

/// All shards' inboxes, from the sending side. Cheap to clone; one per shard and thread.
pub struct Router<C>(Arc<[Arc<Queue<C>>]>);

impl<C> Clone for Router<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> fmt::Debug for Router<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").field("shards", &self.0.len()).finish()
    }
}

impl<C: 'static> Router<C> {
    /// A router for `shards` shards (at least 1), and the inbox of each, in order.
    pub fn new(shards: u16) -> (Self, Vec<Inbox<C>>) {
        Self::with_inbox(shards, INBOX_JOBS_MAX)
    }

    /// As [`Router::new`], with `jobs_max` (at least 1) jobs to an inbox.
    pub fn with_inbox(shards: u16, jobs_max: usize) -> (Self, Vec<Inbox<C>>) {
        assert!(shards > 0, "a server has at least one shard");
        let queues: Arc<[_]> = (0..shards).map(|_| Queue::new(jobs_max)).collect();
        let inboxes = queues.iter().map(|queue| Inbox::new(Arc::clone(queue))).collect();
        (Self(queues), inboxes)
    }

    /// How many shards there are.
    pub fn shards(&self) -> u16 {
        self.0.len() as u16
    }

    /// How full a shard's inbox is; nothing for a shard that is not there.
    pub fn depth(&self, shard: ShardId) -> Depth {
        self.0.get(usize::from(shard.0)).map(|queue| queue.depth()).unwrap_or_default()
    }

    /// The shard that owns a partition at this start.
    pub fn partition_shard(&self, partition: PartitionId) -> ShardId {
        ShardId(partition.0 % self.shards())
    }

    /// Runs `work` on that shard, with its context, and brings the answer back. Waits while the
    /// shard's queue is full. Dropping the future does not stop work that was sent.
    ///
    /// It goes through the queue even to the caller's own shard; who knows that it owns the data
    /// calls it directly.
    pub async fn on<R, W, F>(&self, shard: ShardId, work: W) -> Result<R, Gone>
    where
        R: Send + 'static,
        W: FnOnce(Rc<C>) -> F + Send + 'static,
        F: Future<Output = R> + 'static,
    {
        let (sender, answer) = answer_slot();
        self.send(shard, move |context| async move { sender.fill(work(context).await) }).await?;
        answer.await
    }

    /// Sends `work` to that shard and returns when it is queued. Waits while the queue is full.
    pub async fn send<W, F>(&self, shard: ShardId, work: W) -> Result<(), Gone>
    where
        W: FnOnce(Rc<C>) -> F + Send + 'static,
        F: Future<Output = ()> + 'static,
    {
        let queue = self.0.get(usize::from(shard.0)).ok_or(Gone)?;
        queue.send(Job::new(work)).await
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::pin::{Pin, pin};
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::mpsc;
    use std::task::{Context, Poll, Wake, Waker};
    use std::thread::{self, Thread};

    use super::*;

    struct Unpark(Thread);

    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }

    fn block_on<F: Future>(future: F) -> F::Output {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut cx = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
                return value;
            }
            thread::park();
        }
    }

    fn poll_once<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
        future.poll(&mut Context::from_waker(Waker::noop()))
    }

    /// A shard as plain as can be: one job after another, a panic ends the job alone.
    fn serve(inbox: Inbox<Cell<u64>>) -> thread::JoinHandle<u64> {
        thread::spawn(move || {
            let context = Rc::new(Cell::new(0));
            while context.get() < u64::MAX / 2 {
                let run = block_on(inbox.next()).run(Rc::clone(&context));
                let _caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| block_on(run)));
            }
            context.get() - u64::MAX / 2
        })
    }

    fn stop(router: &Router<Cell<u64>>, shard: u16) {
        let end = |context: Rc<Cell<u64>>| async move { context.set(context.get() + u64::MAX / 2) };
        block_on(router.send(ShardId(shard), end)).unwrap();
    }

    #[test]
    fn every_call_of_many_threads_is_done_once_and_answered() {
        let (router, inboxes) = Router::with_inbox(2, 4);
        let shards: Vec<_> = inboxes.into_iter().map(serve).collect();
        let callers: Vec<_> = (0..6_u64)
            .map(|caller| {
                let router = router.clone();
                thread::spawn(move || {
                    for turn in 0..2000_u64 {
                        let add = move |context: Rc<Cell<u64>>| async move {
                            context.set(context.get() + 1);
                            caller * 10_000 + turn
                        };
                        let answer = block_on(router.on(ShardId((turn % 2) as u16), add));
                        assert_eq!(answer, Ok(caller * 10_000 + turn));
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.join().unwrap();
        }
        (0..2).for_each(|shard| stop(&router, shard));
        assert_eq!(shards.into_iter().map(|shard| shard.join().unwrap()).sum::<u64>(), 12_000);
    }

    #[test]
    fn a_full_queue_makes_senders_wait_in_order() {
        let (router, inboxes) = Router::<()>::with_inbox(1, 1);
        let inbox = &inboxes[0];
        let order = Arc::new(AtomicUsize::new(0));
        let job = |number: usize| {
            let order = Arc::clone(&order);
            router.send(ShardId(0), move |_| async move {
                assert_eq!(order.swap(number, Ordering::Relaxed), number - 1);
            })
        };
        let (mut first, mut second, mut third) = (pin!(job(1)), pin!(job(2)), pin!(job(3)));
        assert_eq!(poll_once(first.as_mut()), Poll::Ready(Ok(())));
        assert_eq!(poll_once(second.as_mut()), Poll::Pending);
        assert_eq!(poll_once(third.as_mut()), Poll::Pending);
        block_on(inbox.try_next().unwrap().run(Rc::new(())));
        assert_eq!(poll_once(second.as_mut()), Poll::Ready(Ok(())));
        block_on(inbox.try_next().unwrap().run(Rc::new(())));
        assert_eq!(poll_once(third.as_mut()), Poll::Ready(Ok(())));
        block_on(inbox.try_next().unwrap().run(Rc::new(())));
        assert_eq!(order.load(Ordering::Relaxed), 3);
    }

    #[test]
    fn a_sender_dropped_after_it_was_called_passes_its_room_on() {
        struct Count(AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let (router, inboxes) = Router::<()>::with_inbox(1, 1);
        block_on(router.send(ShardId(0), |_| async {})).unwrap();
        let calls = Arc::new(Count(AtomicUsize::new(0)));
        let waker = Waker::from(Arc::clone(&calls));
        let mut second = Box::pin(router.send(ShardId(0), |_| async {}));
        let mut third = Box::pin(router.send(ShardId(0), |_| async {}));
        assert!(second.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        assert!(third.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        assert!(inboxes[0].try_next().is_some());
        assert_eq!(calls.0.load(Ordering::Relaxed), 0);
        drop(second);
        assert_eq!(calls.0.load(Ordering::Relaxed), 1);
        assert_eq!(poll_once(third.as_mut()), Poll::Ready(Ok(())));
    }

    #[test]
    fn work_that_panics_is_gone_to_its_caller_and_the_shard_goes_on() {
        let (router, mut inboxes) = Router::new(1);
        let shard = serve(inboxes.remove(0));
        let panics_at_start = |_: Rc<Cell<u64>>| -> std::future::Ready<()> { panic!("on purpose") };
        assert_eq!(block_on(router.on(ShardId(0), panics_at_start)), Err(Gone));
        let panics_later = |_: Rc<Cell<u64>>| async move { panic!("on purpose") };
        assert_eq!(block_on(router.on(ShardId(0), panics_later)), Err(Gone));
        assert_eq!(block_on(router.on(ShardId(0), |_| async { 7 })), Ok(7));
        stop(&router, 0);
        shard.join().unwrap();
    }

    #[test]
    fn a_dropped_caller_does_not_stop_its_work() {
        let (router, inboxes) = Router::<Cell<u64>>::new(1);
        let mut call = Box::pin(router.on(ShardId(0), |context| async move { context.set(5) }));
        assert!(poll_once(call.as_mut()).is_pending());
        drop(call);
        let context = Rc::new(Cell::new(0));
        block_on(inboxes[0].try_next().unwrap().run(Rc::clone(&context)));
        assert_eq!(context.get(), 5);
    }

    #[test]
    fn a_shard_that_ends_releases_queued_waiting_and_later_callers() {
        let (router, mut inboxes) = Router::<()>::with_inbox(1, 1);
        let (told, tell) = mpsc::channel();
        let callers: Vec<_> = (0..3)
            .map(|_| {
                let (router, told) = (router.clone(), told.clone());
                thread::spawn(move || {
                    told.send(()).unwrap();
                    block_on(router.on(ShardId(0), |_| async {}))
                })
            })
            .collect();
        for _ in &callers {
            tell.recv().unwrap();
        }
        drop(inboxes.remove(0));
        for caller in callers {
            assert_eq!(caller.join().unwrap(), Err(Gone));
        }
        assert_eq!(block_on(router.send(ShardId(0), |_| async {})), Err(Gone));
        assert_eq!(block_on(router.on(ShardId(9), |_| async {})), Err(Gone));
    }

    #[test]
    fn an_inbox_tells_how_full_it_is_and_was() {
        let (router, inboxes) = Router::<()>::with_inbox(1, 8);
        for _ in 0..3 {
            assert_eq!(block_on(router.send(ShardId(0), |_| async {})), Ok(()));
        }
        assert_eq!(router.depth(ShardId(0)), Depth { waiting: 3, waiting_max: 0, taken: 0 });
        let _first = block_on(inboxes[0].next());
        let _second = inboxes[0].try_next().expect("three were sent");
        assert_eq!(router.depth(ShardId(0)), Depth { waiting: 1, waiting_max: 3, taken: 2 });
        assert_eq!(router.depth(ShardId(1)), Depth::default());
    }

    #[test]
    fn partitions_are_spread_over_the_shards() {
        let (router, _inboxes) = Router::<()>::new(3);
        assert_eq!(router.shards(), 3);
        assert_eq!(router.partition_shard(PartitionId(64)), ShardId(1));
    }
}
