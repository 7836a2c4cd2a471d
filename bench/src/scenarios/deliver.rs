//! `smtp-deliver` and `lmtp-deliver`: one message after the other on each connection, MAIL, RCPT and DATA
//! in one write where the server takes that. An operation lasts from MAIL to the last reply to the content;
//! a second figure counts from the last byte of the content.

use std::sync::Arc;

use super::courier::{Courier, Manner, News};
use super::held::{Mailboxes, Tally};
use super::{Share, measure};
use crate::cli::{DeliverArgs, Options, Via};
use crate::load::{Io, Scenario, Target};
use crate::measured::Measured;
use crate::message::Messages;
use crate::report::{Report, rounded};
use crate::threads::Moment;
use crate::wrong::Wrong;

pub(super) fn run(options: &Options, args: DeliverArgs, via: Via) -> Result<Report, Wrong> {
    check(options, args, via)?;
    let tally = Tally::new(options.users);
    let mut mailboxes =
        if args.counting.uncounted { None } else { Some(Mailboxes::open(options, "INBOX", options.users)?) };
    let outcome = measure(
        options,
        |share| Deliver::new(options, share, args, via, &tally),
        |moment, _| {
            if let Some(mailboxes) = mailboxes.as_mut().filter(|_| moment == Moment::Ran) {
                mailboxes.wait_for(&tally.counts(), 0, args.counting.until_held)?;
            }
            Ok(())
        },
    )?;
    let name = if via == Via::Smtp { "smtp-deliver" } else { "lmtp-deliver" };
    let mut report = Report::new(name)
        .figure("recipients", args.recipients)
        .figure("starttls", args.starttls)
        .figure("submitted", args.submit);
    let mut data = Measured::new();
    outcome.scenarios.iter().for_each(|deliver| data.add(&deliver.data));
    report = super::percentiles(report, "data", &data);
    if !args.counting.uncounted {
        let rate = outcome.measured.operations as f64 / outcome.used.seconds.max(1e-9);
        report = report.figure("held_per_second", rounded(rate, 1));
    }
    let bytes = outcome.scenarios.iter().map(|deliver| deliver.bytes).sum();
    Ok(outcome.report(report, bytes))
}

fn check(options: &Options, args: DeliverArgs, via: Via) -> Result<(), Wrong> {
    let usage = |text: &str| Err(Wrong::Usage(text.into()));
    if args.recipients == 0 || args.recipients > options.users {
        return usage("--recipients goes from 1 to --users");
    }
    if args.submit && via == Via::Lmtp {
        return usage("--submit is for SMTP");
    }
    if options.is_tls && (!args.submit || args.starttls) {
        return usage("--tls is for --submit; servers among themselves use --starttls");
    }
    if options.size != crate::message::Size::Mixed {
        options.fixed_size()?;
    }
    Ok(())
}

/// Delivers on one thread's connections.
pub(super) struct Deliver<'a> {
    options: &'a Options,
    args: DeliverArgs,
    target: Target,
    share: Share,
    manner: Manner,
    lines: Vec<Line>,
    messages: Messages,
    message: Vec<u8>,
    random: base::Random,
    tally: &'a Arc<Tally>,
    /// From the last byte of the content to the last reply.
    data: Measured,
    bytes: u64,
}

struct Line {
    courier: Courier,
    /// The first of the users to whom the message in hand goes; the others follow.
    first: usize,
    size: usize,
}

impl<'a> Deliver<'a> {
    pub(super) fn new(
        options: &'a Options,
        share: Share,
        args: DeliverArgs,
        via: Via,
        tally: &'a Arc<Tally>,
    ) -> Self {
        let target = match via {
            Via::Lmtp => options.lmtp,
            Via::Smtp if args.submit => options.submission,
            Via::Smtp => options.smtp,
        };
        let manner = Manner { via, wants_tls: args.starttls, has_tls: target.is_tls };
        let line = |_| Line { courier: Courier::new(manner, None), first: 0, size: 0 };
        Self {
            options,
            args,
            target,
            share,
            manner,
            lines: (0..share.connections).map(line).collect(),
            messages: Messages::new(options.size, share.thread),
            message: Vec::new(),
            random: base::Random::new(1 + share.thread as u64),
            tally,
            data: Measured::new(),
            bytes: 0,
        }
    }

    fn delivered(&mut self, id: usize, io: &mut Io) {
        let Line { first, size, .. } = self.lines[id];
        (0..self.args.recipients).for_each(|i| self.tally.add(first + i));
        self.bytes += size as u64;
        let written = io.sent_at(id);
        self.data.complete(io.now.saturating_duration_since(written), written, io.now);
        io.done(id);
    }
}

impl Scenario for Deliver<'_> {
    fn target(&self, _id: usize) -> Target {
        self.target
    }

    fn opened(&mut self, id: usize, _io: &mut Io) {
        let user = self.share.first + id;
        let login = self.args.submit.then(|| (self.options.user(user), self.options.password.clone()));
        self.lines[id].courier = Courier::new(self.manner, login);
    }

    fn secured(&mut self, id: usize, io: &mut Io) {
        self.lines[id].courier.secured(io.output(id));
    }

    fn input(&mut self, id: usize, bytes: &[u8], io: &mut Io) -> Result<(), Wrong> {
        match self.lines[id].courier.input(bytes, io.output(id))? {
            None | Some(News::Closed) => {}
            Some(News::StartTls) => io.start_tls(id),
            Some(News::Ready) => io.ready(id),
            Some(News::Delivered) => self.delivered(id, io),
        }
        Ok(())
    }

    fn begin(&mut self, id: usize, io: &mut Io) -> Result<(), Wrong> {
        let first = self.random.below(self.options.users as u64) as usize;
        let recipients: Vec<String> =
            (0..self.args.recipients).map(|i| self.options.address(first + i)).collect();
        let sender = self.args.submit.then(|| self.options.address(self.share.first + id));
        if let Some(sender) = &sender {
            self.messages.author.clone_from(sender);
        }
        self.message.clear();
        self.messages.write(&recipients[0], &mut self.message);
        let line = &mut self.lines[id];
        (line.first, line.size) = (first, self.message.len());
        line.courier.send(sender, &self.message, recipients, io.output(id));
        Ok(())
    }

    fn finish(&mut self, id: usize, io: &mut Io) {
        self.lines[id].courier.quit(io.output(id));
    }
}
