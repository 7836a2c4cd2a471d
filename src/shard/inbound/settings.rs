//! What an operator sets for mail that comes in.

use std::net::IpAddr;
use std::sync::Arc;

use policy::{Flow, Policy};

use super::FilterSettings;
use crate::relay::is_among;

/// Settings of what is looked at before a message is taken, shared by all shards.
#[derive(Clone, Debug, Default)]
pub struct Inbound {
    /// Whether SPF, DKIM, DMARC and ARC of mail from elsewhere are looked at.
    pub authenticates: bool,
    /// What follows from DMARC.
    pub dmarc: Dmarc,
    /// What follows when users say that they are somebody else.
    pub from: FromCheck,
    /// The operator's rules.
    pub policy: Arc<Policy>,
    /// The organisation's rules for every message.
    pub flow: Arc<Flow>,
    /// Milters and other filters, in their order.
    pub filters: Vec<FilterSettings>,
    /// Networks of load balancers, whose connections begin with a PROXY header: address and length of the prefix in
    /// bits.
    pub proxy_from: Vec<(IpAddr, u8)>,
    /// Networks of gateways that may say by XCLIENT for whom they speak.
    pub xclient_from: Vec<(IpAddr, u8)>,
}

impl Inbound {
    /// Whether a peer might have to wait for its greeting. Systems beside us do not, nor does whom a balancer cannot name:
    /// its health checks say the same.
    pub fn tests_greeting(&self, peer: IpAddr) -> bool {
        let peer = peer.to_canonical();
        let is_near = peer.is_loopback() || peer.is_unspecified() || self.may_announce(peer);
        !is_near && self.policy.settings().pregreet.tests(peer)
    }

    /// Whether a peer's connections begin with a PROXY header.
    pub fn is_proxy(&self, peer: IpAddr) -> bool {
        is_among(peer, &self.proxy_from)
    }

    /// Whether a peer may say for whom it speaks.
    pub fn may_announce(&self, peer: IpAddr) -> bool {
        is_among(peer, &self.xclient_from)
    }
}

/// What follows when From or Sender of a submitted message name somebody as whom the account may not send.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FromCheck {
    /// It is refused.
    #[default]
    Enforce,
    /// It gets a Sender field that names the account.
    Sender,
    /// Nothing; nothing is added either where an account sends on behalf of another.
    Any,
}

/// What follows when a message fails DMARC and its domain's owner asks for a consequence.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dmarc {
    /// It is only noted.
    Note,
    /// It goes into Junk, whether quarantine or rejection was asked for.
    Junk,
    /// What the owner asks for: into Junk, or refused.
    #[default]
    Enforce,
}
