//! Futures without an executor.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

/// The output of a future that is ready at its first poll, as all are whose disk is
/// `Simulated::instant()`. Panics when it is not.
pub fn ready<F: Future>(future: F) -> F::Output {
    let mut future = pin!(future);
    match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("the future was not ready at its first poll: is its disk an instant one?"),
    }
}

#[cfg(test)]
mod tests {
    use super::ready;

    #[test]
    fn a_ready_future_gives_its_output() {
        assert_eq!(ready(async { 7 }), 7);
    }

    #[test]
    #[should_panic(expected = "first poll")]
    fn a_future_that_waits_is_an_error_of_the_test() {
        ready(std::future::pending::<()>());
    }
}
