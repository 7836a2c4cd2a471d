//! A connection as the loop sees it.

use std::os::fd::{AsRawFd as _, RawFd};
use std::time::Instant;

use socket2::Socket;

use crate::tls::Tls;

/// How far the socket is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Closed,
    Connecting,
    Open,
    /// Both sides have said goodbye; the server is to close first, so that TIME-WAIT does not use up our
    /// ports.
    Closing,
    /// The server has closed; something may still be in flight on our side.
    Dropped,
}

/// How far the conversation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Opening,
    Ready,
    Busy,
}

pub(super) struct Connection {
    socket: Option<Socket>,
    pub(super) tls: Option<Tls>,
    pub(super) link: Link,
    pub(super) standing: Standing,
    /// When the operation was to begin.
    pub(super) due: Instant,
    /// How often it was opened.
    pub(super) tries: u32,
    pub(super) is_receiving: bool,
    pub(super) is_sending: bool,
}

impl Connection {
    pub(super) const fn new(now: Instant) -> Self {
        Self {
            socket: None,
            tls: None,
            link: Link::Closed,
            standing: Standing::Opening,
            due: now,
            tries: 0,
            is_receiving: false,
            is_sending: false,
        }
    }

    pub(super) fn opened(&mut self, socket: Socket) {
        self.socket = Some(socket);
        self.link = Link::Connecting;
        self.tries = self.tries.saturating_add(1);
    }

    pub(super) fn close(&mut self) {
        self.socket = None;
        self.tls = None;
        self.link = Link::Closed;
    }

    /// Ends our direction of the stream.
    pub(super) fn hang_up(&self) {
        if let Some(socket) = &self.socket {
            // A peer that is gone already is no news.
            let _gone = socket.shutdown(std::net::Shutdown::Write);
        }
    }

    /// Acknowledges what was received; the system forgets such a wish soon.
    pub(super) fn acknowledge(&self) {
        if let Some(socket) = &self.socket {
            // Where it is refused, all is as without it.
            let _refused = socket.set_tcp_quickack(true);
        }
    }

    pub(super) fn descriptor(&self) -> RawFd {
        self.socket.as_ref().expect("nothing is in flight without a socket").as_raw_fd()
    }
}
