//! A connection without a socket: bytes on their way in both directions, cut and delayed by the seed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use base::{Closed, Drain};
use sim::Executor;

/// Bytes on their way to a client before its server has to wait.
const TO_CLIENT_BYTES_MAX: usize = 8 * 1024;
/// A read brings at most so many bytes when the seed cuts finely.
const FINE_CUT_BYTES_MAX: u64 = 40;

/// One connection; both ends hold it. It moves between shards as a socket does.
#[derive(Default)]
pub(crate) struct Wire(Mutex<State>);

#[derive(Default)]
struct State {
    to_server: Vec<u8>,
    to_client: Vec<u8>,
    server: Option<Waker>,
    client: Option<Waker>,
    /// The server has closed, or its process has ended.
    is_closed: bool,
    /// The client has gone.
    is_left: bool,
}

impl Wire {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The client sends.
    pub(crate) fn send(&self, bytes: &[u8]) {
        let mut state = self.state();
        if !state.is_closed {
            state.to_server.extend_from_slice(bytes);
        }
        wake(state.server.take());
    }

    /// What has come for the client; `None` when nothing more will.
    pub(crate) fn poll_receive(&self, cx: &Context<'_>) -> Poll<Option<Vec<u8>>> {
        let mut state = self.state();
        if !state.to_client.is_empty() {
            let received = std::mem::take(&mut state.to_client);
            wake(state.server.take());
            return Poll::Ready(Some(received));
        }
        if state.is_closed {
            return Poll::Ready(None);
        }
        state.client = Some(cx.waker().clone());
        Poll::Pending
    }

    /// The client goes away without a word.
    pub(crate) fn leave(&self) {
        let mut state = self.state();
        state.is_left = true;
        wake(state.server.take());
    }

    /// The server closes; what it has said still arrives.
    pub(crate) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        wake(state.client.take());
    }

    /// The server's process has ended: what it has said may be lost on the way.
    pub(crate) fn cut_off(&self, is_lost: bool) {
        if is_lost {
            self.state().to_client.clear();
        }
        self.close();
    }

    /// Gives the server some of what has come, at most `room` bytes; 0 when the client has gone.
    pub(crate) fn poll_read(
        &self,
        executor: &Executor,
        cx: &Context<'_>,
        room: usize,
        take: impl FnOnce(&[u8]),
    ) -> Poll<usize> {
        let mut state = self.state();
        if state.is_left {
            return Poll::Ready(0);
        }
        let most = state.to_server.len().min(room);
        if most == 0 {
            state.server = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let count = match executor.below(8) {
            0 => executor.below(FINE_CUT_BYTES_MAX) as usize + 1,
            1 | 2 => executor.below(most as u64) as usize + 1,
            // It has not arrived yet.
            3 => {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            _ => most,
        };
        let count = count.min(most);
        let bytes: Vec<u8> = state.to_server.drain(..count).collect();
        drop(state);
        executor.note(&bytes);
        take(&bytes);
        Poll::Ready(count)
    }

    /// The server says `bytes`: takes what there is room for, and waits with the rest.
    pub(crate) fn poll_say(&self, cx: &Context<'_>, bytes: &mut Vec<u8>) -> Poll<Result<(), Closed>> {
        let mut state = self.state();
        if state.is_left {
            bytes.clear();
            return Poll::Ready(Err(Closed));
        }
        let room = TO_CLIENT_BYTES_MAX.saturating_sub(state.to_client.len()).min(bytes.len());
        state.to_client.extend(bytes.drain(..room));
        if room > 0 {
            wake(state.client.take());
        }
        if bytes.is_empty() {
            return Poll::Ready(Ok(()));
        }
        state.server = Some(cx.waker().clone());
        Poll::Pending
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// Where a handler's large answers go.
pub(crate) struct Pipe(pub(crate) Arc<Wire>);

impl Drain for Pipe {
    fn poll_drain(&mut self, cx: &mut Context<'_>, bytes: &mut Vec<u8>) -> Poll<Result<(), Closed>> {
        self.0.poll_say(cx, bytes)
    }
}
