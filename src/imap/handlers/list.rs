//! LIST (RFC 9051 §6.3.9, RFC 5258, RFC 5819, RFC 6154) and LSUB (RFC 3501 §6.3.9).

use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

use account::{Mailbox, MailboxName, SpecialUse};

use super::Context;
use crate::command::{List, ListSelect};
use crate::limits::LIST_WILDCARDS_MAX;
use crate::names;
use crate::reply::{Code, Failure, Success};
use crate::response::list::{ListLine, write_status};

/// A name in the hierarchy: a mailbox, a subscription, or what is above one of them.
#[derive(Default)]
struct Node {
    mailbox: Option<Mailbox>,
    is_subscribed: bool,
    below: Below,
}

/// What there is below a name.
#[derive(Default)]
struct Below {
    has_mailbox: bool,
    has_subscribed: bool,
    has_special_use: bool,
}

impl Node {
    fn special_use(&self) -> Option<SpecialUse> {
        self.mailbox.as_ref().and_then(|mailbox| mailbox.special_use)
    }

    /// Whether the node itself meets the selection options: all of them (RFC 5258 §3.1).
    fn is_selected(&self, select: ListSelect) -> bool {
        let exists = self.mailbox.is_some() || self.below.has_mailbox;
        (!select.subscribed || self.is_subscribed)
            && (!select.special_use || self.special_use().is_some())
            && (select.subscribed || exists)
    }

    fn child_info(&self, select: ListSelect) -> Vec<&'static str> {
        let mut info = Vec::new();
        if select.recursive && select.subscribed && self.below.has_subscribed {
            info.push("SUBSCRIBED");
        }
        if select.recursive && select.special_use && self.below.has_special_use {
            info.push("SPECIAL-USE");
        }
        info
    }
}

pub(super) async fn list(request: List, context: &mut Context<'_, '_>) -> Result<Success, Failure> {
    let is_utf8 = context.enabled.has_utf8();
    let is_empty = request.patterns.iter().all(Vec::is_empty);
    if is_empty && !request.is_extended {
        // RFC 9051 §6.3.9: a question for the separator.
        let is_lsub = request.is_lsub;
        ListLine { is_lsub, attributes: &["\\Noselect"], name: "", is_utf8, child_info: &[] }
            .write(&mut context.out.buffer);
        return Ok(Success::plain("that is the separator"));
    }
    let patterns = patterns(&request, is_utf8)?;
    for (name, node) in in_order(nodes(&request, &patterns, context)) {
        if !patterns.iter().any(|pattern| matches(pattern, &name)) {
            continue;
        }
        let child_info = node.child_info(request.select);
        let is_selected = node.is_selected(request.select);
        if !is_selected && child_info.is_empty() {
            continue;
        }
        let attributes = attributes(&node, &request, is_selected);
        let is_lsub = request.is_lsub;
        let child_info = if is_lsub { &[] } else { child_info.as_slice() };
        ListLine { is_lsub, attributes: &attributes, name: &name, is_utf8, child_info }
            .write(&mut context.out.buffer);
        // RFC 5819 §2: what cannot be selected has no status.
        if let (Some(items), Some(mailbox)) = (request.returns.status, &node.mailbox) {
            let append_bytes_max = context.limits.append_bytes_max as u64;
            write_status(&mut context.out.buffer, mailbox, items, is_utf8, append_bytes_max);
        }
        context.out.room().await?;
    }
    Ok(Success::plain("that is all"))
}

/// Every name there is, with what is above it.
fn nodes(request: &List, patterns: &[String], context: &Context<'_, '_>) -> BTreeMap<String, Node> {
    let mut nodes: BTreeMap<String, Node> = BTreeMap::new();
    let above = |name: &MailboxName| core::iter::successors(name.parent(), MailboxName::parent);
    for mailbox in context.account.mailboxes() {
        for parent in above(&mailbox.name) {
            let below = &mut nodes.entry(parent.as_str().into()).or_default().below;
            below.has_mailbox = true;
            below.has_special_use |= mailbox.special_use.is_some();
        }
        let name = mailbox.name.as_str().into();
        nodes.entry(name).or_default().mailbox = Some(mailbox);
    }
    for name in context.account.subscriptions() {
        // RFC 3501 §6.3.9: LSUB tells what is above a subscribed name only in its stead.
        let stands_for_itself =
            request.is_lsub && patterns.iter().any(|pattern| matches(pattern, name.as_str()));
        for parent in above(&name) {
            nodes.entry(parent.as_str().into()).or_default().below.has_subscribed |= !stands_for_itself;
        }
        nodes.entry(name.as_str().into()).or_default().is_subscribed = true;
    }
    nodes
}

/// INBOX first, then by name.
fn in_order(mut nodes: BTreeMap<String, Node>) -> impl Iterator<Item = (String, Node)> {
    let inbox = nodes.remove_entry(MailboxName::INBOX);
    inbox.into_iter().chain(nodes)
}

fn attributes(node: &Node, request: &List, is_selected: bool) -> Vec<&'static str> {
    let mut attributes = Vec::with_capacity(4);
    if request.is_lsub {
        // RFC 3501 §6.3.9: a name that is only above a subscribed one.
        if !is_selected {
            attributes.push("\\Noselect");
        }
        return attributes;
    }
    if node.mailbox.is_none() {
        // RFC 5258 §3 has the first imply the second, which clients of RFC 3501 alone know.
        attributes.extend(["\\NonExistent", "\\Noselect"]);
    }
    // RFC 3348 §3, told of every mailbox.
    attributes.push(if node.below.has_mailbox { "\\HasChildren" } else { "\\HasNoChildren" });
    if node.is_subscribed && (request.returns.subscribed || request.select.subscribed) {
        attributes.push("\\Subscribed");
    }
    attributes.extend(node.special_use().map(SpecialUse::attribute));
    attributes
}

/// The patterns in UTF-8 with the reference in front (RFC 9051 §6.3.9).
fn patterns(request: &List, is_utf8: bool) -> Result<Vec<String>, Failure> {
    let spelling = Failure::No(Some(Code::Word("CANNOT")), "the pattern is not spelled right");
    let mut patterns = Vec::with_capacity(request.patterns.len());
    for raw in &request.patterns {
        let raw = [request.reference.as_slice(), raw].concat();
        let pattern = names::decode_pattern(&raw, is_utf8).ok_or_else(|| spelling.clone())?;
        if pattern.bytes().filter(|byte| matches!(byte, b'*' | b'%')).count() > LIST_WILDCARDS_MAX {
            return Err(Failure::No(Some(Code::Word("LIMIT")), "the pattern has too many wildcards"));
        }
        patterns.push(pattern);
    }
    Ok(patterns)
}

/// Whether `name` matches: `*` stands for anything, `%` for anything within a level. A `%` gives way
/// before the `*` in front of it does, so two places to go back to are enough.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, bytes) = (pattern.as_bytes(), name.as_bytes());
    // INBOX is the same in any case (RFC 9051 §5.1).
    let folded =
        if name == MailboxName::INBOX || name.starts_with("INBOX/") { MailboxName::INBOX.len() } else { 0 };
    let same = |p: u8, at: usize, n: u8| if at < folded { p.eq_ignore_ascii_case(&n) } else { p == n };
    let (mut p, mut n) = (0, 0);
    let (mut star, mut percent) = (None::<(usize, usize)>, None::<(usize, usize)>);
    loop {
        match (pattern.get(p), bytes.get(n)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                p += 1;
                star = Some((p, n));
                percent = None;
                continue;
            }
            (Some(b'%'), _) => {
                p += 1;
                percent = Some((p, n));
                continue;
            }
            (Some(&wanted), Some(&byte)) if same(wanted, n, byte) => {
                p += 1;
                n += 1;
                continue;
            }
            _ => {}
        }
        if let Some((after, from)) =
            percent.filter(|&(_, from)| bytes.get(from).is_some_and(|&byte| byte != b'/'))
        {
            percent = Some((after, from + 1));
            (p, n) = (after, from + 1);
        } else if let Some((after, from)) = star.filter(|&(_, from)| from < bytes.len()) {
            star = Some((after, from + 1));
            percent = None;
            (p, n) = (after, from + 1);
        } else {
            return false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Random;

    #[test]
    fn patterns_match_as_the_rfc_says() {
        for (pattern, name, want) in [
            ("*", "a/b/c", true),
            ("%", "a", true),
            ("%", "a/b", false),
            ("%/%", "a/b", true),
            ("a*c", "a/b/c", true),
            ("a%c", "a/c", false),
            ("*/c%", "a/b/cd", true),
            ("*%b", "a/b", true),
            ("inbox", "INBOX", true),
            ("inb%", "INBOX", true),
            ("inbox/*", "INBOX/sub", true),
            ("inboxes", "INBOXES", false),
            ("", "a", false),
            ("Entw%", "Entwürfe", true),
        ] {
            assert_eq!(matches(pattern, name), want, "{pattern} {name}");
        }
    }

    /// The plain definition, for comparison.
    fn plainly(pattern: &[u8], name: &[u8]) -> bool {
        match pattern.split_first() {
            None => name.is_empty(),
            Some((wild @ (b'*' | b'%'), rest)) => (0..=name.len()).any(|length| {
                (*wild == b'*' || !name[..length].contains(&b'/')) && plainly(rest, &name[length..])
            }),
            Some((byte, rest)) => name.first() == Some(byte) && plainly(rest, &name[1..]),
        }
    }

    #[test]
    fn matching_agrees_with_its_plain_definition() {
        let mut random = Random::new(7);
        let mut pick = |letters: &[u8], n: u64| -> String {
            (0..random.below(n))
                .map(|_| char::from(letters[random.below(letters.len() as u64) as usize]))
                .collect()
        };
        for _ in 0..20_000 {
            let (pattern, name) = (pick(b"ab/*%", 8), pick(b"ab/", 9));
            assert_eq!(
                matches(&pattern, &name),
                plainly(pattern.as_bytes(), name.as_bytes()),
                "{pattern} {name}"
            );
        }
    }
}
