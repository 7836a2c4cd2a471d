//! The records that a domain should have.

use base::Timestamp;
use base::dns::{Query, Record, RecordKind};
use directory::DkimState;
use mailauth::PrivateKey;
use serde::Serialize;
use transport::publish::{Published, policy_id};
use transport::sts::{self, Policy};
use transport::{dane, report};

/// What is known of the domain and of this server.
pub(super) struct Facts<'a> {
    pub(super) domain: &'a str,
    /// The server's, in the form of names.
    pub(super) hostname: &'a str,
    pub(super) keys: &'a [Key],
    /// Names and ports of what users connect to.
    pub(super) services: &'a [(String, u16)],
    /// The SHA-256 of the certificate's public key.
    pub(super) certificate_key: Vec<u8>,
    pub(super) is_self_signed: bool,
    /// The domain's MTA-STS policy.
    pub(super) policy: &'a Policy,
    /// We serve it ourselves.
    pub(super) serves_policy: bool,
    /// Mail goes out through another system.
    pub(super) has_smarthost: bool,
    /// Addresses at which reports are read.
    pub(super) receivers: &'a [String],
    /// Those of them that nobody has.
    pub(super) deaf: &'a [String],
    /// The address at which TLS reports are taken by HTTPS.
    pub(super) https: Option<&'a str>,
    pub(super) now: Timestamp,
}

/// A key that signs.
pub(super) struct Key {
    pub(super) selector: String,
    pub(super) state: DkimState,
    pub(super) private: PrivateKey,
}

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Need {
    /// Without it, mail is lost or refused.
    Required,
    /// Without it, something does not work that others have.
    Recommended,
}

/// What is looked at to judge an item.
pub(super) enum Check<'a> {
    /// Nothing can be.
    Nothing,
    /// There is no key that could be.
    NoKey,
    Mx,
    Addresses,
    /// Of this name.
    Spf(String),
    Dkim(&'a Key),
    Dmarc,
    Consent,
    Sts,
    PolicyHost,
    TlsReports,
    Tlsa,
    Service,
    Reverse,
}

/// One thing to publish.
pub(super) struct Item<'a> {
    pub(super) what: &'static str,
    pub(super) need: Need,
    /// What it is for.
    pub(super) why: &'static str,
    pub(super) records: Vec<Published>,
    /// What has to be filled in or done by hand.
    pub(super) by_hand: Vec<String>,
    pub(super) check: Check<'a>,
}

impl<'a> Item<'a> {
    fn new(what: &'static str, need: Need, why: &'static str, check: Check<'a>) -> Self {
        Self { what, need, why, records: Vec::new(), by_hand: Vec::new(), check }
    }

    fn record(mut self, name: &str, kind: RecordKind, record: Record) -> Self {
        self.records.push(Published { query: Query::new(name, kind), record });
        self
    }

    fn txt(self, name: &str, text: impl Into<Vec<u8>>) -> Self {
        self.record(name, RecordKind::Txt, Record::Txt(text.into()))
    }

    fn by_hand(mut self, line: impl Into<String>) -> Self {
        self.by_hand.push(line.into());
        self
    }
}

impl Facts<'_> {
    /// Where reports about the domain should go: to an address of its own, if reports are read at one.
    pub(super) fn reports_to(&self) -> String {
        let is_own = |address: &&String| {
            address.rsplit_once('@').is_some_and(|(_, domain)| domain.eq_ignore_ascii_case(self.domain))
        };
        let receiver = self.receivers.iter().find(is_own).or_else(|| self.receivers.first());
        receiver.cloned().unwrap_or_else(|| format!("postmaster@{}", self.domain))
    }
}

/// All of them, in the order in which one would publish them.
pub(super) fn items<'a>(facts: &Facts<'a>) -> Vec<Item<'a>> {
    let mut items = way_in(facts);
    items.extend(sender(facts));
    items.extend(transport(facts));
    items.extend(clients(facts));
    items
}

/// How mail finds us.
fn way_in<'a>(facts: &Facts<'a>) -> Vec<Item<'a>> {
    use Need::Required;
    let (domain, host) = (facts.domain, facts.hostname);
    let mx = Record::Mx { preference: 10, host: host.to_owned() };
    vec![
        Item::new("MX", Required, "where mail for the domain goes", Check::Mx).record(
            domain,
            RecordKind::Mx,
            mx,
        ),
        Item::new("address", Required, "where that host is", Check::Addresses)
            .by_hand(format!("{host}. IN A     the IPv4 address of this server"))
            .by_hand(format!("{host}. IN AAAA  its IPv6 address, if it has one")),
        Item::new(
            "PTR",
            Required,
            "the name of the address that mail comes from: many refuse mail without",
            Check::Reverse,
        )
        .by_hand(format!("whoever gave you the address sets its reverse name to {host}.")),
    ]
}

/// Whose mail it is.
fn sender<'a>(facts: &Facts<'a>) -> Vec<Item<'a>> {
    use Need::{Recommended, Required};
    let (domain, host) = (facts.domain, facts.hostname);
    let smarthost =
        "mail goes out through a smarthost: put what it asks for in front of -all, such as include:NAME";
    let mut spf =
        Item::new("SPF", Required, "which hosts send for the domain", Check::Spf(domain.to_owned()))
            .txt(domain, "v=spf1 mx -all");
    if facts.has_smarthost {
        spf = spf.by_hand(smarthost);
    }
    let mut items = vec![spf];
    if host != domain && !facts.has_smarthost {
        let why = "the same for the host's own name, which bounces are checked by";
        let helo = Item::new("SPF of the host", Recommended, why, Check::Spf(host.to_owned()));
        items.push(helo.txt(host, "v=spf1 a -all"));
    }
    items.extend(no_key(facts));
    items.extend(facts.keys.iter().filter_map(|key| dkim(domain, key)));
    let to = facts.reports_to();
    let mut dmarc =
        Item::new("DMARC", Required, "what others do with mail that only claims to be yours", Check::Dmarc)
            .txt(&format!("_dmarc.{domain}"), format!("v=DMARC1; p=none; rua=mailto:{to}"))
            .by_hand("when the reports show that all your mail passes: p=quarantine, then p=reject");
    if facts.receivers.is_empty() {
        dmarc = dmarc.by_hand(
            "nothing reads the reports yet: name the address in [reports] receive, then see angarium reports",
        );
    }
    items.push(dmarc);
    items.extend(consent(domain, &to));
    items
}

/// A domain that takes reports about another one has to say so (RFC 9990 §4).
fn consent<'a>(domain: &str, to: &str) -> Option<Item<'a>> {
    let (_, host) = to.rsplit_once('@')?;
    let host = base::dns::normal(host);
    if mailauth::name::is_within(&host, domain) || mailauth::name::is_within(domain, &host) {
        return None;
    }
    let why = "that the reports' address takes reports about this domain: nobody sends any without";
    let item = Item::new("DMARC reports", Need::Required, why, Check::Consent);
    Some(item.txt(&format!("{domain}._report._dmarc.{host}"), "v=DMARC1"))
}

/// What to do where no key signs.
fn no_key<'a>(facts: &Facts<'a>) -> Option<Item<'a>> {
    if facts.keys.iter().any(|key| key.state == DkimState::Active) {
        return None;
    }
    let why = "the domain has no key that signs: large providers refuse or junk mail without a signature";
    let domain = facts.domain;
    let next = match facts.keys.iter().find(|key| key.state == DkimState::Waiting) {
        None => format!("angarium domain dkim add {domain}"),
        Some(Key { selector, .. }) => format!(
            "when the record of {selector} is published: angarium domain dkim state {domain} {selector} active"
        ),
    };
    Some(Item::new("DKIM", Need::Recommended, why, Check::NoKey).by_hand(next))
}

fn dkim<'a>(domain: &str, key: &'a Key) -> Option<Item<'a>> {
    let record = key.private.record().ok()?;
    let (need, why) = match key.state {
        DkimState::Active => (Need::Required, "the key that signs the domain's mail"),
        DkimState::Waiting => (Need::Recommended, "a key that will sign when it is made active"),
        DkimState::Retiring => (Need::Recommended, "a key that signed mail which may be on its way still"),
    };
    let name = format!("{}._domainkey.{domain}", key.selector);
    Some(Item::new("DKIM", need, why, Check::Dkim(key)).txt(&name, record))
}

/// How safely mail comes in.
fn transport<'a>(facts: &Facts<'a>) -> Vec<Item<'a>> {
    use Need::Recommended;
    let (domain, host) = (facts.domain, facts.hostname);
    let tlsa = Record::Tlsa { usage: 3, selector: 1, matching: 1, data: facts.certificate_key.clone() };
    let mut dane =
        Item::new("TLSA", Recommended, "senders with DANE demand this key of the host", Check::Tlsa).by_hand(
            "only in a zone that is signed (DNSSEC); before the key changes, publish the new one beside it",
        );
    dane.records.push(Published { query: dane::question(host, 25), record: tlsa });
    let reports = report::question(domain).name;
    let https = facts.https.map_or_else(String::new, |https| format!(",{https}"));
    let why = "others report how TLS to the host went";
    let caa = Item::new(
        "CAA",
        Recommended,
        "the only authority that may issue certificates for the host",
        Check::Nothing,
    )
    .by_hand(format!("{host}. IN CAA 0 issue \"the name of your authority\""));
    let mut items = vec![dane];
    items.extend(policy(facts));
    items.push(
        Item::new("TLS-RPT", Recommended, why, Check::TlsReports)
            .txt(&reports, format!("v=TLSRPTv1; rua=mailto:{}{https}", facts.reports_to())),
    );
    items.push(caa);
    items
}

/// That senders may insist on a certificate (RFC 8461 §3).
fn policy<'a>(facts: &Facts<'a>) -> Vec<Item<'a>> {
    use Need::Recommended;
    let why = "senders with MTA-STS demand a certificate for the host";
    let mut record = Item::new("MTA-STS", Recommended, why, Check::Sts);
    if facts.is_self_signed {
        return vec![record.by_hand(
            "not with the certificate that this server made for itself: configure one of an authority",
        )];
    }
    let (domain, host) = (facts.domain, sts::policy_host(facts.domain));
    let who = if facts.serves_policy { "this server" } else { "a web server, or this one by listen.https," };
    record = record
        .txt(&sts::question(domain).name, format!("v=STSv1; id={};", policy_id(facts.policy)))
        .by_hand(format!("{who} answers https://{host}{} with:", sts::PATH));
    for line in facts.policy.text().lines() {
        record = record.by_hand(format!("    {line}"));
    }
    if !facts.serves_policy {
        return vec![record];
    }
    let why = "where the policy is served; the certificate there is for this name";
    let target = Record::Cname(facts.hostname.to_owned());
    let at = Item::new("MTA-STS host", Recommended, why, Check::PolicyHost);
    vec![record, at.record(&host, RecordKind::Cname, target)]
}

/// How clients find their server (RFC 6186, RFC 8314 §5).
fn clients<'a>(facts: &Facts<'a>) -> Vec<Item<'a>> {
    let service = |(service, port): &(String, u16)| {
        let record = Record::Srv { priority: 0, weight: 1, port: *port, host: facts.hostname.to_owned() };
        let why = "where clients that look for it find their server";
        Item::new("SRV", Need::Recommended, why, Check::Service).record(
            &format!("_{service}._tcp.{}", facts.domain),
            RecordKind::Srv,
            record,
        )
    };
    facts.services.iter().map(service).collect()
}
