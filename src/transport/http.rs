//! Just enough HTTP (RFC 9110, 9112) to fetch one small file: a request that asks for nothing else on its
//! connection, and the response as a value that takes bytes. No redirects (RFC 8461 §3.3).

use crate::limits::{HTTP_BODY_BYTES_MAX, HTTP_HEAD_BYTES_MAX, HTTP_PIECES_MAX};

/// The request for a file of a host.
pub fn request(host: &str, path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: {host}\r\nAccept: text/plain\r\nUser-Agent: angarium\r\nConnection: close\r\n\r\n"
    )
}

/// Why a response is of no use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It is not HTTP/1.1.
    Malformed,
    /// Another status than 200.
    Status(u16),
    /// Another type than text/plain.
    NotText,
    /// Longer than the bound.
    TooLong,
    /// It ended before its end.
    Cut,
}

/// How far a response has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// More bytes are needed.
    More,
    /// The body.
    Done(Vec<u8>),
}

/// A response on its way in.
#[derive(Clone, Debug, Default)]
pub struct Response {
    bytes: Vec<u8>,
    /// In so many pieces they came.
    pieces: usize,
    /// Where the body begins and how it ends, when the head is read.
    body: Option<(usize, Length)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Bytes(usize),
    Chunked,
    /// To the end of the connection.
    All,
}

impl Response {
    /// Takes what has arrived.
    pub fn take(&mut self, bytes: &[u8]) -> Result<Progress, Unusable> {
        self.bytes.extend_from_slice(bytes);
        // Each piece costs a look at what is there.
        self.pieces += 1;
        if self.pieces > HTTP_PIECES_MAX {
            return Err(Unusable::TooLong);
        }
        let Some((start, length)) = self.head()? else { return Ok(Progress::More) };
        let body = self.bytes.get(start..).unwrap_or_default();
        match length {
            Length::Bytes(count) => Ok(match body.get(..count) {
                Some(body) => Progress::Done(body.to_vec()),
                None => Progress::More,
            }),
            Length::Chunked => chunks(body),
            Length::All if body.len() > HTTP_BODY_BYTES_MAX => Err(Unusable::TooLong),
            Length::All => Ok(Progress::More),
        }
    }

    /// The connection has ended.
    pub fn end(self) -> Result<Vec<u8>, Unusable> {
        match self.body {
            Some((start, Length::All)) => Ok(self.bytes.get(start..).unwrap_or_default().to_vec()),
            _ => Err(Unusable::Cut),
        }
    }

    fn head(&mut self) -> Result<Option<(usize, Length)>, Unusable> {
        if self.body.is_none() {
            let end = self.bytes.windows(4).position(|window| window == b"\r\n\r\n");
            let Some(end) = end else {
                let is_long = self.bytes.len() > HTTP_HEAD_BYTES_MAX;
                return if is_long { Err(Unusable::TooLong) } else { Ok(None) };
            };
            let length = read_head(self.bytes.get(..end).unwrap_or_default())?;
            self.body = Some((end + 4, length));
        }
        Ok(self.body)
    }
}

fn read_head(head: &[u8]) -> Result<Length, Unusable> {
    let head = std::str::from_utf8(head).map_err(|_| Unusable::Malformed)?;
    let mut lines = head.split("\r\n");
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.")).ok_or(Unusable::Malformed)?;
    let status = status.get(2..5).and_then(|digits| digits.parse().ok()).ok_or(Unusable::Malformed)?;
    if status != 200 {
        return Err(Unusable::Status(status));
    }
    let (mut is_text, mut length) = (false, Length::All);
    for line in lines {
        let (name, value) = line.split_once(':').ok_or(Unusable::Malformed)?;
        let value = value.trim();
        if name.eq_ignore_ascii_case("content-type") {
            let kind = value.split(';').next().unwrap_or_default().trim();
            is_text = kind.eq_ignore_ascii_case("text/plain");
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            if !value.eq_ignore_ascii_case("chunked") {
                return Err(Unusable::Malformed);
            }
            // It goes before a length (RFC 9112 §6.3).
            length = Length::Chunked;
        } else if name.eq_ignore_ascii_case("content-length") && length != Length::Chunked {
            let count = value.parse().map_err(|_| Unusable::Malformed)?;
            if count > HTTP_BODY_BYTES_MAX {
                return Err(Unusable::TooLong);
            }
            length = Length::Bytes(count);
        }
    }
    if is_text { Ok(length) } else { Err(Unusable::NotText) }
}

/// A body in chunks (RFC 9112 §7.1); what stands behind the last one is of no interest.
fn chunks(mut rest: &[u8]) -> Result<Progress, Unusable> {
    let mut body = Vec::new();
    loop {
        if rest.len() > 2 * HTTP_BODY_BYTES_MAX {
            return Err(Unusable::TooLong);
        }
        let Some(end) = rest.windows(2).position(|window| window == b"\r\n") else {
            return Ok(Progress::More);
        };
        let (line, after) = rest.split_at(end);
        let digits = line.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        let size = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'));
        let size =
            size.and_then(|digits| usize::from_str_radix(digits, 16).ok()).ok_or(Unusable::Malformed)?;
        if size == 0 {
            return Ok(Progress::Done(body));
        }
        if body.len().saturating_add(size) > HTTP_BODY_BYTES_MAX {
            return Err(Unusable::TooLong);
        }
        let Some((chunk, after)) = after.get(2..).and_then(|after| after.split_at_checked(size)) else {
            return Ok(Progress::More);
        };
        body.extend_from_slice(chunk);
        rest = match after.split_at_checked(2) {
            None => return Ok(Progress::More),
            Some((b"\r\n", after)) => after,
            Some(_) => return Err(Unusable::Malformed),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole(text: &str) -> Result<Vec<u8>, Unusable> {
        let mut response = Response::default();
        match response.take(text.as_bytes())? {
            Progress::Done(body) => Ok(body),
            Progress::More => response.end(),
        }
    }

    const OK: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\n";

    #[test]
    fn a_body_ends_by_length_by_chunks_or_with_the_connection() {
        for text in [
            format!("{OK}Content-Length: 5\r\n\r\nhello world"),
            format!(
                "{OK}transfer-encoding: chunked\r\nContent-Length: 2\r\n\r\n3;x=y\r\nhel\r\n02\r\nlo\r\n0\r\n\r\n"
            ),
            format!("{OK}\r\nhello"),
        ] {
            assert_eq!(whole(&text), Ok(b"hello".to_vec()), "{text}");
            // Byte by byte it comes to the same.
            let mut response = Response::default();
            let mut done = None;
            for byte in text.bytes() {
                if let Progress::Done(body) = response.take(&[byte]).unwrap() {
                    done = Some(body);
                    break;
                }
            }
            assert_eq!(done.map_or_else(|| response.end(), Ok), Ok(b"hello".to_vec()));
        }
    }

    #[test]
    fn what_is_no_small_text_is_refused() {
        for (text, fault) in [
            ("HTTP/1.1 301 Moved\r\nLocation: https://x/\r\n\r\n".to_owned(), Unusable::Status(301)),
            ("HTTP/1.1 404 No\r\n\r\n".to_owned(), Unusable::Status(404)),
            ("220 mail ESMTP\r\n\r\n".to_owned(), Unusable::Malformed),
            ("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>".to_owned(), Unusable::NotText),
            (format!("{OK}Content-Length: 99999999\r\n\r\n"), Unusable::TooLong),
            (format!("{OK}Content-Length: -1\r\n\r\n"), Unusable::Malformed),
            (format!("{OK}Content-Length: 9\r\n\r\nhello"), Unusable::Cut),
            (format!("{OK}Transfer-Encoding: gzip\r\n\r\n"), Unusable::Malformed),
            (format!("{OK}Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n"), Unusable::TooLong),
            (format!("{OK}Transfer-Encoding: chunked\r\n\r\n2\r\nabc\r\n"), Unusable::Malformed),
            (format!("{OK}Transfer-Encoding: chunked\r\n\r\nx\r\n"), Unusable::Malformed),
            (format!("{OK}\r\n{}", "x".repeat(HTTP_BODY_BYTES_MAX + 1)), Unusable::TooLong),
            (format!("{OK}{}", "x".repeat(HTTP_HEAD_BYTES_MAX)), Unusable::TooLong),
            (OK.to_owned(), Unusable::Cut),
        ] {
            assert_eq!(whole(&text), Err(fault), "{}", text.get(..90).unwrap_or(&text));
        }
    }
}
