//! How the MTA-STS policy of a domain of ours stands: its record, what is served, and whether the two and the domain's
//! mail hosts fit together (RFC 8461 §3).

use base::dns::{Answer, Query, Record, RecordKind};
use transport::Fault;
use transport::publish::policy_id;
use transport::sts::{self, Mode, Policy};

use super::items::Facts;
use super::judge::{Finding, Names, State, absent, addresses};

/// The record, and the policy that it stands for as senders get it.
pub(super) async fn transport_policy<N: Names>(names: &N, facts: &Facts<'_>, answer: &Answer) -> Finding {
    let answer = Ok(answer.clone());
    let Some(id) = sts::version(&answer) else {
        return Finding::with(
            State::Wrong,
            "there is not one record that can be read: senders see no policy",
        );
    };
    let policy = match names.policy(facts.domain).await {
        Err(fault) => return Finding::with(State::Wrong, unfetched(facts, fault)),
        Ok(policy) => policy,
    };
    if facts.serves_policy && policy != *facts.policy {
        return Finding::with(
            State::Wrong,
            "it is not the policy of the configuration: another server answers there, or this one has not been reloaded",
        );
    }
    // A policy that is served elsewhere may be numbered in any way.
    if facts.serves_policy && id != policy_id(&policy) {
        let note = "the id is not that of the policy: senders who have another keep it until its time ends";
        return Finding::with(State::Wrong, note);
    }
    if policy.mode == Mode::None {
        return Finding::with(State::Differs, "the policy says that there is none");
    }
    hosts(names, facts, &policy).await
}

fn unfetched(facts: &Facts<'_>, fault: Fault) -> String {
    let host = sts::policy_host(facts.domain);
    let why = match fault {
        Fault::StsWebpkiInvalid => format!("the certificate that {host} shows is not valid for that name"),
        Fault::StsPolicyInvalid => format!("what {host} serves is no policy"),
        _ => format!("{host} cannot be reached over HTTPS, or has no such file"),
    };
    format!("the policy cannot be fetched ({fault}): {why}")
}

/// Whether the policy names every host that mail for the domain goes to.
async fn hosts<N: Names>(names: &N, facts: &Facts<'_>, policy: &Policy) -> Finding {
    let mut hosts = Vec::new();
    if let Ok(answer) = names.ask(Query::new(facts.domain, RecordKind::Mx)).await {
        hosts.extend(answer.records.into_iter().filter_map(|record| match record {
            Record::Mx { host, .. } if !host.is_empty() => Some(host),
            _ => None,
        }));
    }
    if hosts.is_empty() {
        hosts.push(facts.hostname.to_owned());
    }
    hosts.retain(|host| !policy.names(host));
    let is_testing = policy.mode == Mode::Testing;
    if !hosts.is_empty() {
        let then = if is_testing { "report that" } else { "hold mail back" };
        let note = format!("the policy does not name {}: senders {then}", hosts.join(", "));
        return Finding::with(State::Wrong, note);
    }
    if is_testing {
        return Finding::with(State::Right, "the policy is in testing: nobody is held to it");
    }
    Finding::bare(State::Right)
}

/// Whether the policy's host is where we are, and its addresses.
pub(super) async fn policy_host<N: Names>(names: &N, facts: &Facts<'_>) -> (Finding, Vec<String>) {
    let found = match addresses(names, &sts::policy_host(facts.domain)).await {
        Ok(found) => found,
        Err(failure) => return (absent(failure), Vec::new()),
    };
    let own = addresses(names, facts.hostname).await.unwrap_or_default();
    let finding = if found.is_empty() {
        Finding::bare(State::Missing)
    } else if found.iter().all(|address| own.contains(address)) {
        Finding::bare(State::Right)
    } else {
        Finding::with(State::Differs, format!("it is elsewhere than {}", facts.hostname))
    };
    (finding, found.iter().map(ToString::to_string).collect())
}
