//! Mail that our users submit, before anything else looks at it: who it says it is from (RFC 6409 §6.1, §8.1), what it
//! lacks, and the copies of it that users want in their Sent mailboxes.
//!
//! - `authors`: the addresses of From and Sender, and what follows from who may use them;
//! - `mend`: what is put in and taken out; `copies`: into Sent mailboxes.
//!
//! Programs of this machine (`local_mail`) have no account: whoever runs them may write any From. Mail of trusted networks
//! (`outbound.relay_from`) is not submitted.

mod authors;
mod copies;
mod mend;

use std::rc::Rc;
use std::sync::Arc;

use auth::Identity;
use base::Timestamp;
use directory::{AccountEntry, EmailAddress, SenderUse};
use smtp::{Message, Refused};

pub(crate) use self::authors::first_author;
use self::authors::{Authors, Sender};
pub(crate) use self::copies::Copies;
use self::mend::{Lacks, Mending};
use crate::Shard;
use crate::entrance::{Barred, entry};
use crate::inbound::{FromCheck, refused};

/// A message as it goes on, and the copies of it to store when it has been taken.
pub(crate) struct Submitted {
    pub(crate) message: Message,
    pub(crate) copies: Copies,
}

/// Looks at a message that is submitted, and mends it.
pub(crate) async fn prepare(
    shard: &Rc<Shard>,
    mut message: Message,
    now: Timestamp,
) -> Result<Submitted, Box<Refused>> {
    let settings = shard.settings();
    let own_bytes = message.envelope.received_field_bytes;
    let content = message.data.get(own_bytes..).unwrap_or_default();
    let header = content.get(..mime::end_of_headers(content)).unwrap_or(content);
    let lacks = Lacks { hostname: &settings.hostname, unique: message.envelope.id.0, now };
    let mut mending = Mending::of(header, &lacks);
    let mut copies = Copies::default();
    if let Some(identity) = &message.envelope.identity {
        // It would go on in a field of ours.
        if header.first().is_some_and(|byte| matches!(byte, b' ' | b'\t')) {
            return Err(refused(550, (5, 6, 0), "the header begins with a line that continues another"));
        }
        let account = account(shard, identity).await?;
        let authors = Authors::of(header);
        let changes_names = author(shard, &account, &authors, &mut mending, &mut copies).await?;
        // RFC 6531 §3.4: the header has a UTF-8 address now.
        message.envelope.is_smtputf8 |= changes_names && !account.address.to_string().is_ascii();
        copies.add_own(&account);
    }
    if copies.are_wanted() {
        copies.content = mending.kept(&message.data, own_bytes);
    }
    message.data = mending.sent(message.data, own_bytes);
    Ok(Submitted { message, copies })
}

/// Judges who the message is from, adds what it lacks of that, and notes who wants a copy. Whether something was added.
async fn author(
    shard: &Rc<Shard>,
    account: &AccountEntry,
    authors: &Authors,
    mending: &mut Mending,
    copies: &mut Copies,
) -> Result<bool, Box<Refused>> {
    let check = shard.settings().inbound.from;
    let from = uses(shard, account, &authors.from).await?;
    let sender = uses(shard, account, &authors.sender).await?;
    for found in &from {
        if let SenderUse::Delegated { copy_to: Some(owner), .. } = found {
            copies.add(owner);
        }
    }
    let fault = authors.fault(&from, &sender).filter(|_| check != FromCheck::Any);
    if let Some(fault) = &fault {
        let is_refused = check == FromCheck::Enforce;
        tracing::info!(event = "submission.from_foreign", account = %account.address, why = fault.text, is_refused);
    }
    let decided = authors.judge(&from, &sender, (check, fault))?;
    let own = authors::mailbox(&account.display_name, &account.address.to_string());
    if !authors.has_from {
        mending.add(&mime::fold("From", &own));
    }
    if decided == Sender::Own {
        mending.add(&mime::fold(authors.sender_name(), &own));
        authors.sender_fields.iter().for_each(|range| mending.remove(range.clone()));
    }
    Ok(!authors.has_from || decided == Sender::Own)
}

async fn account(shard: &Rc<Shard>, identity: &Identity) -> Result<Arc<AccountEntry>, Box<Refused>> {
    match entry(shard, identity).await {
        Ok(entry) => Ok(entry),
        Err(Barred::Closed) => Err(refused(550, (5, 7, 1), "the account is closed")),
        Err(Barred::Failed(_)) => Err(unavailable()),
    }
}

/// What the account may do with each of some addresses; nothing with what is none.
async fn uses(
    shard: &Rc<Shard>,
    account: &AccountEntry,
    addresses: &[authors::Named],
) -> Result<Vec<SenderUse>, Box<Refused>> {
    let mut uses = Vec::with_capacity(addresses.len());
    for named in addresses {
        uses.push(match &named.address {
            Some(address) => may_use(shard, account, address).await?,
            None => SenderUse::Denied,
        });
    }
    Ok(uses)
}

async fn may_use(
    shard: &Rc<Shard>,
    account: &AccountEntry,
    address: &EmailAddress,
) -> Result<SenderUse, Box<Refused>> {
    shard.people.sender_use(shard, account.id, address).await.map_err(|_| unavailable())
}

#[expect(clippy::unnecessary_box_returns, reason = "refusals are boxed wherever they go")]
fn unavailable() -> Box<Refused> {
    refused(451, (4, 3, 0), "who may send as whom cannot be looked up now")
}
