//! What is looked at before a message is taken: who it is from, what the operator's rules say of it, what filters say of
//! it. Each step may change the message, mark it, or refuse it; the first refusal stands.
//!
//! ```text
//! connect ──▶ the test before the greeting
//! RCPT ──▶ rules of connect, helo, mail, rcpt ──▶ filters of these stages ──▶ accept, or refuse in the rule's words
//! the last dot ──▶ authenticate ──▶ rules of data ──▶ filters ──▶ flow ──▶ sign ──▶ deliver
//! ```
//!
//! - `authenticate`: SPF, DKIM, DMARC, ARC of mail from elsewhere; `rules`: the operator's policy, with `memory` for what
//!   it remembers; `filters`: milters, rspamd, ClamAV, hooks; `flow`: the organisation's
//!   rules for every message; `sign`: DKIM for mail of our own domains.

mod authenticate;
mod filters;
mod flow;
mod greeting;
mod memory;
mod moderation;
mod rules;
mod seal;
mod settings;
mod sign;

use std::net::IpAddr;
use std::rc::Rc;

use smtp::{Message, Mode, RecipientCheck, Refused, Reply, Waited};

pub(crate) use authenticate::Names;
pub use filters::{FilterKind, FilterPlace, FilterSettings, HookSettings, RspamdSettings};
pub(crate) use filters::{Lanes, Line, addresses};
pub(crate) use memory::{Memory, partition};
pub(crate) use moderation::{decide, is_for_moderators};
pub(crate) use seal::seal;
pub use settings::{Dmarc, FromCheck, Inbound};
pub(crate) use sign::{SigningKeys, sign_own};

use crate::Shard;
use crate::reporting::{Noted, noted};
use rules::Rules;

/// One connection's way in: what is known of it, from message to message.
#[derive(Debug, Default)]
pub(crate) struct Way {
    rules: Rules,
    /// Only where filters are asked before the content is there: connections that are idle are many.
    early: Option<Box<filters::Early>>,
}

/// A message on its way in.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "steps say these independently of each other")]
pub(crate) struct Incoming {
    /// The message; steps may change it. Our own Received field stays at its front, with what is said about the
    /// message before it counted to it: `envelope.received_field_bytes`.
    pub(crate) message: Message,
    /// It belongs into Junk.
    pub(crate) is_junk: bool,
    /// What was found out about who it is from, when that was looked at.
    pub(crate) verdicts: Option<mailauth::Verdicts>,
    /// For everybody it is accepted and dropped: a rule's or a filter's word.
    pub(crate) is_discarded: bool,
    /// It is accepted and waits for an operator.
    pub(crate) is_held: bool,
    /// The route that it leaves by: a rule's word.
    pub(crate) route: Option<String>,
    /// It is accepted and waits for those who must approve it.
    pub(crate) moderation: Option<queue::Moderation>,
    /// Rules have changed whom it is for: the client's recipients share one outcome.
    pub(crate) is_rerouted: bool,
    /// What reports would say of it, for whoever answers the client.
    pub(crate) noted: Option<Box<Noted>>,
}

/// A recipient as the rules leave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Admitted {
    /// As far as the rules are concerned.
    Yes,
    /// Accepted, and dropped.
    Discarded,
}

impl Way {
    /// Before the greeting: whether there is one, and when.
    pub(crate) async fn greet(&mut self, shard: &Rc<Shard>, source: &str, waited: Waited) -> Reply {
        let Some(peer) = peer(source) else { return Reply::Greeting(0) };
        greeting::greet(shard, peer, waited, self.rules.is_early_talker()).await
    }

    /// The rules for a recipient, and, when they were not asked yet, those for the connection and the message.
    pub(crate) async fn recipient(
        &mut self,
        shard: &Rc<Shard>,
        source: &str,
        check: &RecipientCheck,
    ) -> Result<Admitted, Box<Refused>> {
        let peer = peer(source);
        if let Some(peer) = peer
            && self.rules.recipient(shard, peer, check).await? == Admitted::Discarded
        {
            return Ok(Admitted::Discarded);
        }
        if filters::are_early(&shard.settings()) {
            let early = self.early.get_or_insert_default();
            early.recipient(shard, peer, check, &mut self.rules).await?;
        }
        Ok(Admitted::Yes)
    }

    /// Everything that is looked at when the content is there.
    pub(crate) async fn message(
        &mut self,
        shard: &Rc<Shard>,
        source: &str,
        message: Message,
    ) -> Result<Incoming, Box<Refused>> {
        let mut incoming = Incoming {
            message,
            is_junk: false,
            verdicts: None,
            is_discarded: false,
            is_held: false,
            route: None,
            moderation: None,
            is_rerouted: false,
            noted: None,
        };
        let done = self.steps(shard, source, &mut incoming).await;
        let noted = noted(shard, peer(source), &incoming);
        match (done, noted) {
            (Ok(()), noted) => Ok(Incoming { noted, ..incoming }),
            (Err(refused), noted) => {
                if let Some(noted) = noted {
                    noted.settle(shard, Err(&refused));
                }
                Err(refused)
            }
        }
    }

    async fn steps(
        &mut self,
        shard: &Rc<Shard>,
        source: &str,
        incoming: &mut Incoming,
    ) -> Result<(), Box<Refused>> {
        let settings = shard.settings();
        authenticate::strip_forged(incoming, &settings.hostname);
        let is_foreign = incoming.message.envelope.mode == Mode::Mx;
        let is_near = |peer: IpAddr| peer.to_canonical().is_loopback() || settings.outbound.may_relay(peer);
        if let Some(peer) = peer(source).filter(|peer| is_foreign && !is_near(*peer)) {
            authenticate::authenticate(shard, peer, incoming).await?;
        }
        if let Some(peer) = peer(source) {
            self.rules.message(shard, peer, incoming).await?;
        }
        filters::filter(shard, source, self.early.as_deref_mut(), incoming).await?;
        flow::flow(shard, source, incoming).await?;
        sign::sign(shard, peer(source), incoming).await;
        Ok(())
    }
}

/// The peer's address; none on a Unix socket.
fn peer(source: &str) -> Option<IpAddr> {
    source.parse().ok()
}

/// Puts a field in front of the message, where our own fields are.
fn put_in_front(message: &mut Message, field: &[u8]) {
    message.data.splice(..0, field.iter().copied());
    message.envelope.received_field_bytes += field.len();
}

/// A refusal in our own words.
#[expect(clippy::unnecessary_box_returns, reason = "refusals are boxed wherever they go")]
pub(crate) fn refused(code: u16, enhanced: (u8, u16, u16), text: &str) -> Box<Refused> {
    Box::new(Refused { code, enhanced, text: text.to_owned() })
}
