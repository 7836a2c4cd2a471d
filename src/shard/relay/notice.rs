//! Telling the sender (RFC 3461 §5.2): what is told of whom is `dsn`'s to say; here it is sent.

use std::rc::Rc;
use std::sync::Arc;

use base::Timestamp;
use directory::{EmailAddress, Resolution};
use dsn::{Content, Original, Reporter, Status, compose, notice_for};
use queue::{Action, Body, Entry, Envelope, Origin};
use smtp::{BodyKind, Message, Mode, Outcome, Peer, TransactionId};

use super::accept::accept;
use super::chance;
use super::parcel::Told;
use crate::{Shard, deliver};

/// What there is to tell of one entry.
pub(super) struct Notice<'a> {
    pub(super) envelope: &'a Envelope,
    pub(super) entry: &'a Entry,
    pub(super) results: &'a [Told],
    /// Whether those who wait have waited so long that the sender should know.
    pub(super) is_late: bool,
}

impl Notice<'_> {
    fn recipients(&self) -> Vec<dsn::Recipient<'_>> {
        let mut recipients = Vec::new();
        for told in self.results {
            let outcome = match told.action {
                Action::Relayed => dsn::Outcome::Relayed { has_dsn: told.passes_dsn },
                Action::Delayed if self.is_late => dsn::Outcome::Delayed,
                Action::Delayed => continue,
                Action::Failed => dsn::Outcome::Failed,
            };
            for at in &told.recipients {
                let Some(recipient) = self.envelope.recipients.get(*at as usize) else { continue };
                recipients.push(dsn::Recipient {
                    orcpt: recipient.orcpt.as_deref(),
                    notify: recipient.notify.map(|notify| dsn::Notify {
                        on_success: notify.on_success,
                        on_failure: notify.on_failure,
                        on_delay: notify.on_delay,
                    }),
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
    pub(super) fn is_wanted(&self) -> bool {
        notice_for(self.envelope.sender.as_deref(), &self.recipients()).is_some()
    }
}

/// Tells the sender; false when it should be tried again. Nobody is told of a notice that cannot be delivered.
pub(super) async fn tell(
    shard: &Rc<Shard>,
    notice: &Notice<'_>,
    content: Option<&[u8]>,
    now: Timestamp,
) -> bool {
    let mut recipients = notice.recipients();
    recipients.iter_mut().for_each(|recipient| recipient.attempted_at = Some(now));
    let Some(due) = notice_for(notice.envelope.sender.as_deref(), &recipients) else { return true };
    let settings = shard.settings();
    let outbound = &settings.outbound;
    let original = Original {
        envid: notice.envelope.envid.as_deref(),
        ret: notice.envelope.ret.map(|ret| match ret {
            queue::Return::Full => dsn::Return::Full,
            queue::Return::Headers => dsn::Return::Headers,
        }),
        arrived_at: Some(notice.envelope.received),
        received_from: Some(notice.envelope.origin.helo.as_str()).filter(|helo| !helo.is_empty()),
        content: content.map_or(Content::Header(b""), Content::Whole),
    };
    let id = chance(shard);
    let reporter = Reporter {
        hostname: &outbound.hostname,
        from: &format!("MAILER-DAEMON@{}", outbound.hostname),
        postmaster: &settings.mx.postmaster,
        message_id: &format!("{id:016x}.dsn@{}", outbound.hostname),
        now,
        utc_offset_minutes: 0,
        templates: &outbound.templates,
        returned_bytes_max: dsn::RETURNED_BYTES_DEFAULT,
    };
    let report = compose(&due, &original, &reporter);
    let outcome = send(shard, due.to(), report, id, now).await;
    tracing::info!(
        event = "relay.notice",
        id = format!("{:016x}", notice.envelope.id),
        notice = format!("{id:016x}"),
        to = due.to(),
        ?outcome
    );
    match outcome {
        Outcome::NoSpace | Outcome::Unavailable => false,
        Outcome::Stored
        | Outcome::OverQuota
        | Outcome::TooLarge
        | Outcome::Disabled
        | Outcome::Rejected
        | Outcome::TooManyRecipients => true,
    }
}

/// Into the sender's mailbox, if it is one of ours, else into the queue.
async fn send(shard: &Rc<Shard>, to: &str, report: dsn::Report, id: u64, now: Timestamp) -> Outcome {
    let Ok(address) = EmailAddress::parse(to) else { return Outcome::Rejected };
    match shard.people.resolve(shard, &address).await {
        Ok(Resolution::NotLocal) => {
            let content = Arc::new(report.message);
            return accept(shard, queued(to, id, report.is_8bit, report.is_smtputf8, now), content, now)
                .await;
        }
        Ok(_) => {}
        Err(_) => return Outcome::Unavailable,
    }
    let envelope = smtp::Envelope {
        id: TransactionId(id),
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
        received: now,
        received_field_bytes: 0,
    };
    let outcomes = deliver(shard, Message { envelope, data: report.message }, false, now).await;
    outcomes.into_iter().next().unwrap_or(Outcome::Unavailable)
}

/// A notice's own envelope: from nobody, and nobody is told of it (RFC 3461 §6.1).
fn queued(to: &str, id: u64, is_8bit: bool, is_smtputf8: bool, now: Timestamp) -> Envelope {
    Envelope {
        id,
        sender: None,
        recipients: vec![queue::Recipient {
            address: to.to_owned(),
            orcpt: None,
            notify: Some(queue::Notify::default()),
            group: queue::Destination(0),
        }],
        body: if is_8bit { Body::EightBitMime } else { Body::SevenBit },
        is_smtputf8,
        ret: None,
        envid: None,
        requires_tls: false,
        received: now,
        origin: Origin::default(),
    }
}
