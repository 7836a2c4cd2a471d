//! Domains, accounts and aliases: what is in our directory and not in the file.

use std::collections::{BTreeMap, BTreeSet};

use ::directory::EmailAddress;

use super::Postfix;
use super::commands;
use super::draft::{Draft, Origin};
use super::lines::words;
use super::tables::{Table, targets};

/// The domains that mail is taken for.
#[derive(Clone, Debug, Default)]
pub(super) struct Domains {
    /// mydestination: users of the machine.
    pub(super) local: Vec<String>,
    /// virtual_mailbox_domains.
    pub(super) mailbox: Vec<String>,
    /// virtual_alias_domains: addresses that stand for others.
    pub(super) alias: Vec<String>,
    /// What `myorigin` says, where it is a domain: names without one are completed with it.
    pub(super) origin: Option<String>,
    /// The domain that users of the machine have their accounts in.
    primary: Option<String>,
    /// The postmaster's address, if it is an alias.
    pub(super) postmaster: Option<String>,
}

/// What is made of the tables before it is put in order.
#[derive(Debug, Default)]
pub(super) struct Book {
    /// Addresses, some with the Maildir that holds their mail.
    pub(super) accounts: BTreeMap<String, Option<String>>,
    pub(super) aliases: BTreeMap<String, Alias>,
    /// By domain the address, and the parameter that says so.
    pub(super) catch_alls: BTreeMap<String, (String, &'static str)>,
    /// Domains whose mailboxes are all known.
    pub(super) is_whole: BTreeSet<String>,
}

#[derive(Clone, Debug)]
pub(super) struct Alias {
    pub(super) parameter: &'static str,
    pub(super) targets: Vec<String>,
}

impl Domains {
    pub(super) fn has_mailboxes(&self) -> bool {
        !(self.local.is_empty() && self.mailbox.is_empty() && self.alias.is_empty())
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &String> {
        self.local.iter().chain(&self.mailbox).chain(&self.alias)
    }

    pub(super) fn has_aliases_only(&self, domain: &str) -> bool {
        self.alias.iter().any(|one| one == domain)
    }

    pub(super) fn has(&self, domain: &str) -> bool {
        self.all().any(|one| one == domain)
    }
}

/// The domains of the lists; those that are no domain on the Internet are left out.
pub(super) fn domains(postfix: &Postfix, draft: &mut Draft) -> Domains {
    let mut domains = Domains {
        local: listed(postfix, draft, "mydestination"),
        mailbox: listed(postfix, draft, "virtual_mailbox_domains"),
        ..Domains::default()
    };
    if postfix.main.changed("virtual_alias_domains").is_some() {
        domains.alias = listed(postfix, draft, "virtual_alias_domains");
    } else {
        // Otherwise they are the keys of virtual_alias_maps that name a domain.
        let _usual = postfix.value("virtual_alias_domains");
        let keys: Vec<String> = entries(postfix, &mut Draft::default(), "virtual_alias_maps")
            .into_iter()
            .map(|(key, _)| key)
            .collect();
        let is_domain = |key: &&String| {
            keys.iter().any(|one| one.split_once('@').is_some_and(|(_, domain)| domain == key.as_str()))
        };
        domains.alias = keys.iter().filter(is_domain).cloned().collect();
    }
    let mut seen = BTreeSet::new();
    for all in [&mut domains.local, &mut domains.mailbox, &mut domains.alias] {
        all.retain(|domain| seen.insert(domain.clone()));
    }
    let origin = origin_domain(postfix);
    domains.origin = Some(origin.clone())
        .filter(|name| name.contains('.') && EmailAddress::parse(&format!("x@{name}")).is_ok());
    let primary = domains.local.iter().find(|domain| **domain == origin);
    domains.primary = primary.or(domains.local.first()).or(domains.mailbox.first()).cloned();
    if let (Some(primary), false) = (&domains.primary, domains.local.is_empty()) {
        let has_one = aliases(postfix, &mut Draft::default()).iter().any(|(name, _)| name == "postmaster");
        domains.postmaster = has_one.then(|| format!("postmaster@{primary}"));
    }
    domains
}

/// `myorigin`, which may be a file with the name.
fn origin_domain(postfix: &Postfix) -> String {
    let value = postfix.value("myorigin");
    let name = if value.starts_with('/') { postfix.files.read(&value).unwrap_or_default() } else { value };
    name.lines().next().unwrap_or_default().trim().to_lowercase()
}

fn listed(postfix: &Postfix, draft: &mut Draft, parameter: &str) -> Vec<String> {
    let value = postfix.value(parameter);
    let mut found = Vec::new();
    for item in words(&value) {
        let origin = Origin { parameter, value: item };
        if item.starts_with('!') {
            draft.unmatched(origin, "nothing is taken out of a list here: see whether the domain is in the commands, and take it out there");
            continue;
        }
        match postfix.files.items(item) {
            Ok(items) => {
                for item in items.into_iter().map(|item| item.trim_end_matches('.').to_lowercase()) {
                    let is_inner = !item.contains('.')
                        || item.ends_with(".localdomain")
                        || item.starts_with("localhost.");
                    if is_inner || EmailAddress::parse(&format!("x@{item}")).is_err() || item.starts_with('[')
                    {
                        draft.settled(Origin { parameter, value: &item }, "no domain that others could write to: local programs send by sendmail, and names without a domain get server.default_domain");
                    } else {
                        found.push(item);
                    }
                }
            }
            Err(why) => {
                draft
                    .unmatched(origin, format!("{why}; make each of its domains with `angarium domain add`"));
            }
        }
    }
    found
}

/// Keys and values of all tables of a parameter.
fn entries(postfix: &Postfix, draft: &mut Draft, parameter: &'static str) -> Vec<(String, String)> {
    let value = postfix.value(parameter);
    let mut found = Vec::new();
    for item in words(&value) {
        let origin = Origin { parameter, value: item };
        match postfix.files.table(item, &postfix.usual_kind()) {
            Ok(Table::Keys(keys)) => found.extend(keys),
            Ok(_) => draft.unmatched(
                origin,
                "it has patterns, and accounts and aliases are single addresses: make those that are used",
            ),
            Err(why) => draft.unmatched(
                origin,
                format!("{why}; make its addresses with `angarium account add` and `angarium alias set`"),
            ),
        }
    }
    found
}

/// The entries of alias_maps.
fn aliases(postfix: &Postfix, draft: &mut Draft) -> Vec<(String, Vec<String>)> {
    let value = postfix.value("alias_maps");
    let mut found = Vec::new();
    for item in words(&value) {
        match postfix.files.aliases(item, &postfix.usual_kind()) {
            Ok(aliases) => found.extend(aliases),
            // nis: is in the usual value, and nowhere in use.
            Err(_) if item.starts_with("nis:") => {}
            Err(why) => draft.unmatched(Origin { parameter: "alias_maps", value: item }, why),
        }
    }
    found
}

pub(super) fn translate(postfix: &Postfix, domains: &Domains, draft: &mut Draft) {
    let mut book = Book::default();
    mailboxes(postfix, domains, draft, &mut book);
    if !domains.local.is_empty() {
        users(postfix, domains, &mut book);
        local_aliases(postfix, domains, draft, &mut book);
    } else if let Some(value) = postfix.changed("alias_maps").filter(|value| !value.is_empty()) {
        let why = "mail for names of this machine, such as cron's for root, has no domain here: give such programs a whole address (MAILTO), or make the domain with `angarium domain add` and its aliases";
        draft.unmatched(Origin { parameter: "alias_maps", value: &value }, why);
    }
    virtual_aliases(postfix, domains, draft, &mut book);
    if !domains.has_mailboxes() {
        return;
    }
    other_domains(domains, &mut book);
    commands::write(domains, draft, &mut book);
}

/// virtual_mailbox_maps: an account for each address.
fn mailboxes(postfix: &Postfix, domains: &Domains, draft: &mut Draft, book: &mut Book) {
    let unread = draft.unmatched.len();
    let base = postfix.value("virtual_mailbox_base");
    let entries = entries(postfix, draft, "virtual_mailbox_maps");
    let is_whole = draft.unmatched.len() == unread && !entries.is_empty();
    for (key, path) in entries {
        match EmailAddress::parse(&key) {
            Ok(address) if domains.has(address.domain()) => {
                // A path that ends with a slash is a Maildir.
                let path = path.strip_suffix('/').map(|path| format!("{}/{}", base.trim_end_matches('/'), path.trim_start_matches('/')));
                book.accounts.insert(address.to_string(), path);
            }
            _ => draft.unmatched(Origin { parameter: "virtual_mailbox_maps", value: &key }, "this is no address of a domain above: make what it means with `angarium account add` or `angarium domain set --catch-all`"),
        }
    }
    if is_whole {
        book.is_whole.extend(domains.mailbox.iter().cloned());
    }
}

/// People with an account on the machine.
fn users(postfix: &Postfix, domains: &Domains, book: &mut Book) {
    let Some(primary) = &domains.primary else { return };
    for line in postfix.files.read("/etc/passwd").unwrap_or_default().lines() {
        let fields: Vec<&str> = line.split(':').collect();
        let [name, _, id, ..] = fields.as_slice() else { continue };
        // Those below are the system's own, those at the end stand for nobody.
        let is_person = id.parse::<u32>().is_ok_and(|id| (1000..60_000).contains(&id));
        if let Some(Ok(address)) = is_person.then(|| EmailAddress::parse(&format!("{name}@{primary}"))) {
            book.accounts.entry(address.to_string()).or_insert(None);
        }
    }
}

fn local_aliases(postfix: &Postfix, domains: &Domains, draft: &mut Draft, book: &mut Book) {
    let Some(primary) = &domains.primary else { return };
    let origin_domain = origin_domain(postfix);
    for (name, values) in aliases(postfix, draft) {
        let address = format!("{name}@{primary}");
        let shown = format!("{name}: {}", values.join(", "));
        let origin = Origin { parameter: "alias_maps", value: &shown };
        let mut found = Vec::new();
        let mut is_good = true;
        for value in values {
            match local_target(postfix, &value, &origin_domain) {
                Ok(targets) => found.extend(targets),
                Err(why) => {
                    draft.unmatched(origin, why);
                    is_good = false;
                }
            }
        }
        if is_good && EmailAddress::parse(&address).is_ok() {
            book.aliases.insert(address, Alias { parameter: "alias_maps", targets: found });
        } else if is_good {
            draft.unmatched(origin, "the name is none that an address could have");
        }
    }
}

/// What one value of an alias means: addresses, or something that is no address.
fn local_target(postfix: &Postfix, value: &str, origin_domain: &str) -> Result<Vec<String>, String> {
    let bare = value.trim_matches('"');
    if bare.starts_with('|') {
        return Err("programs are not started for mail: let it fetch its mail by IMAP or POP3, or make it an HTTP hook ([[filter]])".to_owned());
    }
    if bare.starts_with('/') {
        return Err("mail is not written to files: an alias stands for accounts".to_owned());
    }
    if let Some(file) = bare.strip_prefix(":include:") {
        let text = postfix
            .files
            .read(file.trim_matches('"'))
            .map_err(|why| format!("{why}; set the alias by hand"))?;
        let lines = super::lines::logical(&text);
        let inner = lines.iter().flat_map(|line| targets(&line.text));
        return inner
            .map(|one| {
                if one.starts_with(":include:") {
                    Err("lists within lists are not followed".to_owned())
                } else {
                    local_target(postfix, &one, origin_domain)
                }
            })
            .collect::<Result<Vec<_>, _>>()
            .map(|all| all.into_iter().flatten().collect());
    }
    // A backslash ends aliasing in Postfix: it means the mailbox.
    let name = value.trim_start_matches('\\').to_lowercase();
    Ok(vec![if name.contains('@') { name } else { format!("{name}@{origin_domain}") }])
}

fn virtual_aliases(postfix: &Postfix, domains: &Domains, draft: &mut Draft, book: &mut Book) {
    let origin_domain = origin_domain(postfix);
    for (key, value) in entries(postfix, draft, "virtual_alias_maps") {
        if domains.alias.contains(&key) {
            continue;
        }
        let shown = format!("{key} {value}");
        let origin = Origin { parameter: "virtual_alias_maps", value: &shown };
        let whole = |name: &str| {
            if name.contains('@') {
                name.to_lowercase()
            } else {
                format!("{}@{origin_domain}", name.to_lowercase())
            }
        };
        let found: Vec<String> = targets(&value).iter().map(|target| whole(target)).collect();
        let key = whole(&key);
        let Some((local, domain)) = key.rsplit_once('@') else { continue };
        if !domains.has(domain) {
            draft.unmatched(origin, "its domain is none that mail is taken for: for mail that others receive write a [[mailflow.rule]] with `redirect`");
        } else if !local.is_empty() {
            book.aliases.insert(key, Alias { parameter: "virtual_alias_maps", targets: found });
        } else if let [target] = found.as_slice()
            && !target.starts_with('@')
        {
            book.catch_alls.insert(domain.to_owned(), (target.clone(), "virtual_alias_maps"));
        } else {
            draft.unmatched(origin, "a whole domain stands for one account or alias at most: make an alias for each address that is used");
        }
    }
}

/// Users and aliases of the machine are there in each domain of mydestination.
fn other_domains(domains: &Domains, book: &mut Book) {
    let Some(primary) = &domains.primary else { return };
    let of_primary =
        |address: &&String| address.rsplit_once('@').is_some_and(|(_, domain)| domain == primary);
    let all: Vec<String> =
        book.accounts.keys().chain(book.aliases.keys()).filter(of_primary).cloned().collect();
    for domain in domains.local.iter().filter(|domain| *domain != primary) {
        for address in &all {
            let Some((local, _)) = address.rsplit_once('@') else { continue };
            let other = format!("{local}@{domain}");
            if !book.accounts.contains_key(&other) {
                book.aliases
                    .entry(other)
                    .or_insert_with(|| Alias { parameter: "mydestination", targets: vec![address.clone()] });
            }
        }
    }
}
