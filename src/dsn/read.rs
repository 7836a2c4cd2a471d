//! Reports that others send us: that mail bounced (RFC 3464, 6533) and that people complain (RFC 5965, 6591, 6650).
//!
//! Everything in them is a stranger's claim. A bounce to a return path of [`crate::Verp`] says by its address
//! whom it is about; what is read here says why.

use base::Timestamp;
use mime::{Headers, Part, PartTree, decode_transfer, parse_date, unfold};

use crate::feedback::{FeedbackReport, feedback};
use crate::limits::{
    PARTS_SEARCHED_MAX, REPEATED_FIELDS_MAX, REPORT_PART_BYTES_MAX, REPORTED_RECIPIENTS_MAX, VALUE_BYTES_MAX,
};
use crate::notice::Action;
use crate::status::Status;
use crate::write::one_line;
use crate::xtext::split_address;

/// A report that came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming {
    /// About the delivery of a message.
    Delivery(DeliveryReport),
    /// About what a recipient, or a recipient's server, thinks of it.
    Feedback(Box<FeedbackReport>),
}

/// What a delivery status notification says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeliveryReport {
    /// Original-Envelope-Id.
    pub envelope_id: Option<String>,
    /// Reporting-MTA, without its type.
    pub reporting_mta: Option<String>,
    /// Arrival-Date.
    pub arrived_at: Option<Timestamp>,
    /// The recipients in their order, at most [`crate::limits::REPORTED_RECIPIENTS_MAX`].
    pub recipients: Vec<ReportedRecipient>,
    /// Whether there were more of them.
    pub is_cut: bool,
    /// What it gives back of the original.
    pub returned: Returned,
}

/// What it says of one recipient.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReportedRecipient {
    /// Original-Recipient, without its type: whom the sender wrote to.
    pub original: Option<String>,
    /// Final-Recipient, without its type: what became of that on the way.
    pub address: Option<String>,
    /// Action.
    pub action: Option<Action>,
    /// Status.
    pub status: Option<Status>,
    /// Remote-MTA, without its type.
    pub remote_mta: Option<String>,
    /// Diagnostic-Code, without its type.
    pub diagnostic: Option<String>,
    /// Last-Attempt-Date.
    pub attempted_at: Option<Timestamp>,
    /// Will-Retry-Until.
    pub retry_until: Option<Timestamp>,
}

/// What a report gives back of the original message: facts to find it by.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Returned {
    /// Message-ID, with its brackets.
    pub message_id: Option<String>,
    /// From's first address.
    pub from: Option<String>,
    /// The domains that signed it with DKIM (RFC 6376 §3.5 `d=`), in their order. Nobody has verified them.
    pub dkim_domains: Vec<String>,
}

/// Reads a report, if the message is one: a multipart one of whose parts is `message/delivery-status` (or its form
/// with UTF-8) or `message/feedback-report`. Time and memory are bounded by the message.
pub fn read_report(message: &[u8]) -> Option<Incoming> {
    let tree = mime::scan(message);
    if !tree.root().is_multipart() {
        return None;
    }
    let parts = || tree.root().children.iter().take(PARTS_SEARCHED_MAX).map(|id| tree.part(*id));
    let is_delivery = |part: &Part| {
        ["delivery-status", "global-delivery-status"].iter().any(|kind| part.content_type.is("message", kind))
    };
    let is_feedback = |part: &Part| part.content_type.is("message", "feedback-report");
    let part = parts().find(|part| is_delivery(part) || is_feedback(part))?;
    let fields = decoded(part, message);
    let returned = parts().find_map(|part| returned_header(&tree, part, message));
    let returned = returned.map(|header| Returned::of(&header)).unwrap_or_default();
    Some(if is_feedback(part) {
        Incoming::Feedback(Box::new(FeedbackReport { returned, ..feedback(&fields) }))
    } else {
        Incoming::Delivery(DeliveryReport { returned, ..delivery(&fields) })
    })
}

impl DeliveryReport {
    /// The recipients that will not get the message.
    pub fn failures(&self) -> impl Iterator<Item = &ReportedRecipient> {
        self.recipients.iter().filter(|recipient| recipient.action == Some(Action::Failed))
    }
}

impl Returned {
    fn of(header: &[u8]) -> Self {
        let mut found = Self::default();
        for field in Headers::of(header) {
            if field.is("Message-ID") && found.message_id.is_none() {
                found.message_id = text(field.value);
            } else if field.is("From") && found.from.is_none() {
                found.from = address(field.value);
            } else if field.is("DKIM-Signature") && found.dkim_domains.len() < REPEATED_FIELDS_MAX {
                found.dkim_domains.extend(tag(field.value, "d"));
            }
        }
        found
    }
}

/// A value as text: unfolded, on one line, of bounded length; `None` when nothing is there.
pub(crate) fn text(value: &[u8]) -> Option<String> {
    let line = one_line(&String::from_utf8_lossy(&unfold(value)), VALUE_BYTES_MAX);
    if line.is_empty() { None } else { Some(line) }
}

/// A value of the form `type;value`, without its type, which servers forget.
pub(crate) fn typed(value: &[u8]) -> Option<String> {
    let text = text(value)?;
    let found = split_address(&text, false).map_or_else(|| text.clone(), |(_, value)| value);
    let found = found.trim().trim_start_matches('<').trim_end_matches('>');
    if found.is_empty() { None } else { Some(found.to_owned()) }
}

/// The first word of a value, which a comment may follow.
pub(crate) fn word(value: &[u8]) -> Option<String> {
    text(value)?.split([' ', '(', ';']).next().filter(|word| !word.is_empty()).map(str::to_owned)
}

/// The first address of a value.
fn address(value: &[u8]) -> Option<String> {
    let value = value.get(..VALUE_BYTES_MAX).unwrap_or(value);
    let found = mime::addresses(value).into_iter().find(|address| address.host.is_some())?;
    let part = |part: Option<Vec<u8>>| String::from_utf8_lossy(&part.unwrap_or_default()).into_owned();
    Some(one_line(&format!("{}@{}", part(found.mailbox), part(found.host)), VALUE_BYTES_MAX))
}

/// A tag's value of a list such as `v=1; d=example.org` (RFC 6376 §3.2).
fn tag(value: &[u8], name: &str) -> Option<String> {
    let list = String::from_utf8_lossy(&unfold(value)).into_owned();
    let mut tags = list.split(';').filter_map(|tag| tag.split_once('='));
    let (_, value) = tags.find(|(known, _)| known.trim() == name)?;
    let value: String = value.chars().filter(|character| !character.is_whitespace()).collect();
    text(value.as_bytes())
}

fn delivery(fields: &[u8]) -> DeliveryReport {
    let mut report = DeliveryReport::default();
    let mut rest = fields;
    while !rest.is_empty() {
        let mut recipient = ReportedRecipient::default();
        for field in Headers::of(rest) {
            let is_new = !recipient.read(field.name, field.value);
            if is_new {
                report.read(field.name, field.value);
            }
        }
        if recipient.address.is_some() || recipient.original.is_some() {
            if report.recipients.len() < REPORTED_RECIPIENTS_MAX {
                report.recipients.push(recipient);
            } else {
                report.is_cut = true;
                break;
            }
        }
        rest = rest.get(mime::end_of_headers(rest)..).unwrap_or_default();
    }
    report
}

impl DeliveryReport {
    /// Takes a field of the message. The first of a name counts.
    fn read(&mut self, name: &[u8], value: &[u8]) {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("Original-Envelope-Id") {
            self.envelope_id = self.envelope_id.take().or_else(|| text(value));
        } else if is("Reporting-MTA") {
            self.reporting_mta = self.reporting_mta.take().or_else(|| typed(value));
        } else if is("Arrival-Date") {
            self.arrived_at = self.arrived_at.or_else(|| parse_date(value));
        }
    }
}

impl ReportedRecipient {
    /// Takes a field of a recipient; says whether it is one.
    fn read(&mut self, name: &[u8], value: &[u8]) -> bool {
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        if is("Original-Recipient") {
            self.original = self.original.take().or_else(|| typed(value));
        } else if is("Final-Recipient") {
            self.address = self.address.take().or_else(|| typed(value));
        } else if is("Action") {
            self.action = self.action.or_else(|| Action::named(&word(value)?));
        } else if is("Status") {
            self.status = self.status.or_else(|| Status::parse(&word(value)?));
        } else if is("Remote-MTA") {
            self.remote_mta = self.remote_mta.take().or_else(|| typed(value));
        } else if is("Diagnostic-Code") {
            self.diagnostic = self.diagnostic.take().or_else(|| typed(value));
        } else if is("Last-Attempt-Date") {
            self.attempted_at = self.attempted_at.or_else(|| parse_date(value));
        } else if is("Will-Retry-Until") {
            self.retry_until = self.retry_until.or_else(|| parse_date(value));
        } else {
            return false;
        }
        true
    }
}

/// A part's body, decoded; of a long one the beginning.
fn decoded(part: &Part, message: &[u8]) -> Vec<u8> {
    let body = part.body_of(message);
    decode_transfer(part.encoding, body.get(..REPORT_PART_BYTES_MAX).unwrap_or(body))
}

/// The original's header in the part that gives it back, whole or not (RFC 6522 §3, RFC 6533 §5).
pub(crate) fn returned_header(tree: &PartTree, part: &Part, message: &[u8]) -> Option<Vec<u8>> {
    if part.is_message() {
        let original = tree.part(*part.children.first()?).header_of(message);
        return Some(original.get(..REPORT_PART_BYTES_MAX).unwrap_or(original).to_vec());
    }
    let is_header = part.content_type.is("text", "rfc822-headers")
        || part.content_type.is("message", "global-headers")
        // An embedded message that its encoding keeps closed.
        || part.content_type.is("message", "global");
    is_header.then(|| decoded(part, message))
}
