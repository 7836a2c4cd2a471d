//! `smtp-deliver` and `lmtp-deliver`: one message after the other on each connection, MAIL, RCPT and DATA
//! in one write. An operation lasts from MAIL to the last reply to the content.

use std::sync::Arc;

use smtp::{BodyKind, Client, ClientConfig, ClientNext, Mail, Sent};

use super::held::Mailboxes;
use super::{Share, measure};
use crate::cli::{DeliverArgs, Options};
use crate::load::{Io, Scenario, Target};
use crate::message::Messages;
use crate::report::{Report, rounded};
use crate::threads::Moment;
use crate::wrong::Wrong;

/// Which protocol carries the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Via {
    Smtp,
    Lmtp,
}

pub(super) fn run(options: &Options, args: DeliverArgs, via: Via) -> Result<Report, Wrong> {
    if args.recipients == 0 || args.recipients > options.users {
        return Err(Wrong::Usage("--recipients goes from 1 to --users".into()));
    }
    if options.is_tls {
        return Err(Wrong::Usage("--tls is for IMAP and POP3; deliveries are plain".into()));
    }
    let mut mailboxes =
        if args.uncounted { None } else { Some(Mailboxes::open(options, "INBOX", options.users)?) };
    let outcome = measure(
        options,
        |share| Deliver::new(options, share, args.recipients, via),
        |moment, operations| {
            if let Some(mailboxes) = mailboxes.as_mut().filter(|_| moment == Moment::Ran) {
                mailboxes.wait_for(operations * args.recipients as u64)?;
            }
            Ok(())
        },
    )?;
    let operations = outcome.measured.operations;
    let name = if via == Via::Smtp { "smtp-deliver" } else { "lmtp-deliver" };
    let mut report = Report::new(name).figure("recipients", args.recipients);
    if !args.uncounted {
        let rate = operations as f64 / outcome.used.seconds.max(1e-9);
        report = report.figure("held_per_s", rounded(rate, 1));
    }
    Ok(report.measured(outcome.measured).used(&outcome.used, operations * options.size as u64))
}

/// A connection that delivers; also the delivering half of `idle-notify`.
pub(super) struct Courier {
    client: Client,
    is_ready: bool,
    has_quit: bool,
}

/// What a courier has to report.
pub(super) enum News {
    Ready,
    Delivered,
}

impl Courier {
    pub(super) fn new(via: Via) -> Self {
        let client = Client::new(ClientConfig {
            hostname: "load.example.org".into(),
            is_lmtp: via == Via::Lmtp,
            wants_tls: false,
            login: None,
        });
        Self { client, is_ready: false, has_quit: false }
    }

    pub(super) fn send(&mut self, message: &[u8], recipients: Vec<String>, output: &mut Vec<u8>) {
        self.client.send(Mail {
            sender: Some("load@example.org".into()),
            recipients,
            data: Arc::from(message),
            body: BodyKind::SevenBit,
            is_smtputf8: false,
        });
        output.append(self.client.output());
    }

    pub(super) fn input(&mut self, bytes: &[u8], output: &mut Vec<u8>) -> Result<Option<News>, Wrong> {
        self.client.input(bytes);
        let next = self.client.step();
        output.append(self.client.output());
        match next {
            ClientNext::Read | ClientNext::Closed => Ok(None),
            ClientNext::Ready if self.is_ready => Ok(None),
            ClientNext::Ready => {
                self.is_ready = true;
                Ok(Some(News::Ready))
            }
            ClientNext::Sent(sent) => check(&sent).map(|()| Some(News::Delivered)),
            ClientNext::StartTls => Err(Wrong::Answer("TLS was not asked for".into())),
            ClientNext::Failed(_) if self.has_quit => Ok(None),
            ClientNext::Failed(error) => Err(Wrong::Answer(format!("the delivery failed: {error:?}"))),
        }
    }

    pub(super) fn quit(&mut self, output: &mut Vec<u8>) {
        self.has_quit = true;
        self.client.quit();
        output.append(self.client.output());
    }
}

fn check(sent: &Sent) -> Result<(), Wrong> {
    match sent.replies.iter().find(|reply| reply.code / 100 != 2) {
        None => Ok(()),
        Some(reply) => Err(Wrong::Answer(format!("a recipient got {} {}", reply.code, reply.text))),
    }
}

struct Deliver<'a> {
    options: &'a Options,
    target: Target,
    via: Via,
    couriers: Vec<Courier>,
    messages: Messages,
    message: Vec<u8>,
    recipients: usize,
    random: base::Random,
}

impl<'a> Deliver<'a> {
    fn new(options: &'a Options, share: Share, recipients: usize, via: Via) -> Self {
        Self {
            options,
            target: if via == Via::Smtp { options.smtp } else { options.lmtp },
            via,
            couriers: (0..share.connections).map(|_| Courier::new(via)).collect(),
            messages: Messages::new(options.size, share.thread),
            message: Vec::new(),
            recipients,
            random: base::Random::new(1 + share.thread as u64),
        }
    }
}

impl Scenario for Deliver<'_> {
    fn target(&self, _id: usize) -> Target {
        self.target
    }

    fn opened(&mut self, id: usize) {
        self.couriers[id] = Courier::new(self.via);
    }

    fn input(&mut self, id: usize, bytes: &[u8], io: &mut Io) -> Result<(), Wrong> {
        match self.couriers[id].input(bytes, io.output(id))? {
            None => {}
            Some(News::Ready) => io.ready(id),
            Some(News::Delivered) => io.done(id),
        }
        Ok(())
    }

    fn begin(&mut self, id: usize, io: &mut Io) -> Result<(), Wrong> {
        let first = self.random.below(self.options.users as u64) as usize;
        let recipients: Vec<String> = (0..self.recipients).map(|i| self.options.user(first + i)).collect();
        self.message.clear();
        self.messages.write(&recipients[0], &mut self.message);
        self.couriers[id].send(&self.message, recipients, io.output(id));
        Ok(())
    }

    fn finish(&mut self, id: usize, io: &mut Io) {
        self.couriers[id].quit(io.output(id));
    }
}
