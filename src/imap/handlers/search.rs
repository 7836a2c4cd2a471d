//! SEARCH and UID SEARCH (RFC 9051 §6.4.4): rows decide where they can, then headers, then bodies.

mod judge;
mod plan;

use alloc::vec::Vec;

use account::{Account, Error, Message};
use base::{ChangeNumber, Ranges};

use self::judge::{Seen, judge, look};
use self::plan::{Plan, Reads};
use super::Context;
use super::ahead::{batches, join_all};
use super::store::numbers;
use super::walk::{self, Pace, Walk};
use crate::capability::Enabled;
use crate::command::search::{Charset, Returns, Search};
use crate::limits::{HEADER_BYTES_MAX, HEADER_READ_BYTES, SEARCH_TEXT_KEYS_MAX};
use crate::reply::{Code, Failure, Success};
use crate::response::search::{Found, write_esearch, write_search};
use crate::view::Selected;

pub(super) async fn search(
    request: Search,
    view: &mut Selected,
    context: &mut Context<'_, '_>,
) -> Result<Success, Failure> {
    let outcome = find(&request, view, context).await;
    let saves = request.returns.is_some_and(|returns| returns.has(Returns::SAVE));
    // RFC 5182 §2.1: a search that was to be saved and ends in NO saves nothing; BAD changes nothing.
    if saves && matches!(outcome, Err(Failure::No(..) | Failure::Account(_))) {
        view.saved_search = Ranges::new();
    }
    outcome
}

async fn find(
    request: &Search,
    view: &mut Selected,
    context: &mut Context<'_, '_>,
) -> Result<Success, Failure> {
    match request.charset {
        Charset::Unknown => return Err(Failure::No(Some(Code::BadCharset), "the charset is not known")),
        // RFC 6855 §3: with UTF8=ACCEPT all strings are UTF-8, and CHARSET is an error.
        Charset::Known if context.enabled.has(Enabled::UTF8) => {
            return Err(Failure::Bad("CHARSET has no place once UTF8=ACCEPT is enabled"));
        }
        Charset::Known | Charset::Unnamed => {}
    }
    let plan = Plan::new(&request.keys, view, &context.account.keywords(), context.now);
    if plan.looks.len() > SEARCH_TEXT_KEYS_MAX {
        return Err(Failure::No(Some(Code::Word("LIMIT")), "too many keys that look into messages"));
    }
    // IMAP4rev2 has no other answer than ESEARCH (RFC 9051 §6.4.4).
    let returns = request.returns.or(context.enabled.has(Enabled::REV2).then_some(Returns::ALL));
    let mut tally = Tally::default();
    let only_first =
        returns.is_some_and(|r| r.has(Returns::MIN) && r.is_within(Returns::MIN.with(Returns::SAVE)));
    tally.run(&plan, view, context.account, only_first).await?;
    if let Some(returns) = returns.filter(|returns| returns.has(Returns::SAVE)) {
        view.saved_search = tally.saved(returns);
    }
    let has_mod_seq = request.enables_condstore() && !tally.uids.is_empty();
    let mod_seq = has_mod_seq.then(|| tally.mod_seq(returns));
    let numbers = if request.is_uid { tally.uids } else { numbers(view, &tally.uids) };
    let found = Found { is_uid: request.is_uid, numbers: &numbers, mod_seq };
    match returns {
        None => write_search(context.out, &found).await?,
        // RFC 5182 §2.1: nothing is told when nothing but SAVE was asked for.
        Some(Returns::SAVE) => {}
        Some(returns) => write_esearch(&mut context.out.buffer, context.tag, returns, &found),
    }
    Ok(Success::plain("searched"))
}

/// What has been found so far.
#[derive(Debug, Default)]
struct Tally {
    uids: Ranges,
    /// MODSEQ of the first, of the last, and the greatest.
    first_change: ChangeNumber,
    last_change: ChangeNumber,
    highest_change: ChangeNumber,
}

impl Tally {
    async fn run(
        &mut self,
        plan: &Plan,
        view: &Selected,
        account: &Account,
        only_first: bool,
    ) -> Result<(), Failure> {
        let judges = Judge { plan, account, pace: &Pace::default() };
        let mut walk = Walk::new(view.mailbox, &plan.candidates(&view.uids));
        loop {
            let chunk = walk.advance(account);
            if chunk.is_empty() {
                return Ok(());
            }
            if plan.reads == Reads::Nothing {
                self.rows(judges, chunk).await;
            } else {
                for batch in batches(chunk, |message| plan.bytes_of(message)) {
                    self.batch(judges, batch).await?;
                }
            }
            if only_first && !self.uids.is_empty() {
                return Ok(());
            }
        }
    }

    /// Judges messages that their rows decide.
    async fn rows(&mut self, judges: Judge<'_>, chunk: &[Message]) {
        for message in chunk {
            if judge(&judges.plan.test, message, &[]) == Ok(true) {
                self.add(message);
            }
            judges.pace.spend(judges.plan.row_cost).await;
        }
    }

    /// Judges messages of which some may have to be read: those at the same time.
    async fn batch(&mut self, judges: Judge<'_>, batch: &[Message]) -> Result<(), Failure> {
        let plan = judges.plan;
        judges.pace.spend(batch.len() * plan.row_cost).await;
        let known: Vec<Option<bool>> =
            batch.iter().map(|message| judge(&plan.test, message, &[]).ok()).collect();
        let unknown = batch.iter().zip(&known).filter(|(_, verdict)| verdict.is_none());
        // The whole message has been counted, if it may be read; else only this much.
        let header_max = if plan.reads == Reads::Whole { HEADER_BYTES_MAX } else { HEADER_READ_BYTES };
        let reads = unknown.map(|(message, _)| judges.judge(message, Vec::new(), header_max));
        let mut read = join_all(reads).await.into_iter();
        for (message, verdict) in batch.iter().zip(known) {
            let judged = match verdict {
                Some(verdict) => Judged::Done(verdict),
                None => read.next().expect("every message that its row did not decide was read")?,
            };
            let judged = match judged {
                Judged::Begun(bytes) => judges.judge(message, bytes, HEADER_BYTES_MAX).await?,
                done @ Judged::Done(_) => done,
            };
            if matches!(judged, Judged::Done(true)) {
                self.add(message);
            }
        }
        Ok(())
    }

    fn add(&mut self, message: &Message) {
        if self.uids.is_empty() {
            self.first_change = message.change;
        }
        self.last_change = message.change;
        self.highest_change = self.highest_change.max(message.change);
        self.uids.insert(message.uid.0);
    }

    /// RFC 5182 §2.1: with MIN or MAX and neither ALL nor COUNT, only the ends are saved.
    fn saved(&self, returns: Returns) -> Ranges {
        let ends = Returns::MIN.with(Returns::MAX);
        if returns == Returns::SAVE || !returns.is_within(ends.with(Returns::SAVE)) {
            return self.uids.clone();
        }
        let first = self.uids.first().filter(|_| returns.has(Returns::MIN));
        let last = self.uids.last().filter(|_| returns.has(Returns::MAX));
        first.into_iter().chain(last).collect()
    }

    /// RFC 4731 §3.2: with MIN or MAX alone, the MODSEQ of those ends; else the greatest of all.
    fn mod_seq(&self, returns: Option<Returns>) -> ChangeNumber {
        let Some(returns) =
            returns.filter(|r| r.is_within(Returns::MIN.with(Returns::MAX).with(Returns::SAVE)))
        else {
            return self.highest_change;
        };
        match (returns.has(Returns::MIN), returns.has(Returns::MAX)) {
            (true, true) => self.first_change.max(self.last_change),
            (true, false) => self.first_change,
            (false, true) => self.last_change,
            (false, false) => self.highest_change,
        }
    }
}

/// How far a message has been judged.
enum Judged {
    /// Whether it is one of those looked for.
    Done(bool),
    /// Its header is long: these are its first bytes. The rest is read for one message at a time.
    Begun(Vec<u8>),
}

/// What judging messages needs.
#[derive(Clone, Copy)]
struct Judge<'a> {
    plan: &'a Plan,
    account: &'a Account,
    pace: &'a Pace,
}

impl Judge<'_> {
    /// Decides by the header, and where that is not enough by the whole message. `header_max` is how
    /// much may be read of the header if nothing else is.
    async fn judge(&self, message: &Message, bytes: Vec<u8>, header_max: u32) -> Result<Judged, Failure> {
        match self.look_at(message, bytes, header_max).await {
            Ok(verdict) => Ok(verdict),
            // Gone meanwhile, or damaged: no text of it can be found. The rest can still be searched.
            Err(Error::NotFound | Error::Corrupt) => Ok(Judged::Done(false)),
            Err(error) => Err(error.into()),
        }
    }

    async fn look_at(&self, message: &Message, mut bytes: Vec<u8>, header_max: u32) -> Result<Judged, Error> {
        let Self { plan, account, pace } = *self;
        if !walk::read_header(account, message, &mut bytes, header_max).await? {
            return Ok(Judged::Begun(bytes));
        }
        let mut known: Vec<Option<bool>> = plan.looks.iter().map(|_| None).collect();
        let mut tree = None;
        loop {
            let (reads, index) = match judge(&plan.test, message, &known) {
                Ok(verdict) => return Ok(Judged::Done(verdict)),
                Err(missing) => missing,
            };
            if reads == Reads::Whole && tree.is_none() {
                if bytes.len() < message.size as usize {
                    bytes.clear();
                    bytes.shrink_to_fit();
                    bytes = account.body(&message.body).await?;
                }
                tree = Some(mime::scan(&bytes));
                pace.spend(bytes.len()).await;
            }
            let header = bytes.get(..walk::header_end(&bytes)).unwrap_or(&bytes);
            let seen = Seen { header, whole: tree.as_ref().map(|tree| (bytes.as_slice(), tree)) };
            let found = plan.looks.get(index).is_some_and(|one| look(one, &seen));
            if let Some(known) = known.get_mut(index) {
                *known = Some(found);
            }
            pace.spend(if reads == Reads::Whole { bytes.len() } else { header.len() }).await;
        }
    }
}
