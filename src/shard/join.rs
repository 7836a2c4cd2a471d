//! Several calls at the same time.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use crate::limits::CALLS_PER_TURN;

/// Polls all calls until each has answered; answers in their order. A call may have much to do when it is
/// first polled, so no more than [`CALLS_PER_TURN`] of them begin before others on the shard get a turn.
pub(crate) async fn join_all<F: Future>(calls: Vec<F>) -> Vec<F::Output> {
    let mut calls: Vec<_> = calls.into_iter().map(|call| (Box::pin(call), None)).collect();
    let mut begun = 0;
    poll_fn(|cx| {
        let allowed = begun + CALLS_PER_TURN;
        begun = allowed.min(calls.len());
        if begun < calls.len() {
            cx.waker().wake_by_ref();
        }
        let mut is_ready = begun == calls.len();
        for (call, answer) in calls.iter_mut().take(begun) {
            if answer.is_some() {
                continue;
            }
            match call.as_mut().poll(cx) {
                Poll::Ready(value) => *answer = Some(value),
                Poll::Pending => is_ready = false,
            }
        }
        if is_ready { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    calls.into_iter().map(|(_, answer)| answer.expect("the loop ends when all have answered")).collect()
}

/// The work's value, or none when `end` comes first.
pub(crate) async fn before<F: Future>(end: impl Future<Output = ()>, work: F) -> Option<F::Output> {
    let (mut work, mut end) = (pin!(work), pin!(end));
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Ready(value) => Poll::Ready(Some(value)),
        Poll::Pending => end.as_mut().poll(cx).map(|()| None),
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;
    use std::task::{Context, Waker};

    #[test]
    fn calls_begin_a_few_at_a_time_and_answer_in_order() {
        let started = Cell::new(0);
        let call = |i: usize| {
            let started = &started;
            async move {
                started.set(started.get() + 1);
                i
            }
        };
        let mut all = pin!(join_all((0..=2 * CALLS_PER_TURN).map(call).collect()));
        let cx = &mut Context::from_waker(Waker::noop());
        for turn in 1..=2 {
            assert!(all.as_mut().poll(cx).is_pending());
            assert_eq!(started.get(), turn * CALLS_PER_TURN);
        }
        assert_eq!(all.as_mut().poll(cx), Poll::Ready((0..=2 * CALLS_PER_TURN).collect()));
    }

    #[test]
    fn nothing_to_do_is_done_at_once() {
        let mut none = pin!(join_all(Vec::<std::future::Ready<u8>>::new()));
        assert_eq!(none.as_mut().poll(&mut Context::from_waker(Waker::noop())), Poll::Ready(Vec::new()));
    }
}
