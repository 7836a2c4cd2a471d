//! Text in HTML and out of it, without a parser: enough for a footer and for looking for words.

use std::fmt::Write as _;

/// Plain text as HTML.
pub(crate) fn html_of(text: &str) -> String {
    let mut out = String::from("<p>");
    for (at, line) in text.lines().enumerate() {
        if at > 0 {
            out.push_str("<br>\r\n");
        }
        for c in line.chars() {
            match c {
                '&' => out.push_str("&amp;"),
                '<' => out.push_str("&lt;"),
                '>' => out.push_str("&gt;"),
                c => out.push(c),
            }
        }
    }
    out.push_str("</p>");
    out
}

/// HTML in which all but ASCII is written as references: it means the same in every charset.
pub(crate) fn ascii_html(html: &str) -> String {
    let mut out = String::with_capacity(html.len());
    for c in html.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            let _infallible = write!(out, "&#{};", u32::from(c));
        }
    }
    out
}

/// Where text that comes last goes: in front of the last `</body>` or `</html>`, or at the end.
pub(crate) fn place_at_end(html: &[u8]) -> usize {
    let lower = html.to_ascii_lowercase();
    let last = |tag: &[u8]| memchr::memmem::rfind(&lower, tag);
    last(b"</body").or_else(|| last(b"</html")).unwrap_or(html.len())
}

/// Where text that comes first goes: behind `<body ...>` or `</head>`, or at the start.
pub(crate) fn place_at_start(html: &[u8]) -> usize {
    let lower = html.to_ascii_lowercase();
    let behind = |tag: &[u8]| {
        let at = memchr::memmem::find_iter(&lower, tag)
            .find(|at| lower.get(at + tag.len()).is_some_and(|byte| !byte.is_ascii_alphanumeric()))?;
        let rest = lower.get(at..)?;
        memchr::memchr(b'>', rest).map(|end| at + end + 1)
    };
    behind(b"<body").or_else(|| behind(b"</head")).unwrap_or(0)
}

/// The words of HTML: tags, comments, scripts and styles left out, the usual references replaced.
pub(crate) fn text_of(html: &str) -> String {
    let mut out = String::with_capacity(html.len() / 2);
    let mut rest = html;
    while let Some(at) = rest.find(['<', '&']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        rest = if from.starts_with('<') { behind_tag(from, &mut out) } else { reference(from, &mut out) };
    }
    out.push_str(rest);
    out
}

/// Tags that stand within a line.
const INLINE: [&str; 10] = ["a", "b", "i", "u", "em", "span", "strong", "font", "small", "big"];

/// What follows the tag that `from` begins with. Tags that end a line of text leave a space.
fn behind_tag<'a>(from: &'a str, out: &mut String) -> &'a str {
    if let Some(comment) = from.strip_prefix("<!--") {
        return comment.split_once("-->").map_or("", |(_, rest)| rest);
    }
    let closes = from.starts_with("</");
    let name = from.trim_start_matches(['<', '/']).chars().take_while(char::is_ascii_alphanumeric).take(12);
    let name = name.collect::<String>().to_ascii_lowercase();
    let Some((_, rest)) = from.split_once('>') else { return "" };
    if !INLINE.contains(&name.as_str()) {
        out.push(' ');
    }
    if !closes && (name == "script" || name == "style") {
        let end = find_ignoring_case(rest, if name == "script" { "</script" } else { "</style" });
        return end.and_then(|end| rest.get(end..)).unwrap_or("");
    }
    rest
}

fn find_ignoring_case(text: &str, what: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    memchr::memchr_iter(b'<', bytes).find(|at| {
        bytes.get(*at..at + what.len()).is_some_and(|found| found.eq_ignore_ascii_case(what.as_bytes()))
    })
}

/// What follows the reference that `from` may begin with.
fn reference<'a>(from: &'a str, out: &mut String) -> &'a str {
    let end = from.bytes().take(12).position(|byte| byte == b';');
    let named = end.and_then(|end| Some((from.get(1..end)?, from.get(end + 1..)?)));
    if let Some((name, rest)) = named {
        let number = |digits: &str| match digits.strip_prefix(['x', 'X']) {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => digits.parse().ok(),
        };
        let found = match name {
            "amp" => Some('&'),
            "lt" => Some('<'),
            "gt" => Some('>'),
            "quot" => Some('"'),
            "nbsp" => Some(' '),
            name => name.strip_prefix('#').and_then(number).and_then(char::from_u32),
        };
        if let Some(c) = found {
            out.push(c);
            return rest;
        }
    }
    out.push('&');
    from.get(1..).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_found_in_html() {
        for (html, text) in [
            ("a <b>bold</b>ly", "a boldly"),
            ("<p>one</p><p>two</p>", " one  two "),
            ("x<!-- hidden -->y", "xy"),
            ("<style>p { }</style>x<SCRIPT>if (a<b) {}</Script>y", "  x  y"),
            ("&lt;tag&gt; &amp;amp; &#228;&#xe4; &unknown; &", "<tag> &amp; ää &unknown; &"),
            ("<open", ""),
        ] {
            assert_eq!(text_of(html), text, "{html}");
        }
    }

    #[test]
    fn places_are_found_whatever_the_case() {
        let html = b"<html><head></head><BODY class=x>hi</Body></html>";
        assert_eq!(&html[place_at_start(html)..], b"hi</Body></html>");
        assert_eq!(&html[..place_at_end(html)], b"<html><head></head><BODY class=x>hi");
        assert_eq!((place_at_start(b"<bodyguard>"), place_at_end(b"hi")), (0, 2));
    }

    #[test]
    fn text_becomes_html() {
        assert_eq!(html_of("a < b\nc & d"), "<p>a &lt; b<br>\r\nc &amp; d</p>");
        assert_eq!(ascii_html("<i>ü</i>"), "<i>&#252;</i>");
    }
}
