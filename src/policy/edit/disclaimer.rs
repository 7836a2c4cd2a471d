//! A text under or over every message: into each form of its text, in that part's own charset and
//! encoding. What is signed or encrypted is never touched.

use std::ops::Range;

use mime::{Headers, Part, PartId, PartTree, scan};

use super::encode::{crlf, quoted_printable};
use super::fields::with_line;
use super::html::html_of;
use super::part::{Addition, with_addition};
use super::wrap::wrap;

/// A text to put into messages.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disclaimer {
    /// Its plain form, lines ended as in the configuration.
    pub text: String,
    /// Its HTML form; empty is made of the text.
    pub html: String,
    /// Where it goes.
    pub place: Place,
    /// What happens to messages that must not be changed.
    pub fallback: Fallback,
}

/// Where a disclaimer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In front of the text.
    Start,
    /// Behind it.
    End,
}

/// What happens to messages that are signed or encrypted, or that have no text that could be added to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// They become an attachment of a message that has the disclaimer as its text.
    Wrap,
    /// They stay as they are.
    Ignore,
    /// They are refused.
    Reject,
}

/// What became of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disclaimed {
    /// It has the text.
    Added(Vec<u8>),
    /// It is the attachment of this new one.
    Wrapped(Vec<u8>),
    /// It stays as it is.
    Unchanged,
    /// It must be refused.
    Refused,
}

/// Puts the text into a message. `seed` makes the boundary of a message that is made new: another one for
/// each message. A report about a delivery (RFC 3464) stays as it is whatever the fallback says: others read it by program.
pub fn disclaim(message: &[u8], disclaimer: &Disclaimer, seed: u64) -> Disclaimed {
    let tree = scan(message);
    if tree.root().content_type.is("multipart", "report") {
        return Disclaimed::Unchanged;
    }
    if let Some(changed) = added(message, &tree, disclaimer) {
        return Disclaimed::Added(changed);
    }
    match disclaimer.fallback {
        Fallback::Wrap => Disclaimed::Wrapped(wrap(message, &crlf(&disclaimer.text), seed)),
        Fallback::Ignore => Disclaimed::Unchanged,
        Fallback::Reject => Disclaimed::Refused,
    }
}

/// Bytes in place of some of the message.
type Change = (Range<usize>, Vec<u8>);

fn added(message: &[u8], tree: &PartTree, disclaimer: &Disclaimer) -> Option<Vec<u8>> {
    let mut targets = Targets::default();
    targets.find(tree, PartId(0))?;
    let text = crlf(&disclaimer.text);
    let html = if disclaimer.html.is_empty() { html_of(&text) } else { crlf(&disclaimer.html) };
    let mut changes: Vec<Change> = Vec::new();
    for id in targets.texts {
        let part = tree.part(id);
        let is_whole = id == PartId(0);
        let addition = Addition { text: &text, html: &html, place: disclaimer.place, is_whole };
        let mut new = with_addition(message, part, &addition)?;
        // RFC 2045 §4: fields of MIME mean something only beside this one.
        if is_whole && new.header != part.header_of(message) {
            new.header = with_line(&new.header, "MIME-Version", "MIME-Version: 1.0\r\n");
        }
        close(&mut new.header);
        if !is_whole
            && !message.get(..part.header.start as usize).is_some_and(|before| before.ends_with(b"\n"))
        {
            // The message ends in the delimiter of a part that is not there.
            new.header.splice(..0, *b"\r\n");
        }
        if !is_whole && message.get(part.body.end as usize..).is_some_and(|rest| rest.starts_with(b"--")) {
            // An empty body: the line end in front of the delimiter was the header's.
            new.body.extend(b"\r\n");
        }
        changes.push((range(&part.header), new.header));
        changes.push((range(&part.body), new.body));
    }
    if let Some((at, boundary)) = targets.before {
        changes.push((at..at, text_part(&text, &boundary)));
    }
    (!changes.is_empty()).then(|| spliced(message, changes))
}

/// Gives a header the empty line that ends it, which a part without a body may lack.
fn close(header: &mut Vec<u8>) {
    let fields: usize = Headers::of(header).map(|field| field.range.len()).sum();
    if fields < header.len() {
        return;
    }
    if !header.is_empty() && !header.ends_with(b"\n") {
        header.extend(b"\r\n");
    }
    header.extend(b"\r\n");
}

fn range(range: &Range<u32>) -> Range<usize> {
    range.start as usize..range.end as usize
}

/// The message with the changes, which do not overlap.
fn spliced(message: &[u8], mut changes: Vec<Change>) -> Vec<u8> {
    changes.sort_by_key(|(range, _)| (range.start, range.end));
    let mut out = Vec::with_capacity(message.len() + 4096);
    let mut at = 0;
    for (range, bytes) in changes {
        out.extend_from_slice(message.get(at..range.start).unwrap_or_default());
        out.extend_from_slice(&bytes);
        at = range.end;
    }
    out.extend_from_slice(message.get(at..).unwrap_or_default());
    out
}

/// A part of its own, and the delimiter of the one that follows.
fn text_part(text: &str, boundary: &str) -> Vec<u8> {
    let head =
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n";
    let body = quoted_printable(text.as_bytes());
    [head.as_bytes(), &body, b"\r\n--", boundary.as_bytes(), b"\r\n"].concat()
}

/// Where the text goes.
#[derive(Default)]
struct Targets {
    texts: Vec<PartId>,
    /// In front of this place, as a part of its own of the multipart with that boundary.
    before: Option<(usize, String)>,
}

impl Targets {
    /// Looks for the text of a part; `None` when it must not be changed.
    fn find(&mut self, tree: &PartTree, id: PartId) -> Option<()> {
        let part = tree.part(id);
        if is_text(part) {
            self.texts.push(id);
            return Some(());
        }
        let kind = &part.content_type;
        if !part.is_multipart()
            || tree.is_cut()
            || tree.part(*part.children.first()?).header.start <= part.body.start
        {
            // Without a delimiter the parts of a multipart are a guess.
            return None;
        }
        match kind.subtype.as_str() {
            // RFC 1847 §2: not a byte of these may change.
            "signed" | "encrypted" | "report" | "digest" => None,
            "alternative" => {
                // Each form says the same, so each gets it; a form that cannot have it (an invitation) goes without.
                let before = self.texts.len();
                for child in &part.children {
                    if is_open(tree.part(*child)) {
                        self.find(tree, *child)?;
                    }
                }
                (self.texts.len() > before).then_some(())
            }
            "related" => self.find(tree, *part.children.first()?),
            _ => self.find_in_mixed(tree, part),
        }
    }

    /// The first part is the text, if it is any; else a part is made in front of it.
    fn find_in_mixed(&mut self, tree: &PartTree, part: &Part) -> Option<()> {
        let first = tree.part(*part.children.first()?);
        if is_open(first) {
            return self.find(tree, *part.children.first()?);
        }
        let is_closed = first.is_multipart() || is_protected(first);
        let boundary = part.content_type.param("boundary").filter(|boundary| boundary.is_ascii());
        let boundary = boundary.filter(|_| !is_closed)?;
        self.before = Some((first.header.start as usize, boundary));
        Some(())
    }
}

/// Text that is read with the message.
fn is_text(part: &Part) -> bool {
    let is_attached = part.disposition.as_ref().is_some_and(|how| how.kind == "attachment");
    let kind = &part.content_type;
    !is_attached && (kind.is("text", "plain") || kind.is("text", "html"))
}

/// What may hold text and may be changed.
fn is_open(part: &Part) -> bool {
    let subtype = part.content_type.subtype.as_str();
    is_text(part) || (part.is_multipart() && !["signed", "encrypted", "report", "digest"].contains(&subtype))
}

/// S/MIME in one part (RFC 8551 §3.4).
fn is_protected(part: &Part) -> bool {
    let kind = &part.content_type;
    kind.kind == "application" && ["pkcs7-mime", "x-pkcs7-mime"].contains(&kind.subtype.as_str())
}
