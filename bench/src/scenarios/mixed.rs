//! `mixed-day`: what a provider's users and the world do to it in a day, in small. An open loop: arrivals do
//! not wait for each other.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::held::{Mailboxes, Tally};
use super::talk::{Act, Chooser, ImapTalk, PopTalk, SendTalk, Talk, Talks, kinds_and_steps};
use super::{Share, log_in, measure};
use crate::cli::{MixedArgs, Options};
use crate::clock;
use crate::message::{Messages, Size};
use crate::report::{Report, rounded};
use crate::threads::Moment;
use crate::wrong::Wrong;

const DAY_SECONDS: f64 = 86_400.0;

/// What arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Delivery,
    Submission,
    Imap,
    Webmail,
    Pop3,
}

/// Of each, how many a user has in a day.
const MODEL: [(Kind, u64); 5] =
    [(Kind::Delivery, 40), (Kind::Submission, 8), (Kind::Imap, 12), (Kind::Webmail, 60), (Kind::Pop3, 24)];

pub(super) fn run(options: &Options, args: MixedArgs) -> Result<Report, Wrong> {
    let is_span = |value: f64| value.is_finite() && value > 0.0;
    if args.population == 0 || !is_span(args.speedup) || !is_span(args.idle) {
        return Err(Wrong::Usage("--population, --speedup and --idle are above 0".into()));
    }
    if options.connections < 8 {
        return Err(Wrong::Usage("arrivals overlap: --connections 64 or so, and at least 8".into()));
    }
    let kinds = kinds(args);
    let a_day: u64 = kinds.iter().map(|(_, count)| count).sum();
    let rate = a_day as f64 * f64::from(args.population) / DAY_SECONDS * args.speedup;
    let mut options = options.clone();
    options.rate = Some(options.rate.unwrap_or(rate));
    options.is_random = true;
    options.size = Size::Mixed;
    let options = &options;
    let tally = Tally::new(options.users);
    // This logs everybody in for the first time, too.
    let mut mailboxes = Mailboxes::open(options, "INBOX", options.users)?;
    let make = |share: Share| Talks::new(Day::new(options, args, share, &kinds, &tally), share.connections);
    let outcome = measure(options, make, |moment, _| match moment {
        Moment::Prepared => Ok(()),
        Moment::Ran => mailboxes.wait_for(&tally.counts(), 0, true),
    })?;
    let bytes = outcome.scenarios.iter().map(|talks| talks.chooser.bytes).sum();
    let report = Report::new("mixed-day")
        .figure("model", model(options, args, &kinds))
        .figure("held", tally.counts().iter().sum::<u64>());
    let report = kinds_and_steps(report, &outcome.scenarios);
    Ok(outcome.report(report, bytes))
}

fn kinds(args: MixedArgs) -> Vec<(Kind, u64)> {
    let is_left_out =
        |kind| (kind == Kind::Pop3 && args.no_pop3) || (kind == Kind::Submission && args.no_submission);
    MODEL.into_iter().filter(|(kind, _)| !is_left_out(*kind)).collect()
}

/// All of it, for the result.
fn model(options: &Options, args: MixedArgs, kinds: &[(Kind, u64)]) -> Value {
    let all: u64 = kinds.iter().map(|(_, count)| count).sum();
    let rate = options.rate.unwrap_or(0.0);
    let each: Vec<Value> = kinds
        .iter()
        .map(|(kind, count)| {
            let mean = rounded(rate * *count as f64 / all as f64, 2);
            json!({ "kind": format!("{kind:?}").to_lowercase(), "a_user_and_day": count, "mean_per_s": mean })
        })
        .collect();
    json!({
        "population": args.population,
        "speedup": args.speedup,
        "arrivals": "Poisson",
        "mean_per_s": rounded(rate, 2),
        "accounts": options.users,
        "sizes": "mixed",
        "idle_s": args.idle,
        "kinds": each,
    })
}

/// One thread's share of the arrivals.
struct Day<'a> {
    options: &'a Options,
    args: MixedArgs,
    kinds: &'a [(Kind, u64)],
    tally: &'a Arc<Tally>,
    messages: Messages,
    random: base::Random,
    /// POP3 locks the mailbox: this thread polls its own part of the users, each once at a time.
    polled: BTreeSet<usize>,
    share: Share,
    threads: usize,
    bytes: u64,
}

impl<'a> Day<'a> {
    fn new(
        options: &'a Options,
        args: MixedArgs,
        share: Share,
        kinds: &'a [(Kind, u64)],
        tally: &'a Arc<Tally>,
    ) -> Self {
        Self {
            options,
            args,
            kinds,
            tally,
            messages: Messages::new(options.size, share.thread),
            random: base::Random::new(1 + share.thread as u64),
            polled: BTreeSet::new(),
            share,
            threads: options.cpus.len().max(1),
            bytes: 0,
        }
    }

    fn draw(&mut self) -> Kind {
        let all: u64 = self.kinds.iter().map(|(_, count)| count).sum();
        let mut place = self.random.below(all);
        for (kind, count) in self.kinds {
            match place.checked_sub(*count) {
                None => return *kind,
                Some(rest) => place = rest,
            }
        }
        unreachable!("the place is below the sum")
    }

    fn user(&mut self) -> usize {
        self.random.below(self.options.users as u64) as usize
    }

    /// A user of this thread's part whom nobody polls now.
    fn unpolled(&mut self) -> Option<usize> {
        let own = |user: &usize| user % self.threads == self.share.thread;
        let free: Vec<usize> =
            (0..self.options.users).filter(own).filter(|user| !self.polled.contains(user)).collect();
        let at = self.random.below(free.len().max(1) as u64) as usize;
        free.get(at).copied()
    }

    fn message(&mut self, recipient: usize) -> Vec<u8> {
        let mut message = Vec::new();
        self.messages.write(&self.options.address(recipient), &mut message);
        self.bytes += message.len() as u64;
        message
    }

    fn imap(&mut self, kind: &'static str, acts: impl IntoIterator<Item = Act>) -> Box<dyn Talk> {
        let login = log_in(self.options, self.user());
        // Sessions of the same user may be there at the same time.
        Box::new(ImapTalk::new(kind, self.options.imap, login, acts, clock::now()).shared())
    }

    fn webmail(&mut self) -> Box<dyn Talk> {
        let seen = Act::Seen(self.random.below(2) == 1);
        self.imap("webmail", [Act::Select("INBOX".into()), Act::Newest(20), Act::Body, seen])
    }
}

impl Chooser for Day<'_> {
    fn next(&mut self) -> Box<dyn Talk> {
        match self.draw() {
            Kind::Delivery => {
                let recipient = self.user();
                let message = self.message(recipient);
                Box::new(SendTalk::delivery(self.options, recipient, message, self.tally))
            }
            Kind::Submission => {
                let (sender, recipient) = (self.user(), self.user());
                self.messages.author = self.options.address(sender);
                let message = self.message(recipient);
                Box::new(SendTalk::submission(self.options, sender, recipient, message, self.tally))
            }
            Kind::Imap => {
                let idle = Act::Idle(Duration::from_secs_f64(self.args.idle));
                self.imap("imap", [Act::Select("INBOX".into()), Act::Newest(5), idle, Act::Newest(1)])
            }
            Kind::Webmail => self.webmail(),
            Kind::Pop3 => match self.unpolled() {
                Some(user) => {
                    self.polled.insert(user);
                    Box::new(PopTalk::new(self.options, user))
                }
                // More polls at once than there are accounts.
                None => self.webmail(),
            },
        }
    }

    fn ended(&mut self, talk: &dyn Talk) {
        if let Some(user) = talk.locked() {
            self.polled.remove(&user);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_without_a_kind_has_the_others() {
        let args = MixedArgs { population: 1, speedup: 1.0, idle: 1.0, no_pop3: true, no_submission: false };
        let kinds = kinds(args);
        assert_eq!(kinds.len(), 4);
        assert!(kinds.iter().all(|(kind, _)| *kind != Kind::Pop3));
    }
}
