//! FETCH and UID FETCH (RFC 9051 §6.4.5): rows in chunks, a message's bytes only when an item needs
//! them, each message read once for all of its items, everything streamed.

mod at_hand;
mod by_url;
mod content;
mod listing;
mod sections;

use alloc::string::String;
use alloc::vec::Vec;

use account::{Account, Error, FlagChange, FlagMode, Flags, Message, Summaries};
use base::{ChangeNumber, Out, Ranges, Uid};

pub(super) use self::by_url::section_bytes;
use self::content::{Content, Need};
pub(super) use self::sections::stand_in_for_nul;
use super::ahead::{batches, join_all};
use super::store::{Told, tell_stored};
use super::walk::{Pace, Walk};
use super::{Context, sync};
use crate::capability::Enabled;
use crate::command::fetch::{Fetch, Item, Property};
use crate::limits::ROW_COST_BYTES;
use crate::parse::{SequenceNumber, SequenceSet};
use crate::reply::{Code, Failure, Success};
use crate::response::bodystructure::{Extent, write_structure};
use crate::response::envelope::write_envelope;
use crate::response::fetch::{write_end, write_property, write_start};
use crate::response::section::write_size_label;
use crate::response::text::write_number;
use crate::view::{self, Numbering, Selected};

pub(super) async fn fetch(
    request: Fetch,
    view: &mut Selected,
    context: &mut Context<'_, '_>,
) -> Result<Success, Failure> {
    let uids = view.resolve(&request.set, request.is_uid)?;
    if request.wants_vanished {
        tell_vanished(&request, view, context)?;
    }
    let need = Need::of(&request.items);
    let has_flags = request.items.contains(&Item::Property(Property::Flags));
    // Flags alone name keywords.
    let names = if has_flags { context.account.keywords() } else { Vec::new() };
    if has_flags {
        sync::tell_new_keywords(view, &names, context);
    }
    let has_mod_seq = request.enables_condstore() || !context.enabled.has(Enabled::CONDSTORE);
    let mut job = Job {
        request: &request,
        account: context.account,
        names,
        need,
        way: Way::of(&request.items),
        tells_names: has_flags,
        tells_flags: has_flags && has_mod_seq,
        seen_change: view.seen_change,
        seen: Ranges::new(),
        told: Vec::new(),
        trouble: None,
        summaries: Summaries::default(),
        pace: Pace::default(),
    };
    let found = job.run(view, &uids, context.out).await?;
    let Job { seen, told, trouble, .. } = job;
    for (uid, change) in told {
        view.note_told(uid, change);
    }
    if request.items.iter().any(Item::sets_seen) && !view.is_read_only && !seen.is_empty() {
        // Durable before OK, like every change.
        let change = FlagChange { mode: FlagMode::Add, flags: Flags::SEEN, keywords: Vec::new() };
        let stored = context.account.store(view.mailbox, &seen, &change, None).await?;
        tell_stored(view, &stored.uids, Told::Flags, context).await?;
    }
    match trouble {
        Some(trouble) => Err(trouble),
        // RFC 5530 §3, RFC 7162 §3.1.4: gone, though the client has not been told so yet.
        None if found < uids.len() && !request.is_uid => {
            Err(Failure::No(Some(Code::Word("EXPUNGEISSUED")), "some of the messages are gone"))
        }
        None => Ok(Success::plain("fetched")),
    }
}

/// VANISHED (EARLIER) for those of the set that went after CHANGEDSINCE (RFC 7162 §3.2.6). Those
/// that the client still counts are left for the ordinary update, which moves the numbers.
fn tell_vanished(request: &Fetch, view: &Selected, context: &mut Context<'_, '_>) -> Result<(), Failure> {
    let Some(since) = request.changed_since.filter(|_| context.enabled.has(Enabled::QRESYNC)) else {
        return Err(Failure::Bad("VANISHED needs QRESYNC to be enabled"));
    };
    let gone = context.account.vanished(view.mailbox, since);
    let asked = match &request.set {
        SequenceSet::Saved => view.saved_search.clone(),
        SequenceSet::Ranges(ranges) => plain(ranges, view.uids.last().unwrap_or(1)),
    };
    let gone = view::difference(&gone.intersection(&asked), &view.uids);
    sync::write_vanished(&mut context.out.buffer, &gone, true);
    Ok(())
}

/// A set of UIDs as it was said, known to the client or not.
fn plain(ranges: &[(SequenceNumber, SequenceNumber)], greatest: u32) -> Ranges {
    let number = |end| match end {
        SequenceNumber::Number(number) => number,
        SequenceNumber::Star => greatest,
    };
    let mut out = Ranges::new();
    for &(first, last) in ranges {
        out.insert_range(number(first), number(last));
    }
    out
}

/// How messages are told of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// Rows and summaries tell all that is asked for.
    Listing,
    /// Of a message's bytes all are asked for, once and as they are.
    Whole,
    /// Any other bytes.
    Pieces,
}

impl Way {
    fn of(items: &[Item]) -> Self {
        if items.iter().all(Item::is_in_summary) {
            return Self::Listing;
        }
        if at_hand::is_whole(items) { Self::Whole } else { Self::Pieces }
    }
}

/// One FETCH under way.
struct Job<'a> {
    request: &'a Fetch,
    account: &'a Account,
    /// The account's keywords.
    names: Vec<String>,
    need: Need,
    way: Way,
    /// Whether keywords are named.
    tells_names: bool,
    /// Whether what is told of a message is all that an update of its flags would tell.
    tells_flags: bool,
    /// Up to where the client has been told of changes.
    seen_change: ChangeNumber,
    /// Messages that have been sent and did not have `\Seen`.
    seen: Ranges,
    /// Messages that changed since the client was last brought up to date, told of just now.
    told: Vec<(Uid, ChangeNumber)>,
    /// The first thing that went wrong; other messages are sent all the same.
    trouble: Option<Failure>,
    /// Room for those of a chunk.
    summaries: Summaries,
    pace: Pace,
}

impl Job<'_> {
    /// Sends what was asked for; gives how many of the messages are still there.
    async fn run(&mut self, view: &Selected, uids: &Ranges, out: &mut Out<'_>) -> Result<usize, Failure> {
        let mut walk = Walk::new(view.mailbox, uids);
        let mut numbering = view.numbering();
        let mut found = 0;
        loop {
            let chunk = walk.advance(self.account);
            if chunk.is_empty() {
                return Ok(found);
            }
            found += chunk.len();
            self.pace.spend(chunk.len() * ROW_COST_BYTES).await;
            let need = self.need;
            if need.any() {
                let number = |message| Some((self.number(message, &mut numbering)?, message));
                let numbered: Vec<(u32, &Message)> = chunk.iter().filter_map(number).collect();
                if self.way == Way::Listing {
                    self.list(&numbered, out).await?;
                    continue;
                }
                for batch in batches(&numbered, |(_, message)| need.bytes_of(message)) {
                    self.batch(batch, out).await?;
                }
                continue;
            }
            for message in chunk {
                let Some(number) = self.number(message, &mut numbering) else { continue };
                self.learn_keywords(message);
                write_start(&mut out.buffer, number);
                self.properties(message, &mut out.buffer);
                write_end(&mut out.buffer);
                out.room().await?;
            }
        }
    }

    /// The sequence number of a message that is to be told of.
    fn number(&mut self, message: &Message, numbering: &mut Numbering<'_>) -> Option<u32> {
        if self.request.changed_since.is_some_and(|since| message.change <= since) {
            return None;
        }
        let number = numbering.of(message.uid)?;
        if self.tells_flags && message.change > self.seen_change {
            self.told.push((message.uid, message.change));
        }
        Some(number)
    }

    /// Messages of which bytes are needed. Whatever can fail is read before the first byte of an
    /// answer is written.
    async fn batch(&mut self, numbered: &[(u32, &Message)], out: &mut Out<'_>) -> Result<(), Failure> {
        let told = if self.way == Way::Whole { self.tell_at_hand(numbered, out).await? } else { 0 };
        let numbered = numbered.get(told..).unwrap_or_default();
        if numbered.is_empty() {
            return Ok(());
        }
        let (account, need) = (self.account, self.need);
        let reads = numbered.iter().map(|&(_, message)| Content::load(account, message, need));
        for ((number, message), content) in numbered.iter().zip(join_all(reads).await) {
            self.pace.spend(need.bytes_of(message) as usize).await;
            let content = match content {
                Ok(mut content) => content.complete().await.map(|()| content),
                Err(error) => Err(error),
            };
            match content {
                Ok(mut content) => self.one(*number, message, &mut content, out).await?,
                Err(error) => self.note(error.into()),
            }
            out.room().await?;
        }
        Ok(())
    }

    async fn one(
        &mut self,
        number: u32,
        message: &Message,
        content: &mut Content<'_>,
        out: &mut Out<'_>,
    ) -> Result<(), Failure> {
        self.learn_keywords(message);
        write_start(&mut out.buffer, number);
        let mut is_first = true;
        for item in &self.request.items {
            // Where an item that is left out began is known only once the buffer has been sent.
            out.room().await?;
            let start = out.buffer.len();
            if !is_first {
                out.buffer.push(b' ');
            }
            if self.item(item, content, out).await? {
                is_first = false;
            } else {
                out.buffer.truncate(start);
            }
            self.pace.spend(sections::cost(item, content)).await;
        }
        if is_first {
            // `msg-att` is never empty (RFC 9051 §9).
            write_property(&mut out.buffer, Property::Uid, message, &self.names);
        }
        write_end(&mut out.buffer);
        self.sent(message);
        Ok(())
    }

    /// A message's bytes have been sent.
    fn sent(&mut self, message: &Message) {
        if !message.flags.has(Flags::SEEN) {
            self.seen.insert(message.uid.0);
        }
    }

    fn properties(&self, message: &Message, buffer: &mut Vec<u8>) {
        let mut is_first = true;
        for item in &self.request.items {
            let Item::Property(property) = item else { continue };
            if !is_first {
                buffer.push(b' ');
            }
            is_first = false;
            write_property(buffer, *property, message, &self.names);
        }
    }

    /// Writes one item; false when it must be left out, and then nothing was written.
    async fn item(
        &mut self,
        item: &Item,
        content: &mut Content<'_>,
        out: &mut Out<'_>,
    ) -> Result<bool, Failure> {
        let buffer = &mut out.buffer;
        match item {
            Item::Property(property) => write_property(buffer, *property, content.message(), &self.names),
            Item::Envelope => {
                buffer.extend_from_slice(b"ENVELOPE ");
                write_envelope(buffer, &mime::envelope(content.header()));
            }
            Item::Body => {
                buffer.extend_from_slice(b"BODY ");
                write_structure(buffer, content.tree(), Extent::Plain);
            }
            Item::BodyStructure => {
                buffer.extend_from_slice(b"BODYSTRUCTURE ");
                write_structure(buffer, content.tree(), Extent::Extended);
            }
            Item::BinarySize(path) => match sections::binary_size(path, content).await {
                Ok(size) => {
                    write_size_label(buffer, path);
                    buffer.push(b' ');
                    write_number(buffer, size);
                }
                Err(failure) => {
                    self.note(failure);
                    return Ok(false);
                }
            },
            Item::Section(section) => {
                let piece = match sections::find(section, content).await {
                    Ok(piece) => piece,
                    Err(failure) => {
                        self.note(failure);
                        return Ok(false);
                    }
                };
                sections::write(section, &piece, content, out).await?;
            }
        }
        Ok(true)
    }

    /// Another session may name a new keyword while we are at it.
    fn learn_keywords(&mut self, message: &Message) {
        if self.tells_names && self.names.len() < 64 && message.keywords.0 >> self.names.len() != 0 {
            self.names = self.account.keywords();
        }
    }

    fn note(&mut self, failure: Failure) {
        // A message that has gone meanwhile is told of by its number, not as an error of ours.
        let failure = match failure {
            Failure::Account(Error::NotFound) => {
                Failure::No(Some(Code::Word("EXPUNGEISSUED")), "some of the messages are gone")
            }
            other => other,
        };
        self.trouble.get_or_insert(failure);
    }
}
