//! Letting others on the thread have their turn in the middle of long work.

use core::future::poll_fn;
use core::task::Poll;

/// Comes back after whatever else on this thread is ready has had a turn. For loops whose length a
/// peer has a say in: a shard that does not turn serves nobody.
pub async fn give_way() {
    let mut has_waited = false;
    poll_fn(|cx| {
        if has_waited {
            return Poll::Ready(());
        }
        has_waited = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::future::Future;
    use core::pin::pin;
    use core::task::{Context, Waker};

    #[test]
    fn it_is_ready_the_second_time_it_is_asked() {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut way = pin!(give_way());
        assert_eq!(way.as_mut().poll(cx), Poll::Pending);
        assert_eq!(way.as_mut().poll(cx), Poll::Ready(()));
    }
}
