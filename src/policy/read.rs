//! Reading rules from TOML: each value with its place, each error with its line and a remedy.

use std::fmt;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A value with its place in the text.
pub(crate) type Value<'a> = Spanned<DeValue<'a>>;

/// What is wrong with rules: where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Bytes of the text that it is about.
    pub span: Range<usize>,
    /// The line of that, from 1.
    pub line: usize,
    /// The rule it is in, what is wrong and how to mend it.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.message)
    }
}

impl std::error::Error for Fault {}

impl Fault {
    pub(crate) fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, line: 0, message: message.into() }
    }

    pub(crate) fn at(value: &Value<'_>, message: impl Into<String>) -> Self {
        Self::new(value.span(), message)
    }

    /// The same, with the name of what it was found in.
    pub(crate) fn within(self, what: &str, name: &str) -> Self {
        Self { message: format!("{what} {name:?}: {}", self.message), ..self }
    }

    /// The same, with its line in `text`.
    fn with_line(self, text: &str) -> Self {
        let before = text.get(..self.span.start).unwrap_or(text);
        Self { line: before.matches('\n').count() + 1, ..self }
    }
}

/// Reads a text as TOML and hands its tables to `build`; faults get their lines.
pub(crate) fn document<T>(
    text: &str,
    build: impl FnOnce(&Section<'_>) -> Result<T, Fault>,
) -> Result<T, Fault> {
    let parsed = DeTable::parse(text).map_err(|error| {
        let span = error.span().unwrap_or(0..0);
        Fault::new(span, error.message()).with_line(text)
    })?;
    let section = Section { table: parsed.get_ref(), span: 0..0 };
    build(&section).map_err(|fault| fault.with_line(text))
}

/// A table and its place.
#[derive(Clone, Debug)]
pub(crate) struct Section<'a> {
    table: &'a DeTable<'a>,
    span: Range<usize>,
}

impl<'a> Section<'a> {
    /// A value that must be a table; `what` is for the error: "a table such as { ... }".
    pub(crate) fn of(value: &'a Value<'a>, what: &str) -> Result<Self, Fault> {
        let table = value.get_ref().as_table().ok_or_else(|| wrong(value, what))?;
        Ok(Self { table, span: value.span() })
    }

    /// Refuses keys that are not among `known`.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), Fault> {
        for key in self.table.keys() {
            let name: &str = key.get_ref();
            if !known.contains(&name) {
                let message = format!("`{name}` is not known here; known are {}", known.join(", "));
                return Err(Fault::new(key.span(), message));
            }
        }
        Ok(())
    }

    pub(crate) fn entries(&self) -> impl Iterator<Item = (&'a str, Range<usize>, &'a Value<'a>)> {
        self.table.iter().map(|(key, value)| (&**key.get_ref(), key.span(), value))
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'a Value<'a>> {
        self.table.get(key)
    }

    pub(crate) fn need(&self, key: &str) -> Result<&'a Value<'a>, Fault> {
        self.get(key).ok_or_else(|| self.fault(format!("`{key}` is missing: add it")))
    }

    pub(crate) fn fault(&self, message: impl Into<String>) -> Fault {
        Fault::new(self.span.clone(), message)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>, Fault> {
        self.get(key).map(text).transpose()
    }

    pub(crate) fn integer(&self, key: &str) -> Result<Option<i64>, Fault> {
        self.get(key).map(integer).transpose()
    }

    /// The tables of `[[key]]`; none when there are none.
    pub(crate) fn tables(&self, key: &str) -> Result<Vec<Section<'a>>, Fault> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let what = format!("a list of tables: write [[...{key}]]");
        let array = value.get_ref().as_array().ok_or_else(|| wrong(value, &what))?;
        array.iter().map(|entry| Section::of(entry, &what)).collect()
    }

    /// The table `[key]`, if it is there.
    pub(crate) fn section(&self, key: &str) -> Result<Option<Section<'a>>, Fault> {
        self.get(key).map(|value| Section::of(value, "a table")).transpose()
    }
}

fn wrong(value: &Value<'_>, what: &str) -> Fault {
    Fault::at(value, format!("this is {}, it must be {what}", article(value.get_ref().type_str())))
}

fn article(word: &str) -> String {
    let vowel = word.starts_with(['a', 'e', 'i', 'o', 'u']);
    format!("{} {word}", if vowel { "an" } else { "a" })
}

pub(crate) fn text<'a>(value: &'a Value<'a>) -> Result<&'a str, Fault> {
    value.get_ref().as_str().ok_or_else(|| wrong(value, "a text in quotes"))
}

pub(crate) fn flag(value: &Value<'_>) -> Result<bool, Fault> {
    value.get_ref().as_bool().ok_or_else(|| wrong(value, "true or false"))
}

pub(crate) fn integer(value: &Value<'_>) -> Result<i64, Fault> {
    let number = value.get_ref().as_integer().ok_or_else(|| wrong(value, "a whole number"))?;
    i64::from_str_radix(number.as_str(), number.radix())
        .map_err(|_| Fault::at(value, "this number is too large"))
}

/// One value, or each of a list.
pub(crate) fn each<'a>(value: &'a Value<'a>) -> Vec<&'a Value<'a>> {
    match value.get_ref().as_array() {
        Some(array) => array.iter().collect(),
        None => vec![value],
    }
}

/// One text, or several.
pub(crate) fn texts<'a>(value: &'a Value<'a>) -> Result<Vec<(&'a str, &'a Value<'a>)>, Fault> {
    let all: Vec<_> =
        each(value).into_iter().map(|one| text(one).map(|text| (text, one))).collect::<Result<_, _>>()?;
    if all.is_empty() {
        return Err(Fault::at(value, "the list is empty: nothing could match it; name at least one"));
    }
    Ok(all)
}

/// A table with exactly one key: what is done, or compared, and with what.
pub(crate) fn single<'a>(value: &'a Value<'a>, what: &str) -> Result<(&'a str, &'a Value<'a>), Fault> {
    let section = Section::of(value, what)?;
    let mut entries = section.entries();
    match (entries.next(), entries.next()) {
        (Some((key, _, value)), None) => Ok((key, value)),
        _ => Err(section.fault(format!("a table with exactly one key is wanted here, {what}"))),
    }
}

/// A length of time in milliseconds: `"30s"`, `"5m"`, `"4h"`, `"7d"`, or a number of seconds.
pub(crate) fn duration_ms(value: &Value<'_>) -> Result<u64, Fault> {
    let fault = || {
        Fault::at(value, "a length of time is wanted, such as \"500ms\", \"30s\", \"5m\", \"4h\" or \"7d\"")
    };
    if value.get_ref().is_integer() {
        let seconds = u64::try_from(integer(value)?).map_err(|_| fault())?;
        return seconds.checked_mul(1000).ok_or_else(fault);
    }
    let text = value.get_ref().as_str().ok_or_else(fault)?.trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(fault)?;
    let (digits, unit) = text.split_at(split);
    let factor: u64 = match unit.trim() {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(fault()),
    };
    digits.parse::<u64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(fault)
}

/// A number of bytes: `25_000_000`, `"25MB"`, `"10KiB"`.
pub(crate) fn bytes(value: &Value<'_>) -> Result<i64, Fault> {
    if value.get_ref().is_integer() {
        return integer(value);
    }
    let fault = || Fault::at(value, "a number of bytes is wanted, such as 25_000_000, \"25MB\" or \"25MiB\"");
    let text = value.get_ref().as_str().ok_or_else(fault)?.trim();
    let split = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(split);
    let factor: i64 = match unit.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" => 1000,
        "mb" => 1_000_000,
        "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return Err(fault()),
    };
    digits.parse::<i64>().ok().and_then(|number| number.checked_mul(factor)).ok_or_else(fault)
}

/// A range of numbers that a value is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Within {
    least: i64,
    most: i64,
}

impl Within {
    /// A number alone, or a table of `at_least`, `at_most`, `above`, `below`; `number` reads one.
    pub(crate) fn read(
        value: &Value<'_>,
        number: impl Fn(&Value<'_>) -> Result<i64, Fault>,
    ) -> Result<Self, Fault> {
        let Some(_) = value.get_ref().as_table() else {
            let exactly = number(value)?;
            return Ok(Self { least: exactly, most: exactly });
        };
        let section = Section::of(value, "a number")?;
        section.only(&["at_least", "at_most", "above", "below"])?;
        let read = |key: &str| section.get(key).map(&number).transpose();
        let above = read("above")?.map(|above| above.saturating_add(1));
        let below = read("below")?.map(|below| below.saturating_sub(1));
        let least = read("at_least")?.max(above);
        let most = [read("at_most")?, below].into_iter().flatten().min();
        if section.is_empty() {
            return Err(section.fault("say with what to compare: at_least, at_most, above or below"));
        }
        let within = Self { least: least.unwrap_or(i64::MIN), most: most.unwrap_or(i64::MAX) };
        if within.least > within.most {
            return Err(section.fault("no number is in this range: turn the bounds round"));
        }
        Ok(within)
    }

    pub(crate) fn holds(&self, number: i64) -> bool {
        (self.least..=self.most).contains(&number)
    }
}

impl fmt::Display for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.least, self.most) {
            (least, most) if least == most => write!(f, "= {least}"),
            (least, i64::MAX) => write!(f, ">= {least}"),
            (i64::MIN, most) => write!(f, "<= {most}"),
            (least, most) => write!(f, "from {least} to {most}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read<T>(text: &str, with: impl Fn(&Value<'_>) -> Result<T, Fault>) -> Result<T, Fault> {
        document(text, |all| with(all.need("x")?))
    }

    #[test]
    fn times_sizes_and_ranges_are_read_or_refused_with_a_remedy() {
        for (text, ms) in [("5", 5000), ("\"500ms\"", 500), ("\"2m\"", 120_000), ("\"7d\"", 604_800_000)] {
            assert_eq!(read(&format!("x = {text}"), duration_ms), Ok(ms), "{text}");
        }
        for text in ["-1", "\"\"", "\"5\"", "\"5w\"", "true", "\"99999999999999999d\""] {
            assert!(read(&format!("x = {text}"), duration_ms).is_err(), "{text}");
        }
        for (text, size) in [("7", 7), ("\"25MB\"", 25_000_000), ("\"2 KiB\"", 2048)] {
            assert_eq!(read(&format!("x = {text}"), bytes), Ok(size), "{text}");
        }
        assert!(read("x = \"9x\"", bytes).is_err());
        for (text, inside, outside) in [
            ("5", 5, 6),
            ("{ above = 5 }", 6, 5),
            ("{ below = 5 }", 4, 5),
            ("{ at_least = 5, below = 7 }", 6, 7),
            ("{ at_most = -2 }", -2, -1),
        ] {
            let within = read(&format!("x = {text}"), |value| Within::read(value, integer)).unwrap();
            assert!(within.holds(inside) && !within.holds(outside), "{text}");
        }
        for text in ["{}", "{ above = 5, below = 6 }", "{ over = 5 }", "\"5\""] {
            assert!(read(&format!("x = {text}"), |value| Within::read(value, integer)).is_err(), "{text}");
        }
    }

    #[test]
    fn a_fault_has_its_line() {
        let fault = read("\n\nx = 1\n", |value| text(value).map(str::to_owned)).unwrap_err();
        assert_eq!(fault.to_string(), "line 3: this is an integer, it must be a text in quotes");
        let fault = document("a = 1\nb =\n", |_| Ok(())).unwrap_err();
        assert_eq!(fault.line, 2);
    }
}
