//! Reading ahead: messages of which bytes are needed are read several at a time, so that a long
//! FETCH or SEARCH costs one wait a batch and not one a message.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll};

use crate::limits::{READ_AHEAD_BYTES, READ_AHEAD_MAX};

/// Cuts messages that are read one by one into batches of [`READ_AHEAD_MAX`] at most, and as [`batches_of`].
pub(super) fn batches<T>(messages: &[T], cost: impl Fn(&T) -> u32) -> impl Iterator<Item = &[T]> {
    batches_of(READ_AHEAD_MAX, messages, cost)
}

/// Cuts messages into batches of `most` at most, whose costs in bytes add up to [`READ_AHEAD_BYTES`] at most, but
/// for a message that costs more alone.
pub(super) fn batches_of<T>(
    most: usize,
    messages: &[T],
    cost: impl Fn(&T) -> u32,
) -> impl Iterator<Item = &[T]> {
    let mut rest = messages;
    core::iter::from_fn(move || {
        let mut left = u64::from(READ_AHEAD_BYTES);
        let fits = rest.iter().take(most).take_while(|message| {
            let cost = u64::from(cost(message));
            let is_fitting = cost <= left;
            left = left.saturating_sub(cost);
            is_fitting
        });
        let (batch, after) = rest.split_at_checked(fits.count().max(1))?;
        rest = after;
        Some(batch)
    })
}

enum Slot<F: Future> {
    Waiting(Pin<Box<F>>),
    Done(F::Output),
}

impl<F: Future> Slot<F> {
    /// Whether the answer is there.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        let Self::Waiting(future) = self else { return true };
        let Poll::Ready(output) = future.as_mut().poll(cx) else { return false };
        *self = Self::Done(output);
        true
    }
}

/// Drives all futures at once; their outputs in their order.
pub(super) async fn join_all<F: Future>(futures: impl Iterator<Item = F>) -> Vec<F::Output> {
    let mut slots: Vec<Slot<F>> = futures.map(|future| Slot::Waiting(Box::pin(future))).collect();
    poll_fn(|cx| {
        let waiting = slots.iter_mut().filter_map(|slot| (!slot.poll(cx)).then_some(())).count();
        if waiting == 0 { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    let outputs = slots.into_iter().filter_map(|slot| match slot {
        Slot::Done(output) => Some(output),
        Slot::Waiting(_) => None,
    });
    outputs.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;
    use core::task::Waker;

    #[test]
    fn all_are_under_way_at_once_and_answer_in_their_order() {
        let polled = Cell::new(0);
        let futures = (0..5_u32).map(|n| {
            let mut waits = n % 3;
            let polled = &polled;
            poll_fn(move |_| {
                polled.set(polled.get() + 1);
                if waits == 0 {
                    return Poll::Ready(n);
                }
                waits -= 1;
                Poll::Pending
            })
        });
        let mut all = core::pin::pin!(join_all(futures));
        let mut cx = Context::from_waker(Waker::noop());
        assert!(all.as_mut().poll(&mut cx).is_pending());
        assert_eq!(polled.get(), 5);
        assert!(all.as_mut().poll(&mut cx).is_pending());
        assert_eq!(polled.get(), 8);
        assert_eq!(all.as_mut().poll(&mut cx), Poll::Ready(Vec::from([0, 1, 2, 3, 4])));
        assert_eq!(polled.get(), 9);
    }
}
