//! Reports of others: read out of mail to a report address, and durable before the mail is acknowledged.

use std::rc::Rc;
use std::sync::Arc;

use base::{AccountId, ShardId};
use mailauth::dmarc::DmarcResult;
use queue::TraceFilter;
use reports::{About, Found, Origin, Put, Report, Summary, read_mail};
use smtp::{Message, Mode, Refused};

use super::count;
use crate::Shard;
use crate::inbound::{Incoming, refused};
use crate::limits::{COMPLAINT_LABELS_MAX, DIRECTORY_PARTITION};
use crate::relay::control;

/// Keeps the report in a message to a report address. The recipients for whom that is all; a refusal when it cannot be
/// kept now. What is no report is ordinary mail.
pub(crate) async fn receive(shard: &Rc<Shard>, incoming: &mut Incoming) -> Result<Vec<String>, Box<Refused>> {
    let settings = shard.settings();
    let reporting = &settings.reporting;
    let envelope = &incoming.message.envelope;
    let to: Vec<String> = envelope.recipients.iter().map(|recipient| recipient.address.clone()).collect();
    let to: Vec<String> = to.into_iter().filter(|address| reporting.receives(address)).collect();
    let is_waiting = incoming.is_held || incoming.is_discarded;
    if to.is_empty() || is_waiting || envelope.mode == Mode::Submission {
        return Ok(Vec::new());
    }
    let passed = incoming.verdicts.as_ref().filter(|verdicts| verdicts.dmarc.result == DmarcResult::Pass);
    let proven = |verdicts: &mailauth::Verdicts| Origin::Proven(verdicts.dmarc.organisation.clone());
    let origin = passed.map_or(Origin::Mail, proven);
    let data = Arc::new(std::mem::take(&mut incoming.message.data));
    let kept = keep(shard, &incoming.message, &data, origin).await;
    incoming.message.data = Arc::unwrap_or_clone(data);
    match kept {
        Ok(true) if !reporting.keeps_mail => Ok(to),
        Ok(_) => Ok(Vec::new()),
        Err(NotKept) => Err(refused(451, (4, 3, 0), "the report cannot be kept now")),
    }
}

/// As [`receive`], of a message that we wrote ourselves.
pub(super) async fn own(shard: &Rc<Shard>, message: &Message) -> Result<(), NotKept> {
    let data = Arc::new(message.data.clone());
    let sender = message.envelope.sender.as_ref().map_or("", |path| path.domain());
    keep(shard, message, &data, Origin::Proven(sender.to_owned())).await.map(|_| ())
}

/// The store, or the shard that has the reports, cannot be used now.
pub(super) struct NotKept;

/// Whether there was a report in it, which is kept now.
async fn keep(
    shard: &Rc<Shard>,
    message: &Message,
    data: &Arc<Vec<u8>>,
    origin: Origin,
) -> Result<bool, NotKept> {
    let envelope = &message.envelope;
    let (copy, own) = (Arc::clone(data), envelope.received_field_bytes);
    // A report may be large when it is unpacked.
    let read = shard.off_shard(move || read_mail(copy.get(own..).unwrap_or_default()));
    let Some(Found { report, content }) = read.await.map_err(|_| NotKept)? else {
        count(&shard.reports.tally.unreadable, 1);
        tracing::info!(event = "reports.unreadable", id = %envelope.id);
        return Ok(false);
    };
    let message = data.get(own..).unwrap_or_default();
    let header = message.get(..mime::end_of_headers(message)).unwrap_or(message);
    let message_id = mime::field(header, "Message-ID").map(|field| mime::unfold(field.value).into_owned());
    let message_id = String::from_utf8_lossy(&message_id.unwrap_or_default()).trim().to_owned();
    // Complaints have no other name.
    let message_id = if message_id.is_empty() { envelope.id.to_string() } else { message_id };
    let mut summary = Summary::of(&report, &message_id, shard.world.now());
    summary.origin = origin;
    summary.sender = envelope.sender.as_ref().map_or_else(String::new, |path| path.as_str().to_owned());
    let (about, account) = about(shard, &report).await.unzip();
    summary.about = about;
    count(&shard.reports.tally.received[report.kind() as usize], 1);
    let kind = report.kind().name();
    let word = match &report {
        Report::Feedback(report) => report.kind.as_str(),
        Report::Dmarc(_) | Report::Tls(_) => "",
    };
    let work = async move |there: Rc<Shard>| {
        name_account(&there, &mut summary, account.flatten());
        let kept = there.reports.kept.as_ref()?.put(&summary, content).await.ok()?;
        if matches!(kept, Put::New(_)) && !word.is_empty() {
            complain(&there, word, &summary);
        }
        Some((kept, summary))
    };
    let owner = shard.router.partition_shard(DIRECTORY_PARTITION);
    let Ok(Some((kept, summary))) = shard.router.on(owner, work).await else { return Err(NotKept) };
    tracing::info!(
        event = "reports.received", id = %envelope.id, kind, domain = %summary.domain,
        reporter = %summary.reporter, ?kept
    );
    Ok(true)
}

/// The message of ours that a complaint is about, and the number of the account that it came from.
async fn about(shard: &Rc<Shard>, report: &Report) -> Option<(About, Option<u64>)> {
    let Report::Feedback(report) = report else { return None };
    let filter = TraceFilter::MessageId(report.returned.message_id.clone()?);
    for id in 0..shard.router.shards() {
        let filter = filter.clone();
        let work = async move |there: Rc<Shard>| control::trace(&there, &filter, 1).await;
        let Ok(Ok(found)) = shard.router.on(ShardId(id), work).await else { continue };
        if let Some(trace) = found.into_iter().next() {
            let sender = trace.envelope.sender.unwrap_or_default();
            let about = About { id: trace.envelope.id, account: None, sender };
            return Some((about, trace.envelope.origin.account));
        }
    }
    None
}

/// Puts the address of the account that submitted the message into the summary; on the directory's shard.
fn name_account(shard: &Shard, summary: &mut Summary, account: Option<u64>) {
    let (Some(about), Some(directory)) = (&mut summary.about, shard.people.own()) else { return };
    let entry = account.and_then(|account| directory.account_by_id(AccountId(account)));
    about.account = entry.map(|entry| entry.address.to_string());
}

/// Counts a complaint for whoever sent the mail; beyond the bound, for nobody in particular.
fn complain(shard: &Shard, word: &'static str, summary: &Summary) {
    // What nobody vouches for and is about no message of ours has no say in whose name is counted.
    if !summary.is_authenticated() && summary.about.is_none() {
        let mut complaints = shard.reports.tally.complaints.borrow_mut();
        let count = complaints.entry((word, "unproven".to_owned(), String::new())).or_default();
        *count = count.saturating_add(summary.total);
        return;
    }
    let account = summary.about.as_ref().and_then(|about| about.account.clone()).unwrap_or_default();
    let mut complaints = shard.reports.tally.complaints.borrow_mut();
    let mut key = (word, summary.domain.clone(), account);
    if complaints.len() >= COMPLAINT_LABELS_MAX && !complaints.contains_key(&key) {
        key = (word, "other".to_owned(), String::new());
    }
    let count = complaints.entry(key).or_default();
    *count = count.saturating_add(summary.total);
}
