//! `imap-session`: a person's client, with pauses to think.

use std::time::Duration;

use super::fill::{fill, mailbox_name};
use super::held::Mailboxes;
use super::talk::{Act, Chooser, ImapTalk, Talk, Talks, kinds_and_steps};
use super::{Share, log_in, measure};
use crate::cli::{Options, SessionArgs};
use crate::clock;
use crate::report::Report;
use crate::wrong::Wrong;

pub(super) fn run(options: &Options, args: SessionArgs) -> Result<Report, Wrong> {
    let mailbox = mailbox_name(options, args.mailbox.messages)?;
    // Everybody has logged in once before, as for `login`.
    drop(Mailboxes::open(options, "INBOX", options.users)?);
    fill(options, &mailbox, options.users, args.mailbox.messages)?;
    let make = |share: Share| {
        let random = base::Random::new(1 + share.thread as u64);
        let sessions = Sessions { options, args, mailbox: &mailbox, random, user: share.first };
        Talks::new(sessions, share.connections)
    };
    let outcome = measure(options, make, super::nothing_to_count)?;
    let report = Report::new("imap-session")
        .figure("messages", args.mailbox.messages)
        .figure("new", args.new)
        .figure("think_ms", args.think)
        .figure("model", "login select fetch idle store logout, 5 pauses of 0.5 to 1.5 think times");
    let report = kinds_and_steps(report, &outcome.scenarios);
    Ok(outcome.report(report, 0))
}

struct Sessions<'a> {
    options: &'a Options,
    args: SessionArgs,
    mailbox: &'a str,
    random: base::Random,
    /// Users take turns.
    user: usize,
}

impl Sessions<'_> {
    fn pause(&mut self) -> Duration {
        let micros = self.args.think * 1000;
        Duration::from_micros(micros / 2 + self.random.below(micros + 1))
    }
}

impl Chooser for Sessions<'_> {
    fn next(&mut self) -> Box<dyn Talk> {
        self.user += 1;
        let acts = [
            Act::Think(self.pause()),
            Act::Select(self.mailbox.to_owned()),
            Act::Newest(self.args.new),
            Act::Think(self.pause()),
            Act::Idle(self.pause()),
            Act::Think(self.pause()),
            Act::Seen(self.random.below(2) == 1),
            Act::Think(self.pause()),
        ];
        let login = log_in(self.options, self.user);
        Box::new(ImapTalk::new("session", self.options.imap, login, acts, clock::now()))
    }
}
