//! Order: one request after the other, each with its time (RFC 9112 §9).

use alloc::boxed::Box;
use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use base::{Budget, Charge, Next, Session, Timestamp, TlsInfo};

use crate::head::{self, Head};
use crate::limits::{CONTENT, HEAD, HEAD_BYTES_MAX, IDLE, REQUESTS_MAX};
use crate::reply::{GO_ON, Manner};
use crate::{Method, Request, Response, Status};

/// Where content is taken, and which.
#[derive(Clone, Debug)]
pub struct Posts {
    /// The one target that it is posted to.
    pub target: String,
    /// The media types, lower case.
    pub kinds: &'static [&'static str],
    /// The most of it, in bytes.
    pub bytes_max: usize,
    /// The memory for all who post at the same time: for what has come, whatever was said of it.
    pub budget: Arc<Budget>,
}

/// The server's side of one HTTP connection.
#[derive(Debug)]
pub struct Http {
    state: State,
    input: Vec<u8>,
    /// So many bytes of it were looked through and do not end a head.
    looked: usize,
    output: Vec<u8>,
    /// Requests so far.
    requests: usize,
    /// Since when the next request is waited for.
    since: Option<Timestamp>,
    /// Its first bytes have come.
    is_begun: bool,
    now: Timestamp,
    is_draining: bool,
    posts: Option<Arc<Posts>>,
    /// The memory of the content that is coming in or is being looked at.
    charge: Charge,
}

#[derive(Debug)]
enum State {
    Reading,
    /// So many bytes of content are still to come.
    Receiving(Box<Request>, usize, Manner),
    /// To be asked at the next call.
    Asking(Box<Request>, Manner),
    /// An answer is waited for.
    Asked(Manner),
    /// Nothing more is read.
    Closing,
}

impl Http {
    /// A connection on which nothing was said. The client speaks first.
    pub const fn new() -> Self {
        Self {
            state: State::Reading,
            input: Vec::new(),
            looked: 0,
            output: Vec::new(),
            requests: 0,
            since: None,
            is_begun: false,
            now: Timestamp::from_ms(0),
            is_draining: false,
            posts: None,
            charge: Charge::new(None),
        }
    }

    /// Takes content too.
    #[must_use]
    pub fn with_posts(mut self, posts: Arc<Posts>) -> Self {
        self.charge = Charge::new(Some(Arc::clone(&posts.budget)));
        self.posts = Some(posts);
        self
    }

    /// The length of the next head, once it is there.
    fn head_end(&mut self) -> Result<Option<usize>, Status> {
        // RFC 9112 §2.2: empty lines in front of a request are passed over.
        while self.input.starts_with(b"\r\n") {
            self.input.drain(..2);
            self.looked = 0;
        }
        let from = self.looked.saturating_sub(3);
        let end = memchr::memmem::find(self.input.get(from..).unwrap_or_default(), b"\r\n\r\n");
        let end = end.map(|at| from + at + 4);
        let head = self.input.get(..end.unwrap_or(self.input.len())).unwrap_or_default();
        // A line ends at CRLF and at nothing else.
        let is_bare = |at: usize| at == 0 || head.get(at - 1) != Some(&b'\r');
        let mut ends = memchr::memchr_iter(b'\n', head.get(self.looked..).unwrap_or_default());
        if ends.any(|at| is_bare(self.looked + at)) {
            return Err(Status::BadRequest);
        }
        self.looked = if end.is_some() { 0 } else { head.len() };
        if end.is_none() && head.len() >= HEAD_BYTES_MAX {
            let has_line = memchr::memchr(b'\n', head).is_some();
            return Err(if has_line { Status::FieldsTooLarge } else { Status::UriTooLong });
        }
        Ok(end)
    }

    /// The next head, once it is there.
    fn take_head(&mut self) -> Result<Option<Head>, Status> {
        let Some(end) = self.head_end()? else { return Ok(None) };
        let head = head::parse(self.input.get(..end).unwrap_or_default());
        self.input.drain(..end);
        self.wait_anew();
        head.map(Some)
    }

    fn wait_anew(&mut self) {
        (self.since, self.is_begun) = (None, false);
    }

    fn took(&mut self, head: Head) {
        self.requests += 1;
        let manner = Manner {
            is_head: head.request.method == Method::Head,
            closes: !head.may_stay || self.requests >= REQUESTS_MAX,
        };
        match self.content_bytes(&head) {
            Ok(0) => self.state = State::Asking(Box::new(head.request), manner),
            // Nothing is charged for what was only said.
            Ok(bytes) if !self.charge.has_room(bytes) => self.refuse(Status::Unavailable, false),
            Ok(bytes) => {
                if head.content.is_offered {
                    self.output.extend_from_slice(GO_ON);
                }
                (self.since, self.is_begun) = (Some(self.now), true);
                self.state = State::Receiving(Box::new(head.request), bytes, manner);
            }
            // What the content is could only be told by reading it.
            Err(status) => self.refuse(status, manner.is_head),
        }
    }

    /// How much content is to be taken.
    fn content_bytes(&self, head: &Head) -> Result<usize, Status> {
        let (request, content) = (&head.request, &head.content);
        let posts = self.posts.as_ref().filter(|posts| request.target == posts.target);
        let Some(posts) = posts.filter(|_| request.method == Method::Post) else {
            return match (content.is_there(), posts) {
                (false, _) => Ok(0),
                (true, Some(_)) => Err(Status::MethodNotAllowed),
                (true, None) => Err(Status::ContentTooLarge),
            };
        };
        // RFC 9112 §6.3: a coding alone says nothing of how much there will be.
        let length = content.length.filter(|_| !content.is_framed).ok_or(Status::LengthRequired)?;
        if length > posts.bytes_max {
            Err(Status::ContentTooLarge)
        } else if content.is_coded || !posts.kinds.contains(&request.kind.as_str()) {
            Err(Status::UnsupportedMediaType)
        } else {
            Ok(length)
        }
    }

    /// Takes content that has come. False when there is more to come.
    fn receive(&mut self, mut request: Box<Request>, left: usize, manner: Manner) -> bool {
        let bytes = left.min(self.input.len());
        if !self.charge.cover(request.content.len() + bytes) {
            self.charge.release();
            self.refuse(Status::Unavailable, false);
            return true;
        }
        request.content.extend(self.input.drain(..bytes));
        if bytes == left {
            self.wait_anew();
            self.state = State::Asking(request, manner);
        } else if self.since.is_some_and(|since| self.now >= since + CONTENT) {
            self.refuse(Status::RequestTimeout, false);
        } else {
            self.state = State::Receiving(request, left - bytes, manner);
            return false;
        }
        true
    }

    /// The last answer: where the next request begins is not known.
    fn refuse(&mut self, status: Status, is_head: bool) {
        let manner = Manner { is_head, closes: true };
        let response = match status {
            // Content is posted, and not brought otherwise.
            Status::MethodNotAllowed => Response::only("POST"),
            _ => Response::of(status),
        };
        response.write(self.now, manner, &mut self.output);
        self.state = State::Closing;
    }

    fn tick(&mut self, now: Timestamp) {
        self.now = now;
        if self.since.is_none() || (!self.is_begun && !self.input.is_empty()) {
            (self.since, self.is_begun) = (Some(now), !self.input.is_empty());
        }
    }

    /// What an end of the time for it comes to.
    fn late(&mut self) {
        if self.input.is_empty() {
            self.state = State::Closing;
        } else {
            self.refuse(Status::RequestTimeout, false);
        }
    }
}

impl Default for Http {
    fn default() -> Self {
        Self::new()
    }
}

impl Session for Http {
    type Request = Request;
    type Reply = Response;

    fn input(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    fn room(&self) -> usize {
        let bytes_max = match &self.state {
            State::Receiving(_, left, _) => HEAD_BYTES_MAX.min(*left),
            _ => HEAD_BYTES_MAX,
        };
        bytes_max.saturating_sub(self.input.len())
    }

    fn next(&mut self, now: Timestamp) -> Next<Request> {
        self.tick(now);
        loop {
            match mem::replace(&mut self.state, State::Closing) {
                State::Closing => return Next::Close,
                State::Asking(request, manner) => {
                    self.state = State::Asked(manner);
                    return Next::Run(*request);
                }
                State::Receiving(request, left, manner) => {
                    if self.receive(request, left, manner) {
                        continue;
                    }
                    return Next::Read;
                }
                State::Asked(_) => panic!("the last request has not been replied to"),
                State::Reading => self.state = State::Reading,
            }
            match self.take_head() {
                Ok(Some(head)) => self.took(head),
                Err(status) => self.refuse(status, false),
                // Between two requests is the place to stop at.
                Ok(None) if self.is_draining => return Next::Close,
                Ok(None) if now >= self.deadline() => self.late(),
                Ok(None) => break,
            }
        }
        if self.input.is_empty() {
            // An idle connection holds no buffer.
            self.input = Vec::new();
        }
        Next::Read
    }

    fn reply(&mut self, response: Response) {
        let State::Asked(manner) = mem::replace(&mut self.state, State::Closing) else {
            panic!("a reply to a request that was not made");
        };
        self.charge.release();
        let manner = Manner { closes: manner.closes || self.is_draining, ..manner };
        response.write(self.now, manner, &mut self.output);
        if !manner.closes {
            self.state = State::Reading;
        }
    }

    fn deadline(&self) -> Timestamp {
        let Some(since) = self.since else { return Timestamp::NEVER };
        let limit = match (&self.state, self.is_begun) {
            (State::Receiving(..), _) => CONTENT,
            (_, true) => HEAD,
            (_, false) => IDLE,
        };
        since + limit
    }

    fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    fn secured(&mut self, _: TlsInfo) {}

    fn drain(&mut self) {
        self.is_draining = true;
    }
}
