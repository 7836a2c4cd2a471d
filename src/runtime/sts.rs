//! Fetching a domain's MTA-STS policy (RFC 8461 §3.3): one small file, over HTTPS, with a certificate that
//! is right for the policy's host, without redirects, and within a time.

use std::future::poll_fn;
use std::net::SocketAddr;

use base::dns::{Query, RecordKind};
use transport::http::{Progress, Response, request};
use transport::sts::{PATH, Policy, policy_host};
use transport::{AddressOrder, Demand, Fault, Ourselves, addresses};

use crate::limits::{SCRATCH_BYTES, STS_CONNECT, STS_FETCH};
use crate::net::within;
use crate::{Conn, ConnError, Local, Resolver, TlsConnector};

/// The port of HTTPS.
const PORT: u16 = 443;

/// The policy, or what is wrong with it.
pub(crate) async fn fetch(
    local: &Local,
    connector: &TlsConnector,
    resolver: &Resolver,
    domain: &str,
) -> Result<Policy, Fault> {
    let host = policy_host(domain);
    policy_from(local, connector, &host, resolve(resolver, &host).await).await
}

/// As a sender of mail: the policy that a host of this name has at one of these addresses.
pub async fn policy_from(
    local: &Local,
    connector: &TlsConnector,
    host: &str,
    addresses: Vec<SocketAddr>,
) -> Result<Policy, Fault> {
    let fetching = async {
        let mut last = ConnError::Closed;
        for address in addresses {
            match file(local, connector, host, address).await {
                Ok(file) => return Ok(file),
                // A host that is not the right one is not asked again elsewhere.
                Err(unproven @ ConnError::Unproven(_)) => return Err(unproven),
                Err(error) => last = error,
            }
        }
        Err(last)
    };
    let file = within(local.timers(), STS_FETCH, fetching).await;
    let file = file.inspect_err(|error| tracing::debug!(event = "runtime.policy_failed", host, %error));
    match file {
        Ok(file) => Policy::parse(&file.ok_or(Fault::StsPolicyFetchError)?).ok_or(Fault::StsPolicyInvalid),
        Err(ConnError::Unproven(_)) => Err(Fault::StsWebpkiInvalid),
        Err(_) => Err(Fault::StsPolicyFetchError),
    }
}

async fn resolve(resolver: &Resolver, host: &str) -> Vec<SocketAddr> {
    let sixes = resolver.lookup(Query::new(host, RecordKind::Aaaa)).await;
    let fours = resolver.lookup(Query::new(host, RecordKind::A)).await;
    let answers: Vec<_> = sixes.iter().chain(&fours).collect();
    let mut random = base::Random::new(0);
    let found = addresses(&answers, AddressOrder::ByTurns, &Ourselves::default(), &mut random);
    found.list.into_iter().map(|address| SocketAddr::new(address, PORT)).collect()
}

/// The file that one server has; `None` when what it says is of no use.
async fn file(
    local: &Local,
    connector: &TlsConnector,
    host: &str,
    address: SocketAddr,
) -> Result<Option<Vec<u8>>, ConnError> {
    let timers = local.timers();
    let mut conn = Conn::connect_within(None, address, timers, STS_CONNECT).await?;
    conn.secure(connector, Demand::authority(host), timers, STS_CONNECT).await?;
    conn.write(&mut request(host, PATH).into_bytes()).await?;
    let mut response = Response::default();
    loop {
        let mut progress = Ok(Progress::More);
        let mut take = |bytes: &[u8]| {
            if progress == Ok(Progress::More) {
                progress = response.take(bytes);
            }
        };
        let count = poll_fn(|cx| conn.poll_read(cx, SCRATCH_BYTES, &mut take)).await?;
        match progress {
            Ok(Progress::Done(file)) => return Ok(Some(file)),
            Ok(Progress::More) if count == 0 => return Ok(response.end().ok()),
            Ok(Progress::More) => {}
            Err(_unusable) => return Ok(None),
        }
    }
}
