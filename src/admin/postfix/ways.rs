//! `[[outbound.route]]` of Postfix's tables. Postfix looks for the most special key, ours takes the first route that
//! fits: so addresses come first, then domains, then what is below them, and tables by recipient before those by sender.

use shard::relay::Scope;

use super::Postfix;
use super::bounds::{self, Bound};
use super::directory::Domains;
use super::draft::{Block, Draft, Origin, accepted, list, quoted};
use super::lines::words;
use super::master::Service;
use super::outbound::{Login, NextHop, smarthost_tls, tls_level};
use super::pools::Pools;
use super::routes::{Route, Routes, Way};

/// How special a key is; what is less comes first.
type Rank = (u8, std::cmp::Reverse<usize>);

/// Where mail goes, in our words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Onward {
    /// The host with its port, or `mx`; as other mail without it.
    smarthost: Option<String>,
    tls: Option<&'static str>,
    /// Name and lines.
    pool: Option<(String, String)>,
    login: Option<Login>,
    /// Where connections go: the host, if it is one.
    host: Option<String>,
    /// The transport of master.cf.
    transport: String,
}

/// One of the routes to write.
#[derive(Clone, Debug)]
struct Planned {
    parameter: &'static str,
    is_by_sender: bool,
    rank: Rank,
    scopes: Vec<String>,
    onward: Onward,
    words: String,
}

struct Writer<'a> {
    postfix: &'a Postfix,
    domains: &'a Domains,
    pools: Pools,
    planned: Vec<Planned>,
}

pub(super) fn translate(postfix: &Postfix, domains: &Domains, draft: &mut Draft) {
    let routes = Routes::read(postfix, draft);
    let pools = Pools::write(postfix, draft);
    let mut writer = Writer { postfix, domains, pools, planned: Vec::new() };
    writer.by_recipient(draft, &routes);
    writer.relayed(draft, &routes);
    writer.by_sender(draft, &routes);
    let bound = writer.bound();
    writer.write(draft);
    bounds::translate(postfix, &bound, draft);
    fallback(postfix, draft);
}

/// The transport of that name, if it sends by SMTP.
pub(super) fn sender<'a>(postfix: &'a Postfix, name: &str) -> Option<&'a Service> {
    postfix.services.iter().find(|service| service.name == name && service.command == "smtp")
}

/// Whether a transport sends by SMTP; `smtp` and `relay` do.
pub(super) fn sends_by_smtp(postfix: &Postfix, name: &str) -> bool {
    let is_other = || postfix.services.iter().any(|one| one.name == name && one.kind == "unix");
    sender(postfix, name).is_some() || (["smtp", "relay"].contains(&name) && !is_other())
}

fn fallback(postfix: &Postfix, draft: &mut Draft) {
    let why = "there is no host for what cannot be delivered directly";
    if let Some(value) = postfix.changed("smtp_fallback_relay") {
        draft.unmatched(Origin { parameter: "smtp_fallback_relay", value: &value }, why);
    }
}

/// `x` and `.x` as a scope of ours, with how special it is.
fn recipient_scopes(key: &str, has_below: bool) -> Option<(Rank, Vec<String>)> {
    let depth = |name: &str| std::cmp::Reverse(name.matches('.').count());
    let (rank, scopes) = match key.strip_prefix('.') {
        _ if key == "*" => ((3, depth("")), vec![key.to_owned()]),
        Some(below) => ((2, depth(below)), vec![format!("*.{below}")]),
        None if key.contains('@') => ((0, depth("")), vec![key.to_owned()]),
        // A domain that means those below it as well: the more special ones come first.
        None if has_below => ((2, depth(key)), vec![key.to_owned(), format!("*.{key}")]),
        None => ((1, depth("")), vec![key.to_owned()]),
    };
    scopes.iter().all(|scope| Scope::parse(scope).is_some()).then_some((rank, scopes))
}

/// Whether a domain, or one that it is below, is relayed.
fn is_relayed(routes: &Routes, key: &str) -> bool {
    let key = key.trim_start_matches('.');
    routes.relay_domains.iter().any(|domain| {
        key == domain || key.strip_suffix(domain.as_str()).is_some_and(|rest| rest.ends_with('.'))
    })
}

/// `relay_transport`
fn relay_way(postfix: &Postfix) -> Way {
    match Way::parse(&postfix.value("relay_transport"), false) {
        Way::Usual => Way::Transport("relay".to_owned()),
        way => way,
    }
}

fn sender_scopes(key: &str) -> Option<(Rank, Vec<String>)> {
    let none = std::cmp::Reverse(0);
    let (rank, scope) = match key.strip_prefix('@') {
        _ if key == "*" => (3, key),
        Some(domain) => (1, domain),
        None if key.contains('@') || key == "<>" => (0, key),
        None => return None,
    };
    Scope::parse(scope).map(|_| ((rank, none), vec![scope.to_owned()]))
}

impl Writer<'_> {
    fn by_recipient(&mut self, draft: &mut Draft, routes: &Routes) {
        let parents = self.postfix.value("parent_domain_matches_subdomains");
        let has_below = words(&parents).contains(&"transport_maps");
        let mut seen = std::collections::BTreeSet::new();
        for route in routes.by_recipient.iter().filter(|route| seen.insert(&route.key)) {
            let value = format!("{}: {}", route.key, route.way.words());
            let origin = Origin { parameter: route.parameter, value: &value };
            let domain = route.key.rsplit('@').next().unwrap_or_default();
            if self.domains.has(domain) {
                draft.unmatched(origin, "mail for a domain of this server stays here: an alias or `angarium account forward` sends it on");
            } else if let Some((rank, scopes)) = recipient_scopes(&route.key, has_below) {
                let mut route = route.clone();
                if route.way == Way::Usual && is_relayed(routes, domain) {
                    route.way = relay_way(self.postfix);
                } else if route.way == Way::Usual && !routes.by_sender.is_empty() {
                    draft.unmatched(origin, "this mail takes its route whoever sends it: where a route by sender is meant, put one with both lists in front");
                }
                self.plan(draft, &route, rank, scopes, false);
            } else {
                draft.unmatched(origin, "this is no address or domain that a route could have");
            }
        }
    }

    /// relay_domains: their mail takes relay_transport, and not the relayhost.
    fn relayed(&mut self, draft: &mut Draft, routes: &Routes) {
        let way = relay_way(self.postfix);
        let is_usual = way == Way::Transport("relay".to_owned())
            && self.postfix.value("relayhost").is_empty()
            && routes.by_sender.is_empty();
        for domain in &routes.relay_domains {
            let origin = Origin { parameter: "relay_domains", value: domain };
            let why = "who has logged in and outbound.relay_from send to it; from strangers mail is taken only for domains with accounts and aliases here: leave the domain to a Postfix in front, or move its mailboxes here";
            draft.unmatched(origin, why);
            if is_usual || self.domains.has(domain) {
                continue;
            }
            let Some((_, scopes)) = recipient_scopes(&domain.to_lowercase(), true) else { continue };
            // Behind all of transport_maps, and its `*` too.
            let rank = (4, std::cmp::Reverse(domain.trim_start_matches('.').matches('.').count()));
            let route = Route { parameter: "relay_domains", key: domain.clone(), way: way.clone() };
            self.plan(draft, &route, rank, scopes, false);
        }
    }

    fn by_sender(&mut self, draft: &mut Draft, routes: &Routes) {
        let mut seen = std::collections::BTreeSet::new();
        let is_relay = |route: &&Route| route.parameter == "sender_dependent_relayhost_maps";
        // A next hop that the transport has counts before a relayhost.
        let (relays, transports): (Vec<&Route>, Vec<&Route>) = routes.by_sender.iter().partition(is_relay);
        for route in transports.iter().chain(&relays) {
            if !seen.insert(&route.key) {
                continue;
            }
            let mut route = (*route).clone();
            let relay = relays.iter().find(|one| one.key == route.key).map(|one| one.way.clone());
            match (&route.way, relay) {
                (Way::Transport(name), Some(Way::Host { hop, .. })) => {
                    route.way = Way::Host { transport: name.clone(), hop };
                }
                (Way::Usual, Some(way)) => route.way = way,
                _ => {}
            }
            if let Some((rank, scopes)) = sender_scopes(&route.key) {
                self.plan(draft, &route, rank, scopes, true);
            } else {
                let value = format!("{}: {}", route.key, route.way.words());
                let origin = Origin { parameter: route.parameter, value: &value };
                draft.unmatched(origin, "a sender is found by an address, @domain or <>");
            }
        }
    }

    fn plan(
        &mut self,
        draft: &mut Draft,
        route: &Route,
        rank: Rank,
        scopes: Vec<String>,
        is_by_sender: bool,
    ) {
        let value = format!("{}: {}", route.key, route.way.words());
        let origin = Origin { parameter: route.parameter, value: &value };
        match self.onward(draft, route, origin, is_by_sender) {
            Ok(onward) => self.planned.push(Planned {
                parameter: route.parameter,
                is_by_sender,
                rank,
                scopes,
                onward,
                words: value,
            }),
            Err(why) => draft.unmatched(origin, why),
        }
    }

    fn onward(
        &mut self,
        draft: &mut Draft,
        route: &Route,
        origin: Origin<'_>,
        is_by_sender: bool,
    ) -> Result<Onward, String> {
        let usual = self.postfix.value("default_transport");
        let (transport, hop) = match &route.way {
            Way::Usual => return Ok(Onward::default()),
            Way::Transport(name) => (name.as_str(), None),
            Way::Host { transport, hop } if transport.is_empty() => {
                (usual.split(':').next().unwrap_or_default(), Some(hop))
            }
            Way::Host { transport, hop } => (transport.as_str(), Some(hop)),
            Way::Refused(_) if is_by_sender => return Err("write a [[policy.rule]] at mail that refuses these senders".to_owned()),
            Way::Refused(_) => return Err("write a [[policy.rule]] at rcpt that refuses these recipients; their mail goes as other mail".to_owned()),
            Way::Other(_) => return Err("mail goes by SMTP only: it goes as other mail".to_owned()),
        };
        if !sends_by_smtp(self.postfix, transport) {
            return Err(format!(
                "the transport {transport} does not send by SMTP: this mail goes as other mail"
            ));
        }
        let service = sender(self.postfix, transport);
        let mut onward = Onward {
            pool: self.pools.of(self.postfix, draft, service),
            transport: transport.to_owned(),
            ..Onward::default()
        };
        if let Some(hop) = hop {
            self.towards(draft, &mut onward, route, hop, service);
            if !hop.is_host && hop.host.parse::<std::net::IpAddr>().is_err() {
                let why = "Postfix asks for the mail hosts (MX) of this name; a smarthost is a host: if the name has MX records, write one of them into the route";
                draft.unmatched(origin, why);
            }
        } else if !is_by_sender {
            // Without a next hop it is the domain itself, and not the relayhost.
            onward.smarthost = Some("mx".to_owned());
        }
        Ok(onward)
    }

    fn towards(
        &self,
        draft: &mut Draft,
        onward: &mut Onward,
        route: &Route,
        hop: &NextHop,
        service: Option<&Service>,
    ) {
        let own = |name: &str| {
            service.map_or_else(|| self.postfix.value(name), |service| self.postfix.own(service, name))
        };
        let is_wrapped = own("smtp_tls_wrappermode").eq_ignore_ascii_case("yes");
        let level = match own("smtp_tls_security_level") {
            level if level.is_empty() => tls_level(self.postfix),
            level => level,
        };
        let tls = smarthost_tls(draft, is_wrapped, &level);
        onward.tls = (tls != "if-offered").then_some(tls);
        onward.smarthost = Some(hop.with_port(25));
        onward.host = Some(match hop.host.parse::<std::net::IpAddr>() {
            Ok(std::net::IpAddr::V6(_)) => format!("[IPv6:{}]", hop.host),
            Ok(std::net::IpAddr::V4(_)) => format!("[{}]", hop.host),
            Err(_) => hop.host.clone(),
        });
        if own("smtp_sasl_auth_enable").eq_ignore_ascii_case("yes") {
            let port = hop.port.map(|port| format!(":{port}")).unwrap_or_default();
            let whole = if hop.is_host { format!("[{}]", hop.host) } else { hop.host.clone() };
            let mut wanted = vec![format!("{whole}{port}"), whole, hop.host.clone()];
            if hop.port == Some(587) {
                wanted.insert(1, format!("{}:submission", wanted[1]));
            }
            if self.postfix.is_yes("smtp_sender_dependent_authentication")
                && route.parameter.starts_with("sender")
            {
                wanted.insert(0, route.key.clone());
            }
            let remedy = "set smarthost_user and smarthost_password_file of the routes that need a login";
            onward.login = Login::find(self.postfix, draft, &wanted, remedy);
        }
    }

    /// What each transport leads to.
    fn bound(&self) -> Bound {
        let mut bound = Bound::new();
        for planned in self.planned.iter().filter(|one| !one.onward.transport.is_empty()) {
            let places = bound.entry(planned.onward.transport.clone()).or_default();
            let is_known = !planned.is_by_sender && planned.rank.0 != 0;
            let scopes = match &planned.onward.host {
                Some(host) => vec![Some(host.clone())],
                None if is_known => planned.scopes.iter().cloned().map(Some).collect(),
                None => vec![None],
            };
            for scope in scopes {
                if !places.contains(&scope) {
                    places.push(scope);
                }
            }
        }
        bound
    }

    /// Writes them in order; those of one rank that go the same way are one route.
    fn write(mut self, draft: &mut Draft) {
        self.planned.sort_by_key(|one| (one.is_by_sender, one.rank));
        let mut groups: Vec<Planned> = Vec::new();
        for one in self.planned {
            let same = groups.iter_mut().rev().take_while(|group| {
                (group.is_by_sender, group.rank, group.parameter)
                    == (one.is_by_sender, one.rank, one.parameter)
            });
            match same.into_iter().find(|group| group.onward == one.onward) {
                Some(group) => group.scopes.extend(one.scopes),
                None => groups.push(one),
            }
        }
        for group in groups {
            route(draft, &group);
        }
    }
}

fn route(draft: &mut Draft, group: &Planned) {
    let (key, begin) = if group.is_by_sender { ("senders", "from") } else { ("recipients", "to") };
    let first = group.scopes.first().map_or("", String::as_str);
    let name = draft.plain_name(&format!("{begin}-{}", first.trim_start_matches("*.")));
    let mut lines = format!("name = {}\n{key} = {}", quoted(&name), list(&group.scopes));
    let onward = &group.onward;
    lines.extend(onward.smarthost.iter().map(|host| format!("\nsmarthost = {}", quoted(host))));
    lines.extend(onward.tls.iter().map(|tls| format!("\nsmarthost_tls = {}", quoted(tls))));
    lines.extend(onward.pool.iter().map(|(pool, _)| format!("\npool = {}", quoted(pool))));
    let file = format!("/etc/angarium/{name}.password");
    let mut waits = None;
    if let Some(login) = &onward.login {
        let settings = login.lines(&file);
        let text = format!("\n{}", settings.join("\n"));
        // The file is there when this is done a second time.
        if accepted(&format!("[[outbound.route]]\nname = \"x\"\nsmarthost = \"x:25\"{text}\n")).is_ok() {
            lines += &text;
        } else {
            lines += &text.replace('\n', "\n# ");
            waits = Some(login);
        }
    }
    let needs: Vec<(Block, String)> =
        onward.pool.iter().map(|(_, lines)| (Block::Pool, lines.clone())).collect();
    let origin = Origin { parameter: group.parameter, value: &group.words };
    if draft.block(origin, Block::Route, &lines, &needs)
        && let Some(login) = waits
    {
        login.tell(draft, &file, &format!("of the route {name}"));
    }
}
