//! What all clients have in common: lines, patience, and what they share.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;

use crate::connection::Door;
use crate::ledger::Ledger;
use crate::server::Server;
use crate::wire::Wire;

/// How long a client waits for an answer before it counts as never coming, in milliseconds of the
/// simulation, where only a slow disk takes time.
const PATIENCE_MS: u64 = 10 * 60 * 1000;
/// How long it waits before it connects again, at most.
const AGAIN_MS: u64 = 2_000;

/// The connection is no more.
#[derive(Debug)]
pub(crate) struct Lost;

/// What clients share.
pub(crate) struct Town {
    pub(crate) server: Rc<Server>,
    pub(crate) ledger: RefCell<Ledger>,
    /// Clients with work left.
    pub(crate) at_work: Cell<usize>,
    pub(crate) names: Vec<String>,
    /// An alias, and whom it stands for.
    pub(crate) alias: (String, Vec<String>),
}

impl Town {
    pub(crate) fn below(&self, end: u64) -> u64 {
        self.server.executor.below(end)
    }

    pub(crate) fn one_in(&self, n: u64) -> bool {
        self.server.executor.one_in(n)
    }

    /// Thinks for a while, as people do.
    pub(crate) async fn think(&self) {
        if self.one_in(3) {
            self.server.executor.sleep(self.below(500)).await;
        } else {
            self.server.executor.pass().await;
        }
    }
}

/// One connection as its client sees it.
pub(crate) struct Conn {
    pub(crate) town: Rc<Town>,
    who: String,
    wire: Arc<Wire>,
    heard: Vec<u8>,
    last_sent: String,
    /// The client has said that it leaves, or waits for nothing in particular.
    pub(crate) may_end: bool,
    /// How long silence is borne; none in IDLE.
    pub(crate) is_patient: bool,
}

impl Conn {
    /// Connects, as often as it takes.
    pub(crate) async fn open(town: &Rc<Town>, who: &str, door: Door) -> Self {
        loop {
            if let Some(wire) = town.server.connect(door) {
                let (town, who) = (Rc::clone(town), who.to_owned());
                let (heard, last_sent) = (Vec::new(), "nothing".to_owned());
                return Self { town, who, wire, heard, last_sent, may_end: false, is_patient: false };
            }
            town.server.executor.sleep(1 + town.below(AGAIN_MS)).await;
        }
    }

    pub(crate) fn send(&mut self, text: &str) {
        self.last_sent = text.chars().take(80).collect();
        self.wire.send(text.as_bytes());
    }

    /// The next line, without its CRLF.
    pub(crate) async fn line(&mut self) -> Result<String, Lost> {
        loop {
            if let Some(end) = self.heard.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.heard.drain(..end + 2).take(end).collect();
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            self.receive().await?;
        }
    }

    /// So many bytes.
    pub(crate) async fn bytes(&mut self, count: usize) -> Result<String, Lost> {
        while self.heard.len() < count {
            self.receive().await?;
        }
        let bytes: Vec<u8> = self.heard.drain(..count).collect();
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    async fn receive(&mut self) -> Result<(), Lost> {
        let executor = self.town.server.executor.clone();
        let mut patience = pin!(executor.sleep(PATIENCE_MS));
        let received = poll_fn(|cx| match self.wire.poll_receive(cx) {
            Poll::Pending if self.is_patient => Poll::Pending,
            Poll::Pending => match patience.as_mut().poll(cx) {
                Poll::Ready(()) => {
                    panic!(
                        "{} waits in vain for an answer to {:?}, heard {:?}",
                        self.who,
                        self.last_sent,
                        self.heard()
                    )
                }
                Poll::Pending => Poll::Pending,
            },
            received @ Poll::Ready(_) => received,
        })
        .await;
        let Some(received) = received else {
            // A session may end for a reason only; the end of its process is one.
            if !self.may_end && self.must_go_on() {
                let what =
                    format!("{} was thrown out after {:?}: {:?}", self.who, self.last_sent, self.heard());
                self.town.ledger.borrow_mut().wrong(what);
            }
            return Err(Lost);
        };
        self.heard.extend(received);
        Ok(())
    }

    fn heard(&self) -> String {
        String::from_utf8_lossy(&self.heard).into_owned()
    }

    /// Whether the server has no reason to end this connection.
    pub(crate) fn must_go_on(&self) -> bool {
        self.town.server.must_keep(&self.wire)
    }

    /// Whether the store has no reason to refuse this connection's requests.
    pub(crate) fn must_do(&self) -> bool {
        self.must_go_on() && !self.town.server.may_refuse.get()
    }

    /// An answer that is not what the protocol has.
    pub(crate) fn wrong(&self, said: &str) -> Lost {
        let what = format!("{} got {said:?} as the answer to {:?}", self.who, self.last_sent);
        self.town.ledger.borrow_mut().wrong(what);
        Lost
    }
}

impl Drop for Conn {
    fn drop(&mut self) {
        self.wire.leave();
    }
}
