//! SEARCH and UID SEARCH (RFC 9051 §6.4.4): rows decide where they can, then headers, then bodies.

mod judge;
mod plan;

use alloc::vec::Vec;

use account::{Account, Error, Message};
use base::{ChangeNumber, Ranges};

use self::judge::{Facts, judge};
use self::plan::{Plan, Reads};
use super::Context;
use super::ahead::{batches, join_all};
use super::store::numbers;
use super::walk::{self, Walk};
use crate::capability::Enabled;
use crate::command::search::{Charset, Returns, Search};
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
        let mut walk = Walk::new(view.mailbox, &plan.candidates(&view.uids));
        loop {
            let chunk = walk.advance(account);
            if chunk.is_empty() {
                return Ok(());
            }
            if plan.reads == Reads::Nothing {
                let is_found = |message| judge(&plan.test, &Facts::of_row(message)) == Some(true);
                chunk.iter().filter(|message| is_found(message)).for_each(|message| self.add(message));
            } else {
                for batch in batches(chunk, |message| plan.bytes_of(message)) {
                    self.batch(plan, batch, account).await?;
                }
            }
            if only_first && !self.uids.is_empty() {
                return Ok(());
            }
        }
    }

    /// Judges messages of which some may have to be read: those at the same time.
    async fn batch(&mut self, plan: &Plan, batch: &[Message], account: &Account) -> Result<(), Failure> {
        let known: Vec<Option<bool>> =
            batch.iter().map(|message| judge(&plan.test, &Facts::of_row(message))).collect();
        let unknown = batch.iter().zip(&known).filter(|(_, verdict)| verdict.is_none());
        let reads = unknown.map(|(message, _)| read_and_judge(plan, message, account));
        let mut read = join_all(reads).await.into_iter();
        for (message, verdict) in batch.iter().zip(known) {
            let verdict = match verdict {
                Some(verdict) => verdict,
                None => read.next().expect("every message that its row did not decide was read")?,
            };
            if verdict {
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

/// Decides by the header, and where that is not enough by the whole message.
async fn read_and_judge(plan: &Plan, message: &Message, account: &Account) -> Result<bool, Failure> {
    match read_and_decide(plan, message, account).await {
        Ok(verdict) => Ok(verdict),
        // Gone meanwhile, or damaged: no text of it can be found. The rest can still be searched.
        Err(Error::NotFound | Error::Corrupt) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

async fn read_and_decide(plan: &Plan, message: &Message, account: &Account) -> Result<bool, Error> {
    let mut bytes = walk::read_header(account, message).await?;
    let header_end = mime::end_of_headers(&bytes);
    let facts = Facts { header: bytes.get(..header_end), ..Facts::of_row(message) };
    if let Some(verdict) = judge(&plan.test, &facts) {
        return Ok(verdict);
    }
    if bytes.len() < message.size as usize {
        bytes = account.body(&message.body).await?;
    }
    let tree = mime::scan(&bytes);
    let facts =
        Facts { message, header: bytes.get(..mime::end_of_headers(&bytes)), whole: Some((&bytes, &tree)) };
    Ok(judge(&plan.test, &facts).expect("the whole message decides every key"))
}
