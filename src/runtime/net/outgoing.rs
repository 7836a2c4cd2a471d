//! Connections that we open: from a chosen address, with TLS as a client, each within a time.

use std::future::{Future, poll_fn};
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use base::TlsInfo;
use transport::Demand;

use super::conn::{Conn, ConnError};
use super::gate::Peer;
use super::socket::Socket;
use crate::clock;
use crate::limits::LOCAL_CONNECT_PAUSE;
use crate::timers::Timers;
use crate::tls::TlsConnector;

impl Conn {
    /// Connects within `limit`, from `source` if one is given: an address of this machine, of the same
    /// kind as the other. One that is not ours is `AddrNotAvailable`.
    pub async fn connect_within(
        source: Option<IpAddr>,
        to: SocketAddr,
        timers: &Timers,
        limit: Duration,
    ) -> Result<Self, ConnError> {
        within(timers, limit, Self::connect_from(source, to)).await
    }

    /// Connects to a Unix socket within `limit`.
    pub async fn connect_local(path: &Path, timers: &Timers, limit: Duration) -> Result<Self, ConnError> {
        let connecting = async {
            loop {
                match Socket::connect_local(path) {
                    Err(error) if error.kind() == ErrorKind::WouldBlock => {
                        timers.sleep(LOCAL_CONNECT_PAUSE).await;
                    }
                    connected => return Ok(Self::from_socket(connected?, Peer::Unix, None)),
                }
            }
        };
        within(timers, limit, connecting).await
    }

    /// Begins TLS as a client and does the handshake within `limit`. [`Conn::proof`] tells what the
    /// server has proven.
    pub async fn secure(
        &mut self,
        connector: &TlsConnector,
        demand: Demand,
        timers: &Timers,
        limit: Duration,
    ) -> Result<TlsInfo, ConnError> {
        self.start_client_tls(connector, demand)?;
        within(timers, limit, poll_fn(|cx| self.poll_handshake(cx))).await
    }
}

/// The work, or that its time is up.
pub(crate) async fn within<T>(
    timers: &Timers,
    limit: Duration,
    work: impl Future<Output = Result<T, ConnError>>,
) -> Result<T, ConnError> {
    let (mut work, mut deadline) = (pin!(work), timers.deadline());
    let end = clock::now() + limit;
    poll_fn(|cx| match work.as_mut().poll(cx) {
        Poll::Pending if deadline.poll(cx, end).is_ready() => Poll::Ready(Err(ConnError::TimedOut)),
        other => other,
    })
    .await
}
