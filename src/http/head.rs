//! The head of a request: bytes to a value (RFC 9112 §3, §5), and nothing that another reader could understand
//! otherwise.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

use crate::Status;
use crate::limits::FIELDS_MAX;

/// What is to be done with a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// To send it.
    Get,
    /// To say what GET would, without the content.
    Head,
    /// To take the content.
    Post,
    /// Anything else.
    Other,
}

/// A request, with content where any is taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// What to do.
    pub method: Method,
    /// The host that is asked for, lower case, without its port; empty when none is.
    pub host: String,
    /// Path and query, as they came.
    pub target: String,
    /// The media type of the content, lower case, without parameters.
    pub kind: String,
    /// The content, once it is there.
    pub content: Vec<u8>,
}

/// What a head says about the content behind it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Content {
    /// Its bytes; nothing without the field.
    pub(crate) length: Option<usize>,
    /// It is framed otherwise, by a transfer coding.
    pub(crate) is_framed: bool,
    /// It is packed, by a content coding.
    pub(crate) is_coded: bool,
    /// The client waits for a word before it sends it (RFC 9110 §10.1.1).
    pub(crate) is_offered: bool,
}

impl Content {
    pub(crate) fn is_there(&self) -> bool {
        self.is_framed || self.length.is_some_and(|length| length > 0)
    }
}

/// A request and what it means for its connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) request: Request,
    pub(crate) content: Content,
    /// Another request may follow (RFC 9112 §9.3).
    pub(crate) may_stay: bool,
}

/// Reads a whole head, its empty line included.
pub(crate) fn parse(bytes: &[u8]) -> Result<Head, Status> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut parsed = httparse::Request::new(&mut fields);
    match parsed.parse(bytes) {
        Ok(httparse::Status::Complete(length)) if length == bytes.len() => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Status::FieldsTooLarge),
        Err(httparse::Error::Version) => return Err(Status::VersionNotSupported),
        Ok(_) | Err(_) => return Err(Status::BadRequest),
    }
    let (Some(method), Some(target), Some(minor)) = (parsed.method, parsed.path, parsed.version) else {
        return Err(Status::BadRequest);
    };
    let fields = Fields::read(parsed.headers)?;
    // RFC 9112 §3.2: one Host, or it is no request of HTTP/1.1.
    if fields.host.is_none() && minor > 0 {
        return Err(Status::BadRequest);
    }
    let (host, target) = split(target, fields.host.unwrap_or_default())?;
    let method = match method {
        "GET" => Method::Get,
        "HEAD" => Method::Head,
        "POST" => Method::Post,
        _ => Method::Other,
    };
    Ok(Head {
        request: Request { method, host, target, kind: fields.kind, content: Vec::new() },
        // RFC 9110 §10.1.1: HTTP/1.0 has no such word.
        content: Content { is_offered: fields.content.is_offered && minor > 0, ..fields.content },
        may_stay: minor > 0 && !fields.closes,
    })
}

/// What the fields say that matter here.
#[derive(Default)]
struct Fields {
    host: Option<String>,
    content: Content,
    kind: String,
    closes: bool,
}

impl Fields {
    fn read(fields: &[httparse::Header<'_>]) -> Result<Self, Status> {
        let mut all = Self::default();
        for field in fields {
            let value = core::str::from_utf8(field.value).ok();
            let is = |name: &str| field.name.eq_ignore_ascii_case(name);
            if is("Host") {
                let host = value.and_then(authority).ok_or(Status::BadRequest)?;
                if all.host.replace(host).is_some() {
                    return Err(Status::BadRequest);
                }
            } else if is("Content-Length") {
                let digits = value.filter(|value| !value.is_empty()).ok_or(Status::BadRequest)?;
                if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
                    return Err(Status::BadRequest);
                }
                // So many that nobody can count them are too many.
                let length = digits.parse().unwrap_or(usize::MAX);
                if all.content.length.replace(length).is_some_and(|known| known != length) {
                    return Err(Status::BadRequest);
                }
            } else if is("Transfer-Encoding") {
                all.content.is_framed = true;
            } else if is("Content-Encoding") {
                all.content.is_coded |=
                    !value.is_some_and(|value| value.trim().eq_ignore_ascii_case("identity"));
            } else if is("Content-Type") {
                let kind = value.unwrap_or_default().split(';').next().unwrap_or_default();
                all.kind = kind.trim().to_ascii_lowercase();
            } else if is("Expect") {
                all.content.is_offered |=
                    value.is_some_and(|value| value.trim().eq_ignore_ascii_case("100-continue"));
            } else if is("Connection") {
                let mut options = value.unwrap_or_default().split(',');
                all.closes |= options.any(|option| option.trim().eq_ignore_ascii_case("close"));
            }
        }
        Ok(all)
    }
}

/// Host and target of a request target: a path, or a whole address, whose host goes before the field's
/// (RFC 9112 §3.2.2).
fn split(target: &str, host: String) -> Result<(String, String), Status> {
    if target.starts_with('/') || target == "*" {
        return Ok((host, target.to_owned()));
    }
    let (scheme, rest) = target.split_once("://").ok_or(Status::BadRequest)?;
    if !scheme.eq_ignore_ascii_case("https") && !scheme.eq_ignore_ascii_case("http") {
        return Err(Status::BadRequest);
    }
    let (name, path) = rest.find(['/', '?']).map_or((rest, ""), |at| rest.split_at(at));
    let host = authority(name).filter(|host| !host.is_empty()).ok_or(Status::BadRequest)?;
    let target = if path.starts_with('/') { path.to_owned() } else { alloc::format!("/{path}") };
    Ok((host, target))
}

/// The host of `HOST[:PORT]`, lower case (RFC 9110 §7.2).
fn authority(text: &str) -> Option<String> {
    let end = text.rfind(']').map_or(0, |at| at + 1);
    let (host, port) = match text.get(end..)?.find(':') {
        Some(at) => (text.get(..end + at)?, text.get(end + at + 1..)?),
        None => (text, ""),
    };
    let is_literal = |text: &str| text.bytes().all(|byte| byte.is_ascii_hexdigit() || b":.".contains(&byte));
    let is_name =
        |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte));
    let is_host = match host.strip_prefix('[') {
        Some(literal) => literal.strip_suffix(']').is_some_and(is_literal),
        None => is_name(host),
    };
    let is_port = port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    (is_host && is_port).then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_a_name_or_an_address_with_or_without_a_port() {
        for (text, host) in [
            ("Example.ORG", "example.org"),
            ("a.example:8443", "a.example"),
            ("a.example:", "a.example"),
            ("[2001:db8::1]:443", "[2001:db8::1]"),
            ("", ""),
        ] {
            assert_eq!(authority(text).as_deref(), Some(host), "{text}");
        }
        for wrong in
            ["a b", "a/b", "user@a", "a:b", "a:123456", "[::1", "[x]", "a:1:2", "b\u{e4}r", "a,b", "[::1]x"]
        {
            assert_eq!(authority(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_whole_address_goes_before_the_field() {
        let split = |target: &str| split(target, "field.example".to_owned());
        let is = |host: &str, target: &str| Ok((host.to_owned(), target.to_owned()));
        assert_eq!(split("/a?b"), is("field.example", "/a?b"));
        assert_eq!(split("HTTPS://Own.example:443/a"), is("own.example", "/a"));
        assert_eq!(split("http://own.example"), is("own.example", "/"));
        assert_eq!(split("https://own.example?x"), is("own.example", "/?x"));
        for wrong in ["own.example:443", "ftp://own.example/", "https:///a", "https://a@own.example/", "a/b"]
        {
            assert_eq!(split(wrong), Err(Status::BadRequest), "{wrong}");
        }
    }
}
