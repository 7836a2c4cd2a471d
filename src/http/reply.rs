//! Every word the server says.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use base::Timestamp;

/// How a request ended (RFC 9110 §15).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Here it is.
    Ok,
    /// It is no request.
    BadRequest,
    /// There is no such thing.
    NotFound,
    /// That cannot be done with it.
    MethodNotAllowed,
    /// It did not come in time.
    RequestTimeout,
    /// It does not say how long its content is.
    LengthRequired,
    /// It has content, and none is taken, or not as much.
    ContentTooLarge,
    /// Its target is too long.
    UriTooLong,
    /// Its content is of a kind that is not taken.
    UnsupportedMediaType,
    /// There were too many.
    TooManyRequests,
    /// Its fields are too long or too many.
    FieldsTooLarge,
    /// Not now.
    Unavailable,
    /// It is not HTTP/1.
    VersionNotSupported,
}

impl Status {
    /// The code with its words.
    const fn line(self) -> &'static str {
        match self {
            Self::Ok => "200 OK",
            Self::BadRequest => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::MethodNotAllowed => "405 Method Not Allowed",
            Self::RequestTimeout => "408 Request Timeout",
            Self::LengthRequired => "411 Length Required",
            Self::ContentTooLarge => "413 Content Too Large",
            Self::UriTooLong => "414 URI Too Long",
            Self::UnsupportedMediaType => "415 Unsupported Media Type",
            Self::TooManyRequests => "429 Too Many Requests",
            Self::FieldsTooLarge => "431 Request Header Fields Too Large",
            Self::Unavailable => "503 Service Unavailable",
            Self::VersionNotSupported => "505 HTTP Version Not Supported",
        }
    }
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    status: Status,
    /// Beside those that every answer has.
    fields: Vec<(&'static str, &'static str)>,
    content: Vec<u8>,
}

impl Response {
    /// A status with its own words as content.
    pub fn of(status: Status) -> Self {
        Self::with(status, "text/plain", format!("{}\r\n", status.line()).into_bytes())
    }

    /// Content of this media type.
    pub fn content(kind: &'static str, content: Vec<u8>) -> Self {
        Self::with(Status::Ok, kind, content)
    }

    /// Only these methods (RFC 9110 §15.5.6).
    pub fn only(methods: &'static str) -> Self {
        let mut response = Self::of(Status::MethodNotAllowed);
        response.fields.push(("Allow", methods));
        response
    }

    /// Not now, but after so many seconds (RFC 9110 §10.2.3).
    pub fn later(status: Status, seconds: &'static str) -> Self {
        let mut response = Self::of(status);
        response.fields.push(("Retry-After", seconds));
        response
    }

    /// How the request ended.
    pub const fn status(&self) -> Status {
        self.status
    }

    fn with(status: Status, kind: &'static str, content: Vec<u8>) -> Self {
        Self { status, fields: [("Content-Type", kind)].into(), content }
    }

    pub(crate) fn write(&self, now: Timestamp, manner: Manner, out: &mut Vec<u8>) {
        let mut line = |name: &str, value: &str| {
            for piece in [name, value, "\r\n"] {
                out.extend_from_slice(piece.as_bytes());
            }
        };
        line("HTTP/1.1 ", self.status.line());
        line("Date: ", &date(now));
        for (name, value) in &self.fields {
            line(&format!("{name}: "), value);
        }
        line("Content-Length: ", &format!("{}", self.content.len()));
        if manner.closes {
            line("Connection: ", "close");
        }
        line("", "");
        if !manner.is_head {
            out.extend_from_slice(&self.content);
        }
    }
}

/// The word for which a client waits that has content (RFC 9110 §10.1.1).
pub(crate) const GO_ON: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// How a response is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Manner {
    /// Without its content, which HEAD does not want.
    pub(crate) is_head: bool,
    /// The connection ends with it.
    pub(crate) closes: bool,
}

/// A moment as a field has it (RFC 9110 §5.6.7).
fn date(now: Timestamp) -> String {
    const DAYS: [&str; 7] = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day, hour, minute, second) = now.civil_utc();
    let weekday = DAYS.get(now.weekday_utc() as usize).copied().unwrap_or_default();
    let month = MONTHS.get((month as usize).wrapping_sub(1)).copied().unwrap_or_default();
    format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_as_the_specification_writes_it() {
        assert_eq!(date(Timestamp::from_s(784_111_777)), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
