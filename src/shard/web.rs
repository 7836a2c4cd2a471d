//! What stands behind an HTTP connection: the MTA-STS policies of our domains (RFC 8461 §3.3), and nothing else yet.

use std::collections::HashMap;
use std::future::pending;
use std::rc::Rc;

use base::dns::normal;
use base::{Handled, Out, Service};
use http::{Http, Method, Request, Response, Status};
use transport::sts::{self, Mode, Policy};

use crate::Shard;
use crate::limits::POLICY_MAX_AGE_S;

/// The policies that we publish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnPolicies {
    /// Of a domain that has none of its own.
    pub usual: Policy,
    /// By domain: lower case, A-labels.
    pub others: HashMap<String, Policy>,
}

impl OwnPolicies {
    /// That this host takes all mail, and nothing that others are held to.
    pub fn new(hostname: &str) -> Self {
        let usual =
            Policy { mode: Mode::Testing, hosts: vec![normal(hostname)], max_age_s: POLICY_MAX_AGE_S };
        Self { usual, others: HashMap::new() }
    }

    /// The policy of a domain of ours.
    pub fn of(&self, domain: &str) -> &Policy {
        self.others.get(domain).unwrap_or(&self.usual)
    }
}

/// The handlers of one connection.
#[derive(Debug)]
pub struct WebService(Rc<Shard>);

impl WebService {
    /// Of this shard.
    pub const fn new(shard: Rc<Shard>) -> Self {
        Self(shard)
    }
}

impl Service<Http> for WebService {
    async fn handle(&mut self, _: &mut Http, request: Request, _: &mut Out<'_>) -> Handled<Response> {
        Handled::Reply(answer(&self.0, &request).await)
    }

    async fn changed(&mut self) {
        pending::<()>().await;
    }
}

async fn answer(shard: &Shard, request: &Request) -> Response {
    let host = normal(&request.host);
    let domain = sts::domain_of(&host).filter(|_| request.target == sts::PATH);
    let Some(domain) = domain else { return Response::of(Status::NotFound) };
    match shard.people.is_ours(shard, domain).await {
        Err(_gone) => return Response::of(Status::Unavailable),
        Ok(false) => return Response::of(Status::NotFound),
        Ok(true) => {}
    }
    if request.method == Method::Other {
        return Response::only("GET, HEAD");
    }
    shard.metrics.count_policy_served();
    tracing::debug!(event = "web.policy_served", domain);
    Response::content("text/plain", shard.settings().policies.of(domain).text().into_bytes())
}
