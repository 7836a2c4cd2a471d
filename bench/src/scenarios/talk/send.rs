//! One message, from another server or as a user's submission.

use std::sync::Arc;
use std::time::Instant;

use super::Talk;
use crate::cli::{Options, Via};
use crate::load::{Io, Target};
use crate::scenarios::courier::{Courier, Manner, News};
use crate::scenarios::held::Tally;
use crate::wrong::Wrong;

/// Connect, greet, log in where that is due, send, quit.
pub(in crate::scenarios) struct SendTalk {
    kind: &'static str,
    target: Target,
    courier: Courier,
    sender: Option<String>,
    recipient: (usize, String),
    message: Vec<u8>,
    tally: Arc<Tally>,
    is_over: bool,
}

impl SendTalk {
    /// From another server, in plain text.
    pub(in crate::scenarios) fn delivery(
        options: &Options,
        recipient: usize,
        message: Vec<u8>,
        tally: &Arc<Tally>,
    ) -> Self {
        let manner = Manner { via: Via::Smtp, wants_tls: false, has_tls: false };
        Self {
            kind: "delivery",
            target: options.smtp,
            courier: Courier::new(manner, None),
            sender: None,
            recipient: (recipient, options.address(recipient)),
            message,
            tally: Arc::clone(tally),
            is_over: false,
        }
    }

    /// From a user, under TLS of either kind.
    pub(in crate::scenarios) fn submission(
        options: &Options,
        sender: usize,
        recipient: usize,
        message: Vec<u8>,
        tally: &Arc<Tally>,
    ) -> Self {
        let has_tls = options.submission.is_tls;
        let manner = Manner { via: Via::Smtp, wants_tls: !has_tls, has_tls };
        let login = (options.user(sender), options.password.clone());
        Self {
            kind: "submission",
            target: options.submission,
            courier: Courier::new(manner, Some(login)),
            sender: Some(options.address(sender)),
            ..Self::delivery(options, recipient, message, tally)
        }
    }
}

impl Talk for SendTalk {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn target(&self) -> Target {
        self.target
    }

    fn opened(&mut self, _now: Instant) {}

    fn secured(&mut self, output: &mut Vec<u8>) {
        self.courier.secured(output);
    }

    fn input(&mut self, id: usize, bytes: &[u8], io: &mut Io) -> Result<(), Wrong> {
        match self.courier.input(bytes, io.output(id))? {
            None => {}
            Some(News::StartTls) => io.start_tls(id),
            Some(News::Ready) => {
                let recipients = vec![self.recipient.1.clone()];
                self.courier.send(self.sender.take(), &self.message, recipients, io.output(id));
            }
            Some(News::Delivered) => {
                self.tally.add(self.recipient.0);
                self.courier.quit(io.output(id));
            }
            Some(News::Closed) => self.is_over = true,
        }
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.is_over
    }
}
