//! Texts with facts in them: `listed at {source}`.

use crate::facts::Facts;
use crate::limits::REPLY_VALUE_BYTES_MAX;
use crate::read::{Fault, Value, text};

/// A text with places for facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Template(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Source,
    Helo,
    Sender,
    Recipient,
    ReverseName,
    Score,
}

const KNOWN: &str = "{source}, {helo}, {reverse_name}, {sender}, {recipient}, {score}";

impl Template {
    /// Reads one of printable ASCII, at most `bytes_max` long.
    pub(crate) fn read(value: &Value<'_>, bytes_max: usize) -> Result<Self, Fault> {
        Self::parse(text(value)?, bytes_max).map_err(|message| Fault::at(value, message))
    }

    /// The same; the error is the remedy.
    pub(crate) fn parse(all: &str, bytes_max: usize) -> Result<Self, String> {
        if all.len() > bytes_max {
            return Err(format!("this is longer than {bytes_max} bytes: shorten it"));
        }
        if let Some(odd) = all.chars().find(|c| !(' '..='~').contains(c)) {
            return Err(format!("{odd:?} cannot stand here: printable ASCII only"));
        }
        let mut pieces = Vec::new();
        let mut rest = all;
        while let Some((before, after)) = rest.split_once('{') {
            let (name, behind) = after
                .split_once('}')
                .ok_or_else(|| format!("a {{ has no }}; between them stands one of {KNOWN}"))?;
            if !before.is_empty() {
                pieces.push(Piece::Text(before.to_owned()));
            }
            pieces.push(match name {
                "source" => Piece::Source,
                "helo" => Piece::Helo,
                "sender" => Piece::Sender,
                "recipient" => Piece::Recipient,
                "reverse_name" => Piece::ReverseName,
                "score" => Piece::Score,
                _ => return Err(format!("there is no {{{name}}}; there are {KNOWN}")),
            });
            rest = behind;
        }
        if !rest.is_empty() {
            pieces.push(Piece::Text(rest.to_owned()));
        }
        Ok(Self(pieces))
    }

    pub(crate) fn of(text: &str) -> Self {
        Self(vec![Piece::Text(text.to_owned())])
    }

    /// The text. What peers said is shortened, and bytes that are no printable ASCII become `?`.
    pub(crate) fn fill(&self, facts: &Facts<'_>, score: i32) -> String {
        let mut out = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Source => out.push_str(&facts.source.to_canonical().to_string()),
                Piece::Helo => tame(&mut out, facts.helo.unwrap_or_default()),
                Piece::Sender => tame(&mut out, facts.sender.unwrap_or_default()),
                Piece::Recipient => tame(&mut out, facts.recipients.last().copied().unwrap_or_default()),
                Piece::ReverseName => {
                    let name = facts.known.reverse_name.as_deref().filter(|name| !name.is_empty());
                    tame(&mut out, name.unwrap_or("unknown"));
                }
                Piece::Score => out.push_str(&facts.score.saturating_add(score).to_string()),
            }
        }
        out
    }
}

fn tame(out: &mut String, text: &str) {
    let plain = |c: char| if ('!'..='~').contains(&c) { c } else { '?' };
    out.extend(text.chars().take(REPLY_VALUE_BYTES_MAX).map(plain));
}
