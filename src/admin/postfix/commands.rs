//! The commands that make domains, accounts and aliases, in an order in which each finds what it names.

use std::collections::{BTreeMap, BTreeSet};

use ::directory::EmailAddress;

use super::directory::{Alias, Book, Domains};
use super::draft::{Block, Draft, Origin, list, quoted, word};

/// Writes them; what the directory cannot have is named.
pub(super) fn write(domains: &Domains, draft: &mut Draft, book: &mut Book) {
    title(draft, "Domains");
    for domain in domains.all() {
        draft.commands.push(format!("angarium domain add {}", word(domain)));
    }
    let mut aliases = sound(domains, draft, book);
    prune(domains, draft, book, &mut aliases);
    let order = ordered(draft, &aliases);
    write_accounts(draft, book);
    write_aliases(draft, &aliases, &order);
    let made: BTreeSet<&String> = order.iter().collect();
    let mut catch_alls = Vec::new();
    for (domain, (target, parameter)) in &book.catch_alls {
        let value = format!("@{domain} {target}");
        if book.accounts.contains_key(target) || made.contains(target) {
            catch_alls.push(format!("angarium domain set {} --catch-all {}", word(domain), word(target)));
        } else {
            let why = if domains.has(domain_of(target)) {
                "a catch-all is an account or alias of this server"
            } else {
                "a catch-all is an account or alias of this server: make an alias for the address elsewhere, and the catch-all of that"
            };
            draft.unmatched(Origin { parameter, value: &value }, why);
        }
    }
    if !catch_alls.is_empty() {
        title(draft, "Who gets mail to addresses that nobody has");
        draft.commands.extend(catch_alls);
    }
    let stored = book.accounts.iter().filter_map(|(address, path)| Some((address, path.as_ref()?)));
    let imports: Vec<String> = stored
        .map(|(address, path)| format!("# angarium import {} --mailbox INBOX", positional(&[address, path])))
        .collect();
    if !imports.is_empty() {
        title(draft, "Mail that is there already; take the # away when Postfix has stopped delivering");
        draft.commands.extend(imports);
    }
}

fn write_accounts(draft: &mut Draft, book: &Book) {
    if !book.accounts.is_empty() {
        title(
            draft,
            "Accounts. They take mail, and nobody can log in until there is a password: angarium account set ADDRESS --password-file FILE",
        );
        for address in book.accounts.keys() {
            draft.commands.push(format!("angarium account add {}", positional(&[address])));
        }
    }
}

fn write_aliases(draft: &mut Draft, aliases: &BTreeMap<String, Alias>, order: &[String]) {
    if order.is_empty() {
        return;
    }
    title(draft, "Aliases");
    for address in order {
        if let Some(alias) = aliases.get(address) {
            let mut all = vec![address];
            all.extend(&alias.targets);
            draft.commands.push(format!("angarium alias set {}", positional(&all)));
        }
    }
}

/// Takes out aliases that name nobody, and then those that name them.
fn prune(domains: &Domains, draft: &mut Draft, book: &Book, aliases: &mut BTreeMap<String, Alias>) {
    loop {
        let is_there = |name: &String| book.accounts.contains_key(name) || aliases.contains_key(name);
        let missing = |target: &&String| {
            if !domains.has(domain_of(target)) {
                return false;
            }
            let bare = EmailAddress::parse(target).ok().and_then(|address| address.without_detail());
            !is_there(target) && !bare.is_some_and(|bare| is_there(&bare.to_string()))
        };
        let lost: Vec<(String, String)> = aliases
            .iter()
            .filter_map(|(address, alias)| {
                Some((address.clone(), alias.targets.iter().find(missing)?.clone()))
            })
            .collect();
        for (address, target) in &lost {
            let Some(alias) = aliases.remove(address) else { continue };
            let value = format!("{address}: {}", alias.targets.join(", "));
            draft.unmatched(
                Origin { parameter: alias.parameter, value: &value },
                format!("{target} is nobody here"),
            );
        }
        if lost.is_empty() {
            return;
        }
    }
}

/// Arguments of a command, of which none may be taken for an option.
fn positional(all: &[&String]) -> String {
    let words: Vec<String> = all.iter().map(|text| word(text)).collect();
    let guard = if all.iter().any(|text| text.starts_with('-')) { "-- " } else { "" };
    format!("{guard}{}", words.join(" "))
}

fn domain_of(address: &str) -> &str {
    address.rsplit_once('@').map_or("", |(_, domain)| domain)
}

/// The aliases that our directory can have: their targets are addresses, elsewhere or of accounts and aliases here.
fn sound(domains: &Domains, draft: &mut Draft, book: &mut Book) -> BTreeMap<String, Alias> {
    let mut good = BTreeMap::new();
    for (address, alias) in &book.aliases {
        let value = format!("{address}: {}", alias.targets.join(", "));
        let origin = Origin { parameter: alias.parameter, value: &value };
        let itself = alias.targets.contains(address) || book.accounts.contains_key(address);
        let is_none = |address: &String| EmailAddress::parse(address).is_err();
        if is_none(address) {
            draft.unmatched(origin, "this is no address that mail could come to");
        } else if alias.targets.iter().any(is_none) || alias.targets.is_empty() {
            draft.unmatched(origin, "it stands for something that is no address");
        } else if alias.targets == [address.clone()] {
            // Itself: the usual way to except an address from a catch-all.
            if !domains.has_aliases_only(domain_of(address)) {
                book.accounts.entry(address.clone()).or_insert(None);
            }
        } else if itself {
            book.accounts.entry(address.clone()).or_insert(None);
            let copies: Vec<&String> = alias.targets.iter().filter(|target| *target != address).collect();
            copied(draft, origin, address, &copies, alias.targets.contains(address));
        } else {
            good.insert(address.clone(), alias.clone());
        }
    }
    // What is named and is nothing yet is an account, unless all accounts of its domain are known.
    let named: BTreeSet<String> = good.values().flat_map(|alias| alias.targets.clone()).collect();
    for target in named {
        let domain = domain_of(&target);
        let bare = EmailAddress::parse(&target)
            .ok()
            .and_then(|address| address.without_detail())
            .map(|address| address.to_string());
        let is_there = |name: &String| {
            book.accounts.contains_key(name) || good.contains_key(name) || book.aliases.contains_key(name)
        };
        if is_there(&target)
            || bare.as_ref().is_some_and(is_there)
            || !domains.has(domain)
            || book.is_whole.contains(domain)
            || domains.has_aliases_only(domain)
        {
            continue;
        }
        book.accounts.insert(bare.unwrap_or(target), None);
    }
    good
}

/// An account whose mail others get as well, or instead.
fn copied(draft: &mut Draft, origin: Origin<'_>, address: &str, others: &[&String], keeps: bool) {
    let (action, name) = if keeps { ("bcc", "copies of") } else { ("redirect", "mail of") };
    let name = draft.name(&format!("{name} {address}"));
    let lines = format!(
        "name = {}\nwhen = {{ recipient = {} }}\nthen = {{ {action} = {} }}",
        quoted(&name),
        quoted(address),
        list(others)
    );
    draft.block(origin, Block::FlowRule, &lines, &[]);
}

/// Aliases in an order in which each finds its targets; those that cannot have them, or lead back to themselves, are named.
fn ordered(draft: &mut Draft, aliases: &BTreeMap<String, Alias>) -> Vec<String> {
    let mut order: Vec<String> = Vec::new();
    let mut done: BTreeSet<&str> = BTreeSet::new();
    // Each round takes those whose targets are there; an alias leads through eight others at most.
    for _ in 0..::directory::limits::ALIAS_DEPTH_MAX {
        let before = done.clone();
        for (address, alias) in aliases {
            let is_ready = alias
                .targets
                .iter()
                .all(|target| !aliases.contains_key(target) || before.contains(target.as_str()));
            if is_ready && done.insert(address) {
                order.push(address.clone());
            }
        }
    }
    for (address, alias) in aliases.iter().filter(|(address, _)| !done.contains(address.as_str())) {
        let value = format!("{address}: {}", alias.targets.join(", "));
        draft.unmatched(
            Origin { parameter: alias.parameter, value: &value },
            "it leads back to itself, or through too many others",
        );
    }
    order
}

fn title(draft: &mut Draft, text: &str) {
    if !draft.commands.is_empty() {
        draft.commands.push(String::new());
    }
    draft.commands.push(format!("# {text}"));
}
