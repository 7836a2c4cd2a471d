//! The transcript language: a session written down as one reads it in a specification.

use std::path::{Path, PathBuf};

use crate::{Pattern, samples};

/// One file of `transcripts/`.
///
/// ```text
/// # RFC 1939 §5: what is tested; the first line names the clause.
/// account: ann                  header lines, before the first step
/// block: letter                 a named text, each line of it after `| `, ended by CRLF
/// | Subject: x
/// |
/// S: +OK ready                  a line the server says, without its CRLF
/// C: STAT                       a line the client sends; CRLF is added
/// C| raw\r\n\0\xff\\            bytes the client sends, with escapes; nothing is added
/// C< letter                     bytes of a block, of a sample message, or of a file beside this one
/// S| + \r\n                     a line with escapes, for what cannot be seen
/// S*: a                         neighbours of this kind may come in any order
/// S! closed                     the server has closed the connection
/// C! close                      the client goes away without a word
/// 2C: NOOP                      connection 2, opened when it is first named; without a number it is 1
/// clock: +29m                   time moves: ms, s, m, h or d
/// disk: fail next flush         any other `key: value` is an event that the peer must know
/// ```
///
/// `${name}` is bound where the server first says it and compared (or sent) later; `${_}` matches
/// anything. Client lines that follow each other are sent as one read. The header `cut: no` marks
/// a transcript whose answers depend on that.
#[derive(Clone, Debug)]
pub struct Transcript {
    /// Where it came from; empty when from a string.
    pub path: PathBuf,
    /// The first comment: which clause it is about.
    pub clause: String,
    /// Header lines, in order.
    pub headers: Vec<(String, String)>,
    /// What happens, in order.
    pub steps: Vec<Step>,
    /// The lines of the text, for rewriting.
    pub(crate) source: Vec<String>,
}

/// One line that does something.
#[derive(Clone, Debug)]
pub struct Step {
    /// Its place in the text, from 1.
    pub line: usize,
    /// Which connection, from 1.
    pub connection: u32,
    /// What happens.
    pub action: Action,
}

/// What a step does.
#[derive(Clone, Debug)]
pub enum Action {
    /// The client sends this.
    Send(Pattern),
    /// The server says this line, CRLF included.
    Expect(Pattern),
    /// The server says this line among its neighbours of this kind.
    ExpectFree(Pattern),
    /// The server has closed the connection.
    ExpectClosed,
    /// The client closes the connection.
    Close,
    /// Time moves by so many milliseconds.
    Clock(i64),
    /// Something else happens.
    Event(String, String),
}

impl Transcript {
    /// Reads the notation above. `Err` names the line.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::parse_at(text, Path::new(""))
    }

    pub(crate) fn parse_at(text: &str, path: &Path) -> Result<Self, String> {
        let mut parser =
            Parser { folder: path.parent().unwrap_or(path), blocks: Vec::new(), is_in_block: false };
        let mut out = Self {
            path: path.to_owned(),
            clause: String::new(),
            headers: Vec::new(),
            steps: Vec::new(),
            source: text.lines().map(str::to_owned).collect(),
        };
        for (at, line) in text.lines().enumerate() {
            parser.line(&mut out, line, at + 1).map_err(|why| format!("line {}: {why}", at + 1))?;
        }
        if out.clause.is_empty() {
            return Err("line 1: the first comment must name the clause".to_owned());
        }
        Ok(out)
    }

    /// The value of the first header of that name.
    pub fn header(&self, key: &str) -> Option<&str> {
        self.headers.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// The values of all headers of that name.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.headers.iter().filter(move |(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// Whether a header says `yes`.
    pub fn is(&self, key: &str) -> bool {
        self.header(key) == Some("yes")
    }

    /// Whether its answers are the same however its input is cut.
    pub fn may_be_cut(&self) -> bool {
        self.header("cut") != Some("no")
    }
}

struct Parser<'a> {
    folder: &'a Path,
    blocks: Vec<(String, Vec<u8>)>,
    is_in_block: bool,
}

impl Parser<'_> {
    fn line(&mut self, out: &mut Transcript, line: &str, number: usize) -> Result<(), String> {
        if let Some(text) = line.strip_prefix('|') {
            return self.block_line(text);
        }
        self.is_in_block = false;
        if let Some(comment) = line.strip_prefix('#') {
            if out.clause.is_empty() {
                comment.trim().clone_into(&mut out.clause);
            }
            return Ok(());
        }
        if line.trim().is_empty() {
            return Ok(());
        }
        let digits = line.bytes().take_while(u8::is_ascii_digit).count();
        let (connection, rest) = line.split_at(digits);
        if rest.starts_with(['C', 'S']) {
            let connection =
                if digits == 0 { 1 } else { connection.parse().map_err(|_| "bad connection number")? };
            let action = self.action(rest)?;
            out.steps.push(Step { line: number, connection, action });
            return Ok(());
        }
        self.pair(out, line, number)
    }

    fn block_line(&mut self, text: &str) -> Result<(), String> {
        let block = self.blocks.last_mut().filter(|_| self.is_in_block).ok_or("text outside a block")?;
        block.1.extend_from_slice(text.strip_prefix(' ').unwrap_or(text).as_bytes());
        block.1.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn action(&self, line: &str) -> Result<Action, String> {
        let mark = line.get(..2).unwrap_or(line);
        let text = line.get(2..).unwrap_or("");
        let text = text.strip_prefix(' ').unwrap_or(text);
        match mark {
            "C:" => Ok(Action::Send(Pattern::parse(format!("{text}\r\n").as_bytes()))),
            "C|" => Ok(Action::Send(Pattern::parse(&unescape(text)?))),
            "C<" => Ok(Action::Send(Pattern::literal(self.named(text)?))),
            "C!" if text == "close" => Ok(Action::Close),
            "S:" => Ok(Action::Expect(Pattern::parse(format!("{text}\r\n").as_bytes()))),
            "S|" => Ok(Action::Expect(Pattern::parse(&one_line(unescape(text)?)?))),
            "S!" if text == "closed" => Ok(Action::ExpectClosed),
            "S*" => {
                let text = text.strip_prefix(':').ok_or("`S*:` has a colon")?;
                let text = text.strip_prefix(' ').unwrap_or(text);
                Ok(Action::ExpectFree(Pattern::parse(format!("{text}\r\n").as_bytes())))
            }
            _ => Err(format!("`{line}` is no step")),
        }
    }

    fn named(&self, name: &str) -> Result<Vec<u8>, String> {
        if let Some((_, bytes)) = self.blocks.iter().find(|(known, _)| known == name) {
            return Ok(bytes.clone());
        }
        if let Some(bytes) = samples::named(name) {
            return Ok(bytes.to_vec());
        }
        let file = self.folder.join(name);
        std::fs::read(&file).map_err(|_| format!("no block, sample or file is called `{name}`"))
    }

    fn pair(&mut self, out: &mut Transcript, line: &str, number: usize) -> Result<(), String> {
        let (key, value) =
            line.split_once(':').ok_or_else(|| format!("`{line}` is no line of a transcript"))?;
        let value = value.trim();
        if key.is_empty() || !key.bytes().all(|b| b.is_ascii_lowercase() || b == b'-') {
            return Err(format!("`{key}` is no key"));
        }
        if key == "block" {
            self.blocks.push((value.to_owned(), Vec::new()));
            self.is_in_block = true;
            return Ok(());
        }
        if out.steps.is_empty() {
            out.headers.push((key.to_owned(), value.to_owned()));
            return Ok(());
        }
        let action = match key {
            "clock" => Action::Clock(duration_ms(value).ok_or_else(|| format!("`{value}` is no duration"))?),
            _ => Action::Event(key.to_owned(), value.to_owned()),
        };
        out.steps.push(Step { line: number, connection: 1, action });
        Ok(())
    }
}

/// `+29m` and the like, in milliseconds.
fn duration_ms(text: &str) -> Option<i64> {
    let text = text.strip_prefix('+')?;
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit_ms = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60 * 1000,
        "h" => 60 * 60 * 1000,
        "d" => 24 * 60 * 60 * 1000,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(unit_ms)
}

fn one_line(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    match bytes.windows(2).position(|pair| pair == b"\r\n") {
        Some(at) if at + 2 < bytes.len() => Err("`S|` is one line at most".to_owned()),
        _ => Ok(bytes),
    }
}

fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next() {
            Some(b'r') => b'\r',
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'0') => 0,
            Some(b'\\') => b'\\',
            Some(b'x') => {
                let mut digit =
                    || bytes.next().and_then(|b| (b as char).to_digit(16)).ok_or("`\\x` has two hex digits");
                (digit()? * 16 + digit()?) as u8
            }
            _ => return Err("the escapes are \\r \\n \\t \\0 \\\\ \\xNN".to_owned()),
        });
    }
    Ok(out)
}

/// A line the server said, as a step would expect it, without the connection number.
pub(crate) fn write_expected(line: &[u8]) -> String {
    let plain = line.strip_suffix(b"\r\n").and_then(|line| std::str::from_utf8(line).ok());
    match plain {
        Some("") => "S:".to_owned(),
        Some(text) if is_visible(text) => format!("S: {text}"),
        _ => format!("S| {}", escape(line)),
    }
}

fn is_visible(text: &str) -> bool {
    !text.chars().any(char::is_control) && !text.ends_with(char::is_whitespace) && !text.contains("${")
}

pub(crate) fn escape(bytes: &[u8]) -> String {
    let mut out = String::new();
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\r' => out.push_str("\\r"),
                '\n' => out.push_str("\\n"),
                '\\' => out.push_str("\\\\"),
                '$' => out.push_str("\\x24"),
                c if c.is_ascii_control() => out.extend(hex(c as u8)),
                c => out.push(c),
            }
        }
        chunk.invalid().iter().for_each(|byte| out.extend(hex(*byte)));
    }
    out
}

fn hex(byte: u8) -> impl Iterator<Item = char> {
    let digit = |value: u8| char::from_digit(u32::from(value), 16).unwrap_or('0');
    ['\\', 'x', digit(byte >> 4), digit(byte & 15)].into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# RFC 0 §1: x\naccount: ann\nblock: b\n| Subject: y\n|\n\nS: +OK ${n}\n1C: A\nC| \\x00\\r\\n\nC< b\n2S*: z\nclock: +2m\ndisk: full\nS! closed\n";

    #[test]
    fn a_transcript_is_read_line_by_line() {
        let t = Transcript::parse(TEXT).expect("valid");
        assert_eq!((t.clause.as_str(), t.header("account")), ("RFC 0 §1: x", Some("ann")));
        let seen: Vec<(usize, u32)> = t.steps.iter().map(|s| (s.line, s.connection)).collect();
        assert_eq!(seen, [(7, 1), (8, 1), (9, 1), (10, 1), (11, 2), (12, 1), (13, 1), (14, 1)]);
        assert!(matches!(&t.steps[2].action, Action::Send(p) if *p == Pattern::literal(b"\0\r\n".to_vec())));
        assert!(
            matches!(&t.steps[3].action, Action::Send(p) if *p == Pattern::literal(b"Subject: y\r\n\r\n".to_vec()))
        );
        assert!(matches!(t.steps[5].action, Action::Clock(120_000)));
        assert!(matches!(t.steps[7].action, Action::ExpectClosed));
    }

    #[test]
    fn errors_name_the_line() {
        for (text, start) in [
            ("S: x", "line 1: the first comment"),
            ("# c\nX", "line 2: `X`"),
            ("# c\nC! x", "line 2: `C! x`"),
            ("# c\n\nC< nosuch", "line 3: no block"),
            ("# c\nC| \\q", "line 2: the escapes"),
            ("# c\nS: a\nclock: 5", "line 3: `5` is no duration"),
            ("# c\n| stray", "line 2: text outside"),
        ] {
            let error = Transcript::parse(text).expect_err(text);
            assert!(error.starts_with(start), "{text}: {error}");
        }
    }

    #[test]
    fn what_cannot_be_seen_is_escaped_and_read_back() {
        let mut bindings = crate::Bindings::new();
        for line in [&b"+OK x\r\n"[..], b"+ \r\n", b"\r\n", b"a\xff\0\\${x}\r\n", "ä\r\n".as_bytes(), b"rest"]
        {
            let text = format!("# c\n{}", write_expected(line));
            let t = Transcript::parse(&text).expect(&text);
            assert!(
                matches!(&t.steps[0].action, Action::Expect(p) if p.matches(line, &mut bindings)),
                "{text}"
            );
        }
    }
}
