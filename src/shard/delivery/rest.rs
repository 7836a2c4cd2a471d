//! What is done when part of a message is durable and some mailboxes cannot have it now. Whoever sent it would send all of it
//! again; so it is taken, and for these mailboxes it waits in the queue.

use std::collections::HashSet;
use std::rc::Rc;
use std::sync::Arc;

use account::Content;
use smtp::{Envelope, Mode, Outcome, return_path_header};

use super::queued::queue_envelope;
use super::{Plan, may_pass};
use crate::Shard;
use crate::forwarding::sent_to;
use crate::relay::{Outgoing, accept};

impl Plan {
    /// Notes what became of accounts: `stored` has their places in `wanted`. `content` is what they were to get.
    pub(super) async fn settle(
        &mut self,
        shard: &Rc<Shard>,
        stored: &[(usize, Outcome)],
        envelope: &Envelope,
        content: &Content,
        is_junk: bool,
    ) {
        let rest = self.rest(stored, envelope.mode);
        let waits = !rest.is_empty() && self.queue_rest(shard, &rest, envelope, content, is_junk).await;
        for (at, answer) in stored.iter().filter(|(_, answer)| *answer != Outcome::Stored) {
            // An alias with several accounts is stored when all of them have it, or will.
            for place in &self.led_by[*at] {
                if waits && rest.contains(at) {
                    self.waits.insert(*place);
                } else {
                    self.outcomes[*place] = *answer;
                }
            }
        }
    }

    /// Accounts that may have it later, whose senders would send again what is durable already.
    fn rest(&self, stored: &[(usize, Outcome)], mode: Mode) -> HashSet<usize> {
        let have = stored.iter().filter(|(_, answer)| *answer == Outcome::Stored);
        let mut durable: HashSet<usize> = have.flat_map(|(at, _)| &self.led_by[*at]).copied().collect();
        if self.is_queued {
            durable.extend(self.onward.iter().map(|(place, ..)| place).chain(&self.elsewhere));
        }
        // Over LMTP, each recipient comes again for itself (RFC 2033 §4.2).
        let is_one = mode != Mode::Lmtp && !durable.is_empty();
        let later = stored.iter().filter(|(_, answer)| may_pass(*answer)).map(|(at, _)| *at);
        let (mut later, mut rest): (Vec<usize>, _) = (later.collect(), HashSet::new());
        // What waits in the queue is durable too, for whoever else leads to it.
        loop {
            let would_come_twice =
                |at: &mut usize| is_one || self.led_by[*at].iter().any(|at| durable.contains(at));
            let found: Vec<usize> = later.extract_if(.., would_come_twice).collect();
            if found.is_empty() {
                return rest;
            }
            durable.extend(found.iter().flat_map(|at| &self.led_by[*at]));
            rest.extend(found);
        }
    }

    async fn queue_rest(
        &self,
        shard: &Rc<Shard>,
        rest: &HashSet<usize>,
        envelope: &Envelope,
        content: &Content,
        is_junk: bool,
    ) -> bool {
        let recipient = |at: &usize| {
            let place = self.led_by[*at].first()?;
            let named = self.addresses.iter().position(|other| other == place)?;
            Some(sent_to(envelope.recipients.get(named)?, self.mailboxes[*at].to_string()))
        };
        let recipients: Vec<_> = rest.iter().filter_map(recipient).collect();
        let count = recipients.len();
        // Without the field that it gets when it is delivered.
        let own = return_path_header(envelope.sender.as_ref()).len();
        let data = content.data.get(own..).unwrap_or_default();
        let here = Some(queue::Here { is_junk });
        let mut envelope = queue::Envelope { here, ..queue_envelope(envelope, recipients, data) };
        // Notices would name the mailbox, which the sender may not know, by an address made of it.
        envelope.terms.verp = None;
        let id = format!("{:016x}", envelope.id);
        let queued = vec![Outgoing { envelope, content: Arc::new(data.to_vec()) }];
        let outcome = accept(shard, queued, false, shard.world.now()).await;
        tracing::warn!(event = "delivery.rest_queued", id, mailboxes = count, ?outcome);
        outcome == Outcome::Stored
    }
}
