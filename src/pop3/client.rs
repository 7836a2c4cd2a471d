//! The client's side, as a plain value: commands to bytes, bytes to responses. For load tools and
//! tests of the server.

use alloc::string::String;
use alloc::vec::Vec;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::limits::{CLIENT_ANSWER_BYTES_MAX, CLIENT_LINE_BYTES_MAX};

/// What a server's answer looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Line,
    /// Lines up to a lone dot, if the first line is positive (RFC 1939 §3).
    Lines,
}

/// One side of a connection to a POP3 server. Commands may be pipelined (RFC 2449 §6.6): responses
/// come in their order.
#[derive(Debug, Default)]
pub struct Client {
    input: Vec<u8>,
    output: Vec<u8>,
    awaited: alloc::collections::VecDeque<Shape>,
    /// The text of the first line of a response whose lines are under way.
    first: Option<String>,
    /// Those lines so far.
    lines: Vec<u8>,
}

/// A server's answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Whether it began with `+OK`, or with `+ ` for a challenge.
    pub is_ok: bool,
    /// The rest of the first line.
    pub text: String,
    /// The lines after it, dots unstuffed, up to the final dot; empty for an answer of one line.
    pub lines: Vec<u8>,
}

/// The server does not speak POP3, or says more than a client takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientError {
    /// A line is not of the protocol.
    Malformed,
    /// A line or an answer is beyond its limit.
    TooLong,
    /// Something was said that nothing was asked for.
    Unasked,
}

impl Client {
    /// A client that awaits the greeting.
    pub fn new() -> Self {
        Self { awaited: [Shape::Line].into(), ..Self::default() }
    }

    /// Sends a command; its arguments are the caller's to check.
    pub fn command(&mut self, line: &str) {
        self.awaited.push_back(shape(line));
        self.output.extend_from_slice(line.as_bytes());
        self.output.extend_from_slice(b"\r\n");
    }

    /// Logs in by PLAIN with an initial response (RFC 5034 §4).
    pub fn log_in(&mut self, user: &str, password: &str) {
        let response = [b"\0", user.as_bytes(), b"\0", password.as_bytes()].concat();
        let encoded = STANDARD.encode(response);
        self.command(&["AUTH PLAIN ", &encoded].concat());
    }

    /// Bytes for the server; the caller takes them all.
    pub const fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    /// Takes bytes from the server.
    pub fn input(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    /// How many responses are yet to come.
    pub fn awaited(&self) -> usize {
        self.awaited.len()
    }

    /// The next whole response, if it is there.
    pub fn response(&mut self) -> Result<Option<Response>, ClientError> {
        let mut taken = 0;
        let mut response = None;
        while response.is_none()
            && let Some(end) = self.line_end(taken)?
        {
            let input = core::mem::take(&mut self.input);
            response = self.line(input.get(taken..end).unwrap_or_default())?;
            self.input = input;
            taken = end + 2;
        }
        self.input.drain(..taken);
        if response.is_some() {
            self.awaited.pop_front();
        }
        Ok(response)
    }

    /// Where the CRLF of the line from `start` on is.
    fn line_end(&self, start: usize) -> Result<Option<usize>, ClientError> {
        let rest = self.input.get(start..).unwrap_or_default();
        match memchr::memmem::find(rest, b"\r\n") {
            None if rest.len() < CLIENT_LINE_BYTES_MAX => Ok(None),
            Some(end) if end < CLIENT_LINE_BYTES_MAX => Ok(Some(start + end)),
            _ => Err(ClientError::TooLong),
        }
    }

    fn line(&mut self, line: &[u8]) -> Result<Option<Response>, ClientError> {
        let Some(text) = self.first.take() else {
            let shape = *self.awaited.front().ok_or(ClientError::Unasked)?;
            let (is_ok, text) = first_line(line)?;
            if is_ok && shape == Shape::Lines {
                self.first = Some(text);
                return Ok(None);
            }
            return Ok(Some(Response { is_ok, text, lines: Vec::new() }));
        };
        if line == b"." {
            return Ok(Some(Response { is_ok: true, text, lines: core::mem::take(&mut self.lines) }));
        }
        if self.lines.len() + line.len() > CLIENT_ANSWER_BYTES_MAX {
            return Err(ClientError::TooLong);
        }
        self.lines.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
        self.lines.extend_from_slice(b"\r\n");
        self.first = Some(text);
        Ok(None)
    }
}

fn shape(line: &str) -> Shape {
    let (keyword, argument) = line.split_once(' ').unwrap_or((line, ""));
    let has = |names: &[&str]| names.iter().any(|name| keyword.eq_ignore_ascii_case(name));
    if has(&["CAPA", "RETR", "TOP"]) || (argument.is_empty() && has(&["LIST", "UIDL", "LANG"])) {
        return Shape::Lines;
    }
    Shape::Line
}

/// A first line is clean text; the lines of a message after it may hold any byte.
fn first_line(line: &[u8]) -> Result<(bool, String), ClientError> {
    if memchr::memchr3(b'\r', b'\n', 0, line).is_some() {
        return Err(ClientError::Malformed);
    }
    let line = core::str::from_utf8(line).map_err(|_| ClientError::Malformed)?;
    let (mark, text) = line.split_once(' ').unwrap_or((line, ""));
    match mark {
        "+OK" | "+" => Ok((true, text.into())),
        "-ERR" => Ok((false, text.into())),
        _ => Err(ClientError::Malformed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn responses(client: &mut Client, said: &str, step: usize) -> Vec<(bool, String, String)> {
        let mut out = Vec::new();
        for piece in said.as_bytes().chunks(step) {
            client.input(piece);
            while let Some(r) = client.response().expect("the server speaks POP3") {
                out.push((r.is_ok, r.text, String::from_utf8_lossy(&r.lines).into_owned()));
            }
        }
        out
    }

    #[test]
    fn responses_come_in_the_order_of_commands() {
        let said = "+OK hi\r\n+OK\r\n-ERR no such message\r\n+OK 9 octets\r\n..a\r\n.\r\n+OK 1 9\r\n";
        let text = |a: bool, b: &str, c: &str| (a, b.to_owned(), c.to_owned());
        for step in [1, 3, 1000] {
            let mut client = Client::new();
            client.log_in("ann", "secret");
            client.command("RETR 2");
            client.command("RETR 1");
            client.command("LIST 1");
            assert!(client.output().starts_with(b"AUTH PLAIN AGFubgBzZWNyZXQ=\r\nRETR 2\r\n"));
            let want = [
                text(true, "hi", ""),
                text(true, "", ""),
                text(false, "no such message", ""),
                text(true, "9 octets", ".a\r\n"),
                text(true, "1 9", ""),
            ];
            assert_eq!(responses(&mut client, said, step), want);
            assert_eq!(client.awaited(), 0);
        }
    }

    #[test]
    fn what_is_not_pop3_is_an_error() {
        for (said, want) in [
            (&b"220 smtp\r\n"[..], ClientError::Malformed),
            (b"+OK a\nb\r\n", ClientError::Malformed),
            (b"+OK\r\n+OK\r\n", ClientError::Unasked),
        ] {
            let mut client = Client::new();
            client.input(said);
            let outcome = (0..2).find_map(|_| client.response().err());
            assert_eq!(outcome, Some(want));
        }
    }
}
