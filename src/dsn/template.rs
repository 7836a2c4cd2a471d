//! The texts of reports, which an operator may replace: read and checked once, filled in for each report.

use std::fmt;

use crate::limits::TEMPLATES_BYTES_MAX;
use crate::notice::Action;

/// Our own texts, in English.
const ENGLISH: &str = include_str!("texts/en.txt");
/// What the postmaster reads.
const POSTMASTER: &str = include_str!("texts/postmaster.txt");

/// The texts of one language.
#[derive(Clone, Debug)]
pub struct Templates {
    /// The tag for Content-Language (RFC 3282).
    pub(crate) language: String,
    /// The display name of From.
    pub(crate) name: Line,
    failure: Template,
    delay: Template,
    success: Template,
}

/// Subject and text for one kind of report.
#[derive(Clone, Debug)]
pub(crate) struct Template {
    pub(crate) subject: Line,
    pub(crate) paragraphs: Vec<Paragraph>,
}

/// Lines without an empty one between them.
#[derive(Clone, Debug)]
pub(crate) struct Paragraph {
    pub(crate) lines: Vec<Line>,
    /// Whether it names something of a recipient: then it is said once for each.
    pub(crate) is_of_recipient: bool,
}

/// A line: text and placeholders in turn.
pub(crate) type Line = Vec<Piece>;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Piece {
    Text(String),
    Value(Placeholder),
}

/// What a placeholder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Placeholder {
    Hostname,
    Postmaster,
    Sender,
    Subject,
    MessageId,
    Arrival,
    Recipient,
    Outcome,
    Reason,
    Status,
    Response,
    RemoteHost,
    LastAttempt,
    RetryUntil,
}

impl Placeholder {
    /// Every placeholder: its name, and whether it belongs to a recipient and not to the message.
    const ALL: [(&'static str, Self, bool); 14] = [
        ("hostname", Self::Hostname, false),
        ("postmaster", Self::Postmaster, false),
        ("sender", Self::Sender, false),
        ("subject", Self::Subject, false),
        ("message_id", Self::MessageId, false),
        ("arrival", Self::Arrival, false),
        ("recipient", Self::Recipient, true),
        ("outcome", Self::Outcome, true),
        ("reason", Self::Reason, true),
        ("status", Self::Status, true),
        ("response", Self::Response, true),
        ("remote_host", Self::RemoteHost, true),
        ("last_attempt", Self::LastAttempt, true),
        ("retry_until", Self::RetryUntil, true),
    ];

    fn is_of_recipient(self) -> bool {
        Self::ALL.iter().any(|(_, placeholder, is_of_recipient)| *placeholder == self && *is_of_recipient)
    }
}

/// Why a file of templates cannot be used, and where: what an operator is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TemplateError {
    /// The line, from 1; 0 when it is about the file as a whole.
    pub line: usize,
    /// What is wrong.
    pub problem: TemplateProblem,
}

/// What is wrong with a file of templates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateProblem {
    /// The file is larger than [`crate::TEMPLATES_BYTES_MAX`].
    TooLarge,
    /// A word in braces that is no placeholder.
    UnknownPlaceholder(String),
    /// A placeholder of a recipient where there is none: in a subject or in `Name:`.
    PlaceholderOfRecipient(String),
    /// A brace without its other half.
    Brace,
    /// A line before the first section that is not `Language:` or `Name:`.
    UnknownSetting,
    /// `Language:` is no language tag.
    Language,
    /// A section that is not `[failure]`, `[delay]` or `[success]`.
    UnknownSection(String),
    /// A section stands twice.
    RepeatedSection(String),
    /// A section does not begin with `Subject:`.
    NoSubject(String),
    /// A section is not there, or has no text.
    NoText(&'static str),
    /// A control character.
    Control,
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 0 {
            write!(f, "line {}: ", self.line)?;
        }
        match &self.problem {
            TemplateProblem::TooLarge => write!(f, "the file is larger than {TEMPLATES_BYTES_MAX} bytes"),
            TemplateProblem::UnknownPlaceholder(name) => {
                write!(f, "{{{name}}} is no placeholder; there are")?;
                Placeholder::ALL.iter().try_for_each(|(known, ..)| write!(f, " {{{known}}}"))
            }
            TemplateProblem::PlaceholderOfRecipient(name) => {
                write!(f, "{{{name}}} belongs to a recipient and can stand in a section's text only")
            }
            TemplateProblem::Brace => {
                write!(f, "a brace without its other half; for a brace itself write it twice")
            }
            TemplateProblem::UnknownSetting => {
                write!(f, "only `Language:` and `Name:` may stand before the first section")
            }
            TemplateProblem::Language => write!(f, "`Language:` wants a tag such as `en` or `pt-BR`"),
            TemplateProblem::UnknownSection(name) => {
                write!(f, "[{name}] is no section; there are [failure], [delay] and [success]")
            }
            TemplateProblem::RepeatedSection(name) => write!(f, "[{name}] was there before"),
            TemplateProblem::NoSubject(name) => write!(f, "[{name}] must begin with a line `Subject: ...`"),
            TemplateProblem::NoText(name) => write!(f, "[{name}] is missing or has no text"),
            TemplateProblem::Control => write!(f, "there is a control character"),
        }
    }
}

impl std::error::Error for TemplateError {}

impl Default for Templates {
    fn default() -> Self {
        Self::parse(ENGLISH).expect("our own texts are tested")
    }
}

impl Templates {
    /// The texts of reports for the postmaster: no matter of an operator's style.
    pub fn for_postmaster() -> Self {
        Self::parse(POSTMASTER).expect("our own texts are tested")
    }

    /// Reads a file of templates. All three sections must be there, so that no report mixes languages.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        if text.len() > TEMPLATES_BYTES_MAX {
            return Err(TemplateError { line: 0, problem: TemplateProblem::TooLarge });
        }
        let mut reader = Reader::default();
        for (at, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
            reader.line(line.trim_end()).map_err(|problem| TemplateError { line: at + 1, problem })?;
        }
        reader.finish().map_err(|problem| TemplateError { line: 0, problem })
    }

    /// Our own texts as they stand in their file: what an operator begins with.
    pub fn english() -> &'static str {
        ENGLISH
    }

    /// The text for what is told.
    pub(crate) fn of(&self, action: Action) -> &Template {
        match action {
            Action::Failed => &self.failure,
            Action::Delayed => &self.delay,
            Action::Delivered | Action::Relayed | Action::Expanded => &self.success,
        }
    }
}

const SECTIONS: [&str; 3] = ["failure", "delay", "success"];

/// What has been read so far.
#[derive(Default)]
struct Reader {
    language: Option<String>,
    name: Option<Line>,
    /// By [`SECTIONS`]; a section's subject is there from its first line on.
    sections: [Option<Section>; 3],
    /// The one that is being read.
    current: Option<usize>,
}

#[derive(Default)]
struct Section {
    subject: Option<Line>,
    paragraphs: Vec<Paragraph>,
    is_in_paragraph: bool,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), TemplateProblem> {
        if line.starts_with('#') {
            return Ok(());
        }
        if line.chars().any(|character| character.is_control() && character != '\t') {
            return Err(TemplateProblem::Control);
        }
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            return self.begin(name);
        }
        let Some(at) = self.current else { return self.setting(line) };
        let name = SECTIONS.get(at).copied().unwrap_or_default();
        let Some(Some(section)) = self.sections.get_mut(at) else { return Ok(()) };
        section.line(name, line)
    }

    fn begin(&mut self, name: &str) -> Result<(), TemplateProblem> {
        let at = SECTIONS.iter().position(|known| *known == name);
        let at = at.ok_or_else(|| TemplateProblem::UnknownSection(name.into()))?;
        let Some(place) = self.sections.get_mut(at).filter(|place| place.is_none()) else {
            return Err(TemplateProblem::RepeatedSection(name.into()));
        };
        *place = Some(Section::default());
        self.current = Some(at);
        Ok(())
    }

    fn setting(&mut self, line: &str) -> Result<(), TemplateProblem> {
        match line.split_once(':').map(|(name, value)| (name, value.trim())) {
            None if line.is_empty() => Ok(()),
            Some(("Language", tag)) => {
                let is_tag = !tag.is_empty()
                    && tag.len() <= 35
                    && tag.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
                self.language = Some(tag.into());
                if is_tag { Ok(()) } else { Err(TemplateProblem::Language) }
            }
            Some(("Name", value)) => {
                self.name = Some(line_of_message(value)?);
                Ok(())
            }
            _ => Err(TemplateProblem::UnknownSetting),
        }
    }

    fn finish(self) -> Result<Templates, TemplateProblem> {
        let [failure, delay, success] = self.sections;
        Ok(Templates {
            language: self.language.unwrap_or_else(|| "en".into()),
            name: self.name.unwrap_or_else(|| vec![Piece::Text("Mail Delivery System".into())]),
            failure: template(failure, "failure")?,
            delay: template(delay, "delay")?,
            success: template(success, "success")?,
        })
    }
}

impl Section {
    fn line(&mut self, name: &str, line: &str) -> Result<(), TemplateProblem> {
        if self.subject.is_none() {
            if line.is_empty() {
                return Ok(());
            }
            let subject = line.strip_prefix("Subject:").map(str::trim).filter(|subject| !subject.is_empty());
            let subject = subject.ok_or_else(|| TemplateProblem::NoSubject(name.into()))?;
            self.subject = Some(line_of_message(subject)?);
            return Ok(());
        }
        if line.is_empty() {
            self.is_in_paragraph = false;
            return Ok(());
        }
        let line = pieces(line)?;
        let is_of_recipient = recipients_placeholder(&line).is_some();
        match self.paragraphs.last_mut().filter(|_| self.is_in_paragraph) {
            Some(paragraph) => {
                paragraph.lines.push(line);
                paragraph.is_of_recipient |= is_of_recipient;
            }
            None => self.paragraphs.push(Paragraph { lines: vec![line], is_of_recipient }),
        }
        self.is_in_paragraph = true;
        Ok(())
    }
}

fn template(section: Option<Section>, name: &'static str) -> Result<Template, TemplateProblem> {
    let section = section.unwrap_or_default();
    let subject = section.subject.ok_or(TemplateProblem::NoText(name))?;
    if section.paragraphs.is_empty() {
        return Err(TemplateProblem::NoText(name));
    }
    Ok(Template { subject, paragraphs: section.paragraphs })
}

/// A line in which no recipient can be meant, since it stands once for all of them.
fn line_of_message(text: &str) -> Result<Line, TemplateProblem> {
    let line = pieces(text)?;
    match recipients_placeholder(&line) {
        Some(name) => Err(TemplateProblem::PlaceholderOfRecipient(name.into())),
        None => Ok(line),
    }
}

fn recipients_placeholder(line: &Line) -> Option<&'static str> {
    let placeholder = line.iter().find_map(|piece| match piece {
        Piece::Value(placeholder) if placeholder.is_of_recipient() => Some(*placeholder),
        Piece::Value(_) | Piece::Text(_) => None,
    })?;
    Placeholder::ALL.iter().find(|(_, known, _)| *known == placeholder).map(|(name, ..)| *name)
}

/// Takes a line apart: `{name}` is a placeholder, `{{` and `}}` are braces.
fn pieces(text: &str) -> Result<Line, TemplateProblem> {
    let mut line = Line::new();
    let mut plain = String::new();
    let mut rest = text;
    while let Some(at) = rest.find(['{', '}']) {
        let (before, brace) = rest.split_at(at);
        plain.push_str(before);
        if let Some(after) = brace.strip_prefix("{{").or_else(|| brace.strip_prefix("}}")) {
            plain.push_str(&brace[..1]);
            rest = after;
            continue;
        }
        let inner = brace.strip_prefix('{').and_then(|inner| inner.split_once('}'));
        let (name, after) = inner.ok_or(TemplateProblem::Brace)?;
        let found = Placeholder::ALL.iter().find(|(known, ..)| *known == name);
        let (_, placeholder, _) = found.ok_or_else(|| TemplateProblem::UnknownPlaceholder(name.into()))?;
        if !plain.is_empty() {
            line.push(Piece::Text(std::mem::take(&mut plain)));
        }
        line.push(Piece::Value(*placeholder));
        rest = after;
    }
    plain.push_str(rest);
    if !plain.is_empty() {
        line.push(Piece::Text(plain));
    }
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    const REST: &str = "[delay]\nSubject: d\n\nd\n[success]\nSubject: s\n\ns\n";

    fn problem(text: &str) -> (usize, String) {
        let error = Templates::parse(text).unwrap_err();
        (error.line, error.to_string())
    }

    #[test]
    fn our_own_texts_are_good_and_an_edited_copy_is_read() {
        assert_eq!(Templates::default().language, "en");
        let text = format!(
            "\u{feff}Language: de\r\nName: Post\r\n[failure]\r\nSubject: Nein {{{{x}}}}\r\n\r\na {{sender}}\r\nb\r\n\r\n<{{recipient}}>\r\n{REST}"
        );
        let templates = Templates::parse(&text).unwrap();
        let failure = templates.of(Action::Failed);
        assert_eq!(failure.subject, [Piece::Text("Nein {x}".into())]);
        assert_eq!(failure.paragraphs.len(), 2);
        assert!(!failure.paragraphs[0].is_of_recipient && failure.paragraphs[1].is_of_recipient);
        assert_eq!(failure.paragraphs[0].lines[0][1], Piece::Value(Placeholder::Sender));
        assert_eq!(templates.language, "de");
    }

    #[test]
    fn the_operators_page_has_every_placeholder_and_every_class() {
        let page = include_str!("../../docs/operate/bounces.md");
        for (name, _, is_of_recipient) in Placeholder::ALL {
            let of = if is_of_recipient { "recipient" } else { "message" };
            assert!(page.contains(&format!("| `{{{name}}}` | {of} |")), "{name}");
        }
        let classes = crate::Bounce::ALL.map(crate::Bounce::as_str);
        assert!(classes.iter().all(|class| page.contains(&format!("| `{class}` |"))));
        let rows = page.lines().filter(|line| line.starts_with("| `")).count();
        assert_eq!(rows, Placeholder::ALL.len() + classes.len(), "the page describes what is gone");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_line() {
        let begin = "Language: en\n[failure]\nSubject: f\n\n";
        for (text, line, words) in [
            (format!("{begin}{{recipent}}\n{REST}"), 5, "{recipent} is no placeholder; there are {hostname}"),
            (format!("{begin}a {{ b\n{REST}"), 5, "a brace without its other half"),
            (format!("{begin}a }} b\n{REST}"), 5, "a brace without its other half"),
            (format!("{begin}a\u{1}b\n{REST}"), 5, "control character"),
            (format!("{begin}x\n{REST}[nonsense]\n"), 14, "[nonsense] is no section"),
            (format!("{begin}x\n{REST}[failure]\n"), 14, "[failure] was there before"),
            (format!("{begin}{REST}"), 0, "[failure] is missing or has no text"),
            ("[failure]\nx\n".into(), 2, "[failure] must begin with a line `Subject: ...`"),
            ("[failure]\nSubject: {reason}\n".into(), 2, "{reason} belongs to a recipient"),
            ("Name: {status}\n".into(), 1, "{status} belongs to a recipient"),
            ("Language: d e\n".into(), 1, "wants a tag"),
            ("Colour: red\n".into(), 1, "only `Language:` and `Name:`"),
            (String::new(), 0, "[failure] is missing"),
            (" ".repeat(TEMPLATES_BYTES_MAX + 1), 0, "larger than"),
        ] {
            let (at, told) = problem(&text);
            assert_eq!(at, line, "{told}");
            assert!(told.contains(words), "{told}");
        }
    }
}
