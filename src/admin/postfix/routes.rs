//! Which mail goes by which way, as Postfix's tables have it: transport_maps, relay_domains, relayhosts and transports by
//! sender.

use super::Postfix;
use super::draft::{Draft, Origin};
use super::lines::words;
use super::outbound::NextHop;
use super::tables::Table;

/// One entry: the parameter, the key that mail is found by, and where such mail goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Route {
    pub(super) parameter: &'static str,
    /// A domain, `.domain` for those below it, an address, `@domain` of a sender, or `*`.
    pub(super) key: String,
    pub(super) way: Way,
}

/// Where mail goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// By SMTP or LMTP to this host, or to the mail hosts of this domain.
    Host { transport: String, hop: NextHop },
    /// As if there were no entry.
    Usual,
    /// To where other mail goes or to the mail hosts of its domain, by a transport of master.cf that may have settings of its own.
    Transport(String),
    /// Refused, held back or dropped, with a text: `error:no such user`.
    Refused(String),
    /// What this reader does not understand, as it stands.
    Other(String),
}

/// All of it, in the order in which Postfix asks.
#[derive(Clone, Debug, Default)]
pub(super) struct Routes {
    pub(super) by_recipient: Vec<Route>,
    pub(super) by_sender: Vec<Route>,
    /// Domains that are relayed for others, as a gateway or a second mail host.
    pub(super) relay_domains: Vec<String>,
}

const BY_SENDER: [&str; 2] = ["sender_dependent_relayhost_maps", "sender_dependent_default_transport_maps"];

impl Way {
    /// `transport:nexthop`, or a nexthop alone where relayhosts stand.
    pub(super) fn parse(text: &str, is_relayhost: bool) -> Self {
        let text = text.trim();
        if text == ":" || text.eq_ignore_ascii_case("dunno") {
            return Self::Usual;
        }
        let (transport, hop) =
            if is_relayhost { ("smtp", text) } else { text.split_once(':').unwrap_or((text, "")) };
        match (transport, NextHop::parse(hop)) {
            ("error" | "retry" | "discard", _) => Self::Refused(text.to_owned()),
            (transport, None) if hop.is_empty() && !transport.is_empty() => {
                Self::Transport(transport.to_owned())
            }
            (transport, Some(hop)) => Self::Host { transport: transport.to_owned(), hop },
            _ => Self::Other(text.to_owned()),
        }
    }

    /// In words, for people.
    pub(super) fn words(&self) -> String {
        match self {
            Self::Host { transport, hop } => {
                let what = if hop.is_host { "the host" } else { "the mail hosts of" };
                format!("to {what} {} by {transport}", hop.with_port(25))
            }
            Self::Usual => "as other mail".to_owned(),
            Self::Transport(name) => format!("by the transport {name} of master.cf"),
            Self::Refused(text) => format!("nowhere ({text})"),
            Self::Other(text) => format!("by {text}"),
        }
    }
}

impl Routes {
    /// Reads them; tables that are no text are named.
    pub(super) fn read(postfix: &Postfix, draft: &mut Draft) -> Self {
        let mut routes = Self { by_recipient: entries(postfix, draft, "transport_maps"), ..Self::default() };
        for parameter in BY_SENDER {
            routes.by_sender.extend(entries(postfix, draft, parameter));
        }
        if let Some(value) = postfix.changed("relay_domains") {
            for item in words(&value) {
                match postfix.files.items(item) {
                    Ok(items) => routes.relay_domains.extend(items),
                    Err(why) => draft.unmatched(Origin { parameter: "relay_domains", value: item }, why),
                }
            }
        }
        routes
    }
}

fn entries(postfix: &Postfix, draft: &mut Draft, parameter: &'static str) -> Vec<Route> {
    let Some(value) = postfix.changed(parameter) else { return Vec::new() };
    let is_relayhost = parameter == "sender_dependent_relayhost_maps";
    let mut found = Vec::new();
    for item in words(&value) {
        let origin = Origin { parameter, value: item };
        match postfix.files.table(item, &postfix.usual_kind()) {
            Ok(Table::Keys(keys)) => found.extend(keys.into_iter().map(|(key, value)| Route {
                parameter,
                key,
                way: Way::parse(&value, is_relayhost),
            })),
            Ok(Table::Always(value)) => {
                found.push(Route { parameter, key: "*".to_owned(), way: Way::parse(&value, is_relayhost) });
            }
            Ok(Table::Networks(_) | Table::Patterns(_)) => {
                draft.unmatched(origin, "its keys are patterns, which no route has");
            }
            Err(why) => draft.unmatched(origin, why),
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ways_are_told_apart() {
        assert_eq!(
            Way::parse("smtp:[mx.example.org]:25", false).words(),
            "to the host mx.example.org:25 by smtp"
        );
        assert_eq!(
            Way::parse("lmtp:inet:127.0.0.1:24", false),
            Way::Other("lmtp:inet:127.0.0.1:24".to_owned())
        );
        assert_eq!(Way::parse("example.net", true).words(), "to the mail hosts of example.net:25 by smtp");
        assert_eq!(Way::parse("slow:", false), Way::Transport("slow".to_owned()));
        assert_eq!((Way::parse(":", false), Way::parse("DUNNO", true)), (Way::Usual, Way::Usual));
        assert_eq!(Way::parse(":[192.0.2.1]", false).words(), "to the host 192.0.2.1:25 by ");
        assert_eq!(
            Way::parse("error:no such domain", false),
            Way::Refused("error:no such domain".to_owned())
        );
    }
}
