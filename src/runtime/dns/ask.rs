//! Asking name servers, by hickory, on the sidecar thread.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base::Timestamp;
use base::dns::{Absence, Answer, Failure, NAME_BYTES_MAX, Query, Record};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverOpts};
use hickory_resolver::net::NetError;
use hickory_resolver::net::dnssec::DnssecDnsHandle;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::xfer::{DnsHandle, FirstAnswer, RetryDnsHandle};
use hickory_resolver::proto::dnssec::{Proof, TrustAnchors};
use hickory_resolver::proto::op::{DnsRequest, DnsRequestOptions, DnsResponse, Query as Question};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::read_system_conf;
use hickory_resolver::{NameServerPool, PoolContext, TlsConfig};

use super::answer::{self, Heard, Trust};
use super::settings::DnsSettings;
use crate::clock;
use crate::limits::{DNS_ALIASES_MAX, DNS_UNSIGNED};

const DNS_PORT: u16 = 53;

type Pool = RetryDnsHandle<NameServerPool<TokioRuntimeProvider>>;

/// Whom to ask and what to believe. One for the whole process; cheap to clone. It works on the sidecar
/// thread only.
#[derive(Clone)]
pub struct Asker {
    way: Way,
    timeout: Duration,
}

type Checking = DnssecDnsHandle<Pool>;

#[derive(Clone)]
enum Way {
    /// Signatures are checked here.
    Checking(Checking),
    /// They are not; the server's word that it has counts, or nobody's.
    Asking(Pool, Trust),
    /// They are where the servers pass them on.
    Finding(Arc<Finding>),
}

/// Whether the servers pass signatures on.
struct Finding {
    checking: Checking,
    asking: Pool,
    /// What was found, and when.
    found: Mutex<Option<(bool, Timestamp)>>,
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let way = match self.way {
            Way::Checking(_) => "checking",
            Way::Asking(..) => "asking",
            Way::Finding(_) => "finding",
        };
        f.debug_struct("Asker").field("way", &way).finish_non_exhaustive()
    }
}

/// Why nobody can be asked. Each says what to change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DnsError {
    /// The file of keys cannot be read or is none.
    TrustAnchor {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// The library refuses.
    Unusable(String),
}

impl fmt::Display for DnsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TrustAnchor { path, problem } => {
                write!(f, "{}: {problem}; dns.trust_anchor names a file of DNSKEY records", path.display())
            }
            Self::Unusable(problem) => f.write_str(problem),
        }
    }
}

impl std::error::Error for DnsError {}

impl Asker {
    /// By these settings. Nothing is asked yet.
    pub fn new(settings: &DnsSettings) -> Result<Self, DnsError> {
        let mut options = ResolverOpts::default();
        // Two attempts fit into the whole.
        options.timeout = settings.timeout / 2;
        options.attempts = 1;
        let tls = TlsConfig::new().map_err(|error| DnsError::Unusable(error.to_string()))?;
        let context = Arc::new(PoolContext::new(options, tls));
        let servers = servers(&settings.servers);
        let pool = NameServerPool::from_config(servers, context, TokioRuntimeProvider::default());
        let pool = RetryDnsHandle::new(pool, 1);
        let checking = || -> Result<Checking, DnsError> {
            Ok(DnssecDnsHandle::with_trust_anchor(pool.clone(), Arc::new(anchors(settings)?)))
        };
        let way = match settings.validate {
            Some(true) => Way::Checking(checking()?),
            Some(false) if settings.trust_ad => Way::Asking(pool, Trust::Server),
            Some(false) => Way::Asking(pool, Trust::Nobody),
            // Whoever has keys of their own knows that there are signatures.
            None if settings.trust_anchor.is_some() => Way::Checking(checking()?),
            None => {
                let (checking, found) = (checking()?, Mutex::default());
                Way::Finding(Arc::new(Finding { checking, asking: pool, found }))
            }
        };
        Ok(Self { way, timeout: settings.timeout })
    }

    /// Asks, follows aliases, and says what came of it, in time.
    pub(super) async fn ask(self, query: Query) -> Result<Answer, Failure> {
        let asked = tokio::time::timeout(self.timeout, self.follow(&query)).await;
        asked.unwrap_or(Err(Failure::Temporary))
    }

    async fn follow(&self, query: &Query) -> Result<Answer, Failure> {
        let nothing = Absence::default();
        // What is no name on the wire does not exist.
        let mut name = wire_name(&query.name).ok_or(Failure::NoSuchName(nothing))?;
        let (mut is_secure, mut ttl_s) = (true, u32::MAX);
        let absence = |heard: Absence, is_secure: bool, ttl_s: u32| Absence {
            is_secure: heard.is_secure && is_secure,
            ttl_s: heard.ttl_s.min(ttl_s),
        };
        for _ in 0..DNS_ALIASES_MAX {
            match self.send(&name, query).await? {
                Heard::Records(found) => {
                    let is_secure = is_secure && found.is_secure;
                    return Ok(Answer { is_secure, ttl_s: ttl_s.min(found.ttl_s), ..found });
                }
                Heard::Alias { target, is_secure: is_proven, ttl_s: alias_ttl_s } => {
                    is_secure &= is_proven;
                    ttl_s = ttl_s.min(alias_ttl_s);
                    name = target;
                }
                Heard::NoSuchName(heard) => {
                    return Err(Failure::NoSuchName(absence(heard, is_secure, ttl_s)));
                }
                Heard::NoRecords(heard) => return Err(Failure::NoRecords(absence(heard, is_secure, ttl_s))),
            }
        }
        // Aliases that go round, or nearly.
        Err(Failure::Temporary)
    }

    async fn send(&self, name: &Name, query: &Query) -> Result<Heard, Failure> {
        let question = Question::query(name.clone(), answer::record_type(query.kind));
        let (response, trust) = match &self.way {
            Way::Checking(handle) => (check(handle, question).await, Trust::Proofs),
            Way::Asking(pool, trust) => (ask(pool, question, *trust).await, *trust),
            Way::Finding(finding) if finding.passes_signatures().await => {
                (check(&finding.checking, question).await, Trust::Proofs)
            }
            Way::Finding(finding) => (ask(&finding.asking, question, Trust::Nobody).await, Trust::Nobody),
        };
        answer::hear(response, name, query.kind, trust)
    }
}

async fn check(handle: &Checking, question: Question) -> Result<DnsResponse, NetError> {
    let mut options = DnsRequestOptions::default();
    options.edns_set_dnssec_ok = true;
    handle.lookup(question, options).first_answer().await
}

async fn ask(pool: &Pool, question: Question, trust: Trust) -> Result<DnsResponse, NetError> {
    let mut request = DnsRequest::from_query(question, DnsRequestOptions::default());
    // RFC 6840 §5.7: who sets it wants to see it in the answer.
    request.metadata.authentic_data = trust == Trust::Server;
    pool.send(request).first_answer().await
}

impl Finding {
    /// By the root, whose every answer is signed. As long as nobody answers at all it is yes, and questions
    /// fail as they would without signatures.
    async fn passes_signatures(&self) -> bool {
        let now = clock::now();
        let known = *self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((passes, at)) = known
            && (passes || now.since(at) < DNS_UNSIGNED)
        {
            return passes;
        }
        let question = || Question::query(Name::root(), RecordType::SOA);
        let checked = check(&self.checking, question()).await;
        let is_signed = checked.is_ok_and(|response| {
            !response.answers.is_empty() && response.answers.iter().any(|found| found.proof == Proof::Secure)
        });
        if !is_signed && ask(&self.asking, question(), Trust::Nobody).await.is_err() {
            return true;
        }
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = Some((is_signed, now));
        if !is_signed {
            tracing::warn!(event = "runtime.dns_unsigned");
        }
        is_signed
    }
}

fn anchors(settings: &DnsSettings) -> Result<TrustAnchors, DnsError> {
    let Some(path) = &settings.trust_anchor else { return Ok(TrustAnchors::default()) };
    let wrong = |problem: String| DnsError::TrustAnchor { path: path.clone(), problem };
    let anchors = TrustAnchors::from_file(path).map_err(|error| wrong(error.to_string()))?;
    if anchors.is_empty() { Err(wrong("holds no key".to_owned())) } else { Ok(anchors) }
}

fn servers(chosen: &[SocketAddr]) -> Vec<NameServerConfig> {
    let chosen: Vec<_> = chosen.iter().map(|address| server(*address)).collect();
    if !chosen.is_empty() {
        return chosen;
    }
    let of_system = read_system_conf().map(|(config, _)| config.into_parts().2).unwrap_or_default();
    // A system that names none has one of its own (resolv.conf(5)).
    let own = || vec![server(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), DNS_PORT))];
    if of_system.is_empty() { own() } else { of_system }
}

fn server(address: SocketAddr) -> NameServerConfig {
    let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
        connection.port = address.port();
        connection
    });
    NameServerConfig::new(address.ip(), true, connections.to_vec())
}

/// A name by its labels, whose bytes mean nothing but themselves.
fn wire_name(name: &str) -> Option<Name> {
    if name.is_empty() {
        return Some(Name::root());
    }
    if name.len() > NAME_BYTES_MAX {
        return None;
    }
    let mut name = Name::from_labels(name.split('.').map(str::as_bytes)).ok()?;
    name.set_fqdn(true);
    Some(name)
}

impl Heard {
    /// The records alone.
    pub(super) fn records(records: Vec<Record>, name: String, is_secure: bool, ttl_s: u32) -> Self {
        Self::Records(Answer { records, name, is_secure, ttl_s })
    }
}
