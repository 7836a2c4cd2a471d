//! Connections to filters and to who takes reports, as `shard` sees them: bytes there and back, with TLS or not.

use std::task::{Context, Poll};

use shard::{Dial, Endpoint, Wire};
use transport::Fault;

use crate::{Conn, Local, TlsConnector};

/// Connects. `connector` is there where TLS is asked for.
pub(crate) async fn dial(
    local: Local,
    connector: Option<TlsConnector>,
    dial: Dial,
) -> Result<Box<dyn Wire>, String> {
    let Dial { endpoint, tls, may_resume, limit } = dial;
    let timers = local.timers();
    let connected = match endpoint {
        Endpoint::Tcp(address) => Conn::connect_within(None, address, timers, limit).await,
        Endpoint::Unix(path) => Conn::connect_local(&path, timers, limit).await,
    };
    let mut conn = connected.map_err(|error| error.to_string())?;
    if let (Some(connector), Some(demand)) = (connector, tls) {
        let connector = if may_resume { connector } else { connector.without_memory() };
        conn.secure(&connector, demand, timers, limit).await.map_err(|error| error.to_string())?;
    }
    Ok(Box::new(ConnWire(conn)))
}

struct ConnWire(Conn);

impl Wire for ConnWire {
    fn give(&mut self, bytes: &mut Vec<u8>) {
        self.0.give(bytes);
        bytes.clear();
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), String>> {
        self.0.poll_flush(cx).map_err(|error| error.to_string())
    }

    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        max: usize,
        take: &mut dyn FnMut(&[u8]),
    ) -> Poll<Result<usize, String>> {
        self.0.poll_read(cx, max, take).map_err(|error| error.to_string())
    }

    fn lacks(&self) -> Option<Fault> {
        self.0.proof().and_then(Result::err)
    }
}
