//! Patterns of names and addresses: whole ones and suffixes are looked up in sorted lists, so only
//! those with `*` or `?` are tried one after another. Case does not count.

use std::borrow::Cow;

use crate::limits::{GLOBS_MAX, PATTERN_BYTES_MAX};

/// What is matched against patterns.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Host and domain names: `example.org`, `.example.org` for all below it, `*-dyn.example.net`.
    Name,
    /// E-mail addresses: `ann@example.org`, `*@example.org`, a domain or `.domain` for all of its
    /// addresses, and `<>` for the empty sender.
    Address,
}

/// Many patterns of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Patterns {
    /// Whole names or addresses.
    whole: Vec<Box<str>>,
    /// Domains of which all addresses match (addresses only).
    domains: Vec<Box<str>>,
    /// Domains of which everything below matches.
    suffixes: Vec<Box<str>>,
    globs: Vec<Box<str>>,
}

impl Patterns {
    /// Reads them; the error is the remedy for the entry of that number.
    pub(crate) fn compile<'a>(
        kind: Kind,
        entries: impl Iterator<Item = &'a str>,
    ) -> Result<Self, (usize, String)> {
        let mut patterns = Self::default();
        for (at, entry) in entries.enumerate() {
            patterns.add(kind, entry).map_err(|message| (at, message))?;
            if patterns.globs.len() > GLOBS_MAX {
                return Err((
                    at,
                    format!(
                        "at most {GLOBS_MAX} patterns may have * or ?: write suffixes (.example.org) instead"
                    ),
                ));
            }
        }
        for list in [&mut patterns.whole, &mut patterns.domains, &mut patterns.suffixes, &mut patterns.globs]
        {
            list.sort_unstable();
            list.dedup();
        }
        Ok(patterns)
    }

    fn add(&mut self, kind: Kind, entry: &str) -> Result<(), String> {
        let lower = entry.trim().to_lowercase();
        check(kind, entry, &lower)?;
        let is_glob = lower.contains(['*', '?']);
        if kind == Kind::Address {
            if lower == "<>" {
                self.whole.push("".into());
                return Ok(());
            }
            if let Some(domain) = lower.strip_prefix("*@").filter(|domain| !domain.contains(['*', '?'])) {
                self.domains.push(domain.into());
                return Ok(());
            }
            if let Some(domain) = lower.strip_prefix('@') {
                self.domains.push(domain.into());
                return Ok(());
            }
            if !lower.contains('@') && !is_glob && !lower.starts_with('.') {
                self.domains.push(lower.into());
                return Ok(());
            }
            if is_glob && !lower.contains('@') {
                self.globs.push(format!("*@{lower}").into());
                return Ok(());
            }
        }
        match lower.strip_prefix('.').or_else(|| lower.strip_prefix("*.")) {
            Some(suffix) if !suffix.contains(['*', '?', '@']) => self.suffixes.push(suffix.into()),
            _ if is_glob => self.globs.push(lower.into()),
            _ => self.whole.push(lower.into()),
        }
        Ok(())
    }

    /// Patterns of any text: `*` and `?` and nothing else mean more than themselves.
    pub(crate) fn globs<'a>(entries: impl Iterator<Item = &'a str>) -> Result<Self, (usize, String)> {
        let mut patterns = Self::default();
        for (at, entry) in entries.enumerate() {
            if entry.is_empty() || entry.len() > PATTERN_BYTES_MAX {
                return Err((at, format!("a pattern has from 1 to {PATTERN_BYTES_MAX} bytes")));
            }
            patterns.globs.push(entry.to_lowercase().into());
        }
        Ok(patterns)
    }

    /// Whether any text matches patterns that [`Patterns::globs`] made.
    pub(crate) fn matches_any_text(&self, text: &str) -> bool {
        self.matches_glob(&text.to_lowercase())
    }

    fn matches_glob(&self, lower: &str) -> bool {
        if self.globs.is_empty() {
            return false;
        }
        let text = shortened(lower);
        self.globs.iter().any(|glob| glob_matches(glob.as_bytes(), text.as_bytes()))
    }

    pub(crate) fn matches(&self, text: &str) -> bool {
        let text = lower(text);
        let domain = text.rsplit_once('@').map_or(&*text, |(_, domain)| domain);
        has(&self.whole, &text)
            || (text.contains('@') && has(&self.domains, domain))
            || (!self.suffixes.is_empty() && parents(domain).any(|parent| has(&self.suffixes, parent)))
            || self.matches_glob(&text)
    }
}

/// A text that is longer than any name without its middle: its beginning and its end are what patterns
/// are about, and a peer must not choose how long they take.
fn shortened(text: &str) -> Cow<'_, str> {
    if text.len() <= 4 * PATTERN_BYTES_MAX {
        return Cow::Borrowed(text);
    }
    let (start, _) = text.split_at(text.floor_char_boundary(2 * PATTERN_BYTES_MAX));
    let (_, end) = text.split_at(text.ceil_char_boundary(text.len() - 2 * PATTERN_BYTES_MAX));
    Cow::Owned([start, end].concat())
}

/// What makes a pattern senseless.
fn check(kind: Kind, entry: &str, lower: &str) -> Result<(), String> {
    if lower.is_empty() {
        return Err("an empty pattern matches nothing: leave it out".to_owned());
    }
    if lower.len() > PATTERN_BYTES_MAX {
        return Err(format!("{entry:?} is longer than {PATTERN_BYTES_MAX} bytes, longer than any address"));
    }
    if lower.contains(|c: char| c.is_whitespace() || c.is_control()) {
        return Err(format!("{entry:?} has white space in it: no name or address has"));
    }
    let domain = lower.rsplit_once('@').map_or(lower, |(_, domain)| domain);
    if !domain.is_ascii() {
        return Err(format!("{entry:?}: write the domain in its ASCII form, which begins with xn--"));
    }
    if kind == Kind::Name && lower.contains('@') {
        return Err(format!(
            "{entry:?} is an address, a name is compared here: leave out what is before the @"
        ));
    }
    if domain.ends_with('.') || domain.is_empty() {
        return Err(format!("{entry:?} has no name behind its last dot or @"));
    }
    Ok(())
}

fn has(sorted: &[Box<str>], text: &str) -> bool {
    sorted.binary_search_by(|one| (**one).cmp(text)).is_ok()
}

/// The domains above a domain: `b.c` and `c` for `a.b.c`.
fn parents(domain: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(domain.split_once('.'), |(_, rest)| rest.split_once('.')).map(|(_, rest)| rest)
}

/// Text in lower case, without a final dot; borrowed where it is that already.
pub(crate) fn lower(text: &str) -> Cow<'_, str> {
    let text = text.strip_suffix('.').unwrap_or(text);
    let is_lower = text.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase());
    if is_lower { Cow::Borrowed(text) } else { Cow::Owned(text.to_lowercase()) }
}

/// `*` is any text, `?` one character of ASCII or one byte. Goes back to the last `*` only, so it
/// takes pattern times text steps at most.
pub(crate) fn glob_matches(glob: &[u8], text: &[u8]) -> bool {
    let (mut g, mut t) = (0, 0);
    let mut back: Option<(usize, usize)> = None;
    while t < text.len() {
        match glob.get(g) {
            Some(b'*') => {
                back = Some((g + 1, t));
                g += 1;
            }
            Some(&byte) if byte == b'?' || Some(&byte) == text.get(t) => {
                g += 1;
                t += 1;
            }
            _ => {
                let Some((star, taken)) = back else { return false };
                back = Some((star, taken + 1));
                (g, t) = (star, taken + 1);
            }
        }
    }
    glob.get(g..).unwrap_or_default().iter().all(|&byte| byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_whole_by_suffix_and_by_glob() {
        let patterns = Patterns::compile(
            Kind::Name,
            ["mail.Example.org", ".example.net", "*-dyn.example.com", "a?.test"].into_iter(),
        )
        .unwrap();
        for (name, is_in) in [
            ("MAIL.example.org.", true),
            ("example.org", false),
            ("a.b.example.net", true),
            ("example.net", false),
            ("1-2-dyn.example.com", true),
            ("dyn.example.com", false),
            ("ab.test", true),
            ("abc.test", false),
            ("", false),
        ] {
            assert_eq!(patterns.matches(name), is_in, "{name}");
        }
    }

    #[test]
    fn addresses_match_by_themselves_and_by_domain() {
        let patterns = Patterns::compile(
            Kind::Address,
            [
                "ann@example.org",
                "@example.com",
                "example.net",
                ".example.edu",
                "news-*@example.test",
                "<>",
                "*@x.test",
                "mx*.test",
            ]
            .into_iter(),
        )
        .unwrap();
        for (address, is_in) in [
            ("Ann@Example.ORG", true),
            ("bob@example.org", false),
            ("bob@example.com", true),
            ("bob@sub.example.com", false),
            ("bob@example.net", true),
            ("bob@a.example.edu", true),
            ("bob@example.edu", false),
            ("news-7@example.test", true),
            ("", true),
            ("z@x.test", true),
            ("z@mx1.test", true),
            ("z@amx1.test", false),
            ("ann@example.org@evil.test", false),
        ] {
            assert_eq!(patterns.matches(address), is_in, "{address}");
        }
    }

    #[test]
    fn senseless_patterns_are_refused() {
        for (kind, entry) in [
            (Kind::Name, ""),
            (Kind::Name, "a b"),
            (Kind::Name, "a@b"),
            (Kind::Name, "bücher.example"),
            (Kind::Address, "ann@"),
            (Kind::Address, "ann@example."),
        ] {
            assert!(Patterns::compile(kind, [entry].into_iter()).is_err(), "{entry}");
        }
        let many: Vec<String> = (0..=GLOBS_MAX).map(|i| format!("a*{i}.test")).collect();
        assert!(Patterns::compile(Kind::Name, many.iter().map(String::as_str)).is_err());
    }

    #[test]
    fn a_long_text_is_compared_by_its_ends() {
        let globs = Patterns::globs(["*.exe", "a*"].into_iter()).unwrap();
        assert!(globs.matches_any_text(&("x".repeat(100_000) + ".EXE")));
        assert!(globs.matches_any_text(&("Aü".to_owned() + &"ü".repeat(100_000))));
        assert!(!globs.matches_any_text(&("x".repeat(1000) + ".exe" + &"y".repeat(1000))));
    }

    #[test]
    fn globs_take_no_more_than_pattern_times_text() {
        let glob = "*a".repeat(100) + "b";
        assert!(!glob_matches(glob.as_bytes(), "a".repeat(10_000).as_bytes()));
        assert!(glob_matches(b"**", b"") && glob_matches(b"", b"") && !glob_matches(b"?", b""));
    }
}
