//! Templates filled in for one report.

use mime::{decode_words, encode_word, rfc5322_date};

use crate::compose::{Content, Original, Reporter};
use crate::limits::{ADDRESS_BYTES_MAX, RESPONSE_BYTES_MAX, SUBJECT_BYTES_MAX, TEXT_COLUMNS_MAX};
use crate::notice::{Action, Notice, Recipient};
use crate::status::{Status, reply_code};
use crate::template::{Line, Paragraph, Piece, Placeholder, Templates};
use crate::write::{one_ascii_line, one_line};
use crate::xtext::split_address;

/// The order in which a report with several actions tells them, the worst first.
const KINDS: [&[Action]; 3] =
    [&[Action::Failed], &[Action::Delayed], &[Action::Delivered, Action::Relayed, Action::Expanded]];

/// Where the values of placeholders come from.
pub(crate) struct Context<'a> {
    notice: &'a Notice<'a>,
    original: &'a Original<'a>,
    reporter: &'a Reporter<'a>,
    /// The original's Subject as text.
    subject: String,
    /// The original's Message-ID with its brackets, when it looks like one.
    pub(crate) message_id: Option<String>,
}

impl<'a> Context<'a> {
    pub(crate) fn of(notice: &'a Notice<'a>, original: &'a Original<'a>, reporter: &'a Reporter<'a>) -> Self {
        let header = match original.content {
            Content::Whole(bytes) | Content::Header(bytes) => bytes,
        };
        let value = |name| mime::field(header, name).map(|field| field.value);
        let subject = value("subject").map(|value| one_line(&decode_words(value), SUBJECT_BYTES_MAX));
        let message_id = value("message-id")
            .map(|value| one_ascii_line(&String::from_utf8_lossy(value), RESPONSE_BYTES_MAX))
            .filter(|id| id.starts_with('<') && id.ends_with('>') && !id.contains(' ') && id.contains('@'));
        Self { notice, original, reporter, subject: subject.unwrap_or_default(), message_id }
    }

    /// A line with its values; of a recipient's, those of `recipient`.
    pub(crate) fn fill(&self, line: &Line, recipient: Option<(Action, &Recipient<'_>)>) -> String {
        let piece = |piece: &Piece| match piece {
            Piece::Text(text) => text.clone(),
            Piece::Value(placeholder) => self.value(*placeholder, recipient),
        };
        line.iter().map(piece).collect()
    }

    /// Whether the line has placeholders and none of them has a value.
    fn is_empty(&self, line: &Line, recipient: Option<(Action, &Recipient<'_>)>) -> bool {
        let mut values = line.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Value(placeholder) => Some(self.value(*placeholder, recipient)),
        });
        values.next().is_some_and(|first| first.is_empty() && values.all(|value| value.is_empty()))
    }

    /// What a placeholder stands for; empty when it is not known.
    fn value(&self, placeholder: Placeholder, recipient: Option<(Action, &Recipient<'_>)>) -> String {
        let date = |at| rfc5322_date(at, self.reporter.utc_offset_minutes);
        let address = |address: &str| one_line(address, ADDRESS_BYTES_MAX * 2);
        match placeholder {
            Placeholder::Hostname => address(self.reporter.hostname),
            Placeholder::Postmaster => address(self.reporter.postmaster),
            // `<>` as it is: it says that there is nobody.
            Placeholder::Sender if self.notice.sender().is_empty() => "<>".to_owned(),
            Placeholder::Sender => address(self.notice.sender()),
            Placeholder::Subject => self.subject.clone(),
            Placeholder::MessageId => self.message_id.clone().unwrap_or_default(),
            Placeholder::Arrival => self.original.arrived_at.map(date).unwrap_or_default(),
            Placeholder::Recipient
            | Placeholder::Outcome
            | Placeholder::Reason
            | Placeholder::Status
            | Placeholder::Response
            | Placeholder::RemoteHost
            | Placeholder::LastAttempt
            | Placeholder::RetryUntil => {
                recipient.map(|(action, of)| self.value_of(placeholder, action, of)).unwrap_or_default()
            }
        }
    }

    fn value_of(&self, placeholder: Placeholder, action: Action, of: &Recipient<'_>) -> String {
        let date = |at| rfc5322_date(at, self.reporter.utc_offset_minutes);
        let status = action.status(of.status);
        match placeholder {
            Placeholder::Recipient => one_line(&known_address(of), ADDRESS_BYTES_MAX * 2),
            Placeholder::Outcome => outcome(action, of),
            Placeholder::Reason => status.phrase().into(),
            Placeholder::Status => status.to_string(),
            Placeholder::Response => one_line(&joined(of.response.unwrap_or_default()), RESPONSE_BYTES_MAX),
            Placeholder::RemoteHost => one_line(of.remote_host.unwrap_or_default(), ADDRESS_BYTES_MAX),
            Placeholder::LastAttempt => of.attempted_at.map(date).unwrap_or_default(),
            Placeholder::RetryUntil => of.retry_until.map(date).unwrap_or_default(),
            Placeholder::Hostname
            | Placeholder::Postmaster
            | Placeholder::Sender
            | Placeholder::Subject
            | Placeholder::MessageId
            | Placeholder::Arrival => String::new(),
        }
    }
}

/// The recipient as the sender knows it: ORCPT where that is a mail address.
fn known_address(recipient: &Recipient<'_>) -> String {
    recipient
        .orcpt
        .and_then(|orcpt| split_address(orcpt, true))
        .filter(|(kind, _)| ["rfc822", "utf-8"].iter().any(|known| kind.eq_ignore_ascii_case(known)))
        .map_or_else(|| recipient.address.to_owned(), |(_, address)| address)
}

/// An answer of several lines as one sentence: the codes, which every line repeats, stand once.
fn joined(response: &str) -> String {
    let mut lines = response.lines();
    let first = lines.next().unwrap_or_default();
    let codes = |line: &str| {
        let after = usize::from(reply_code(line).is_some()) * 4;
        let status = Status::of_response(line).map_or(0, |status| status.to_string().len() + 1);
        (after + status).min(line.len())
    };
    let mut out = first.to_owned();
    if reply_code(first).is_some() && out.as_bytes().get(3) == Some(&b'-') {
        out.replace_range(3..4, " ");
    }
    for line in lines {
        out.push(' ');
        out.push_str(line.get(codes(line)..).unwrap_or(line));
    }
    out
}

fn outcome(action: Action, recipient: &Recipient<'_>) -> String {
    let host = recipient.remote_host.map(|host| one_line(host, ADDRESS_BYTES_MAX));
    match (action, host) {
        (Action::Failed, _) => "Not delivered.".into(),
        (Action::Delayed, _) => "Not delivered so far.".into(),
        (Action::Delivered, _) => "Delivered.".into(),
        (Action::Relayed, Some(host)) => format!("Handed on to {host}, which does not report further."),
        (Action::Relayed, None) => "Handed on to a system that does not report further.".into(),
        (Action::Expanded, _) => "Delivered to the addresses that this one stands for.".into(),
    }
}

/// The report's Subject: that of the worst it tells.
pub(crate) fn subject(context: &Context<'_>, notice: &Notice<'_>, templates: &Templates) -> String {
    let worst = KINDS.iter().filter_map(|kind| kind.first()).find(|action| notice.has(**action));
    let template = templates.of(worst.copied().unwrap_or(Action::Delivered));
    // `Delivered: ` without a Subject behind it.
    context.fill(&template.subject, None).trim_end_matches([' ', ':']).to_owned()
}

/// The text for people: for each kind of action its template, in which a paragraph that names something of a
/// recipient is said for each. Lines end at CRLF.
pub(crate) fn text(context: &Context<'_>, templates: &Templates) -> String {
    let mut out = String::new();
    for kind in KINDS {
        let of_kind: Vec<_> = context
            .notice
            .recipients()
            .iter()
            .filter(|(action, _)| kind.contains(action))
            .map(|(action, recipient)| (*action, *recipient))
            .collect();
        let Some(action) = of_kind.first().map(|(action, _)| *action) else { continue };
        for paragraph in &templates.of(action).paragraphs {
            if paragraph.is_of_recipient {
                for one in &of_kind {
                    put_paragraph(&mut out, context, paragraph, Some(*one));
                }
            } else {
                put_paragraph(&mut out, context, paragraph, None);
            }
        }
    }
    out
}

fn put_paragraph(
    out: &mut String,
    context: &Context<'_>,
    paragraph: &Paragraph,
    recipient: Option<(Action, &Recipient<'_>)>,
) {
    let said = paragraph.lines.iter().filter(|line| !context.is_empty(line, recipient));
    let lines: Vec<String> = said.map(|line| context.fill(line, recipient)).collect();
    if lines.is_empty() {
        return;
    }
    if !out.is_empty() {
        out.push_str("\r\n");
    }
    for line in &lines {
        put_wrapped(out, line);
    }
}

/// Writes a line, wrapped at spaces when it is too wide, each further line indented like the first.
fn put_wrapped(out: &mut String, line: &str) {
    let text = line.trim_start();
    let (indent, _) = line.split_at(line.len() - text.len());
    if line.chars().count() <= TEXT_COLUMNS_MAX {
        out.push_str(line);
        out.push_str("\r\n");
        return;
    }
    let mut column = 0;
    for word in text.split(' ') {
        let width = word.chars().count();
        if column > 0 && column + 1 + width > TEXT_COLUMNS_MAX {
            out.push_str("\r\n");
            column = 0;
        }
        if column == 0 {
            out.push_str(indent);
            column = indent.chars().count();
        } else {
            out.push(' ');
            column += 1;
        }
        out.push_str(word);
        column += width;
    }
    out.push_str("\r\n");
}

/// A display name (RFC 5322 §3.2.5): in quotes, or as encoded-words when it is beyond ASCII.
pub(crate) fn quoted_name(name: &str) -> String {
    let name = one_line(name, SUBJECT_BYTES_MAX);
    if !name.is_ascii() {
        return encode_word(&name).into_owned();
    }
    let mut out = String::with_capacity(name.len() + 2);
    out.push('"');
    for character in name.chars() {
        if matches!(character, '"' | '\\') {
            out.push('\\');
        }
        out.push(character);
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_of_a_long_answer_stand_once() {
        for (response, line) in [
            (
                "550-5.1.1 The account\r\n550-5.1.1 that\r\n550 5.1.1 is gone",
                "550 5.1.1 The account that is gone",
            ),
            ("550 gone", "550 gone"),
            ("550-no\n550", "550 no "),
            ("timed out\nfor good", "timed out for good"),
            ("550-é\r\n550 é", "550 é é"),
            ("", ""),
        ] {
            assert_eq!(joined(response), line);
        }
    }

    #[test]
    fn long_lines_are_wrapped_with_their_indent() {
        let mut out = String::new();
        put_wrapped(&mut out, &format!("    {}", "word ".repeat(20)));
        assert!(out.lines().count() == 2 && out.lines().all(|line| line.starts_with("    word")));
        assert!(out.lines().all(|line| line.len() <= TEXT_COLUMNS_MAX));
        assert_eq!(quoted_name("a \"b\" \\"), "\"a \\\"b\\\" \\\\\"");
    }
}
