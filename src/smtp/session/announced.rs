//! XCLIENT: the session begins anew, for the client behind a gateway.

use alloc::string::ToString;
use alloc::sync::Arc;

use super::Smtp;
use super::state::{Counts, State};
use crate::announced::Announced;
use crate::config::Peer;
use crate::reply::{Order, Refusal};

impl Smtp {
    /// From whom it comes is the connection's to say, so further clients may follow on it. Their rights are those of
    /// anybody: what the gateway may do is not theirs. What was announced holds until something else is: a gateway may say it
    /// in several commands, the address first, since with another address it is another client.
    pub(super) fn announce(&mut self, announced: Announced) {
        if !self.rights.may_announce {
            return self.refuse(Refusal::NotImplemented);
        }
        if matches!(self.state, State::Mail { .. }) {
            return self.refuse_order(Order::AnnounceInMail);
        }
        if let Some(address) = announced.address {
            self.peer = Arc::new(Peer { address: address.to_string(), is_trusted: false });
            self.rights.may_prioritise = false;
            self.rights.may_verp = false;
        }
        if announced.address.is_some() || announced.is_helo_unknown {
            self.announced_helo = None;
        }
        if let Some(helo) = announced.helo {
            self.announced_helo = Some(helo.into());
        }
        // Nonces for logins are the connection's, used once.
        self.counts = Counts { logins: self.counts.logins, ..Counts::default() };
        self.state = State::Fresh;
        self.greet();
    }
}
