//! Domains, accounts and aliases: the requests that the directory answers. Runs on the shard that
//! owns the directory; every change is told to all shards before it is acknowledged.

use std::rc::Rc;

use auth::limits::PASSWORD_BYTES_MAX;
use directory::{AccountEntry, AliasEntry, Credential, Directory, EmailAddress, NewAccount, Resolution};
use serde_json::{Value, json};
use shard::{People, SCRAM_ITERATIONS, Shard};

use crate::failures::{failed, gone};
use crate::limits::LIST_ENTRIES_MAX;
use crate::{Exit, Failure, Password, Request, delegates, dkim, forward, publish};

/// Executes a request about the directory.
pub(crate) async fn execute(shard: &Rc<Shard>, request: Request) -> Result<Value, Failure> {
    let is_change = !matches!(
        request,
        Request::DomainList
            | Request::DomainShow { .. }
            | Request::DomainDns { .. }
            | Request::AccountList { .. }
            | Request::AccountDelegates { .. }
            | Request::AliasList { .. }
    ) && !matches!(&request, Request::Dkim { ask } if !ask.is_change());
    let answer = answer(shard, request).await;
    // Also after a failure: the entry may be in, and only what follows it not.
    if is_change {
        People::changed(shard).await;
    }
    answer
}

async fn answer(shard: &Rc<Shard>, request: Request) -> Result<Value, Failure> {
    let directory = own(shard)?;
    match request {
        Request::DomainAdd { .. }
        | Request::DomainRemove { .. }
        | Request::DomainSet { .. }
        | Request::DomainShow { .. }
        | Request::DomainList => domain(shard, directory, request).await,
        Request::Dkim { ask } => dkim::execute(shard, directory, ask).await,
        Request::DomainDns { ask } => publish::execute(shard, directory, ask).await,
        Request::AccountAdd { address, password, display_name, quota_bytes } => {
            let credential = hash(shard, password).await?;
            let address = parse(&address)?;
            // 0 is no limit, as it is for a change.
            let quota_bytes = quota_bytes.filter(|quota| *quota > 0);
            let new =
                NewAccount { address, display_name, credential, quota_bytes, created: shard.world.now() };
            add(shard, new).await.map(|entry| account_json(&entry))
        }
        Request::AccountAddMany { domain, count, password } => {
            add_many(shard, &domain, count, password).await
        }
        Request::AccountRemove { address } => {
            let entry = find(shard, &address)?;
            directory.delete_account(entry.id).await.map_err(|error| refused(&error))?;
            Ok(json!({ "removed": entry.address.to_string() }))
        }
        Request::AccountSet { address, password, display_name, quota_bytes, enabled, sent_copy } => {
            let id = find(shard, &address)?.id;
            let credential = hash(shard, password).await?;
            let update = |entry: &mut AccountEntry| {
                entry.credential = credential.or(entry.credential.take());
                entry.display_name = display_name.unwrap_or(std::mem::take(&mut entry.display_name));
                entry.enabled = enabled.unwrap_or(entry.enabled);
                entry.sent_copy = sent_copy.unwrap_or(entry.sent_copy);
                // 0 takes the limit away.
                entry.quota_bytes =
                    quota_bytes.map_or(entry.quota_bytes, |quota| (quota > 0).then_some(quota));
            };
            let entry = directory.update_account(id, update).await.map_err(|error| refused(&error))?;
            Ok(account_json(&entry))
        }
        Request::AccountList { after } => {
            let after = after.map(|after| parse(&after)).transpose()?;
            let entries = directory.accounts(after.as_ref(), LIST_ENTRIES_MAX);
            Ok(json!(entries.iter().map(account_json).collect::<Vec<_>>()))
        }
        Request::AccountForward { address, to, keeps_copy } => {
            let id = find(shard, &address)?.id;
            forward::execute(directory, id, to.as_deref(), keeps_copy).await
        }
        Request::AccountDelegate { .. } | Request::AccountDelegates { .. } => {
            delegates::execute(directory, request).await
        }
        Request::AliasSet { .. } | Request::AliasRemove { .. } | Request::AliasList { .. } => {
            alias(directory, request).await
        }
        Request::Ping
        | Request::Metrics
        | Request::Slow { .. }
        | Request::Queue { .. }
        | Request::Reports { .. }
        | Request::AccountShow { .. }
        | Request::ImportPosition { .. }
        | Request::ImportBatch { .. }
        | Request::ExportBatch { .. } => unreachable!("`execute` answers these where their account is"),
    }
}

async fn domain(shard: &Shard, directory: &Directory, request: Request) -> Result<Value, Failure> {
    match request {
        Request::DomainAdd { name } => {
            directory.add_domain(&name, shard.world.now()).await.map_err(|error| refused(&error))?;
            Ok(json!({ "added": name }))
        }
        Request::DomainRemove { name } => {
            directory.remove_domain(&name).await.map_err(|error| refused(&error))?;
            Ok(json!({ "removed": name }))
        }
        Request::DomainSet { name, catch_all } => {
            let address = catch_all.map(|address| parse(&address)).transpose()?;
            directory.set_catch_all(&name, address.as_ref()).await.map_err(|error| refused(&error))?;
            about_domain(directory, &name)
        }
        Request::DomainShow { name } => about_domain(directory, &name),
        Request::DomainList => {
            let domains = directory.domains(None, usize::MAX);
            Ok(json!(domains.into_iter().map(|domain| domain.name).collect::<Vec<_>>()))
        }
        _ => unreachable!("`answer` sends only what is about domains"),
    }
}

fn about_domain(directory: &Directory, name: &str) -> Result<Value, Failure> {
    let domain = directory.domain(name).ok_or_else(|| {
        Failure::new(
            Exit::NotFound,
            format!("{name} is no domain of ours; `angarium domain list` shows those there are"),
        )
    })?;
    Ok(json!({
        "domain": domain.name,
        "catch_all": domain.catch_all.map(|address| address.to_string()),
    }))
}

/// Why mail to the postmaster would be refused, which RFC 5321 §4.5.1 forbids; `None` when all is well.
pub async fn postmaster_fault(shard: &Rc<Shard>) -> Option<String> {
    let postmaster = shard.settings().mx.postmaster.clone();
    let resolution = match EmailAddress::parse(&postmaster) {
        Ok(address) => shard.people.resolve(shard, &address).await,
        Err(_) => Ok(Resolution::UnknownUser),
    };
    match resolution {
        Ok(Resolution::Local(_) | Resolution::Forwarded(_)) => None,
        Ok(Resolution::NotLocal) => Some(format!(
            "mail to the postmaster is refused: server.postmaster is {postmaster}, whose domain is none of ours; \
             name an account or alias of this server in the configuration file"
        )),
        Ok(_) => Some(format!(
            "mail to the postmaster is refused: server.postmaster is {postmaster}, which is no account or alias here; \
             `angarium alias set {postmaster} ACCOUNT` makes it one"
        )),
        Err(_) => Some(gone().to_string()),
    }
}

async fn alias(directory: &Directory, request: Request) -> Result<Value, Failure> {
    match request {
        Request::AliasSet { address, targets } => {
            let address = parse(&address)?;
            let targets = targets.iter().map(|target| parse(target)).collect::<Result<Vec<_>, _>>()?;
            let json = json!({ "alias": address.to_string() });
            let entry = AliasEntry { address, targets };
            directory.put_alias(entry).await.map_err(|error| refused(&error))?;
            Ok(json)
        }
        Request::AliasRemove { address } => {
            directory.remove_alias(&parse(&address)?).await.map_err(|error| refused(&error))?;
            Ok(json!({ "removed": address }))
        }
        Request::AliasList { after } => {
            let after = after.map(|after| parse(&after)).transpose()?;
            let entries = directory.aliases(after.as_ref(), LIST_ENTRIES_MAX);
            let rows = entries.iter().map(|alias| {
                let targets: Vec<String> = alias.targets.iter().map(ToString::to_string).collect();
                json!({ "address": alias.address.to_string(), "targets": targets })
            });
            Ok(json!(rows.collect::<Vec<_>>()))
        }
        _ => unreachable!("`answer` sends only what is about aliases"),
    }
}

fn find(shard: &Shard, address: &str) -> Result<AccountEntry, Failure> {
    let entry = own(shard)?.account_by_address(&parse(address)?);
    entry.ok_or_else(|| {
        Failure::new(
            Exit::NotFound,
            format!("there is no account {address}; `angarium account list` shows those there are"),
        )
    })
}

/// Makes the entry, then the account's mailboxes. The two are not one transaction: cut short in between, the
/// account gets its mailboxes with its first message, its first login, or the same request again.
async fn add(shard: &Rc<Shard>, new: NewAccount) -> Result<AccountEntry, Failure> {
    let address = new.address.clone();
    match own(shard)?.create_account(new).await {
        Ok(entry) => provision(shard, &entry).await.map(|()| entry),
        Err(error) => {
            if let Some(entry) = own(shard)?.account_by_address(&address) {
                provision(shard, &entry).await?;
            }
            Err(refused(&error))
        }
    }
}

/// Gives an account its mailboxes, on the shard that owns them, when it has none.
async fn provision(shard: &Rc<Shard>, entry: &AccountEntry) -> Result<(), Failure> {
    let (partition, id) = (entry.partition, entry.id);
    let work = move |there: Rc<Shard>| async move {
        there.account(partition, id, None).provision(there.world.now()).await
    };
    let provisioned = if shard.owns(partition) {
        work(Rc::clone(shard)).await
    } else {
        let owner = shard.router.partition_shard(partition);
        shard.router.on(owner, work).await.map_err(|_| gone())?
    };
    provisioned.map_err(|error| failed(&error))
}

/// One hash serves all of them, or a thousand accounts would take minutes.
async fn add_many(shard: &Rc<Shard>, domain: &str, count: u32, password: Password) -> Result<Value, Failure> {
    let credential = shared_credential(shard, domain, password).await?;
    let mut added = 0;
    for i in 0..count {
        let address = parse(&format!("u{i:03}@{domain}"))?;
        if let Some(entry) = own(shard)?.account_by_address(&address) {
            if entry.credential != credential {
                let credential = credential.clone();
                let update = |entry: &mut AccountEntry| entry.credential = credential;
                own(shard)?.update_account(entry.id, update).await.map_err(|error| refused(&error))?;
            }
            provision(shard, &entry).await?;
            continue;
        }
        let new = NewAccount {
            address,
            display_name: format!("User {i}"),
            credential: credential.clone(),
            quota_bytes: None,
            created: shard.world.now(),
        };
        add(shard, new).await?;
        added += 1;
    }
    Ok(json!({ "added": added }))
}

/// The credential that the first of these accounts has, if it is this password's: then none of them
/// needs to be changed. Else a new one.
async fn shared_credential(
    shard: &Shard,
    domain: &str,
    password: Password,
) -> Result<Option<Credential>, Failure> {
    check_length(&password)?;
    let first = own(shard)?.account_by_address(&parse(&format!("u000@{domain}"))?);
    if let Some(known) = first.and_then(|entry| entry.credential) {
        let (asked, password) = (known.clone(), password.clone());
        let is_same = shard
            .off_shard(move || auth::verify_password(&asked, password.secret()))
            .await
            .map_err(|_| busy())?;
        if is_same {
            return Ok(Some(known));
        }
    }
    hash(shard, Some(password)).await
}

async fn hash(shard: &Shard, password: Option<Password>) -> Result<Option<Credential>, Failure> {
    let Some(password) = password else { return Ok(None) };
    check_length(&password)?;
    let mut salt = [0; 16];
    shard.world.random(&mut salt);
    let work = move || auth::hash_password(password.secret(), salt, SCRAM_ITERATIONS);
    shard.off_shard(work).await.map(Some).map_err(|_| busy())
}

/// A longer one could be set, and then no login could bring it.
fn check_length(password: &Password) -> Result<(), Failure> {
    match password.reveal().len() {
        0 => Err(Failure::new(Exit::Data, "the password is empty")),
        1..=PASSWORD_BYTES_MAX => Ok(()),
        long => Err(Failure::new(
            Exit::Data,
            format!(
                "the password has {long} bytes, {PASSWORD_BYTES_MAX} are the most that a login can bring"
            ),
        )),
    }
}

fn busy() -> Failure {
    Failure::new(Exit::Unavailable, "the server is too busy to hash a password")
}

pub(crate) fn parse(address: &str) -> Result<EmailAddress, Failure> {
    EmailAddress::parse(address)
        .map_err(|error| Failure::new(Exit::Data, format!("{address:?} is not an e-mail address: {error}")))
}

pub(crate) fn refused(error: &directory::Error) -> Failure {
    let exit = match error {
        directory::Error::Exists => Exit::Exists,
        directory::Error::NotFound | directory::Error::UnknownDomain => Exit::NotFound,
        directory::Error::InUse
        | directory::Error::Invalid(_)
        | directory::Error::AliasLoop
        | directory::Error::Selector
        | directory::Error::Limit { .. } => Exit::Data,
        directory::Error::Store(_) => Exit::Unavailable,
    };
    Failure::new(exit, error.to_string())
}

/// An account as the command line shows it.
pub(crate) fn account_json(entry: &AccountEntry) -> Value {
    json!({
        "address": entry.address.to_string(),
        "display_name": entry.display_name,
        "quota_bytes": entry.quota_bytes,
        "enabled": entry.enabled,
        "sent_copy": entry.sent_copy,
        "forward": entry.forward.as_ref().map(|forward| {
            json!({ "to": forward.to.to_string(), "keeps_copy": forward.keeps_copy })
        }),
        "has_password": entry.credential.is_some(),
        "id": entry.id.0,
        "partition": entry.partition.0,
    })
}

/// The directory, which the caller has made sure is on this shard.
fn own(shard: &Shard) -> Result<&Directory, Failure> {
    shard.people.own().ok_or_else(gone)
}
