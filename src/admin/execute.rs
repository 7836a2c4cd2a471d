//! Carries out a control request on the shard that owns what it is about.

use std::rc::Rc;
use std::sync::Arc;

use account::{Account, Content, Flags, KEYWORD_BYTES_MAX, KEYWORDS_MAX, MailboxName, Message, NewMessage};
use base::{MailboxId, Timestamp, Uid};
use directory::AccountEntry;
use serde_json::{Value, json};
use shard::{DIRECTORY_PARTITION, Shard};

use crate::failures::{failed, gone};
use crate::limits::EXPORT_BYTES_MAX;
use crate::{Exit, Failure, ImportMessage, Request, Response, mailqueue, metrics, people, reporting};

/// Executes a request; on whichever shard it came in, it runs where the data is.
pub async fn execute(shard: &Rc<Shard>, request: Request, payload: Vec<u8>) -> Result<Response, Failure> {
    match request {
        Request::Ping => Ok(done(json!({ "pid": std::process::id() }))),
        Request::Metrics => metrics::Snapshot::gather(shard).await.map(|all| done(all.json())),
        Request::Queue { ask } => mailqueue::execute(shard, ask).await.map(done),
        Request::Reports { ask } => reporting::execute(shard, ask).await.map(done),
        Request::Slow { shard: only } => metrics::slow(shard, only).await.map(done),
        Request::ImportPosition { account, source } => {
            on_account(shard, &account, async move |account, _| {
                Ok(done(json!({ "position": account.bookmark(&source) })))
            })
            .await
        }
        Request::ImportBatch { account, mailbox, source, position, messages } => {
            on_account(shard, &account, async move |account, now| {
                let batch = Batch { mailbox, source, position, messages, payload };
                import(&account, batch, now).await
            })
            .await
        }
        Request::ExportBatch { account, mailbox, from_uid } => {
            on_account(shard, &account, async move |account, _| export(&account, &mailbox, from_uid).await)
                .await
        }
        Request::AccountShow { address } => show(shard, &address).await,
        other => on_directory(shard, other).await,
    }
}

fn done(json: Value) -> Response {
    Response { json, payload: Vec::new() }
}

/// Runs a request about the directory on the shard that owns it.
async fn on_directory(shard: &Rc<Shard>, request: Request) -> Result<Response, Failure> {
    let work = move |there: Rc<Shard>| async move { people::execute(&there, request).await };
    let answer = if shard.people.own().is_some() {
        work(Rc::clone(shard)).await
    } else {
        let owner = shard.router.partition_shard(DIRECTORY_PARTITION);
        shard.router.on(owner, work).await.map_err(|_| gone())?
    };
    answer.map(done)
}

/// The entry of an account, from any shard.
pub(crate) async fn entry(shard: &Shard, address: &str) -> Result<Arc<AccountEntry>, Failure> {
    let found = shard.people.by_login(shard, address).await.map_err(|_| gone())?;
    found.ok_or_else(|| {
        Failure::new(
            Exit::NotFound,
            format!("there is no account {address}; `angarium account list` shows those there are"),
        )
    })
}

/// Runs `work` on the shard that owns an account.
async fn on_account<W>(shard: &Rc<Shard>, address: &str, work: W) -> Result<Response, Failure>
where
    W: AsyncFnOnce(Account, Timestamp) -> Result<Response, Failure> + Send + 'static,
{
    let entry = entry(shard, address).await?;
    let partition = entry.partition;
    let run = move |there: Rc<Shard>| async move {
        let account = there.account(partition, entry.id, entry.quota_bytes);
        work(account, there.world.now()).await
    };
    if shard.owns(partition) {
        return run(Rc::clone(shard)).await;
    }
    let owner = shard.router.partition_shard(partition);
    shard.router.on(owner, run).await.map_err(|_| gone())?
}

struct Batch {
    mailbox: String,
    source: String,
    position: String,
    messages: Vec<ImportMessage>,
    payload: Vec<u8>,
}

async fn import(account: &Account, batch: Batch, now: Timestamp) -> Result<Response, Failure> {
    let name =
        MailboxName::new(&batch.mailbox).map_err(|error| Failure::new(Exit::Data, error.to_string()))?;
    let mailbox = match account.mailbox(&name) {
        Ok(mailbox) => mailbox,
        Err(_) => account.create_mailbox(&name, None, now).await.map_err(|error| failed(&error))?,
    };
    let mut known = account.keywords();
    let mut rest = batch.payload.as_slice();
    let mut messages = Vec::with_capacity(batch.messages.len());
    for message in batch.messages {
        let Some((data, after)) = rest.split_at_checked(message.bytes) else {
            return Err(Failure::new(Exit::Data, "the payload is shorter than its messages"));
        };
        rest = after;
        let (flags, mut keywords) = split_flags(message.flags);
        keywords.retain(|keyword| has_place(&mut known, keyword));
        let received = Timestamp::from_s(message.received_s);
        let content = Content { summary: imap::summarize(data), data: data.to_vec().into() };
        messages.push(NewMessage { content, flags, keywords, received });
    }
    let bookmark = Some((batch.source.as_str(), batch.position.as_str()));
    match account.append_marked(mailbox.id, messages, now, bookmark).await {
        Ok(appended) => Ok(done(json!({ "uids": appended.uids.to_string() }))),
        // Nothing is in. The asker tries them one by one, and leaves out the one that it is.
        Err(account::Error::TooLarge) => Ok(done(json!({ "too_large": true }))),
        Err(error) => Err(failed(&error)),
    }
}

/// Whether the account has a keyword, or room for it: one that a source made up is no reason to
/// leave a message out.
fn has_place(known: &mut Vec<String>, keyword: &str) -> bool {
    if known.iter().any(|name| name.eq_ignore_ascii_case(keyword)) {
        return true;
    }
    // RFC 9051 §9, flag-keyword.
    let is_atom = keyword.bytes().all(|byte| byte.is_ascii_graphic() && !br#"(){%*"\]"#.contains(&byte));
    let has_room = known.len() < KEYWORDS_MAX && (1..=KEYWORD_BYTES_MAX).contains(&keyword.len());
    if is_atom && has_room {
        known.push(keyword.to_owned());
    }
    is_atom && has_room
}

/// System flags apart from keywords.
pub(crate) fn split_flags(names: Vec<String>) -> (Flags, Vec<String>) {
    let mut flags = Flags::NONE;
    let mut keywords = Vec::new();
    for name in names {
        match Flags::NAMED.iter().find(|(_, known)| known.eq_ignore_ascii_case(&name)) {
            Some((flag, _)) => flags = flags.with(*flag),
            None => keywords.push(name),
        }
    }
    (flags, keywords)
}

fn flag_names(message: &Message, keywords: &[String]) -> Vec<String> {
    let system =
        Flags::NAMED.iter().filter(|(flag, _)| message.flags.has(*flag)).map(|(_, name)| (*name).to_owned());
    system.chain(message.keywords.indexes().filter_map(|at| keywords.get(at).cloned())).collect()
}

async fn export(account: &Account, mailbox: &str, from_uid: u32) -> Result<Response, Failure> {
    let name = MailboxName::new(mailbox).map_err(|error| Failure::new(Exit::Data, error.to_string()))?;
    let mailbox = account.mailbox(&name).map_err(|error| failed(&error))?;
    let keywords = account.keywords();
    let mut response = Response::default();
    let mut listed = Vec::new();
    let mut next_uid = None;
    'all: for chunk in Chunks::of(account, mailbox.id, from_uid) {
        for message in chunk {
            if response.payload.len() >= EXPORT_BYTES_MAX {
                next_uid = Some(message.uid.0);
                break 'all;
            }
            let body = account.body(&message.body).await.map_err(|error| failed(&error))?;
            listed.push(json!({
                "uid": message.uid.0,
                "bytes": body.len(),
                "flags": flag_names(&message, &keywords),
                "received_s": message.received.as_s(),
            }));
            response.payload.extend_from_slice(&body);
        }
    }
    response.json = json!({ "messages": listed, "next_uid": next_uid });
    Ok(response)
}

/// Walks a mailbox a few messages at a time.
struct Chunks<'a> {
    account: &'a Account,
    mailbox: MailboxId,
    from: Option<u32>,
}

impl<'a> Chunks<'a> {
    const fn of(account: &'a Account, mailbox: MailboxId, from: u32) -> Self {
        Self { account, mailbox, from: Some(from) }
    }
}

impl Iterator for Chunks<'_> {
    type Item = Vec<Message>;

    fn next(&mut self) -> Option<Self::Item> {
        let mut messages = Vec::new();
        self.account.messages(self.mailbox, Uid(self.from?), 64, &mut messages);
        self.from = messages.last().and_then(|message| message.uid.next()).map(|uid| uid.0);
        (!messages.is_empty()).then_some(messages)
    }
}

async fn show(shard: &Rc<Shard>, address: &str) -> Result<Response, Failure> {
    let entry = entry(shard, address).await?;
    let mut about = people::account_json(&entry);
    let delegates = Request::AccountDelegates { address: entry.address.to_string() };
    about["delegates"] = on_directory(shard, delegates).await?.json["delegates"].take();
    on_account(shard, address, async move |account, _| {
        let usage = account.usage();
        let mailboxes: Vec<Value> = account
            .mailboxes()
            .iter()
            .map(|mailbox| {
                json!({
                    "name": mailbox.name.as_str(),
                    "special_use": mailbox.special_use.map(account::SpecialUse::attribute),
                    "messages": mailbox.status.exists,
                    "unseen": mailbox.status.unseen,
                    "bytes": mailbox.status.bytes,
                })
            })
            .collect();
        let mut json = about;
        json["bytes"] = json!(usage.bytes);
        json["messages"] = json!(usage.messages);
        json["mailboxes"] = json!(mailboxes);
        Ok(done(json))
    })
    .await
}
