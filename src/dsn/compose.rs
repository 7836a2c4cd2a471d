//! A delivery status notification as a message: `multipart/report` (RFC 6522) with a text for people,
//! `message/delivery-status` for programs (RFC 3464) and what is given back of the original.

use base::{Return, Timestamp};
use mime::{encode_word, is_line_safe, quoted_printable, rfc5322_date};

use crate::fields::{FieldForm, delivery_status};
use crate::limits::RETURNED_HEADER_BYTES_MAX;
use crate::notice::{Action, Audience, Notice};
use crate::render::{Context, quoted_name, subject, text};
use crate::template::Templates;
use crate::write::{Letters, boundary, printable, put_field};

/// The message that the report is about.
#[derive(Clone, Copy, Debug)]
pub struct Original<'a> {
    /// ENVID, decoded (RFC 3461 §4.4).
    pub envid: Option<&'a str>,
    /// RET.
    pub ret: Option<Return>,
    /// When it arrived.
    pub arrived_at: Option<Timestamp>,
    /// The name of the host it came from, as it called itself.
    pub received_from: Option<&'a str>,
    /// Until when its sender wanted it to be held (RFC 4865 §3).
    pub release_at: Option<Timestamp>,
    /// By when it was to be delivered (RFC 2852).
    pub deliver_by: Option<Timestamp>,
    /// The message itself.
    pub content: Content<'a>,
}

/// What the caller has at hand of the original.
#[derive(Clone, Copy, Debug)]
pub enum Content<'a> {
    /// All of it.
    Whole(&'a [u8]),
    /// Its header section, or the beginning of it; empty when it is not to be had, and then nothing is given back.
    Header(&'a [u8]),
}

/// Who reports, when, and with what words.
#[derive(Clone, Copy, Debug)]
pub struct Reporter<'a> {
    /// Our name in the DNS.
    pub hostname: &'a str,
    /// The address in From: `MAILER-DAEMON@` or `postmaster@` something.
    pub from: &'a str,
    /// The address of people who can help.
    pub postmaster: &'a str,
    /// The report's own Message-ID without its brackets; never used before.
    pub message_id: &'a str,
    /// Now.
    pub now: Timestamp,
    /// The zone in which dates are written, in minutes east of UTC.
    pub utc_offset_minutes: i32,
    /// The texts.
    pub templates: &'a Templates,
    /// A larger original is given back as its header only; [`crate::RETURNED_BYTES_DEFAULT`] unless an operator says
    /// otherwise.
    pub returned_bytes_max: usize,
}

/// A report, ready for the queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The message. Lines end at CRLF, none is longer than 998 bytes, and there is no other CR, LF or NUL.
    pub message: Vec<u8>,
    /// Whether it has bytes beyond ASCII: then it needs BODY=8BITMIME. Only an original that is given back
    /// whole, or a report that needs SMTPUTF8, is. For a server without 8BITMIME it is converted as other mail is
    /// ([`mime::convert`]).
    pub is_8bit: bool,
    /// Whether it needs SMTPUTF8, since the address it goes to is beyond ASCII.
    pub is_smtputf8: bool,
}

/// A part of the report: its own header and its body, encoded.
pub(crate) struct Part {
    pub(crate) header: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

/// Whether a report gives the original back whole, if it is small enough: only when the sender asked for that,
/// and only about failures (RFC 3461 §6.2). Otherwise its header is all that [`compose`] looks at.
pub fn wants_whole(notice: &Notice<'_>, ret: Option<Return>) -> bool {
    ret == Some(Return::Full) && notice.has(Action::Failed)
}

/// Writes the report. It cannot fail: what does not fit or is not clean is cut, encoded or left out.
pub fn compose(notice: &Notice<'_>, original: &Original<'_>, reporter: &Reporter<'_>) -> Report {
    let is_smtputf8 = !notice.to().is_ascii();
    let form = if is_smtputf8 { FieldForm::Utf8 } else { FieldForm::Ascii };
    let context = Context::of(notice, original, reporter);
    let mut parts = vec![
        human_part(&context, reporter),
        status_part(delivery_status(notice, original, reporter, form), form),
    ];
    let is_whole_wanted = wants_whole(notice, original.ret);
    parts.extend(returned_part(original.content, is_whole_wanted, form, reporter.returned_bytes_max));
    let mut message = header(notice, &context, reporter);
    let bodies: Vec<&[u8]> = parts.iter().map(|part| part.body.as_slice()).collect();
    let boundary = boundary(reporter.message_id, &bodies);
    put_field(&mut message, "MIME-Version", "1.0");
    // The report-type is the same word for both forms of the fields (RFC 6533 §4).
    let content_type = format!("multipart/report; report-type=delivery-status; boundary=\"{boundary}\"");
    put_field(&mut message, "Content-Type", &content_type);
    let is_8bit = parts.iter().any(|part| !part.body.is_ascii());
    if is_8bit {
        put_field(&mut message, "Content-Transfer-Encoding", "8bit");
    }
    message.extend_from_slice(b"\r\n");
    for part in &parts {
        message.extend_from_slice(format!("--{boundary}\r\n").as_bytes());
        message.extend_from_slice(&part.header);
        message.extend_from_slice(b"\r\n");
        message.extend_from_slice(&part.body);
        message.extend_from_slice(b"\r\n");
    }
    message.extend_from_slice(format!("--{boundary}--\r\n").as_bytes());
    Report { is_8bit: is_8bit || is_smtputf8, is_smtputf8, message }
}

/// The report's own header, but for what concerns MIME.
fn header(notice: &Notice<'_>, context: &Context<'_>, reporter: &Reporter<'_>) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 * 1024);
    put_field(&mut out, "Date", &rfc5322_date(reporter.now, reporter.utc_offset_minutes));
    let name = quoted_name(&context.fill(&reporter.templates.name, None));
    let letters = if notice.to().is_ascii() { Letters::Ascii } else { Letters::All };
    put_field(&mut out, "From", &format!("{name} <{}>", printable(reporter.from, letters)));
    put_field(&mut out, "To", &format!("<{}>", printable(notice.to(), letters)));
    put_field(&mut out, "Subject", &encode_word(&subject(context, notice, reporter.templates)));
    put_field(&mut out, "Message-ID", &format!("<{}>", printable(reporter.message_id, Letters::Ascii)));
    if let Some(id) = &context.message_id {
        put_field(&mut out, "In-Reply-To", id);
        put_field(&mut out, "References", id);
    }
    // RFC 3834 §5: so that no vacation program answers.
    match notice.audience() {
        Audience::Sender => put_field(&mut out, "Auto-Submitted", "auto-replied"),
        Audience::Postmaster => {
            put_field(&mut out, "Auto-Submitted", "auto-generated");
            put_field(&mut out, POSTMASTER_FIELD, &printable(reporter.hostname, Letters::Ascii));
        }
    }
    out
}

/// Marks what was written for a postmaster, and names the server that did.
const POSTMASTER_FIELD: &str = "X-Postmaster-Notice";

/// Whether a message is a report for a postmaster, of this server or another: nobody is told when it fails, wherever it has
/// been forwarded, or two servers without a postmaster would write to each other for ever.
pub fn is_for_postmaster(message: &[u8]) -> bool {
    mime::field(message, POSTMASTER_FIELD).is_some()
}

fn human_part(context: &Context<'_>, reporter: &Reporter<'_>) -> Part {
    let text = text(context, reporter.templates);
    let mut header = Vec::new();
    if !reporter.templates.language.is_empty() {
        put_field(&mut header, "Content-Language", &reporter.templates.language);
    }
    put_field(&mut header, "Content-Description", "Notification");
    if text.is_ascii() && is_line_safe(text.as_bytes()) {
        put_field(&mut header, "Content-Type", "text/plain; charset=us-ascii");
        return Part { header, body: text.into_bytes() };
    }
    put_field(&mut header, "Content-Type", "text/plain; charset=utf-8");
    put_field(&mut header, "Content-Transfer-Encoding", "quoted-printable");
    Part { header, body: quoted_printable(text.as_bytes()) }
}

fn status_part(body: Vec<u8>, form: FieldForm) -> Part {
    let mut header = Vec::new();
    put_field(&mut header, "Content-Description", "Delivery report");
    put_field(&mut header, "Content-Type", form.media_type());
    if !body.is_ascii() {
        put_field(&mut header, "Content-Transfer-Encoding", "8bit");
    }
    Part { header, body }
}

/// What is given back of the original (RFC 6522 §3, RFC 6533 §5): nothing when there is none.
pub(crate) fn returned_part(
    content: Content<'_>,
    is_whole_wanted: bool,
    form: FieldForm,
    bytes_max: usize,
) -> Option<Part> {
    let bytes = match content {
        Content::Whole(bytes) | Content::Header(bytes) => bytes,
    };
    if let Content::Whole(bytes) = content
        && is_whole_wanted
        && bytes.len() <= bytes_max
        && is_line_safe(bytes)
    {
        return Some(whole_part(bytes));
    }
    let body = returned_header(bytes);
    if body.is_empty() {
        return None;
    }
    let mut header = Vec::new();
    put_field(&mut header, "Content-Description", "Header of the original message");
    let is_utf8 = !body.is_ascii() && std::str::from_utf8(body).is_ok();
    let media_type = if is_utf8 { "message/global-headers" } else { "text/rfc822-headers" };
    put_field(&mut header, "Content-Type", media_type);
    let fits = if form == FieldForm::Utf8 { is_utf8 || body.is_ascii() } else { body.is_ascii() };
    if !fits || !is_line_safe(body) {
        // RFC 6522 §4 and RFC 6533 §5: what a 7-bit way cannot carry is encoded.
        put_field(&mut header, "Content-Transfer-Encoding", "quoted-printable");
        return Some(Part { header, body: quoted_printable(body) });
    }
    if is_utf8 {
        put_field(&mut header, "Content-Transfer-Encoding", "8bit");
    }
    Some(Part { header, body: body.to_vec() })
}

fn whole_part(bytes: &[u8]) -> Part {
    let mut header = Vec::new();
    put_field(&mut header, "Content-Description", "Original message");
    let is_header_ascii = bytes.get(..mime::end_of_headers(bytes)).unwrap_or_default().is_ascii();
    let media_type = if is_header_ascii { "message/rfc822" } else { "message/global" };
    put_field(&mut header, "Content-Type", media_type);
    if !bytes.is_ascii() {
        put_field(&mut header, "Content-Transfer-Encoding", "8bit");
    }
    Part { header, body: bytes.to_vec() }
}

/// The header section without its empty line, cut between two fields when it is too long.
fn returned_header(bytes: &[u8]) -> &[u8] {
    let bounded = |range: &std::ops::Range<usize>| range.end <= RETURNED_HEADER_BYTES_MAX;
    let end = mime::Headers::of(bytes).map(|field| field.range).take_while(bounded).last();
    bytes.get(..end.map_or(0, |range| range.end)).unwrap_or_default()
}
