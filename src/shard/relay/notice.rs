//! Telling the sender (RFC 3461 §5.2): what is told of whom is `dsn`'s to say; here it is sent.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;

use base::Timestamp;
use directory::{EmailAddress, Resolution};
use dsn::{Content, Original, Reporter, Status, Templates, compose, notice_for, undeliverable};
use queue::{Action, Body, Entry, Envelope, Origin};
use smtp::{BodyKind, Message, Mode, Outcome, Peer, TransactionId};

use super::accept::{Outgoing, accept};
use super::outbound::Outbound;
use super::parcel::Told;
use super::{chance, local, postmaster, verp};
use crate::inbound::sign_own;
use crate::limits::MODERATED_BYTES_MAX;
use crate::{Manner, Shard, deliver};

/// What there is to tell of one entry.
pub(super) struct Notice<'a> {
    pub(super) envelope: &'a Envelope,
    pub(super) entry: &'a Entry,
    pub(super) results: &'a [Told],
    /// Whether those who wait have waited so long that the sender should know.
    pub(super) is_late: bool,
    /// How many notices have been sent.
    pub(super) told: Cell<usize>,
}

impl Notice<'_> {
    fn recipients(&self) -> Vec<dsn::Recipient<'_>> {
        let mut recipients = Vec::new();
        for told in self.results {
            let outcome = match told.action {
                // What waits for a mailbox still is told of from there.
                Action::Relayed if told.host.is_empty() && !told.passes_dsn => dsn::Outcome::Delivered,
                Action::Relayed => dsn::Outcome::Relayed { has_dsn: told.passes_dsn },
                Action::Delayed if self.is_late => dsn::Outcome::Delayed,
                Action::Delayed => continue,
                Action::Failed => dsn::Outcome::Failed,
            };
            for at in &told.recipients {
                let Some(recipient) = self.envelope.recipients.get(*at as usize) else { continue };
                recipients.push(dsn::Recipient {
                    orcpt: recipient.orcpt.as_deref(),
                    notify: recipient.notify,
                    status: Status::of_response(&told.reply),
                    remote_host: told.host.split(' ').next().filter(|host| !host.is_empty()),
                    response: Some(&told.reply),
                    retry_until: Some(self.entry.expires),
                    ..dsn::Recipient::new(&recipient.address, outcome)
                });
            }
        }
        recipients
    }

    /// Whether anybody is to be told anything.
    pub(super) fn is_wanted(&self, outbound: &Outbound) -> bool {
        let recipients = self.recipients();
        match self.envelope.sender.as_deref() {
            // The postmaster instead of nobody.
            None => outbound.tell_postmaster.undeliverable && undeliverable("", &recipients).is_some(),
            sender => notice_for(sender, &recipients).is_some(),
        }
    }

    fn original<'a>(&'a self, content: Option<&'a [u8]>) -> Original<'a> {
        let envelope = self.envelope;
        Original {
            envid: envelope.envid.as_deref(),
            // RFC 8689 §5: no more than the header of what needs TLS.
            ret: if envelope.requires_tls { Some(dsn::Return::Headers) } else { envelope.ret },
            arrived_at: Some(envelope.received),
            received_from: Some(envelope.origin.helo.as_str()).filter(|helo| !helo.is_empty()),
            release_at: envelope.terms.release_at,
            deliver_by: envelope.terms.deliver_by.map(|by| by.at),
            content: content.map_or(Content::Header(b""), Content::Whole),
        }
    }
}

/// Tells the sender, or of mail from nobody the postmaster; false when it should be tried again.
pub(super) async fn tell(
    shard: &Rc<Shard>,
    notice: &Notice<'_>,
    content: Option<&[u8]>,
    now: Timestamp,
) -> bool {
    let mut recipients = notice.recipients();
    for recipient in &mut recipients {
        recipient.attempted_at = Some(now);
    }
    let (original, requires_tls) = (notice.original(content), notice.envelope.requires_tls);
    let Some(sender) = notice.envelope.sender.as_deref() else {
        return postmaster::undeliverable(shard, &recipients, &original, requires_tls, now).await;
    };
    let told_of = verp::told_of(sender, notice.envelope.terms.verp, &recipients);
    // Those who have been told are not told again.
    for (sender, of) in told_of.iter().skip(notice.told.get()) {
        let is_told = match notice_for(Some(sender), of) {
            Some(due) => tell_one(shard, notice.envelope, &due, &original, now).await,
            None => true,
        };
        if !is_told {
            return false;
        }
        notice.told.set(notice.told.get() + 1);
    }
    true
}

async fn tell_one(
    shard: &Rc<Shard>,
    envelope: &Envelope,
    due: &dsn::Notice<'_>,
    original: &Original<'_>,
    now: Timestamp,
) -> bool {
    let requires_tls = envelope.requires_tls;
    let (id, mut report) = report(shard, due, original, now);
    report.message = sign_own(shard, report.message).await;
    let outcome = send(shard, due.to(), &report, Own { id, requires_tls }, now).await;
    tracing::info!(
        event = "relay.notice",
        id = format!("{:016x}", envelope.id),
        notice = format!("{id:016x}"),
        to = due.to(),
        ?outcome
    );
    match outcome {
        Outcome::NoSpace | Outcome::Unavailable => return false,
        Outcome::Stored => {}
        Outcome::OverQuota
        | Outcome::TooLarge
        | Outcome::Disabled
        | Outcome::Rejected
        | Outcome::TooManyRecipients => {
            let own = Own { id, requires_tls };
            return undelivered(shard, due.to(), outcome, &report, own, now).await;
        }
    }
    postmaster::copy(shard, due, original, requires_tls, now).await;
    true
}

/// A notice has failed at once: the postmaster is told of it as of others later.
async fn undelivered(
    shard: &Rc<Shard>,
    to: &str,
    outcome: Outcome,
    report: &dsn::Report,
    own: Own,
    now: Timestamp,
) -> bool {
    let (_, reply) = local::words(outcome);
    let failed = dsn::Recipient {
        status: Status::of_response(reply),
        response: Some(reply),
        attempted_at: Some(now),
        ..dsn::Recipient::new(to, dsn::Outcome::Failed)
    };
    let original = Original {
        envid: None,
        ret: None,
        arrived_at: Some(now),
        received_from: None,
        release_at: None,
        deliver_by: None,
        content: Content::Whole(&report.message),
    };
    postmaster::undeliverable(shard, &[failed], &original, own.requires_tls, now).await
}

/// Writes to somebody what a reporter makes, from the postmaster, and sends it with nobody as its sender.
pub(super) async fn write(
    shard: &Rc<Shard>,
    to: &str,
    make: impl FnOnce(&Reporter<'_>) -> dsn::Report,
) -> Outcome {
    let (settings, now, id) = (shard.settings(), shard.world.now(), chance(shard));
    let outbound = &settings.outbound;
    let mut report = make(&Reporter {
        hostname: &outbound.hostname,
        from: &settings.mx.postmaster,
        postmaster: &settings.mx.postmaster,
        message_id: &format!("{id:016x}.moderation@{}", outbound.hostname),
        now,
        utc_offset_minutes: 0,
        templates: &outbound.templates,
        returned_bytes_max: MODERATED_BYTES_MAX,
    });
    report.message = sign_own(shard, report.message).await;
    send(shard, to, &report, Own { id, requires_tls: false }, now).await
}

/// Writes a notice; with its id.
pub(super) fn report(
    shard: &Rc<Shard>,
    due: &dsn::Notice<'_>,
    original: &Original<'_>,
    now: Timestamp,
) -> (u64, dsn::Report) {
    let settings = shard.settings();
    let outbound = &settings.outbound;
    let id = chance(shard);
    let for_postmaster = due.is_for_postmaster().then(Templates::for_postmaster);
    let reporter = Reporter {
        hostname: &outbound.hostname,
        from: &format!("MAILER-DAEMON@{}", outbound.hostname),
        postmaster: &settings.mx.postmaster,
        message_id: &format!("{id:016x}.dsn@{}", outbound.hostname),
        now,
        utc_offset_minutes: 0,
        templates: for_postmaster.as_ref().unwrap_or(&outbound.templates),
        returned_bytes_max: dsn::RETURNED_BYTES_DEFAULT,
    };
    (id, compose(due, original, &reporter))
}

/// Tells the sender of a message that it lies in mailboxes of ours, where that was asked for (RFC 3461 §5.2.3). The
/// message is safe, so what cannot be told is only logged.
pub(crate) async fn delivered(
    shard: &Rc<Shard>,
    envelope: &smtp::Envelope,
    header: &[u8],
    to: &[smtp::Recipient],
    now: Timestamp,
) {
    // It replaces no entry, so it has no claim to room in a full queue.
    if shard.relay.store.len() >= shard.settings().outbound.entries_max {
        return;
    }
    let recipient = |recipient: &smtp::Recipient| {
        let notify = recipient.notify?;
        Some((recipient.address.clone(), recipient.orcpt.clone(), notify))
    };
    let known: Vec<_> = to.iter().filter_map(recipient).collect();
    let recipients: Vec<_> = known
        .iter()
        .map(|(address, orcpt, notify)| dsn::Recipient {
            orcpt: orcpt.as_deref(),
            notify: Some(*notify),
            attempted_at: Some(now),
            ..dsn::Recipient::new(address, dsn::Outcome::Delivered)
        })
        .collect();
    let Some(sender) = envelope.sender.as_ref().map(smtp::Path::as_str) else { return };
    let original = Original {
        envid: envelope.envid.as_deref(),
        ret: Some(dsn::Return::Headers),
        arrived_at: Some(envelope.received),
        received_from: Some(&envelope.helo),
        release_at: envelope.terms.release_at,
        deliver_by: envelope.terms.deliver_by.map(|by| by.at),
        content: Content::Header(header),
    };
    for (sender, of) in verp::told_of(sender, envelope.terms.verp, &recipients) {
        let Some(due) = notice_for(Some(&sender), of) else { continue };
        let (id, mut report) = report(shard, &due, &original, now);
        report.message = sign_own(shard, report.message).await;
        let own = Own { id, requires_tls: envelope.terms.requires_tls };
        let outcome = send(shard, due.to(), &report, own, now).await;
        tracing::info!(
            event = "relay.notice", id = %envelope.id, notice = format!("{id:016x}"), to = due.to(), ?outcome
        );
    }
}

/// What a notice has of its own, and what it takes from the message that it is about.
#[derive(Clone, Copy)]
pub(super) struct Own {
    pub(super) id: u64,
    /// It says much of the message, so it goes as that (RFC 8689 §5).
    pub(super) requires_tls: bool,
}

/// Into a mailbox, if it is one of ours, else into the queue.
pub(super) async fn send(
    shard: &Rc<Shard>,
    to: &str,
    report: &dsn::Report,
    own: Own,
    now: Timestamp,
) -> Outcome {
    let Ok(address) = EmailAddress::parse(to) else { return Outcome::Rejected };
    match shard.people.resolve(shard, &address).await {
        Ok(Resolution::NotLocal) => {
            let content = Arc::new(report.message.clone());
            let body = if report.is_8bit { Body::EightBitMime } else { Body::SevenBit };
            let envelope = Envelope { body, is_smtputf8: report.is_smtputf8, ..queued(to, own, now) };
            return accept(shard, vec![Outgoing { envelope, content }], false, now).await;
        }
        Ok(Resolution::AliasLoop) => return Outcome::Rejected,
        Ok(_) => {}
        Err(_) => return Outcome::Unavailable,
    }
    let envelope = smtp::Envelope {
        id: TransactionId(own.id),
        mode: Mode::Mx,
        helo: Arc::from(shard.settings().outbound.hostname.as_str()),
        is_extended: true,
        peer: Arc::new(Peer { address: String::new(), is_trusted: true }),
        tls: None,
        identity: None,
        sender: None,
        recipients: vec![smtp::Recipient { address: to.to_owned(), orcpt: None, notify: None }],
        body: BodyKind::EightBitMime,
        is_smtputf8: report.is_smtputf8,
        ret: None,
        envid: None,
        terms: smtp::Terms::default(),
        received: now,
        received_field_bytes: 0,
    };
    let manner = Manner { is_notice: true, ..Manner::default() };
    let outcomes = deliver(shard, Message { envelope, data: report.message.clone() }, manner, now).await;
    outcomes.into_iter().next().unwrap_or(Outcome::Unavailable)
}

/// A notice's own envelope: from nobody, and nobody is told of it (RFC 3461 §6.1).
fn queued(to: &str, own: Own, now: Timestamp) -> Envelope {
    Envelope {
        id: own.id,
        sender: None,
        recipients: vec![queue::Recipient {
            address: to.to_owned(),
            orcpt: None,
            notify: Some(queue::Notify::default()),
            group: queue::Destination(0),
        }],
        body: Body::SevenBit,
        is_smtputf8: false,
        ret: None,
        envid: None,
        requires_tls: own.requires_tls,
        terms: queue::Terms::default(),
        route: None,
        received: now,
        origin: Origin::default(),
        moderation: None,
        here: None,
    }
}
