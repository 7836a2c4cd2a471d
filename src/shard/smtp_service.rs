//! What stands behind an SMTP, submission or LMTP session.

use std::rc::Rc;

use base::{Handled, Out, Service};
use directory::{EmailAddress, Resolution, Target};
use smtp::{Message, Mode, Outcome, RecipientCheck, Reply, Request, Smtp, Verdict};

use crate::entrance::{Barred, entry};
use crate::login::ScramTry;
use crate::room::{Room, Wanted, rooms};
use crate::submission::mend;
use crate::{Protocol, Shard, deliver};

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
        if check.mode == Mode::Submission
            && let Err(refusal) = self.sender(check).await
        {
            return refusal;
        }
        let Ok(address) = EmailAddress::parse(&check.address) else { return Verdict::BadAddress };
        let Ok(resolution) = self.shard.people.resolve(&self.shard, &address).await else {
            return Verdict::Unavailable;
        };
        match resolution {
            Resolution::Local(targets) => self.room(&targets, check.size_bytes).await,
            Resolution::UnknownUser => Verdict::UnknownUser,
            Resolution::NotLocal if self.may_relay(check.mode) => Verdict::Accept,
            Resolution::NotLocal => Verdict::NotLocal,
            Resolution::Disabled => Verdict::Disabled,
            Resolution::AliasLoop => Verdict::AliasLoop,
        }
    }

    /// RFC 6409 §6.1: who submits may use the addresses that lead to their account and to no other,
    /// and the null path.
    async fn sender(&self, check: &RecipientCheck) -> Result<(), Verdict> {
        let Some(identity) = &check.identity else { return Err(Verdict::SenderDenied) };
        // Since the login, the account may have been switched off.
        entry(&self.shard, identity).await.map_err(|barred| match barred {
            Barred::Closed => Verdict::SenderDenied,
            Barred::Failed(_) => Verdict::Unavailable,
        })?;
        let Some(path) = &check.sender else { return Ok(()) };
        let address = EmailAddress::parse(path.as_str()).map_err(|_| Verdict::SenderDenied)?;
        match self.shard.people.resolve(&self.shard, &address).await {
            Ok(Resolution::Local(targets)) => match targets.as_slice() {
                [own] if own.account == identity.account => Ok(()),
                _ => Err(Verdict::SenderDenied),
            },
            Ok(_) => Err(Verdict::SenderDenied),
            Err(_) => Err(Verdict::Unavailable),
        }
    }

    /// Whether all accounts behind an address have room for the size that was promised (RFC 1870 §6.1), or,
    /// with none, for anything at all: what is refused here does not keep the other recipients waiting.
    async fn room(&self, targets: &[Target], size_bytes: Option<u64>) -> Verdict {
        let wanted: Vec<Wanted> = targets.iter().map(Wanted::of).collect();
        let rooms = rooms(&self.shard, &wanted, size_bytes.unwrap_or(1)).await;
        if rooms.contains(&Room::Unknown) {
            return Verdict::Unavailable;
        }
        if rooms.contains(&Room::Full) { Verdict::OverQuota } else { Verdict::Accept }
    }

    /// Who logged in may send to anybody; so may the networks that an operator trusts with that.
    fn may_relay(&self, mode: Mode) -> bool {
        let settings = self.shard.settings();
        let is_trusted = match mode {
            Mode::Submission => true,
            Mode::Mx => self.source.parse().is_ok_and(|peer| settings.outbound.may_relay(peer)),
            Mode::Lmtp => false,
        };
        is_trusted && settings.outbound.is_enabled
    }

    /// For our own accounts into their mailboxes, for others into the queue.
    async fn deliver(&self, mut message: Message) -> Vec<Outcome> {
        let (mode, now) = (message.envelope.mode, self.shard.world.now());
        if mode == Mode::Submission {
            let (own_bytes, id) = (message.envelope.received_field_bytes, message.envelope.id.0);
            message.data = mend(message.data, own_bytes, &self.shard.settings().hostname, id, now);
        }
        deliver(&self.shard, message, self.may_relay(mode), now).await
    }
}

impl Service<Smtp> for SmtpService {
    async fn handle(&mut self, _: &mut Smtp, request: Request, _: &mut Out<'_>) -> Handled<Reply> {
        Handled::Reply(match request {
            Request::Auth(query) => {
                let answer = self.shard.login.answer(&self.shard, &self.source, query).await;
                self.shard.metrics.count_login(&answer);
                self.scram = ScramTry::of(self.shard.id, &self.source, &answer);
                Reply::Auth(answer)
            }
            Request::LoggedIn(_) => {
                if let Some(scram) = self.scram.take() {
                    scram.proved(&self.shard).await;
                }
                Reply::LoggedIn
            }
            Request::Recipient(check) => {
                let verdict = self.recipient(&check).await;
                self.shard.metrics.count_verdict(Protocol::of_mode(check.mode), verdict);
                Reply::Recipient(verdict)
            }
            Request::Deliver(message) => {
                let protocol = Protocol::of_mode(message.envelope.mode);
                let outcomes = self.deliver(*message).await;
                self.shard.metrics.count_message(protocol, &outcomes);
                Reply::Delivered(outcomes)
            }
        })
    }

    /// SMTP waits for nobody's changes.
    async fn changed(&mut self) {
        std::future::pending::<()>().await;
    }
}
