//! What stands behind an SMTP, submission or LMTP session.

use std::rc::Rc;

use base::{Handled, Out, Service};
use directory::{EmailAddress, Resolution};
use smtp::{Message, Outcome, RecipientCheck, Reply, Request, Smtp, Verdict};

use crate::login::ScramTry;
use crate::{Shard, deliver};

/// The handlers of one connection.
#[derive(Debug)]
pub struct SmtpService {
    shard: Rc<Shard>,
    source: String,
    scram: Option<ScramTry>,
}

impl SmtpService {
    /// `source` is the text of the peer's address, for the throttle.
    pub const fn new(shard: Rc<Shard>, source: String) -> Self {
        Self { shard, source, scram: None }
    }

    async fn recipient(&self, check: &RecipientCheck) -> Verdict {
        let Ok(address) = EmailAddress::parse(&check.address) else { return Verdict::BadAddress };
        let Ok(resolution) = self.shard.people.resolve(&self.shard, &address).await else {
            return Verdict::Unavailable;
        };
        match resolution {
            Resolution::Local(targets) => match (check.size_bytes, targets.as_slice()) {
                // RFC 1870 §6.1: the promised size decides early, where there is one mailbox.
                (Some(size), [target]) => self.room(target, size).await,
                _ => Verdict::Accept,
            },
            Resolution::UnknownUser => Verdict::UnknownUser,
            Resolution::NotLocal => Verdict::NotLocal,
            Resolution::Disabled => Verdict::Disabled,
            Resolution::AliasLoop => Verdict::AliasLoop,
        }
    }

    async fn room(&self, target: &directory::Target, size: u64) -> Verdict {
        let Some(quota) = self.shard.people.quota(&self.shard, &target.address).await else {
            return Verdict::Accept;
        };
        let (partition, account) = (target.partition, target.account);
        let has_room = if self.shard.owns(partition) {
            Ok(self.shard.account(partition, account, Some(quota)).has_room(size))
        } else {
            let owner = self.shard.router.partition_shard(partition);
            let work = move |there: Rc<Shard>| async move {
                there.account(partition, account, Some(quota)).has_room(size)
            };
            self.shard.router.on(owner, work).await
        };
        match has_room {
            Ok(true) => Verdict::Accept,
            Ok(false) => Verdict::OverQuota,
            Err(_) => Verdict::Unavailable,
        }
    }

    /// Submitted mail is accepted for our own accounts; the outbound queue will take the rest.
    async fn deliver(&self, message: Message) -> Vec<Outcome> {
        deliver(&self.shard, message, self.shard.world.now()).await
    }
}

impl Service<Smtp> for SmtpService {
    async fn handle(&mut self, _: &mut Smtp, request: Request, _: &mut Out<'_>) -> Handled<Reply> {
        Handled::Reply(match request {
            Request::Auth(query) => {
                let answer = self.shard.login.answer(&self.shard, &self.source, query).await;
                self.scram = ScramTry::of(&self.shard, &self.source, &answer);
                Reply::Auth(answer)
            }
            Request::Recipient(check) => {
                if let Some(scram) = self.scram.take_if(|_| check.identity.is_some()) {
                    scram.proved();
                }
                Reply::Recipient(self.recipient(&check).await)
            }
            Request::Deliver(message) => Reply::Delivered(self.deliver(*message).await),
        })
    }

    /// SMTP waits for nobody's changes.
    async fn changed(&mut self) {
        std::future::pending::<()>().await;
    }
}
