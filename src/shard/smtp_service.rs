//! What stands behind an SMTP, submission or LMTP session.

use std::rc::Rc;
use std::time::Duration;

use base::{Handled, Out, Service, Timestamp};
use directory::{EmailAddress, Resolution, SenderUse, Target};
use smtp::{
    Message, Mode, Outcome, RecipientCheck, Refused, Reply, Request, Smtp, UrlFault, UrlRequest, Verdict,
};

use crate::delivery::{Taken, take};
use crate::entrance::{Barred, entry};
use crate::forwarding::{Found, is_for_bounces};
use crate::inbound::{Admitted, Incoming, Way, decide, is_for_moderators, refused};
use crate::login::ScramTry;
use crate::relay::delivered;
use crate::reporting::receive;
use crate::room::{Room, Wanted, rooms};
use crate::submission::{Submitted, prepare};
use crate::urls::submitted;
use crate::{Manner, Protocol, Shard};

/// The handlers of one connection.
#[derive(Debug)]
pub struct SmtpService {
    shard: Rc<Shard>,
    source: String,
    scram: Option<ScramTry>,
    way: Way,
    /// Recipients of the message that is coming in that are accepted and dropped.
    dropped: Vec<String>,
}

impl SmtpService {
    /// `source` is the text of the peer's address, for the throttle.
    pub fn new(shard: Rc<Shard>, source: String) -> Self {
        Self { shard, source, scram: None, way: Way::default(), dropped: Vec::new() }
    }

    /// Who does much wrong waits for each answer.
    async fn tarry(&self, refused: u32) {
        let settings = self.shard.settings();
        let Some(tarpit) = settings.inbound.policy.settings().tarpit else { return };
        let delay = tarpit.delay_ms(refused);
        if delay > 0 {
            let end = self.shard.world.now() + Duration::from_millis(u64::from(delay));
            self.shard.world.sleep_until(end).await;
        }
    }

    /// First whether there is such a recipient: rules may take down what they are asked.
    async fn admit(&mut self, check: &RecipientCheck) -> Reply {
        self.tarry(check.refused).await;
        let verdict = self.recipient(check).await;
        if verdict != Verdict::Accept {
            return Reply::Recipient(verdict);
        }
        // An answer to whoever sent it on would go to the sender in our name, from anybody.
        let is_return_path = || {
            let address = EmailAddress::parse(&check.address);
            address.is_ok_and(|address| is_for_bounces(&self.shard, &address))
        };
        if check.sender.is_some() && is_return_path() {
            return Reply::Refused(refused(550, (5, 7, 1), "this address is for bounces, which are from <>"));
        }
        if check.accepted == 0 {
            self.dropped.clear();
        }
        match self.way.recipient(&self.shard, &self.source, check).await {
            Ok(Admitted::Yes) => Reply::Recipient(Verdict::Accept),
            Ok(Admitted::Discarded) => {
                self.dropped.push(check.address.clone());
                Reply::Recipient(Verdict::Accept)
            }
            Err(refused) => Reply::Refused(refused),
        }
    }

    async fn recipient(&self, check: &RecipientCheck) -> Verdict {
        if check.mode == Mode::Submission
            && let Err(refusal) = self.sender(check).await
        {
            return refusal;
        }
        if is_for_moderators(&self.shard, check.mode, &check.address) {
            return Verdict::Accept;
        }
        let Ok(address) = EmailAddress::parse(&check.address) else { return Verdict::BadAddress };
        let Ok(resolution) = self.shard.people.resolve(&self.shard, &address).await else {
            return Verdict::Unavailable;
        };
        match resolution {
            Resolution::Local(targets) => self.room(&targets, check.size_bytes).await,
            Resolution::Forwarded(forwarded) => {
                if !forwarded.is_of_accounts() && !self.shard.settings().outbound.is_enabled {
                    return Verdict::Disabled;
                }
                self.room(&forwarded.targets, check.size_bytes).await
            }
            Resolution::UnknownUser => Verdict::UnknownUser,
            Resolution::NotLocal if self.may_relay(check.mode) => Verdict::Accept,
            Resolution::NotLocal => Verdict::NotLocal,
            Resolution::Disabled => Verdict::Disabled,
            Resolution::AliasLoop => Verdict::AliasLoop,
        }
    }

    /// RFC 6409 §6.1: who submits may use the addresses that lead to their account and to no other, those that they were
    /// given a right to, and the null path.
    async fn sender(&self, check: &RecipientCheck) -> Result<(), Verdict> {
        let Some(identity) = &check.identity else { return Err(Verdict::SenderDenied) };
        // Since the login, the account may have been switched off.
        entry(&self.shard, identity).await.map_err(|barred| match barred {
            Barred::Closed => Verdict::SenderDenied,
            Barred::Failed(_) => Verdict::Unavailable,
        })?;
        let Some(path) = &check.sender else { return Ok(()) };
        let address = EmailAddress::parse(path.as_str()).map_err(|_| Verdict::SenderDenied)?;
        match self.shard.people.sender_use(&self.shard, identity.account, &address).await {
            Ok(SenderUse::Own | SenderUse::Delegated { .. }) => Ok(()),
            Ok(SenderUse::Denied) => Err(Verdict::SenderDenied),
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

    /// A gateway may have said since that it speaks for another (XCLIENT): then nothing that was known holds.
    fn follow(&mut self, session: &Smtp) {
        let source = &session.peer().address;
        if self.source != *source {
            self.source.clone_from(source);
            (self.way, self.dropped) = (Way::default(), Vec::new());
        }
    }

    /// The account may have been switched off since the login.
    async fn url(&self, request: &UrlRequest) -> Result<Vec<u8>, UrlFault> {
        match entry(&self.shard, &request.identity).await {
            Ok(_) => submitted(&self.shard, request).await,
            Err(Barred::Closed) => Err(UrlFault::Denied),
            Err(Barred::Failed(_)) => Err(UrlFault::Unavailable),
        }
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

    /// Takes a message; one of our users' is looked at and mended first, and copied where that is wanted.
    pub(crate) async fn deliver(&mut self, message: Message) -> Result<Vec<Outcome>, Box<Refused>> {
        if message.envelope.mode != Mode::Submission {
            return self.pass(message).await;
        }
        let Submitted { message, copies } = prepare(&self.shard, message, self.shard.world.now()).await?;
        let outcomes = self.pass(message).await?;
        // Only now: whoever is told to try again would get one more copy with each try.
        if outcomes.iter().all(|outcome| *outcome == Outcome::Stored) {
            copies.store(&self.shard, self.shard.world.now()).await;
        }
        Ok(outcomes)
    }

    /// For our own accounts into their mailboxes, for others into the queue, when nothing speaks against it.
    async fn pass(&mut self, message: Message) -> Result<Vec<Outcome>, Box<Refused>> {
        let now = self.shard.world.now();
        let named: Vec<String> =
            message.envelope.recipients.iter().map(|recipient| recipient.address.clone()).collect();
        let mut incoming = self.way.message(&self.shard, &self.source, message).await?;
        let noted = incoming.noted.take();
        let answered = self.go_on(incoming, &named, now).await;
        if let Some(noted) = noted {
            noted.settle(&self.shard, answered.as_deref().map_err(|refused| &**refused));
        }
        answered
    }

    /// A message that nothing speaks against, to whom it is for.
    async fn go_on(
        &mut self,
        mut incoming: Incoming,
        named: &[String],
        now: Timestamp,
    ) -> Result<Vec<Outcome>, Box<Refused>> {
        let mode = incoming.message.envelope.mode;
        // What is for nobody but to decide about another message ends here.
        self.dropped.extend(decide(&self.shard, &incoming).await?);
        let reports = receive(&self.shard, &mut incoming).await?;
        let Incoming {
            mut message,
            is_junk,
            verdicts,
            is_discarded,
            is_held,
            moderation,
            route,
            is_rerouted,
            ..
        } = incoming;
        let is_dropped = |address: &str| {
            is_discarded || self.dropped.iter().chain(&reports).any(|dropped| dropped == address)
        };
        message.envelope.recipients.retain(|recipient| !is_dropped(&recipient.address));
        // Whom a rule of the operator's names may be anywhere.
        // What the operator is to look at first is no matter of moderators.
        let moderation = moderation.filter(|_| !is_held);
        let asks = Asks::of(&message, is_held || moderation.is_some());
        let may_relay = is_rerouted || self.may_relay(mode);
        let found = Found::of(verdicts);
        let manner =
            Manner { may_relay, is_junk, is_held, route, moderation, is_notice: false, stays: false, found };
        let taken = if message.envelope.recipients.is_empty() {
            Taken::default()
        } else {
            take(&self.shard, message, manner, now).await
        };
        if let Some(asks) = asks {
            asks.tell(&self.shard, &taken, now);
        }
        let outcomes = taken.outcomes;
        if is_rerouted {
            let worst = outcomes.iter().copied().find(|outcome| *outcome != Outcome::Stored);
            return Ok(vec![worst.unwrap_or(Outcome::Stored); named.len()]);
        }
        let mut outcomes = outcomes.into_iter();
        let answer = |address: &String| {
            if is_dropped(address) {
                Outcome::Stored
            } else {
                outcomes.next().unwrap_or(Outcome::Unavailable)
            }
        };
        Ok(named.iter().map(answer).collect())
    }
}

/// A sender who wants to be told that a message lies in mailboxes of ours (RFC 3461 §5.2.3).
struct Asks {
    envelope: smtp::Envelope,
    header: Vec<u8>,
}

impl Asks {
    /// `None` where nobody asks. The client of LMTP tells its senders itself (RFC 2033 §4.2).
    fn of(message: &Message, is_held: bool) -> Option<Self> {
        let envelope = &message.envelope;
        let wants = |recipient: &smtp::Recipient| recipient.notify.is_some_and(|notify| notify.on_success);
        let is_asked = envelope.mode != Mode::Lmtp && envelope.recipients.iter().any(wants);
        // What waits in the queue is told of from there.
        let is_queued = is_held || envelope.terms.release_at.is_some();
        if !is_asked || is_queued || envelope.sender.is_none() {
            return None;
        }
        let data = message.data.as_slice();
        let header = data.get(..mime::end_of_headers(data)).unwrap_or(data).to_vec();
        Some(Self { envelope: envelope.clone(), header })
    }

    /// Beside the answer to the client, which need not wait for it. What was queued is told of from the queue.
    fn tell(self, shard: &Rc<Shard>, taken: &Taken, now: Timestamp) {
        let all = self.envelope.recipients.iter().zip(&taken.outcomes).zip(&taken.waits);
        let stored: Vec<_> = all
            .filter(|((_, outcome), waits)| **outcome == Outcome::Stored && !**waits)
            .map(|((recipient, _), _)| recipient.clone())
            .collect();
        let there = Rc::clone(shard);
        shard.world.spawn(Box::pin(async move {
            let mut here = Vec::new();
            for recipient in stored {
                let Ok(address) = EmailAddress::parse(&recipient.address) else { continue };
                if matches!(there.people.resolve(&there, &address).await, Ok(Resolution::Local(_))) {
                    here.push(recipient);
                }
            }
            delivered(&there, &self.envelope, &self.header, &here, now).await;
        }));
    }
}

impl Service<Smtp> for SmtpService {
    async fn handle(&mut self, session: &mut Smtp, request: Request, _: &mut Out<'_>) -> Handled<Reply> {
        self.follow(session);
        Handled::Reply(match request {
            Request::Greeting(waited) => self.way.greet(&self.shard, &self.source, waited).await,
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
                let reply = self.admit(&check).await;
                self.shard.metrics.count_recipient(Protocol::of_mode(check.mode), &reply);
                reply
            }
            Request::Url(request) => Reply::Url(self.url(&request).await),
            Request::Deliver(message) => {
                let protocol = Protocol::of_mode(message.envelope.mode);
                match self.deliver(*message).await {
                    Ok(outcomes) => {
                        self.shard.metrics.count_message(protocol, &outcomes);
                        Reply::Delivered(outcomes)
                    }
                    Err(refused) => {
                        self.shard.metrics.count_message(protocol, &[]);
                        Reply::Refused(refused)
                    }
                }
            }
        })
    }

    /// SMTP waits for nobody's changes.
    async fn changed(&mut self) {
        std::future::pending::<()>().await;
    }
}
