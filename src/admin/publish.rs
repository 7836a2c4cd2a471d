//! `angarium domain dns`: every record that a domain of ours should have, as a zone has it, and with `--check` what is
//! published in its place and what is wrong with that.
//!
//! - `items`: what should be there; `judge`: what is there; `policy`: the part of MTA-STS in that.

mod items;
mod judge;
mod policy;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;

use base::dns::{Answer, Failure as NoRecords, Query};
use clap::Args;
use directory::{Directory, EmailAddress, Resolution};
use mailauth::{Lookup, PrivateKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shard::Shard;
use transport::Fault;
use transport::dane::Tlsa;
use transport::sts::Policy;

use self::items::{Facts, Item, Key, items};
use self::judge::{Names, State, judge};
use crate::{Config, Exit, Failure, Host, Listen, ListenAddress, Request, print};

#[derive(Debug, Args)]
pub(crate) struct DnsArgs {
    /// The domain.
    pub(crate) domain: String,
    /// Look up what is published, and say what is wrong.
    #[arg(long)]
    pub(crate) check: bool,
}

/// What is asked about a domain's records, with what only the configuration knows.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DnsRequest {
    /// The domain.
    pub domain: String,
    /// What users connect to: the service's name and its port.
    pub services: Vec<(String, u16)>,
    /// The hash of the key of the certificate that is shown, in hexadecimal digits.
    pub certificate_key: String,
    /// The certificate is one that we made ourselves.
    pub is_self_signed: bool,
    /// We serve the MTA-STS policy ourselves.
    pub serves_policy: bool,
    /// Whether to look the records up.
    pub checks: bool,
}

/// `angarium domain dns`.
pub(crate) fn dns(args: DnsArgs, file: &Path, host: &dyn Host, is_json: bool) -> Result<Exit, Failure> {
    let config = Config::read(file)?;
    let certificate = host.certificate(&config)?;
    let tlsa = Tlsa::for_certificate(&certificate)
        .ok_or_else(|| Failure::new(Exit::Config, "the configured certificate cannot be read"))?;
    let ask = DnsRequest {
        domain: args.domain,
        services: services(&config),
        certificate_key: digits(&tlsa.data),
        is_self_signed: config.tls.certificates.is_empty(),
        serves_policy: !config.listen.https.is_empty(),
        checks: args.check,
    };
    let answer = host.control(&config)?.call(&Request::DomainDns { ask }, &[])?.json;
    if is_json {
        print::answer(&answer, true);
    } else {
        answer.as_array().into_iter().flatten().for_each(|item| print::text(&told(item, args.check)));
    }
    let is_bad = answer.as_array().into_iter().flatten().any(|item| item["bad"] == true);
    Ok(if is_bad { Exit::Failed } else { Exit::Done })
}

/// The services with TLS from the start, which is what clients are to be sent to (RFC 8314 §3).
fn services(config: &Config) -> Vec<(String, u16)> {
    let named = |listen| match listen {
        Listen::Submissions => Some("submissions"),
        Listen::Imaps => Some("imaps"),
        Listen::Pop3s => Some("pop3s"),
        _ => None,
    };
    let mut services: Vec<(String, u16)> = Vec::new();
    for (listen, address) in config.addresses() {
        let (Some(name), ListenAddress::Tcp(address)) = (named(listen), address) else { continue };
        let service = (name.to_owned(), SocketAddr::port(&address));
        if !services.contains(&service) {
            services.push(service);
        }
    }
    services
}

/// Executes the request on the shard that owns the directory.
pub(crate) async fn execute(
    shard: &Rc<Shard>,
    directory: &Directory,
    ask: DnsRequest,
) -> Result<Value, Failure> {
    let domain = directory.domain(&ask.domain).ok_or_else(|| {
        let words =
            format!("{} is no domain of ours; `angarium domain list` shows those there are", ask.domain);
        Failure::new(Exit::NotFound, words)
    })?;
    let keys = directory.dkim_keys(&domain.name).into_iter().filter_map(|key| {
        let private = PrivateKey::from_der(key.der.reveal()).ok()?;
        Some(Key { selector: key.selector, state: key.state, private })
    });
    let keys: Vec<Key> = keys.collect();
    let settings = shard.settings();
    let facts = Facts {
        domain: &domain.name,
        hostname: &base::dns::normal(&settings.hostname),
        keys: &keys,
        services: &ask.services,
        certificate_key: bytes(&ask.certificate_key)
            .ok_or_else(|| Failure::new(Exit::Data, "the hash of the certificate's key cannot be read"))?,
        is_self_signed: ask.is_self_signed,
        policy: settings.policies.of(&domain.name),
        serves_policy: ask.serves_policy,
        has_smarthost: settings.outbound.smarthost.is_some(),
        receivers: &settings.reporting.receive,
        deaf: &deaf(directory, &settings.reporting.receive),
        https: settings.reporting.https.as_ref().map(|taking| taking.url.as_str()),
        now: shard.world.now(),
    };
    let names = World(Rc::clone(shard));
    let mut answer = Vec::new();
    for item in items(&facts) {
        answer.push(about(&names, &facts, &item, ask.checks).await);
    }
    Ok(Value::Array(answer))
}

/// Report addresses that nobody has.
fn deaf(directory: &Directory, receivers: &[String]) -> Vec<String> {
    let is_there = |address: &str| {
        let address = EmailAddress::parse(address).ok();
        address.is_some_and(|address| {
            matches!(directory.resolve(&address), Resolution::Local(_) | Resolution::Forwarded(_))
        })
    };
    receivers.iter().filter(|address| !is_there(address)).cloned().collect()
}

async fn about(names: &World, facts: &Facts<'_>, item: &Item<'_>, checks: bool) -> Value {
    let mut json = json!({
        "what": item.what,
        "need": item.need,
        "why": item.why,
        "records": item.records.iter().map(transport::publish::Published::text).collect::<Vec<_>>(),
        "by_hand": item.by_hand,
    });
    if checks {
        let finding = judge(names, facts, item).await;
        json["state"] = json!(finding.state);
        json["found"] = json!(finding.found);
        json["note"] = json!(finding.note);
        json["bad"] = json!(finding.state.is_bad(item.need));
    }
    json
}

fn digits(bytes: &[u8]) -> String {
    let digit = |half: u8| char::from_digit(u32::from(half), 16).unwrap_or('?');
    bytes.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
}

/// Bytes out of hexadecimal digits.
fn bytes(digits: &str) -> Option<Vec<u8>> {
    let pair = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    (0..digits.len()).step_by(2).map(pair).collect()
}

/// The name system and the network, as the shard has them.
struct World(Rc<Shard>);

impl Lookup for World {
    async fn ask(&self, query: Query) -> Result<Answer, NoRecords> {
        self.0.world.lookup(query).await
    }
}

impl Names for World {
    async fn policy(&self, domain: &str) -> Result<Policy, Fault> {
        self.0.world.fetch_policy(domain).await
    }
}

/// An item for people: lines of a zone file, with what is said about them as comments.
fn told(item: &Value, checks: bool) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().into_iter().flatten().map(text).collect::<Vec<_>>();
    let mut lines =
        vec![format!("; {} ({}): {}", text(&item["what"]), text(&item["need"]), text(&item["why"]))];
    lines.extend(list(&item["by_hand"]).into_iter().map(|line| format!(";   {line}")));
    lines.extend(list(&item["records"]));
    if checks {
        let state = text(&item["state"]);
        let is_plain = state == State::Right.word() || state == State::NotChecked.word();
        let mark = if item["bad"] == true { "!!" } else { "->" };
        lines.push(format!("; {mark} {state}"));
        if !is_plain {
            lines.extend(list(&item["found"]).into_iter().map(|found| format!(";    found: {found}")));
        }
        lines.extend(item["note"].as_str().map(|note| format!(";    {note}")));
    }
    lines.push(String::new());
    lines.join("\n")
}
