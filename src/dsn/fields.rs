//! `message/delivery-status` (RFC 3464 §2) and its form with UTF-8 (RFC 6533 §4).

use std::borrow::Cow;

use base::Rfc3339;
use mime::rfc5322_date;

use crate::compose::{Original, Reporter};
use crate::limits::RESPONSE_BYTES_MAX;
use crate::notice::{Action, Notice, Recipient};
use crate::write::{Letters, one_ascii_line, one_line, printable, put_field};
use crate::xtext::{encode_utf8_address, split_address};

/// How addresses beyond ASCII are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FieldForm {
    /// Everything is ASCII: any server can carry the report.
    Ascii,
    /// As they are: the report goes to such an address itself.
    Utf8,
}

impl FieldForm {
    /// The media type of the fields.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Ascii => "message/delivery-status",
            Self::Utf8 => "message/global-delivery-status",
        }
    }

    /// A stranger's text for one field.
    fn clean(self, text: &str) -> String {
        match self {
            Self::Ascii => one_ascii_line(text, RESPONSE_BYTES_MAX),
            Self::Utf8 => one_line(text, RESPONSE_BYTES_MAX),
        }
    }

    /// `addr-type ";" address`.
    fn address(self, kind: &str, address: &str) -> String {
        let is_plain = address.is_ascii() && !kind.eq_ignore_ascii_case("utf-8");
        let (kind, address) = match self {
            _ if is_plain => (kind, Cow::Borrowed(address)),
            Self::Ascii => ("utf-8", Cow::Owned(encode_utf8_address(address))),
            Self::Utf8 => ("utf-8", Cow::Borrowed(address)),
        };
        self.clean(&format!("{kind}; {address}"))
    }
}

/// The fields: a block for the message, and one for each recipient.
pub(crate) fn delivery_status(
    notice: &Notice<'_>,
    original: &Original<'_>,
    reporter: &Reporter<'_>,
    form: FieldForm,
) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(envid) = original.envid {
        // Spaces and all: it means something to its sender only.
        put_field(&mut out, "Original-Envelope-Id", &printable(envid, Letters::Ascii));
    }
    put_field(&mut out, "Reporting-MTA", &form.clean(&format!("dns; {}", reporter.hostname)));
    if let Some(host) = original.received_from {
        put_field(&mut out, "Received-From-MTA", &form.clean(&format!("dns; {host}")));
    }
    if let Some(at) = original.arrived_at {
        put_field(&mut out, "Arrival-Date", &rfc5322_date(at, reporter.utc_offset_minutes));
    }
    if let Some(at) = original.release_at {
        // RFC 4865: what HOLDFOR asked for has an end as well.
        put_field(&mut out, "Future-Release-Request", &format!("until; {}", Rfc3339(at)));
    }
    if let Some(at) = original.deliver_by {
        put_field(&mut out, "Deliver-By-Date", &rfc5322_date(at, reporter.utc_offset_minutes));
    }
    for (action, recipient) in notice.recipients() {
        out.extend_from_slice(b"\r\n");
        put_recipient(&mut out, *action, recipient, (reporter.utc_offset_minutes, form));
    }
    out
}

fn put_recipient(
    out: &mut Vec<u8>,
    action: Action,
    recipient: &Recipient<'_>,
    (offset, form): (i32, FieldForm),
) {
    if let Some((kind, address)) = recipient.orcpt.and_then(|orcpt| split_address(orcpt, true)) {
        put_field(out, "Original-Recipient", &form.address(kind, &address));
    }
    put_field(out, "Final-Recipient", &form.address("rfc822", recipient.address));
    put_field(out, "Action", action.as_str());
    put_field(out, "Status", &action.status(recipient.status).to_string());
    let known = |text: &&str| !text.trim().is_empty();
    if let Some(host) = recipient.remote_host.filter(known) {
        put_field(out, "Remote-MTA", &form.clean(&format!("dns; {host}")));
    }
    if let Some(response) = recipient.response.filter(known) {
        // Of what no server said, the type says that it is our own word (RFC 3464 §2.3.6).
        let kind = if recipient.remote_host.is_some_and(|host| known(&host)) { "smtp" } else { "X-Angarium" };
        put_field(out, "Diagnostic-Code", &form.clean(&format!("{kind}; {response}")));
    }
    if let Some(at) = recipient.attempted_at {
        put_field(out, "Last-Attempt-Date", &rfc5322_date(at, offset));
    }
    // RFC 3464 §2.3.9: of a delay only.
    if let Some(until) = recipient.retry_until.filter(|_| action == Action::Delayed) {
        put_field(out, "Will-Retry-Until", &rfc5322_date(until, offset));
    }
}
