//! smtp_bind_address, smtp_bind_address6 and smtp_helo_name, of main.cf and of transports, as `[[outbound.pool]]`.

use std::net::{Ipv4Addr, Ipv6Addr};

use ::directory::EmailAddress;

use super::Postfix;
use super::draft::{Block, Draft, Origin, quoted};
use super::master::Service;

const PARAMETERS: [&str; 3] = ["smtp_bind_address", "smtp_bind_address6", "smtp_helo_name"];

/// Pools that transports need, and the one of all other mail.
#[derive(Debug, Default)]
pub(super) struct Pools {
    usual: Option<String>,
    /// Values, name and lines.
    made: Vec<(String, String, String)>,
}

impl Pools {
    /// Writes the pool of the transport that mail usually takes.
    pub(super) fn write(postfix: &Postfix, draft: &mut Draft) -> Self {
        let mut pools = Self::default();
        let transport = postfix.value("default_transport");
        let kind = transport.split(':').next().unwrap_or_default();
        let Some(sources) = sources(postfix, draft, super::ways::sender(postfix, kind)) else { return pools };
        pools.usual = Some(sources.clone());
        if sources.is_empty() {
            return pools;
        }
        let name = draft.plain_name("default");
        let lines = format!("name = {}\n{sources}", quoted(&name));
        let value = PARAMETERS.map(|name| postfix.value(name)).join(" ");
        let origin = Origin { parameter: PARAMETERS[0], value: value.trim() };
        draft.set_naming(origin, ("outbound", "default_pool", &quoted(&name)), (Block::Pool, &lines));
        pools.made.push((sources, name, lines));
        pools
    }

    /// The pool of a transport, by name and lines, where it is another than the usual one.
    pub(super) fn of(
        &mut self,
        postfix: &Postfix,
        draft: &mut Draft,
        service: Option<&Service>,
    ) -> Option<(String, String)> {
        let own = service?;
        let mut sources = sources(postfix, draft, service)?;
        if self.usual.as_deref().unwrap_or_default() == sources {
            return None;
        }
        if sources.is_empty() {
            // The machine's choice, whatever the usual pool says.
            sources = line(postfix, None, None, "");
        }
        if let Some((_, name, lines)) = self.made.iter().find(|(one, ..)| *one == sources) {
            return Some((name.clone(), lines.clone()));
        }
        let name = draft.plain_name(&own.name);
        let lines = format!(
            "# the transport {} of master.cf\nname = {}\n{sources}",
            quoted(&own.name),
            quoted(&name)
        );
        self.made.push((sources, name.clone(), lines.clone()));
        Some((name, lines))
    }
}

/// The line of `sources`; empty where the machine chooses. `None` when a value is none that we could have.
fn sources(postfix: &Postfix, draft: &mut Draft, service: Option<&Service>) -> Option<String> {
    let [v4, v6, ehlo] = PARAMETERS.map(|name| {
        let value = service.map_or_else(|| postfix.value(name), |service| postfix.own(service, name));
        value.trim().to_owned()
    });
    let bare = v6.trim_start_matches('[').trim_end_matches(']');
    let (ipv4, ipv6) = (v4.parse::<Ipv4Addr>().ok(), bare.parse::<Ipv6Addr>().ok());
    let ehlo = if ehlo == postfix.value("myhostname") { String::new() } else { ehlo };
    let is_name = ehlo.is_empty() || EmailAddress::parse(&format!("x@{ehlo}")).is_ok();
    for (parameter, value, is_good) in [
        (PARAMETERS[0], &v4, v4.is_empty() || ipv4.is_some()),
        (PARAMETERS[1], &v6, v6.is_empty() || ipv6.is_some()),
        (PARAMETERS[2], &ehlo, is_name),
    ] {
        if !is_good {
            let why = "this is no address or name that mail could go from: make an [[outbound.pool]]";
            draft.unmatched(Origin { parameter, value }, why);
            return None;
        }
    }
    let (ipv4, ipv6) = (ipv4.filter(|one| !one.is_unspecified()), ipv6.filter(|one| !one.is_unspecified()));
    if ipv4.is_none() && ipv6.is_none() && ehlo.is_empty() {
        return Some(String::new());
    }
    Some(line(postfix, ipv4, ipv6, &ehlo))
}

/// The unspecified address leaves the choice to the machine, as Postfix does where it has none.
fn line(postfix: &Postfix, ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr>, ehlo: &str) -> String {
    let protocols = postfix.value("inet_protocols");
    let has =
        |family: &str| super::lines::words(&protocols).iter().any(|word| [family, "all"].contains(word));
    let (ipv4, ipv6) = (ipv4.unwrap_or(Ipv4Addr::UNSPECIFIED), ipv6.unwrap_or(Ipv6Addr::UNSPECIFIED));
    let mut all = Vec::new();
    if has("ipv4") || !has("ipv6") {
        all.push(format!("ipv4 = \"{ipv4}\""));
    }
    if has("ipv6") {
        all.push(format!("ipv6 = \"{ipv6}\""));
    }
    if !ehlo.is_empty() {
        all.push(format!("ehlo = {}", quoted(ehlo)));
    }
    format!("sources = [{{ {} }}]", all.join(", "))
}
