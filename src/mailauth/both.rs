//! Two futures at the same time, on one task.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

/// Polls both until both are done: what they wait for, they wait for together.
pub(crate) async fn both<A: Future, B: Future>(a: A, b: B) -> (A::Output, B::Output) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut first, mut second) = (None, None);
    poll_fn(|cx| {
        if first.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(cx)
        {
            first = Some(output);
        }
        if second.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(cx)
        {
            second = Some(output);
        }
        match (first.take(), second.take()) {
            (Some(a), Some(b)) => Poll::Ready((a, b)),
            (a, b) => {
                (first, second) = (a, b);
                Poll::Pending
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::RefCell;
    use std::task::{Context, Waker};

    #[test]
    fn both_wait_together() {
        let order = RefCell::new(Vec::new());
        let work = async |name: &'static str, turns: usize| {
            for turn in 0..turns {
                order.borrow_mut().push((name, turn));
                base::give_way().await;
            }
            name
        };
        let mut future = pin!(both(work("a", 1), work("b", 3)));
        let cx = &mut Context::from_waker(Waker::noop());
        assert_eq!((0..3).map(|_| future.as_mut().poll(cx)).find(Poll::is_ready), None);
        assert_eq!(future.as_mut().poll(cx), Poll::Ready(("a", "b")));
        assert_eq!(*order.borrow(), [("a", 0), ("b", 0), ("b", 1), ("b", 2)]);
    }
}
