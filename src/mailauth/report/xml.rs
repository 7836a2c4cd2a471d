//! Just enough XML: elements with text, one child of the root at a time, everything bounded. No document type
//! is read and no entity but the five of XML itself and numbers, so nothing grows and nothing is fetched.

use quick_xml::Reader;
use quick_xml::events::Event;

use crate::limits::{XML_DEPTH_MAX, XML_NODES_MAX, XML_TEXT_BYTES_MAX};

/// An element, its attributes left out.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Node {
    pub(super) name: String,
    /// The text directly in it, blanks around it removed.
    pub(super) text: String,
    pub(super) children: Vec<Node>,
}

/// The text is not XML, or too deep or too large for a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct NotXml;

impl Node {
    /// The first child of that name.
    pub(super) fn child(&self, name: &str) -> Option<&Self> {
        self.children.iter().find(|child| child.name == name)
    }

    /// All children of that name.
    pub(super) fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Self> {
        self.children.iter().filter(move |child| child.name == name)
    }

    /// The text of the first child of that name, unless it is empty.
    pub(super) fn text_of(&self, name: &str) -> Option<&str> {
        self.child(name).map(|child| child.text.as_str()).filter(|text| !text.is_empty())
    }
}

/// Reads a document and hands each child of its root, whose name is `root`, to `take`.
pub(super) fn read_children(
    text: &str,
    root: &str,
    mut take: impl FnMut(Node) -> Result<(), NotXml>,
) -> Result<(), NotXml> {
    let mut reader = Reader::from_str(text);
    let mut open: Vec<Node> = Vec::new();
    let mut nodes = 0;
    let mut has_root = false;
    loop {
        match reader.read_event().map_err(|_| NotXml)? {
            Event::Start(start) => {
                let name = start.local_name().as_ref().to_owned();
                if open.is_empty() && (has_root || name != root) || open.len() >= XML_DEPTH_MAX {
                    return Err(NotXml);
                }
                has_root = true;
                nodes += 1;
                if nodes > XML_NODES_MAX {
                    return Err(NotXml);
                }
                open.push(Node { name, ..Node::default() });
            }
            Event::Empty(_) | Event::Decl(_) | Event::PI(_) | Event::Comment(_) | Event::DocType(_) => {}
            Event::Text(text) => add_text(&mut open, &text.xml10_content()),
            Event::CData(text) => add_text(&mut open, &text.xml10_content()),
            Event::GeneralRef(entity) => {
                let resolved = match entity.resolve_char_ref().map_err(|_| NotXml)? {
                    Some(c) => c,
                    None => predefined(&entity.xml10_content()).ok_or(NotXml)?,
                };
                add_text(&mut open, resolved.encode_utf8(&mut [0; 4]));
            }
            Event::End(_) => {
                let mut done = open.pop().ok_or(NotXml)?;
                done.text.truncate(done.text.trim_end().len());
                done.text.drain(..done.text.len() - done.text.trim_start().len());
                match open.len() {
                    0 => {}
                    1 => {
                        nodes = 0;
                        take(done)?;
                    }
                    _ => open.last_mut().ok_or(NotXml)?.children.push(done),
                }
            }
            Event::Eof => return if has_root && open.is_empty() { Ok(()) } else { Err(NotXml) },
        }
    }
}

/// Adds to the innermost element, as far as there is room.
fn add_text(open: &mut [Node], text: &str) {
    if let Some(node) = open.last_mut() {
        let room = XML_TEXT_BYTES_MAX.saturating_sub(node.text.len());
        let mut end = room.min(text.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        node.text.push_str(text.get(..end).unwrap_or_default());
    }
}

fn predefined(entity: &str) -> Option<char> {
    match entity {
        "lt" => Some('<'),
        "gt" => Some('>'),
        "amp" => Some('&'),
        "apos" => Some('\''),
        "quot" => Some('"'),
        _ => None,
    }
}

/// Text as it may stand in an element: marks escaped, control characters left out.
pub(super) fn escape(text: &str, out: &mut String) {
    for c in text.chars() {
        match c {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&apos;"),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn children(text: &str) -> Result<Vec<Node>, NotXml> {
        let mut all = Vec::new();
        read_children(text, "r", |node| {
            all.push(node);
            Ok(())
        })?;
        Ok(all)
    }

    #[test]
    fn elements_are_read() {
        let read = children(
            "<?xml version='1.0'?><x:r xmlns:x='u'><a k='v'> 1 &lt;&#50; </a><b><c>3</c><d/></b></x:r>",
        );
        let read = read.unwrap();
        assert_eq!(read[0].text, "1 <2");
        assert_eq!(read[1].text_of("c"), Some("3"));
    }

    #[test]
    fn what_grows_or_is_broken_is_refused() {
        let deep = format!("<r>{}{}</r>", "<a>".repeat(99), "</a>".repeat(99));
        let many = format!("<r><a>{}</a></r>", "<b></b>".repeat(XML_NODES_MAX));
        for text in [
            "",
            "<r>",
            "<q></q>",
            "<r></r><r></r>",
            "<r><a></b></r>",
            "<!DOCTYPE r [<!ENTITY e 'x'>]><r><a>&e;</a></r>",
            deep.as_str(),
            many.as_str(),
        ] {
            assert_eq!(children(text), Err(NotXml), "{}", text.get(..60).unwrap_or(text));
        }
        let long = format!("<r><a>{}</a></r>", "ü".repeat(XML_TEXT_BYTES_MAX));
        assert_eq!(children(&long).unwrap()[0].text.len(), XML_TEXT_BYTES_MAX);
    }

    #[test]
    fn marks_are_escaped() {
        let mut out = String::new();
        escape("<a>&\"'\u{7}ü", &mut out);
        assert_eq!(out, "&lt;a&gt;&amp;&quot;&apos; ü");
    }
}
