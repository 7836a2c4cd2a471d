//! How Postfix parts a file into logical lines, and a value into words.

/// A logical line and the number of the line where it begins, from 1.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) number: usize,
    pub(super) text: String,
}

/// The logical lines of a file. A line that begins with white space goes on with the one before it; empty lines and
/// comments are left out, also between the two.
pub(super) fn logical(text: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().is_empty() || line.trim_start().starts_with('#') {
            continue;
        }
        match lines.last_mut().filter(|_| line.starts_with(char::is_whitespace)) {
            Some(last) => last.text.push_str(line),
            None => lines.push(Line { number: number + 1, text: line.to_owned() }),
        }
    }
    for line in &mut lines {
        line.text.truncate(line.text.trim_end().len());
    }
    lines
}

/// The words of a list: commas and white space part them, but not within braces.
pub(super) fn words(text: &str) -> Vec<&str> {
    split(text, |c| c == ',' || c.is_whitespace())
}

/// The same where commas are part of words, as in master.cf.
pub(super) fn spaced(text: &str) -> Vec<&str> {
    split(text, char::is_whitespace)
}

fn split(text: &str, is_separator: impl Fn(char) -> bool) -> Vec<&str> {
    let mut words = Vec::new();
    let (mut depth, mut begin) = (0usize, None);
    for (at, c) in text.char_indices() {
        if depth == 0 && is_separator(c) {
            words.extend(begin.take().and_then(|begin| text.get(begin..at)));
            continue;
        }
        begin.get_or_insert(at);
        match c {
            '{' => depth += 1,
            '}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    words.extend(begin.and_then(|begin| text.get(begin..)));
    words
}

/// What stands in a pair of braces at the front, and what follows them.
pub(super) fn braced(text: &str) -> Option<(&str, &str)> {
    enclosed(text, '{', '}')
}

/// The same for any pair.
pub(super) fn enclosed(text: &str, open: char, close: char) -> Option<(&str, &str)> {
    let inner = text.strip_prefix(open)?;
    let mut depth = 1usize;
    for (at, c) in inner.char_indices() {
        if c == open {
            depth += 1;
        } else if c == close {
            depth -= 1;
            if depth == 0 {
                return Some((inner.get(..at)?, inner.get(at + 1..)?));
            }
        }
    }
    None
}

/// A word without the braces around it, if there are any.
pub(super) fn unbraced(word: &str) -> &str {
    match braced(word) {
        Some((inner, "")) => inner.trim(),
        _ => word,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_go_on_after_comments_and_empty_lines() {
        let text =
            "# first\na = 1,\n  2\n\n# between\n\t3  \n   # also a comment\nb = 4 # not one\n  \nc =\n d\r\n";
        let lines = logical(text);
        let texts: Vec<_> = lines.iter().map(|line| (line.number, line.text.as_str())).collect();
        assert_eq!(texts, [(2, "a = 1,  2\t3"), (8, "b = 4 # not one"), (10, "c = d")]);
    }

    #[test]
    fn braces_keep_words_together() {
        assert_eq!(words(" a, b\t{ c, d {e f} } ,,g"), ["a", "b", "{ c, d {e f} }", "g"]);
        assert_eq!(spaced("-o a=b,c { x = y z }"), ["-o", "a=b,c", "{ x = y z }"]);
        assert_eq!(unbraced("{ a {b} }"), "a {b}");
        assert_eq!(unbraced("{a} {b}"), "{a} {b}");
        assert_eq!(braced("{a{b}} c"), Some(("a{b}", " c")));
        assert_eq!(braced("{a"), None);
    }
}
