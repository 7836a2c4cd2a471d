//! Compares everything that is stored with the ledger, and every counter with a recount.

use std::collections::{BTreeMap, BTreeSet};

use account::{Account, Flags, Mailbox, Message, MessageChange};
use base::ChangeNumber;

use crate::ledger::{Ledger, Page, Place, Token, text, token_of};
use crate::server::Server;

/// An account as it is stored.
struct Stored {
    account: Account,
    mailboxes: Vec<(Mailbox, Vec<(Message, Token)>)>,
}

/// What is wrong with what the server has, if anything.
pub(crate) async fn verify(server: &Server, ledger: &mut Ledger) {
    for entry in server.entries() {
        let name = entry.address.to_string().split('@').next().unwrap_or_default().to_owned();
        let account = server.account(&entry);
        match read(account).await {
            Ok(stored) => {
                let mut wrong = Vec::new();
                counters(&stored, &mut wrong);
                promises(&stored, ledger.page(&name), &mut wrong);
                ledger.broken.extend(wrong.into_iter().map(|what| format!("{name}: {what}")));
            }
            Err(what) => ledger.wrong(format!("{name}: {what}")),
        }
    }
}

async fn read(account: Account) -> Result<Stored, String> {
    let mut mailboxes = Vec::new();
    for mailbox in account.mailboxes() {
        let mut rows = Vec::new();
        account.for_each(mailbox.id, |message| rows.push(*message));
        let mut messages = Vec::new();
        for message in rows {
            let uid = message.uid;
            let body = account.body(&message.body).await;
            let body = body.map_err(|error| format!("{} {uid}: {error}", mailbox.name))?;
            let body = String::from_utf8_lossy(&body).into_owned();
            let token = token_of(&body).ok_or_else(|| format!("{} {uid}: {body:?}", mailbox.name))?;
            if !body.ends_with(&text(token)) {
                return Err(format!("{} {uid}: not what was sent as {token}: {body:?}", mailbox.name));
            }
            messages.push((message, token));
        }
        mailboxes.push((mailbox, messages));
    }
    Ok(Stored { account, mailboxes })
}

fn counters(stored: &Stored, wrong: &mut Vec<String>) {
    let (mut count, mut bytes) = (0, 0);
    let highest = stored.account.highest_change();
    for (mailbox, messages) in &stored.mailboxes {
        let status = mailbox.status;
        let size: u64 = messages.iter().map(|(message, _)| u64::from(message.size)).sum();
        let having = |flag| messages.iter().filter(|(message, _)| message.flags.has(flag)).count() as u32;
        let exists = messages.len() as u32;
        let found = (exists, exists - having(Flags::SEEN), having(Flags::DELETED), size);
        let said = (status.exists, status.unseen, status.deleted, status.bytes);
        if found != said {
            wrong.push(format!("{}: counted {found:?}, the counters say {said:?}", mailbox.name));
        }
        let newest = messages.iter().map(|(message, _)| message.change).max().unwrap_or_default();
        if newest > status.highest_change || status.highest_change > highest.max(ChangeNumber(1)) {
            let said = status.highest_change;
            wrong.push(format!("{}: MODSEQ {newest}, highest {said}, account {highest}", mailbox.name));
        }
        let uids: Vec<u32> = messages.iter().map(|(message, _)| message.uid.0).collect();
        if !uids.is_sorted_by(|a, b| a < b) || uids.last().is_some_and(|last| *last >= status.uid_next.0) {
            wrong.push(format!("{}: UIDs {uids:?}, UIDNEXT {}", mailbox.name, status.uid_next));
        }
        changes(stored, mailbox, messages, wrong);
        (count, bytes) = (count + messages.len() as u64, bytes + size);
    }
    let usage = stored.account.usage();
    if (usage.messages, usage.bytes) != (count, bytes) {
        wrong.push(format!("counted {count} messages of {bytes} bytes, the account says {usage:?}"));
    }
    if usage.quota_bytes.is_some_and(|quota| bytes > quota) {
        wrong.push(format!("over its quota: {usage:?}"));
    }
}

/// The list of changes says the same as the mailbox.
fn changes(stored: &Stored, mailbox: &Mailbox, messages: &[(Message, Token)], wrong: &mut Vec<String>) {
    let mut updated = BTreeMap::new();
    let mut last = ChangeNumber(0);
    for change in stored.account.changes(mailbox.id, ChangeNumber(0)) {
        let (uid, number) = match change {
            MessageChange::Updated(message) => {
                updated.insert(message.uid, message.change);
                (message.uid, message.change)
            }
            MessageChange::Vanished(uid, number) => (uid, number),
        };
        if number < last {
            wrong.push(format!("{}: change {number} of {uid} comes after {last}", mailbox.name));
        }
        last = number;
    }
    let there: BTreeMap<_, _> = messages.iter().map(|(message, _)| (message.uid, message.change)).collect();
    if there != updated {
        wrong.push(format!("{}: there are {there:?}, changed were {updated:?}", mailbox.name));
    }
}

fn promises(stored: &Stored, page: &Page, wrong: &mut Vec<String>) {
    let names = stored.account.keywords();
    let mut copies: BTreeMap<Token, u32> = BTreeMap::new();
    let mut there: BTreeMap<Place, (Message, Token)> = BTreeMap::new();
    for (mailbox, messages) in &stored.mailboxes {
        for (message, token) in messages {
            *copies.entry(*token).or_default() += 1;
            let place = (mailbox.name.to_string(), mailbox.uid_validity.0, message.uid.0);
            there.insert(place, (*message, *token));
        }
        let Some(known) = page.boxes.get(&mailbox.name.to_string()) else { continue };
        let is_same = known.uid_validity == 0 || known.uid_validity == mailbox.uid_validity.0;
        let status = mailbox.status;
        if !is_same || known.uid_next > status.uid_next.0 || known.highest_modseq > status.highest_change.0 {
            wrong.push(format!("{}: was shown as {known:?} and is {mailbox:?}", mailbox.name));
        }
    }
    if page.highest_change > stored.account.highest_change().0 {
        wrong.push(format!("change {} was seen", page.highest_change));
    }
    for token in copies.keys().chain(page.copies.keys()).collect::<BTreeSet<_>>() {
        let found = copies.get(token).copied().unwrap_or(0);
        let known = page.copies.get(token).copied().unwrap_or_default();
        if found < known.least() || found > known.most() {
            wrong.push(format!("message {token} is there {found} times, and should be {known:?}"));
        }
    }
    for (place, known) in &page.places {
        let Some((message, token)) = there.get(place) else {
            let is_leaving =
                known.is_leaving || known.token.is_some_and(|token| page.leaving.contains(&token));
            if known.token.is_some() && !is_leaving {
                wrong.push(format!("{place:?} is gone: {known:?}"));
            }
            continue;
        };
        if known.is_gone || known.token.is_some_and(|known| known != *token) {
            wrong.push(format!("{place:?} is message {token}, and was {known:?}"));
        }
        let flags = flags(message, &names);
        if known.flags.keys().next_back().is_some_and(|modseq| *modseq > message.change.0)
            || known.flags.get(&message.change.0).is_some_and(|seen| *seen != flags)
        {
            wrong.push(format!("{place:?} has {flags:?} at {}, and was {known:?}", message.change));
        }
        for (keyword, is_set) in &known.keywords {
            if flags.contains(keyword) != *is_set {
                wrong.push(format!("{place:?} has {flags:?}; acknowledged was {keyword} {is_set}"));
            }
        }
    }
}

fn flags(message: &Message, names: &[String]) -> BTreeSet<String> {
    let system = Flags::NAMED.iter().filter(|(flag, _)| message.flags.has(*flag));
    let keywords = names.iter().enumerate().filter(|(bit, _)| message.keywords.0 >> bit & 1 == 1);
    system.map(|(_, name)| (*name).to_owned()).chain(keywords.map(|(_, name)| name.clone())).collect()
}
