//! What clients were promised and what they saw: all of it must be so after every restart.

use std::collections::{BTreeMap, BTreeSet};

/// A message's number; its text has it as a token.
pub(crate) type Token = u32;

/// Mailbox, UIDVALIDITY and UID of a message somebody has seen or been told of.
pub(crate) type Place = (String, u32, u32);

/// What was tried and what was acknowledged of a message's copies in an account. Acknowledgements are
/// counted when they are heard, which may be after others have dealt with the message.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Copies {
    tried: u32,
    put: u32,
    tried_to_take: u32,
    taken: u32,
}

impl Copies {
    /// So many there must be.
    pub(crate) const fn least(&self) -> u32 {
        self.put.saturating_sub(self.tried_to_take)
    }

    /// So many there may be.
    pub(crate) const fn most(&self) -> u32 {
        self.tried.saturating_sub(self.taken)
    }
}

/// What is known of a message at a place.
#[derive(Clone, Debug, Default)]
pub(crate) struct Known {
    pub(crate) token: Option<Token>,
    /// Somebody has tried to take it away.
    pub(crate) is_leaving: bool,
    /// Somebody has tried to remove it for good.
    pub(crate) is_tried: bool,
    /// It was said to be gone.
    pub(crate) is_gone: bool,
    /// Each client has a keyword of its own: whether it is set; absent when that is not known.
    pub(crate) keywords: BTreeMap<String, bool>,
    /// The flags that were shown with a MODSEQ.
    pub(crate) flags: BTreeMap<u64, BTreeSet<String>>,
}

/// What is known of a mailbox.
#[derive(Clone, Debug, Default)]
pub(crate) struct Box {
    pub(crate) uid_validity: u32,
    pub(crate) uid_next: u32,
    pub(crate) highest_modseq: u64,
}

/// What is known of an account.
#[derive(Clone, Debug, Default)]
pub(crate) struct Page {
    pub(crate) copies: BTreeMap<Token, Copies>,
    pub(crate) places: BTreeMap<Place, Known>,
    pub(crate) boxes: BTreeMap<String, Box>,
    /// Messages that POP3 has tried to remove, wherever they are.
    pub(crate) leaving: BTreeSet<Token>,
    pub(crate) highest_change: u64,
}

/// What is known of all accounts, and what was found to be wrong.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) pages: BTreeMap<String, Page>,
    pub(crate) broken: Vec<String>,
    /// Acknowledged changes of all kinds.
    pub(crate) acknowledged: u64,
    pub(crate) told: u64,
    last_token: Token,
}

impl Ledger {
    /// A message that nobody has.
    pub(crate) fn new_token(&mut self) -> Token {
        self.last_token += 1;
        self.last_token
    }

    pub(crate) fn page(&mut self, name: &str) -> &mut Page {
        self.pages.entry(name.to_owned()).or_default()
    }

    pub(crate) fn wrong(&mut self, what: String) {
        self.broken.push(what);
    }

    /// Somebody tries to put a message into an account: it may be there once more.
    pub(crate) fn tries(&mut self, name: &str, token: Token) {
        self.page(name).copies.entry(token).or_default().tried += 1;
    }

    /// It was refused in a way that says it was not put there.
    pub(crate) fn refused(&mut self, name: &str, token: Token) {
        self.page(name).copies.entry(token).or_default().tried -= 1;
    }

    pub(crate) fn put(&mut self, name: &str, token: Token) {
        self.acknowledged += 1;
        self.page(name).copies.entry(token).or_default().put += 1;
    }

    /// Told by APPENDUID or COPYUID, or seen: from here on it must be there.
    pub(crate) fn is_at(&mut self, name: &str, place: &Place, token: Token) {
        let known = self.page(name).places.entry(place.clone()).or_default();
        let before = known.token.replace(token);
        if before.is_some_and(|before| before != token) {
            self.wrong(format!("{name}: {place:?} was message {before:?} and is {token}: a UID used twice"));
        }
    }

    /// A mailbox as a client was shown it.
    pub(crate) fn shown_box(&mut self, name: &str, mailbox: &str, shown: &Box) {
        let known = self.page(name).boxes.entry(mailbox.to_owned()).or_default();
        let before = known.uid_validity;
        known.uid_validity = shown.uid_validity;
        known.uid_next = known.uid_next.max(shown.uid_next);
        known.highest_modseq = known.highest_modseq.max(shown.highest_modseq);
        if before != 0 && before != shown.uid_validity {
            self.wrong(format!(
                "{name}: UIDVALIDITY of {mailbox} was {before} and is {}",
                shown.uid_validity
            ));
        }
    }

    /// A message as a client was shown it.
    pub(crate) fn shown(&mut self, name: &str, place: &Place, modseq: u64, flags: &BTreeSet<String>) {
        let page = self.page(name);
        let known = page.places.entry(place.clone()).or_default();
        let before = known.flags.insert(modseq, flags.clone());
        let mailbox = page.boxes.entry(place.0.clone()).or_default();
        mailbox.highest_modseq = mailbox.highest_modseq.max(modseq);
        page.highest_change = page.highest_change.max(modseq);
        if before.as_ref().is_some_and(|before| before != flags) {
            self.wrong(format!("{name}: {place:?} had {before:?} at MODSEQ {modseq} and has {flags:?}"));
        }
    }

    /// Somebody tries to set or clear a keyword.
    pub(crate) fn tries_keyword(&mut self, name: &str, place: &Place, keyword: &str) {
        self.page(name).places.entry(place.clone()).or_default().keywords.remove(keyword);
    }

    pub(crate) fn keyword(&mut self, name: &str, place: &Place, keyword: &str, is_set: bool) {
        self.acknowledged += 1;
        let known = self.page(name).places.entry(place.clone()).or_default();
        known.keywords.insert(keyword.to_owned(), is_set);
    }

    /// Somebody tries to take a message away from a place: for good, or to another place.
    pub(crate) fn tries_to_take(&mut self, name: &str, place: &Place, is_for_good: bool) {
        let page = self.page(name);
        let known = page.places.entry(place.clone()).or_default();
        known.is_leaving = true;
        let was_tried = known.is_tried;
        known.is_tried |= is_for_good;
        if let Some(token) = known.token.filter(|_| is_for_good && !was_tried) {
            page.copies.entry(token).or_default().tried_to_take += 1;
        }
    }

    pub(crate) fn taken(&mut self, name: &str, place: &Place, is_for_good: bool) {
        self.acknowledged += 1;
        let page = self.page(name);
        let known = page.places.entry(place.clone()).or_default();
        let was_gone = std::mem::replace(&mut known.is_gone, true);
        if let Some(token) = known.token.filter(|_| is_for_good && !was_gone) {
            page.copies.entry(token).or_default().taken += 1;
        }
    }

    /// POP3 tries to remove a message, of which the account has one copy.
    pub(crate) fn tries_to_remove(&mut self, name: &str, token: Token) {
        let page = self.page(name);
        if page.leaving.insert(token) {
            page.copies.entry(token).or_default().tried_to_take += 1;
        }
    }

    pub(crate) fn removed(&mut self, name: &str, token: Token) {
        self.acknowledged += 1;
        self.page(name).copies.entry(token).or_default().taken += 1;
    }
}

/// The text of a message: its length is by its number, small ones and some that need several batches.
pub(crate) fn text(token: Token) -> String {
    let lines = match token % 16 {
        0 => 900,
        1..=3 => 120,
        other => other as usize,
    };
    let mut text = format!("From: <x@example.net>\r\nSubject: token-{token}-\r\n\r\n");
    for line in 0..lines {
        text.extend([format!("line {line} of message {token}").as_str(), "\r\n"]);
        if line % 7 == 3 {
            text.push_str(".a dot first\r\n");
        }
    }
    text
}

/// The message that some bytes are of.
pub(crate) fn token_of(bytes: &str) -> Option<Token> {
    let (_, rest) = bytes.split_once("token-")?;
    rest.split_once('-')?.0.parse().ok()
}
