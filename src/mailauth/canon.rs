//! The two canonical forms of a message (RFC 6376 §3.4).

use aws_lc_rs::digest::{Context, SHA256};

use crate::limits::HASH_TURN_BYTES;
use crate::message::Field;

/// How much a message may change on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Form {
    /// Not at all.
    Simple,
    /// In its blanks.
    Relaxed,
}

impl Form {
    /// `c=`: header and body; a missing body form is simple (RFC 6376 §3.5).
    pub(crate) fn pair(value: Option<&[u8]>) -> Option<(Self, Self)> {
        let Some(value) = value else { return Some((Self::Simple, Self::Simple)) };
        let mut parts = value.split(|byte| *byte == b'/');
        let header = Self::parse(parts.next()?)?;
        let body = parts.next().map_or(Some(Self::Simple), Self::parse)?;
        parts.next().is_none().then_some((header, body))
    }

    fn parse(word: &[u8]) -> Option<Self> {
        match word {
            b"simple" => Some(Self::Simple),
            b"relaxed" => Some(Self::Relaxed),
            _ => None,
        }
    }

    /// Appends a field.
    pub(crate) fn header(self, field: &Field<'_>, out: &mut Vec<u8>) {
        match self {
            Self::Simple => out.extend_from_slice(field.raw),
            Self::Relaxed => {
                out.extend(field.name.iter().map(u8::to_ascii_lowercase));
                out.push(b':');
                relax(field.value, out);
                out.extend_from_slice(b"\r\n");
            }
        }
    }

    /// Appends the field that holds the signature itself: its `b=` is empty and the last CRLF is not
    /// there (RFC 6376 §3.7).
    pub(crate) fn own_header(self, field: &Field<'_>, out: &mut Vec<u8>) {
        let colon = field.raw.len() - field.value.len();
        let value = without_signature(field.value);
        let mut raw = field.raw.get(..colon).unwrap_or_default().to_vec();
        raw.extend_from_slice(&value);
        self.header(&Field { name: field.name, raw: &raw, value: &value }, out);
        if out.ends_with(b"\r\n") {
            out.truncate(out.len() - 2);
        }
    }

    /// The SHA-256 of the first `length` bytes of the canonical body, and how many bytes the whole of it has.
    /// Others have their turn after each [`HASH_TURN_BYTES`].
    pub(crate) async fn body_hash(self, body: &[u8], length: Option<u64>) -> ([u8; 32], u64) {
        let mut hasher = BodyHasher::new(self, length);
        let mut rest = body;
        while rest.len() > HASH_TURN_BYTES {
            // Pieces end at line ends; a line longer than a turn is a piece of its own.
            let turn = rest.get(HASH_TURN_BYTES..).unwrap_or_default();
            let Some(at) = memchr::memmem::find(turn, b"\r\n") else { break };
            let (piece, after) = rest.split_at(HASH_TURN_BYTES + at + 2);
            hasher.update(piece);
            rest = after;
            base::give_way().await;
        }
        hasher.update(rest);
        hasher.finish()
    }
}

/// A body on its way into a hash.
struct BodyHasher {
    form: Form,
    digest: Context,
    /// Of what is to be hashed.
    left: u64,
    bytes: u64,
    /// Empty lines that count only if another line follows.
    empty_lines: usize,
    stage: Vec<u8>,
}

impl BodyHasher {
    const STAGE_BYTES: usize = 4096;

    fn new(form: Form, length: Option<u64>) -> Self {
        Self {
            form,
            digest: Context::new(&SHA256),
            left: length.unwrap_or(u64::MAX),
            bytes: 0,
            empty_lines: 0,
            stage: Vec::with_capacity(Self::STAGE_BYTES + 1024),
        }
    }

    /// Takes whole lines; only the last line of a body may lack its CRLF, which is added (RFC 6376 §3.4.3,
    /// §3.4.4).
    fn update(&mut self, lines: &[u8]) {
        for line in crlf_lines(lines) {
            let line = match self.form {
                Form::Simple => line,
                Form::Relaxed => trim_blanks_end(line),
            };
            if line.is_empty() {
                self.empty_lines += 1;
                continue;
            }
            for _ in 0..std::mem::take(&mut self.empty_lines) {
                self.stage.extend_from_slice(b"\r\n");
                self.flush_if_full();
            }
            match self.form {
                Form::Simple => self.stage.extend_from_slice(line),
                Form::Relaxed => squeeze(line, &mut self.stage),
            }
            self.stage.extend_from_slice(b"\r\n");
            self.flush_if_full();
        }
    }

    fn flush_if_full(&mut self) {
        if self.stage.len() >= Self::STAGE_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.bytes += self.stage.len() as u64;
        let taken = usize::try_from(self.left).unwrap_or(usize::MAX).min(self.stage.len());
        self.digest.update(self.stage.get(..taken).unwrap_or_default());
        self.left -= taken as u64;
        self.stage.clear();
    }

    /// An empty body is one CRLF when simple and nothing when relaxed.
    fn finish(mut self) -> ([u8; 32], u64) {
        self.flush();
        if self.bytes == 0 && self.form == Form::Simple {
            self.stage.extend_from_slice(b"\r\n");
            self.flush();
        }
        let mut hash = [0; 32];
        hash.copy_from_slice(self.digest.finish().as_ref());
        (hash, self.bytes)
    }
}

/// The lines of a body without their CRLF; the last may have had none.
fn crlf_lines(body: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(body).filter(|body| !body.is_empty());
    let finder = memchr::memmem::Finder::new(b"\r\n");
    std::iter::from_fn(move || {
        let text = rest?;
        let Some(at) = finder.find(text) else { return rest.take() };
        rest = text.get(at + 2..).filter(|rest| !rest.is_empty());
        text.get(..at)
    })
}

fn trim_blanks_end(mut line: &[u8]) -> &[u8] {
    while let [rest @ .., b' ' | b'\t'] = line {
        line = rest;
    }
    line
}

/// Appends with each run of blanks as one space.
fn squeeze(line: &[u8], out: &mut Vec<u8>) {
    let mut rest = line;
    while let Some(at) = memchr::memchr2(b' ', b'\t', rest) {
        out.extend_from_slice(rest.get(..at).unwrap_or_default());
        out.push(b' ');
        let blanks = rest.get(at..).unwrap_or_default();
        let count = blanks.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        rest = blanks.get(count..).unwrap_or_default();
    }
    out.extend_from_slice(rest);
}

/// A field's value unfolded, with no blanks at its ends and single ones inside (RFC 6376 §3.4.2).
fn relax(value: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    let mut was_blank = true;
    for (i, byte) in value.iter().enumerate() {
        let is_fold = (*byte == b'\r' && value.get(i + 1) == Some(&b'\n'))
            || (*byte == b'\n' && i > 0 && value.get(i - 1) == Some(&b'\r'));
        if is_fold {
            continue;
        }
        let is_blank = matches!(byte, b' ' | b'\t');
        if is_blank && was_blank {
            continue;
        }
        out.push(if is_blank { b' ' } else { *byte });
        was_blank = is_blank;
    }
    if out.len() > start && out.last() == Some(&b' ') {
        out.pop();
    }
}

/// The value with nothing after its `b=`.
fn without_signature(value: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(value.len());
    for (i, spec) in value.split(|byte| *byte == b';').enumerate() {
        if i > 0 {
            out.push(b';');
        }
        let equals = spec.iter().position(|byte| *byte == b'=');
        match equals {
            Some(equals) if spec.get(..equals).unwrap_or_default().trim_ascii() == b"b" => {
                out.extend_from_slice(spec.get(..=equals).unwrap_or_default());
            }
            _ => out.extend_from_slice(spec),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relaxed(name: &str, value: &str) -> String {
        let raw = format!("{name}:{value}");
        let mut out = Vec::new();
        let field = Field { name: name.trim().as_bytes(), raw: raw.as_bytes(), value: value.as_bytes() };
        Form::Relaxed.header(&field, &mut out);
        String::from_utf8(out).unwrap()
    }

    /// The hash, in however many turns.
    fn body_hash(form: Form, body: &[u8], length: Option<u64>) -> ([u8; 32], u64) {
        let mut future = std::pin::pin!(form.body_hash(body, length));
        let cx = &mut std::task::Context::from_waker(std::task::Waker::noop());
        loop {
            if let std::task::Poll::Ready(hash) = future.as_mut().poll(cx) {
                return hash;
            }
        }
    }

    fn sha256(text: &[u8]) -> [u8; 32] {
        aws_lc_rs::digest::digest(&SHA256, text).as_ref().try_into().unwrap()
    }

    /// The example of RFC 6376 §3.4.5.
    #[test]
    fn headers_relax() {
        assert_eq!(relaxed("A", " X\r\n"), "a:X\r\n");
        assert_eq!(relaxed("B ", " Y\t\r\n\tZ  \r\n"), "b:Y Z\r\n");
        assert_eq!(relaxed("C", "  \r\n"), "c:\r\n");
    }

    #[test]
    fn bodies_relax_and_stay() {
        for (form, body, canonical) in [
            (Form::Relaxed, &b" C \r\nD \t E\r\n\r\n\r\n"[..], &b" C\r\nD E\r\n"[..]),
            (Form::Simple, b" C \r\nD \t E\r\n\r\n\r\n", b" C \r\nD \t E\r\n"),
            (Form::Relaxed, b"", b""),
            (Form::Relaxed, b"\r\n\r\n", b""),
            (Form::Relaxed, b"x", b"x\r\n"),
            (Form::Relaxed, b"x\r\n\r\n \t\r\ny\r\n", b"x\r\n\r\n\r\ny\r\n"),
            (Form::Relaxed, b"a\nb \r\n", b"a\nb\r\n"),
            (Form::Simple, b"", b"\r\n"),
            (Form::Simple, b"x", b"x\r\n"),
            (Form::Simple, b"x\r\n\r\n", b"x\r\n"),
        ] {
            assert_eq!(body_hash(form, body, None), (sha256(canonical), canonical.len() as u64), "{body:?}");
        }
        assert_eq!(body_hash(Form::Simple, b"abcdef\r\n", Some(3)), (sha256(b"abc"), 8));
        // Over several turns, with an empty line in front of each border and lines longer than a turn.
        let lines =
            [&b"a  b \r\n"[..], &b"\r\n".repeat(3), &b"x".repeat(HASH_TURN_BYTES + 7), b"\r\n"].concat();
        let relaxed =
            [&b"a b\r\n"[..], &b"\r\n".repeat(3), &b"x".repeat(HASH_TURN_BYTES + 7), b"\r\n"].concat();
        let short = b"a  b\r\n\r\n".repeat(HASH_TURN_BYTES / 2);
        assert_eq!(body_hash(Form::Relaxed, &lines.repeat(3), None).0, sha256(&relaxed.repeat(3)));
        assert_eq!(body_hash(Form::Simple, &lines.repeat(3), None).0, sha256(&lines.repeat(3)));
        assert_eq!(body_hash(Form::Simple, &short, None).0, sha256(&short[..short.len() - 2]));
        let length = short.len() as u64 - 2;
        assert_eq!(body_hash(Form::Simple, &short, Some(length)).0, sha256(&short[..short.len() - 2]));
    }

    #[test]
    fn the_signature_is_taken_out() {
        assert_eq!(without_signature(b" v=1; bh=b=; b = x\r\n y; t=1\r\n"), b" v=1; bh=b=; b =; t=1\r\n");
        assert_eq!(without_signature(b" b=x\r\n"), b" b=");
    }

    #[test]
    fn pairs_are_read() {
        assert_eq!(Form::pair(None), Some((Form::Simple, Form::Simple)));
        assert_eq!(Form::pair(Some(b"relaxed")), Some((Form::Relaxed, Form::Simple)));
        assert_eq!(Form::pair(Some(b"simple/relaxed")), Some((Form::Simple, Form::Relaxed)));
        assert_eq!(Form::pair(Some(b"simple/simple/simple")), None);
        assert_eq!(Form::pair(Some(b"")), None);
    }
}
