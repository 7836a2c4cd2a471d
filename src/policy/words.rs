//! Text in a message and what it is compared with.

use std::fmt;

use mime::Needle;
use regex::{Regex, RegexBuilder};

use crate::limits::REGEX_BYTES_MAX;
use crate::read::{Fault, Section, Value, single, text, texts};

/// What a text is compared with; case does not count unless a pattern says so.
#[derive(Clone, Debug)]
pub(crate) struct Words {
    how: How,
    label: String,
}

#[derive(Clone, Debug)]
enum How {
    Contains(Vec<Needle>),
    Is(Vec<String>),
    StartsWith(Vec<String>),
    /// In lower case.
    Words(Vec<String>),
    Matches(Vec<Regex>),
}

const FORMS: &str = "such as { contains = \"text\" }, { words = [...] }, { is = ... }, { starts_with = ... } or { matches = \"regular expression\" }";

impl Words {
    /// A text or list alone is what must be contained.
    pub(crate) fn read(value: &Value<'_>) -> Result<Self, Fault> {
        let (how, value) = match value.get_ref().as_table() {
            Some(_) => single(value, FORMS)?,
            None => ("contains", value),
        };
        Self::of(how, value)
    }

    /// The same beside other keys of a table: `Ok(None)` when it has none of the forms.
    pub(crate) fn within(section: &Section<'_>) -> Result<Option<Self>, Fault> {
        let mut found = None;
        for (key, span, value) in section.entries().filter(|(key, ..)| Self::FORMS.contains(key)) {
            if found.is_some() {
                return Err(Fault::new(
                    span,
                    "one comparison is enough: put the other one into a condition of its own",
                ));
            }
            found = Some(Self::of(key, value)?);
        }
        Ok(found)
    }

    /// The keys of the forms.
    pub(crate) const FORMS: [&'static str; 5] = ["contains", "words", "is", "starts_with", "matches"];

    fn of(how: &str, value: &Value<'_>) -> Result<Self, Fault> {
        let all = texts(value)?;
        if let Some((_, place)) = all.iter().find(|(text, _)| text.is_empty()) {
            return Err(Fault::at(place, "an empty text is in everything: write what to look for"));
        }
        let label = all.iter().map(|(text, _)| format!("{text:?}")).collect::<Vec<_>>().join(" or ");
        let lower = || all.iter().map(|(text, _)| text.to_lowercase()).collect();
        let (how, word) = match how {
            "contains" => {
                (How::Contains(all.iter().map(|(text, _)| Needle::new(text)).collect()), "contains")
            }
            "is" => (How::Is(lower()), "is"),
            "starts_with" => (How::StartsWith(lower()), "starts with"),
            "words" => (How::Words(lower()), "has the word"),
            "matches" => {
                let all = all.iter().map(|(text, place)| regex_of(text, place)).collect::<Result<_, _>>()?;
                (How::Matches(all), "matches")
            }
            _ => return Err(Fault::at(value, format!("a comparison is wanted here, {FORMS}"))),
        };
        Ok(Self { how, label: format!("{word} {label}") })
    }

    pub(crate) fn found_in(&self, text: &str) -> bool {
        match &self.how {
            How::Words(words) => {
                let lower = text.to_lowercase();
                words.iter().any(|word| has_word(&lower, word))
            }
            _ => self.found_in_long(text, || ""),
        }
    }

    /// The same in a text of which `lower` gives the lower case, when that is wanted.
    pub(crate) fn found_in_long<'t>(&self, text: &str, lower: impl FnOnce() -> &'t str) -> bool {
        match &self.how {
            How::Contains(needles) => needles.iter().any(|needle| needle.matches_text(text)),
            How::Is(all) => {
                let lower = text.trim().to_lowercase();
                all.contains(&lower)
            }
            How::StartsWith(all) => {
                let lower = text.trim_start().to_lowercase();
                all.iter().any(|start| lower.starts_with(start))
            }
            How::Words(words) => {
                let lower = lower();
                words.iter().any(|word| has_word(lower, word))
            }
            How::Matches(all) => all.iter().any(|regex| regex.is_match(text)),
        }
    }
}

/// Whether a text has a word with no letter, digit or `_` on either side of it.
fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    memchr::memmem::find_iter(text.as_bytes(), word.as_bytes()).any(|at| {
        let (before, from) = text.split_at(at);
        let behind = from.get(word.len()..).unwrap_or_default();
        !is_part(before.chars().next_back()) && !is_part(behind.chars().next())
    })
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.label)
    }
}

/// A regular expression whose automaton is bounded, so that text takes linear time.
fn regex_of(text: &str, place: &Value<'_>) -> Result<Regex, Fault> {
    RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).dfa_size_limit(REGEX_BYTES_MAX).build().map_err(
        |error| {
            let words = error.to_string();
            let last = words.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            Fault::at(place, format!("{text:?} is no regular expression that can be used: {last}"))
        },
    )
}

/// A header field that is present, or compared.
#[derive(Clone, Debug)]
pub(crate) struct FieldTest {
    name: String,
    words: Option<Words>,
}

impl FieldTest {
    /// `"X-Field"`, or `{ name = "X-Field", contains = "text" }`.
    pub(crate) fn read(value: &Value<'_>) -> Result<Self, Fault> {
        let (name, place, words) = if value.get_ref().is_table() {
            let section = Section::of(value, "a header field")?;
            let mut known = vec!["name"];
            known.extend(Words::FORMS);
            section.only(&known)?;
            let place = section.need("name")?;
            (text(place)?, place, Words::within(&section)?)
        } else {
            (text(value)?, value, None)
        };
        if !is_field_name(name) {
            return Err(Fault::at(
                place,
                format!("{name:?} is no name of a header field: write it without the colon"),
            ));
        }
        Ok(Self { name: name.to_owned(), words })
    }

    pub(crate) fn holds(&self, header: &[u8]) -> bool {
        let mut fields = mime::Headers::of(header).filter(|field| field.is(&self.name));
        match &self.words {
            None => fields.next().is_some(),
            Some(words) => fields.any(|field| words.found_in(mime::decode_words(field.value).trim())),
        }
    }
}

impl fmt::Display for FieldTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.words {
            None => write!(f, "header {} is there", self.name),
            Some(words) => write!(f, "header {} {words}", self.name),
        }
    }
}

/// RFC 5322 §3.6.8: printable ASCII but the colon.
pub(crate) fn is_field_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= crate::limits::FIELD_NAME_BYTES_MAX
        && name.bytes().all(|byte| (b'!'..=b'~').contains(&byte) && byte != b':')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::read::document;

    fn words(text: &str) -> Result<Words, Fault> {
        document(&format!("x = {text}"), |all| Words::read(all.need("x")?))
    }

    #[test]
    fn text_is_compared_in_five_ways() {
        for (form, text, is_found) in [
            (r#""gr""#, "GRÜN", true),
            (r#"{ contains = ["x", "ÜN"] }"#, "grün", true),
            (r#"{ words = "secret" }"#, "Top-Secret!", true),
            (r#"{ words = "secret" }"#, "secretary", false),
            (r#"{ words = "secret" }"#, "secrets, but no top_secret or secret", true),
            (r#"{ words = "ÜBER" }"#, "gegenüber", false),
            (r#"{ words = "ÜBER" }"#, "weit über", true),
            (r#"{ words = "a.b" }"#, "x a.b y", true),
            (r#"{ words = "a.b" }"#, "x aXb y", false),
            (r#"{ words = "C++" }"#, "we use C++ here", true),
            (r#"{ is = "Re: x" }"#, " re: X ", true),
            (r#"{ is = "Re: x" }"#, "re: x y", false),
            (r#"{ starts_with = "[ext]" }"#, "[EXT] x", true),
            (r"{ matches = '\b\d{4}-\d{4}\b' }", "id 1234-5678.", true),
            (r"{ matches = 'abc' }", "ABC", false),
            (r"{ matches = '(?i)abc' }", "ABC", true),
        ] {
            assert_eq!(words(form).unwrap().found_in(text), is_found, "{form} in {text}");
        }
    }

    #[test]
    fn patterns_that_cannot_be_used_are_refused() {
        for form in [
            r#""""#,
            "[]",
            r#"{ matches = "(" }"#,
            r#"{ matches = "(a{1000}){1000}" }"#,
            r#"{ like = "x" }"#,
            "5",
        ] {
            assert!(words(form).is_err(), "{form}");
        }
    }
}
