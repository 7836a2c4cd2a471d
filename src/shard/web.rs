//! What stands behind an HTTP connection: the MTA-STS policies of our domains (RFC 8461 §3.3), and the place where TLS
//! reports are posted (RFC 8460 §5.4).

use std::collections::HashMap;
use std::future::pending;
use std::rc::Rc;

use base::dns::normal;
use base::{Handled, Out, Service};
use http::{Http, Method, Request, Response, Status};
use transport::sts::{self, Mode, Policy};

use crate::Shard;
use crate::limits::POLICY_MAX_AGE_S;
use crate::reporting::{Taken, session, take};

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
pub struct WebService {
    shard: Rc<Shard>,
    source: String,
}

impl WebService {
    /// Of this shard; `source` is the text of the peer's address.
    pub const fn new(shard: Rc<Shard>, source: String) -> Self {
        Self { shard, source }
    }

    /// A session for it, which takes what is taken now.
    pub fn session(shard: &Shard) -> Http {
        session(shard)
    }
}

impl Service<Http> for WebService {
    async fn handle(&mut self, _: &mut Http, request: Request, _: &mut Out<'_>) -> Handled<Response> {
        let settings = self.shard.settings();
        let is_report = settings.reporting.https.as_ref().is_some_and(|taking| taking.path == request.target);
        Handled::Reply(match request.method {
            Method::Post if is_report => acknowledge(take(&self.shard, &self.source, request).await),
            _ if is_report => Response::only("POST"),
            _ => answer(&self.shard, &request).await,
        })
    }

    async fn changed(&mut self) {
        pending::<()>().await;
    }
}

/// RFC 8460 §5.4: 200 is what the sender waits for.
fn acknowledge(taken: Taken) -> Response {
    match taken {
        Taken::Kept => Response::of(Status::Ok),
        Taken::Unreadable => Response::of(Status::BadRequest),
        Taken::TooLarge => Response::of(Status::ContentTooLarge),
        Taken::TooMany => Response::later(Status::TooManyRequests, "3600"),
        Taken::Unavailable => Response::later(Status::Unavailable, "300"),
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
    if !matches!(request.method, Method::Get | Method::Head) {
        return Response::only("GET, HEAD");
    }
    shard.metrics.count_policy_served();
    tracing::debug!(event = "web.policy_served", domain);
    Response::content("text/plain", shard.settings().policies.of(domain).text().into_bytes())
}
