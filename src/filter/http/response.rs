//! Reading an HTTP/1.1 answer as it arrives, in any pieces (RFC 9112 §4 to §7).

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;
use core::mem;

use crate::limits::{
    HTTP_FIELDS_MAX, HTTP_HEAD_BYTES_MAX, HTTP_INTERIM_MAX, HTTP_LINE_BYTES_MAX, HTTP_TRAILER_BYTES_MAX,
};
use crate::outcome::Failure;

/// An answer.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// How a body ends (RFC 9112 §6.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frame {
    /// After so many bytes.
    Length(usize),
    /// After its chunks.
    Chunks,
    /// With the connection.
    Close,
}

#[derive(Debug)]
enum State {
    Head,
    Body(Frame),
    /// Inside a chunk with so many bytes left.
    Chunk(usize),
    /// Behind a chunk's data.
    ChunkEnd,
    /// So many bytes of trailer fields have come.
    Trailer(usize),
    Done,
}

/// The server's side of a connection.
#[derive(Debug)]
pub(crate) struct Responses {
    input: Vec<u8>,
    is_ended: bool,
    state: State,
    response: Response,
    body_bytes_max: usize,
    interim: u32,
    is_kept_open: bool,
}

/// What a head says, as far as it matters here.
struct Head {
    status: u16,
    frame: Frame,
    is_kept_open: bool,
}

impl Responses {
    pub(crate) const fn new(body_bytes_max: usize) -> Self {
        Self {
            input: Vec::new(),
            is_ended: false,
            state: State::Head,
            response: Response { status: 0, body: Vec::new() },
            body_bytes_max,
            interim: 0,
            is_kept_open: false,
        }
    }

    pub(crate) fn input(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    pub(crate) const fn ended(&mut self) {
        self.is_ended = true;
    }

    /// After an answer: nothing is left over, and the server did not say that it will close.
    pub(crate) const fn is_reusable(&self) -> bool {
        matches!(self.state, State::Done) && self.is_kept_open && self.input.is_empty() && !self.is_ended
    }

    /// The answer, when it is whole.
    pub(crate) fn take(&mut self) -> Result<Option<Response>, Failure> {
        while !matches!(self.state, State::Done) {
            let has_moved = match self.state {
                State::Head => self.head()?,
                State::Body(frame) => self.body(frame)?,
                State::Chunk(left) => self.chunk(left)?,
                State::ChunkEnd | State::Trailer(_) => self.line()?,
                State::Done => false,
            };
            if !has_moved {
                return if self.is_ended { Err(Failure::Closed) } else { Ok(None) };
            }
        }
        Ok(Some(mem::replace(&mut self.response, Response { status: 0, body: Vec::new() })))
    }

    fn head(&mut self) -> Result<bool, Failure> {
        let (bytes, head) = {
            let mut fields = [httparse::EMPTY_HEADER; HTTP_FIELDS_MAX];
            let mut head = httparse::Response::new(&mut fields);
            let seen = self.input.get(..self.input.len().min(HTTP_HEAD_BYTES_MAX)).unwrap_or_default();
            match head.parse(seen) {
                Ok(httparse::Status::Complete(bytes)) => (bytes, read_head(&head)?),
                Ok(httparse::Status::Partial) if self.input.len() < HTTP_HEAD_BYTES_MAX => return Ok(false),
                Ok(httparse::Status::Partial) => return Err(Failure::Protocol("a head that is too long")),
                Err(_) => return Err(Failure::Protocol("no HTTP/1.1 answer")),
            }
        };
        self.input.drain(..bytes);
        if head.status < 200 {
            // RFC 9110 §15.2: interim answers are passed over.
            self.interim += 1;
            let is_good = head.status != 101 && self.interim <= HTTP_INTERIM_MAX;
            return if is_good { Ok(true) } else { Err(Failure::Protocol("an interim answer out of place")) };
        }
        self.response.status = head.status;
        self.is_kept_open = head.is_kept_open && head.frame != Frame::Close;
        if matches!(head.frame, Frame::Length(bytes) if bytes > self.body_bytes_max) {
            return Err(Failure::Protocol("an answer that is too long"));
        }
        self.state = State::Body(head.frame);
        Ok(true)
    }

    fn body(&mut self, frame: Frame) -> Result<bool, Failure> {
        match frame {
            Frame::Chunks => self.line(),
            Frame::Length(bytes) => {
                let left = bytes.saturating_sub(self.response.body.len());
                let moved = self.move_bytes(left)?;
                if moved == left {
                    self.state = State::Done;
                    return Ok(true);
                }
                Ok(moved > 0)
            }
            Frame::Close => {
                let moved = self.move_bytes(usize::MAX)?;
                if self.is_ended {
                    self.state = State::Done;
                    return Ok(true);
                }
                Ok(moved > 0)
            }
        }
    }

    fn chunk(&mut self, left: usize) -> Result<bool, Failure> {
        let moved = self.move_bytes(left)?;
        self.state = if moved == left { State::ChunkEnd } else { State::Chunk(left - moved) };
        Ok(moved > 0)
    }

    /// Moves up to so many bytes of input to the body.
    fn move_bytes(&mut self, bytes_max: usize) -> Result<usize, Failure> {
        let bytes = self.input.len().min(bytes_max);
        if self.response.body.len() + bytes > self.body_bytes_max {
            return Err(Failure::Protocol("an answer that is too long"));
        }
        self.response.body.extend(self.input.drain(..bytes));
        Ok(bytes)
    }

    /// A line between chunks, or a trailer field.
    fn line(&mut self) -> Result<bool, Failure> {
        let Some(end) = memchr::memmem::find(&self.input, b"\r\n") else {
            let is_bounded = self.input.len() < HTTP_LINE_BYTES_MAX;
            return if is_bounded { Ok(false) } else { Err(Failure::Protocol("a line that is too long")) };
        };
        let line: Vec<u8> = self.input.drain(..end + 2).take(end).collect();
        if line.len() > HTTP_LINE_BYTES_MAX {
            return Err(Failure::Protocol("a line that is too long"));
        }
        self.state = match self.state {
            State::ChunkEnd if line.is_empty() => State::Body(Frame::Chunks),
            State::ChunkEnd => return Err(Failure::Protocol("a chunk longer than its size")),
            State::Trailer(_) if line.is_empty() => State::Done,
            State::Trailer(bytes) if bytes + line.len() > HTTP_TRAILER_BYTES_MAX => {
                return Err(Failure::Protocol("a trailer that is too long"));
            }
            State::Trailer(bytes) => State::Trailer(bytes + line.len() + 2),
            _ => match chunk_size(&line)? {
                0 => State::Trailer(0),
                bytes if self.response.body.len().saturating_add(bytes) > self.body_bytes_max => {
                    return Err(Failure::Protocol("an answer that is too long"));
                }
                bytes => State::Chunk(bytes),
            },
        };
        Ok(true)
    }
}

/// `1a;name=value`: the size in hexadecimal digits, and extensions that mean nothing to us (RFC 9112 §7.1).
fn chunk_size(line: &[u8]) -> Result<usize, Failure> {
    let digits = line.split(|byte| matches!(byte, b';' | b' ' | b'\t')).next().unwrap_or_default();
    if !(1..=8).contains(&digits.len()) || !digits.iter().all(u8::is_ascii_hexdigit) {
        return Err(Failure::Protocol("a chunk's size that is none"));
    }
    let digits = core::str::from_utf8(digits).unwrap_or_default();
    usize::from_str_radix(digits, 16).map_err(|_| Failure::Protocol("a chunk's size that is none"))
}

fn read_head(head: &httparse::Response<'_, '_>) -> Result<Head, Failure> {
    let status =
        head.code.filter(|code| (100..=599).contains(code)).ok_or(Failure::Protocol("no HTTP status"))?;
    let (mut length, mut is_chunked) = (None, false);
    let mut is_kept_open = head.version == Some(1);
    for field in head.headers.iter() {
        let value = String::from_utf8_lossy(field.value).trim().to_string();
        if field.name.eq_ignore_ascii_case("content-length") {
            let is_number = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
            let number: Option<usize> = if is_number { value.parse().ok() } else { None };
            if number.is_none() || length.is_some_and(|known| Some(known) != number) {
                return Err(Failure::Protocol("a length that is none, or two of them"));
            }
            length = number;
        } else if field.name.eq_ignore_ascii_case("transfer-encoding") {
            if is_chunked || !value.eq_ignore_ascii_case("chunked") {
                return Err(Failure::Protocol("a transfer coding that was not asked for"));
            }
            is_chunked = true;
        } else if field.name.eq_ignore_ascii_case("content-encoding") {
            if !value.eq_ignore_ascii_case("identity") {
                return Err(Failure::Protocol("a content coding that was not asked for"));
            }
        } else if field.name.eq_ignore_ascii_case("connection") {
            let has = |word: &str| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(word));
            is_kept_open = (is_kept_open || has("keep-alive")) && !has("close");
        }
    }
    let frame = match (status, is_chunked, length) {
        (100..=199 | 204 | 304, _, _) => Frame::Length(0),
        // RFC 9112 §6.1: both together are an attempt to have two readers disagree.
        (_, true, Some(_)) => return Err(Failure::Protocol("chunks and a length")),
        (_, true, None) => Frame::Chunks,
        (_, false, Some(length)) => Frame::Length(length),
        (_, false, None) => Frame::Close,
    };
    Ok(Head { status, frame, is_kept_open })
}
