//! Lists in DNS (RFC 5782): what to look up for a client, and what the answer means.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use crate::facts::{DnsListId, Facts, found};
use crate::limits::ANSWERS_MAX;
use crate::read::{Fault, Section, text, texts};

/// One list: `[[policy.dnslist]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DnsList {
    /// Its name in rules.
    pub name: String,
    /// The zone that is asked.
    pub zone: String,
    /// What is looked up in it.
    by: Subject,
    /// What a listing adds to `dnslist_weight`; below 0 for a list of good sources.
    pub weight: i32,
    /// Answers that count, first to last.
    answers: Vec<(Ipv4Addr, Ipv4Addr)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Subject {
    Source,
    Helo,
    ReverseName,
    SenderDomain,
}

/// Longest name in DNS, in bytes (RFC 1035 §2.3.4).
const NAME_BYTES_MAX: usize = 253;

impl DnsList {
    pub(crate) fn read(section: &Section<'_>) -> Result<Self, Fault> {
        section.only(&["name", "zone", "by", "weight", "answers"])?;
        let name = text(section.need("name")?)?.to_owned();
        Self::read_named(section, &name).map_err(|fault| fault.within("dnslist", &name))
    }

    fn read_named(section: &Section<'_>, name: &str) -> Result<Self, Fault> {
        let place = section.need("zone")?;
        let zone = text(place)?.trim_matches('.').to_lowercase();
        let is_name = |zone: &str| {
            zone.split('.').all(|label| !label.is_empty() && label.len() <= 63)
                && zone.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'))
        };
        if !is_name(&zone) || zone.len() > 150 {
            return Err(Fault::at(place, "a zone in DNS is wanted, such as \"dnsbl.example.org\""));
        }
        let by = match section.text("by")?.unwrap_or("source") {
            "source" => Subject::Source,
            "helo" => Subject::Helo,
            "reverse_name" => Subject::ReverseName,
            "sender_domain" => Subject::SenderDomain,
            _ => return Err(section.fault("`by` is one of source, helo, reverse_name, sender_domain")),
        };
        let weight = section.integer("weight")?.unwrap_or(1);
        let weight = i32::try_from(weight).ok().filter(|weight| weight.unsigned_abs() <= 1000);
        let weight = weight.ok_or_else(|| section.fault("`weight` is from -1000 to 1000"))?;
        let mut answers = Vec::new();
        if let Some(value) = section.get("answers") {
            for (entry, place) in texts(value)? {
                answers.push(range(entry).ok_or_else(|| {
                    Fault::at(place, "an answer is 127.0.0.2, or a range 127.0.0.2-127.0.0.11")
                })?);
            }
        } else {
            // RFC 5782 §2.1: a listing is an address in 127.0.0.0/8. 127.0.0.1 never is one, and
            // operators of lists use 127.255.255.x to say that they do not answer the asker.
            answers.push((Ipv4Addr::new(127, 0, 0, 2), Ipv4Addr::new(127, 255, 254, 255)));
        }
        if answers.len() > ANSWERS_MAX {
            return Err(section.fault(format!("at most {ANSWERS_MAX} answers: write ranges")));
        }
        Ok(Self { name: name.to_owned(), zone, by, weight, answers })
    }

    /// Whether the name that is looked up is in the facts only once a reverse name is known.
    pub(crate) fn needs_reverse_name(&self) -> bool {
        self.by == Subject::ReverseName
    }

    /// The name whose addresses say whether this client is listed; `None` when there is nothing to look up.
    pub fn query(&self, facts: &Facts<'_>) -> Option<String> {
        let mut name = match self.by {
            Subject::Source => reversed(facts.source),
            Subject::Helo => host(facts.helo?)?,
            Subject::ReverseName => host(facts.known.reverse_name.as_deref()?)?,
            Subject::SenderDomain => host(facts.sender_domain())?,
        };
        name.push('.');
        name.push_str(&self.zone);
        (name.len() <= NAME_BYTES_MAX).then_some(name)
    }

    /// Whether such addresses are a listing.
    pub(crate) fn is_listing(&self, addresses: &[Ipv4Addr]) -> bool {
        addresses
            .iter()
            .any(|address| self.answers.iter().any(|(first, last)| (first..=last).contains(&address)))
    }

    /// Whether the client is on it, if that was answered.
    pub(crate) fn listed(&self, id: DnsListId, facts: &Facts<'_>) -> Option<bool> {
        found(&facts.known.listed, id).map(|addresses| self.is_listing(addresses))
    }
}

fn range(text: &str) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    let (first, last): (Ipv4Addr, Ipv4Addr) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    (first <= last).then_some((first, last))
}

/// RFC 5782 §2.1, §2.4: octets, or hexadecimal digits, the last one first.
fn reversed(address: IpAddr) -> String {
    let mut out = String::new();
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            let _infallible = write!(out, "{d}.{c}.{b}.{a}");
        }
        IpAddr::V6(v6) => {
            let bits = v6.to_bits();
            for digit in 0..32 {
                let dot = if digit == 0 { "" } else { "." };
                let _infallible = write!(out, "{dot}{:x}", (bits >> (4 * digit)) & 15);
            }
        }
    }
    out
}

/// What a peer calls a host, when that can be looked up: no address literal, no odd bytes.
fn host(name: &str) -> Option<String> {
    let name = name.trim_end_matches('.').to_ascii_lowercase();
    let labels = name.split('.').all(|label| !label.is_empty() && label.len() <= 63);
    let is_plain =
        name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    (labels && is_plain && name.contains('.') && name.parse::<IpAddr>().is_err()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::Known;
    use crate::read::document;

    fn list(text: &str) -> Result<DnsList, Fault> {
        document(text, DnsList::read)
    }

    #[test]
    fn what_is_looked_up_is_what_rfc_5782_says() {
        let known = Known::default();
        let facts = |source: &str| Facts::of_connection(source.parse().unwrap(), "smtp", &known);
        let by_source = list("name = 'a'\nzone = 'bad.example'").unwrap();
        assert_eq!(by_source.query(&facts("192.0.2.99")).unwrap(), "99.2.0.192.bad.example");
        assert_eq!(by_source.query(&facts("::ffff:192.0.2.99")).unwrap(), "99.2.0.192.bad.example");
        assert_eq!(
            by_source.query(&facts("2001:db8:1:2:3:4:567:89ab")).unwrap(),
            "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.8.b.d.0.1.0.0.2.bad.example"
        );
        let by_sender = list("name = 'a'\nzone = 'dbl.example'\nby = 'sender_domain'").unwrap();
        for (sender, name) in [
            (Some("ann@Example.org"), Some("example.org.dbl.example")),
            (Some(""), None),
            (None, None),
            (Some("ann@[192.0.2.1]"), None),
            (Some("ann@localhost"), None),
            (Some("ann@a b.c"), None),
        ] {
            assert_eq!(by_sender.query(&Facts { sender, ..facts("::1") }).as_deref(), name);
        }
    }

    #[test]
    fn only_answers_that_count_are_listings() {
        let of = |answers: &str, address: [u8; 4]| {
            list(&format!("name = 'a'\nzone = 'b.c'\n{answers}")).unwrap().is_listing(&[address.into()])
        };
        assert!(of("", [127, 0, 0, 2]) && !of("", [127, 0, 0, 1]));
        assert!(!of("", [127, 255, 255, 254]) && !of("", [192, 0, 2, 1]));
        assert!(of("answers = '127.0.0.4-127.0.0.7'", [127, 0, 0, 5]));
        assert!(!of("answers = ['127.0.0.4-127.0.0.7', '127.0.0.9']", [127, 0, 0, 8]));
        for wrong in
            ["answers = '127.0.0.9-127.0.0.2'", "answers = 'x'", "weight = 100000", "by = 'x'", "zone2 = 1"]
        {
            assert!(list(&format!("name = 'a'\nzone = 'b.c'\n{wrong}")).is_err(), "{wrong}");
        }
        assert!(list("name = 'a'\nzone = 'b..c'").is_err());
    }
}
