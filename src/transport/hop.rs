//! How well a connection to a host must be protected: one decision out of what the operator wants,
//! what the host's domain publishes, and what the message demands.

use serde::{Deserialize, Serialize};

use crate::dane::Dane;
use crate::demand::{Demand, Identity};
use crate::fault::Fault;
use crate::find::Host;
use crate::sts::{Mode, Policy};

/// What the operator wants for a destination. What others demand can only make it stronger.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Wish {
    /// No TLS, also if it is offered: for hosts whose TLS is broken.
    Never,
    /// TLS if it is offered (RFC 7435).
    #[default]
    IfOffered,
    /// TLS, with any certificate.
    Required,
    /// TLS, with a certificate that proves the host's name.
    Proven,
}

/// What the message says about TLS (RFC 8689).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MessageTls {
    /// Nothing.
    #[default]
    Unsaid,
    /// `REQUIRETLS`: proven TLS on each hop, or none at all.
    Required,
    /// `TLS-Required: No`: rather without than not.
    Optional,
}

/// Everything that counts.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// What the operator wants.
    pub wish: Wish,
    /// What the message says.
    pub message: MessageTls,
    /// The host, with what its TLSA records demand.
    pub host: &'a Host,
    /// The recipient's domain, and its name after aliases where it has any: names that the certificate of
    /// a host with DANE may have as well (RFC 7672 §3.2.2).
    pub domains: &'a [&'a str],
    /// DNSSEC proves that this is the domain's host, or the operator has said so.
    pub is_host_proven: bool,
    /// The domain's MTA-STS policy, while it counts.
    pub sts: Option<&'a Policy>,
}

/// Whether TLS is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UseTls {
    /// Not even if it is offered.
    Never,
    /// If it is offered and works; without, if not.
    IfOffered,
    /// Or no connection.
    Always,
}

/// Whose policy was applied, for reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Applied {
    /// TLSA records.
    Tlsa,
    /// An MTA-STS policy.
    Sts,
    /// The domain has none.
    Nothing,
}

/// What a connection needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protection {
    /// Whether TLS is used.
    pub tls: UseTls,
    /// What it must prove, where it is used.
    pub demand: Demand,
    /// The host must also offer REQUIRETLS (RFC 8689 §4.2.1).
    pub needs_requiretls: bool,
    /// Whose policy this is.
    pub applied: Applied,
    /// What would have been a reason not to connect, were the policy not one that only tests. To be
    /// counted as a failure.
    pub told: Option<Fault>,
}

/// What a host is worth.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Decision {
    /// To be connected to.
    Connect(Box<Protection>),
    /// Not to be used for this message: this lacks. Another host may do; if none does, later.
    Skip(Applied, Fault),
}

/// The decision.
pub fn decide(case: &Case<'_>) -> Decision {
    let name = case.host.name.as_str();
    if case.message == MessageTls::Optional {
        // RFC 8689 §4.3: neither DANE nor MTA-STS holds this message up.
        let tls = if case.wish == Wish::Never { UseTls::Never } else { UseTls::IfOffered };
        return connect(tls, Demand::anyone(name), Applied::Nothing, None);
    }
    match &case.host.dane {
        Dane::Unknown => Decision::Skip(Applied::Tlsa, Fault::DnssecInvalid),
        Dane::Records(records) => {
            let own = [case.host.base.as_str(), name];
            let mut names: Vec<String> = Vec::new();
            for name in own.iter().chain(case.domains) {
                if !names.iter().any(|known| known == name) {
                    names.push((*name).to_owned());
                }
            }
            let identity = Identity::Dane { records: records.clone(), names };
            let demand = Demand { server_name: case.host.base.clone(), identity, is_required: true };
            require(case, demand, Applied::Tlsa)
        }
        Dane::Unusable if needs_proof(case) => by_name(case, Applied::Tlsa),
        Dane::Unusable => connect(UseTls::Always, Demand::anyone(&case.host.base), Applied::Tlsa, None),
        // RFC 8461 §2: DANE goes before MTA-STS.
        Dane::None => match case.sts {
            Some(policy) => by_policy(case, policy),
            None => by_wish(case),
        },
    }
}

/// Whether TLS without a proven name is not enough.
fn needs_proof(case: &Case<'_>) -> bool {
    case.message == MessageTls::Required || case.wish == Wish::Proven
}

fn by_policy(case: &Case<'_>, policy: &Policy) -> Decision {
    let is_named = policy.names(&case.host.name);
    let is_enforced = policy.mode == Mode::Enforce || needs_proof(case);
    if is_enforced && !is_named {
        return Decision::Skip(Applied::Sts, Fault::ValidationFailure);
    }
    if is_enforced {
        return require(case, Demand::authority(&case.host.name), Applied::Sts);
    }
    let demand = Demand { is_required: false, ..Demand::authority(&case.host.name) };
    let told = (!is_named).then_some(Fault::ValidationFailure);
    connect(wished(case), demand, Applied::Sts, told)
}

fn by_wish(case: &Case<'_>) -> Decision {
    if needs_proof(case) {
        return by_name(case, Applied::Nothing);
    }
    connect(wished(case), Demand::anyone(&case.host.name), Applied::Nothing, None)
}

/// A public authority must prove the name. For REQUIRETLS the name itself must be the right one.
fn by_name(case: &Case<'_>, applied: Applied) -> Decision {
    if case.message == MessageTls::Required && !case.is_host_proven {
        return Decision::Skip(applied, Fault::ValidationFailure);
    }
    require(case, Demand::authority(&case.host.name), applied)
}

const fn wished(case: &Case<'_>) -> UseTls {
    match case.wish {
        Wish::Never => UseTls::Never,
        Wish::IfOffered => UseTls::IfOffered,
        Wish::Required | Wish::Proven => UseTls::Always,
    }
}

fn require(case: &Case<'_>, demand: Demand, applied: Applied) -> Decision {
    let needs_requiretls = case.message == MessageTls::Required;
    let protection = Protection { tls: UseTls::Always, demand, needs_requiretls, applied, told: None };
    Decision::Connect(Box::new(protection))
}

fn connect(tls: UseTls, demand: Demand, applied: Applied, told: Option<Fault>) -> Decision {
    Decision::Connect(Box::new(Protection { tls, demand, needs_requiretls: false, applied, told }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dane::{Matching, Selector, Tlsa, Usage};

    fn host(dane: Dane) -> Host {
        let addresses = vec!["192.0.2.1".parse().unwrap()];
        Host { name: "mx.example".into(), addresses, dane, base: "real.example".into() }
    }

    fn policy(mode: &str, host: &str) -> Policy {
        let text = format!("version: STSv1\nmode: {mode}\nmx: {host}\nmax_age: 86400\n");
        Policy::parse(text.as_bytes()).unwrap()
    }

    fn records() -> Dane {
        let (usage, selector, matching) = (Usage::EndEntity, Selector::PublicKey, Matching::Sha256);
        Dane::Records(vec![Tlsa { usage, selector, matching, data: vec![0; 32] }])
    }

    /// `Always Dane!`: TLS, whose identity, whether that is required.
    fn decided(
        dane: Dane,
        wish: Wish,
        message: MessageTls,
        sts: Option<&Policy>,
        is_host_proven: bool,
    ) -> String {
        let host = host(dane);
        let case = Case { wish, message, host: &host, domains: &["example.org"], is_host_proven, sts };
        match decide(&case) {
            Decision::Skip(applied, fault) => format!("skip {applied:?} {fault}"),
            Decision::Connect(protection) => {
                let identity = match &protection.demand.identity {
                    Identity::Anyone => "anyone",
                    Identity::Authority { .. } => "authority",
                    Identity::Dane { .. } => "dane",
                };
                let required = if protection.demand.is_required { "!" } else { "" };
                let requiretls = if protection.needs_requiretls { " requiretls" } else { "" };
                let told = protection.told.map(|fault| format!(" {fault}")).unwrap_or_default();
                format!(
                    "{:?} {identity}{required} {:?}{requiretls}{told}",
                    protection.tls, protection.applied
                )
            }
        }
    }

    #[test]
    fn the_table_of_decisions() {
        use MessageTls::{Optional, Required as Must, Unsaid};
        use Wish::{IfOffered, Never, Proven, Required};
        let (enforce, testing) = (policy("enforce", "mx.example"), policy("testing", "mx.example"));
        let (foreign, tests_foreign) = (policy("enforce", "other"), policy("testing", "other"));
        let (none, unusable, unknown) = (|| Dane::None, || Dane::Unusable, || Dane::Unknown);
        for (dane, wish, message, sts, is_proven, expected) in [
            (none(), IfOffered, Unsaid, None, false, "IfOffered anyone Nothing"),
            (none(), Never, Unsaid, None, false, "Never anyone Nothing"),
            (none(), Required, Unsaid, None, false, "Always anyone Nothing"),
            (none(), Proven, Unsaid, None, false, "Always authority! Nothing"),
            (records(), IfOffered, Unsaid, None, true, "Always dane! Tlsa"),
            // A wish not to use TLS is for hosts without a policy.
            (records(), Never, Unsaid, None, true, "Always dane! Tlsa"),
            (records(), Proven, Unsaid, Some(&foreign), true, "Always dane! Tlsa"),
            (unusable(), IfOffered, Unsaid, Some(&enforce), true, "Always anyone Tlsa"),
            (unusable(), Proven, Unsaid, None, true, "Always authority! Tlsa"),
            (unknown(), IfOffered, Unsaid, None, true, "skip Tlsa dnssec-invalid"),
            (none(), IfOffered, Unsaid, Some(&enforce), false, "Always authority! Sts"),
            (none(), IfOffered, Unsaid, Some(&foreign), false, "skip Sts validation-failure"),
            (none(), IfOffered, Unsaid, Some(&testing), false, "IfOffered authority Sts"),
            (none(), Required, Unsaid, Some(&testing), false, "Always authority Sts"),
            (
                none(),
                IfOffered,
                Unsaid,
                Some(&tests_foreign),
                false,
                "IfOffered authority Sts validation-failure",
            ),
            (records(), IfOffered, Must, None, true, "Always dane! Tlsa requiretls"),
            (none(), IfOffered, Must, None, true, "Always authority! Nothing requiretls"),
            (none(), IfOffered, Must, None, false, "skip Nothing validation-failure"),
            (none(), IfOffered, Must, Some(&testing), false, "Always authority! Sts requiretls"),
            (none(), Never, Must, None, true, "Always authority! Nothing requiretls"),
            (unusable(), IfOffered, Must, None, true, "Always authority! Tlsa requiretls"),
            (records(), IfOffered, Optional, Some(&enforce), true, "IfOffered anyone Nothing"),
            (unknown(), IfOffered, Optional, None, true, "IfOffered anyone Nothing"),
            (none(), Never, Optional, Some(&enforce), true, "Never anyone Nothing"),
        ] {
            let case = format!("{dane:?} {wish:?} {message:?} {sts:?}");
            assert_eq!(decided(dane, wish, message, sts, is_proven), expected, "{case}");
        }
    }

    #[test]
    fn a_host_with_dane_may_have_its_domains_names() {
        let host = host(records());
        let case = Case {
            wish: Wish::default(),
            message: MessageTls::default(),
            host: &host,
            domains: &["example.org", "real.example"],
            is_host_proven: true,
            sts: None,
        };
        let Decision::Connect(protection) = decide(&case) else { panic!("it is to be used") };
        assert_eq!(protection.demand.server_name, "real.example");
        let Identity::Dane { names, .. } = protection.demand.identity else { panic!("by DANE") };
        assert_eq!(names, ["real.example", "mx.example", "example.org"]);
    }
}
