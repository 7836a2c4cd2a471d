//! Who a message from elsewhere is from: SPF, DKIM, ARC and DMARC, noted in the message, and what DMARC asks for.

use std::net::IpAddr;
use std::rc::Rc;

use base::dns::{Answer, Failure, Query};
use mailauth::dmarc::Policy;
use mailauth::{Checks, Lookup};
use smtp::Refused;

use super::{Dmarc, Incoming, put_in_front, refused};
use crate::Shard;
use crate::join::before;
use crate::limits::AUTHENTICATION_TIME_MAX;

/// The domain name system, as the checks ask it.
pub(crate) struct Names(pub(crate) Rc<Shard>);

impl Lookup for Names {
    async fn ask(&self, query: Query) -> Result<Answer, Failure> {
        self.0.world.lookup(query).await
    }
}

/// Checks, and puts the result in front.
pub(super) async fn authenticate(
    shard: &Rc<Shard>,
    peer: IpAddr,
    incoming: &mut Incoming,
) -> Result<(), Box<Refused>> {
    let settings = shard.settings();
    let hostname = settings.hostname.as_str();
    if !settings.inbound.authenticates {
        return Ok(());
    }
    let envelope = &incoming.message.envelope;
    let message = incoming.message.data.get(envelope.received_field_bytes..).unwrap_or_default();
    let checks = Checks {
        ip: peer,
        helo: &envelope.helo,
        mail_from: envelope.sender.as_ref().map_or("", |path| path.as_str()),
        message,
        now: shard.world.now(),
        authserv_id: hostname,
    };
    let end = shard.world.sleep_until(checks.now + AUTHENTICATION_TIME_MAX);
    let names = Names(Rc::clone(shard));
    let Some(verdicts) = before(end, Box::pin(mailauth::verify(&names, &checks))).await else {
        // Nobody is to get around DMARC by a slow name server of their own: it may be quicker the next time.
        tracing::warn!(event = "inbound.authentication_late", id = %envelope.id);
        return match settings.inbound.dmarc {
            Dmarc::Note => Ok(()),
            Dmarc::Junk | Dmarc::Enforce => {
                Err(refused(451, (4, 7, 0), "who the message is from could not be checked in time"))
            }
        };
    };
    let disposition = verdicts.disposition;
    tracing::info!(
        event = "inbound.authenticated", id = %envelope.id, from = %verdicts.dmarc.author,
        dmarc = ?verdicts.dmarc.result, spf = ?verdicts.spf.result, asks = ?disposition
    );
    put_in_front(&mut incoming.message, verdicts.header.as_bytes());
    let author = verdicts.dmarc.author.clone();
    incoming.verdicts = Some(verdicts);
    match (disposition, settings.inbound.dmarc) {
        (Policy::Reject, Dmarc::Enforce) => {
            let text = format!("the message fails DMARC, and {author} asks that such mail be refused");
            // The words and codes of RFC 7489 §10.3.
            Err(refused(550, (5, 7, 1), &text))
        }
        (Policy::None, _) | (_, Dmarc::Note) => Ok(()),
        (Policy::Quarantine | Policy::Reject, Dmarc::Junk | Dmarc::Enforce) => {
            incoming.is_junk = true;
            Ok(())
        }
    }
}

/// Takes out what others have written under our name: whoever reads it would believe it (RFC 8601 §5).
pub(super) fn strip_forged(incoming: &mut Incoming, hostname: &str) {
    let own = incoming.message.envelope.received_field_bytes;
    let Some(message) = incoming.message.data.get(own..) else { return };
    let header = message.get(..mime::end_of_headers(message)).unwrap_or(message);
    let ranges = mailauth::results::forged(header, hostname);
    for range in ranges.into_iter().rev() {
        incoming.message.data.drain(own + range.start..own + range.end);
    }
}
