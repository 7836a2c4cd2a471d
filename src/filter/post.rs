//! Content posted to an address (RFC 9110 §9.3.3), where nothing but the status of the answer matters.

use alloc::vec;
use alloc::vec::Vec;

use base::Timestamp;

use crate::exchange::{Exchange, Next};
use crate::http::{Body, Head, Http, HttpConfig, Part, Url};

/// One request, the only one on its connection, and the status of its answer.
#[derive(Debug)]
pub struct Post(Http);

impl Post {
    /// Content of this media type, for this address.
    pub fn new(config: HttpConfig, url: &Url, kind: &str, content: Vec<u8>) -> Self {
        let mut head = Head::post(url);
        head.field("User-Agent", "angarium");
        head.field("Content-Type", kind);
        head.field("Connection", "close");
        Self(Http::new(config, head, Body::new(vec![Part::Bytes(content)])))
    }
}

impl Exchange for Post {
    type Answer = u16;

    fn input(&mut self, bytes: &[u8]) {
        self.0.input(bytes);
    }

    fn ended(&mut self) {
        self.0.ended();
    }

    fn next(&mut self, now: Timestamp) -> Next<u16> {
        match self.0.next(now) {
            Next::Write => Next::Write,
            Next::Read => Next::Read,
            Next::Failed(failure) => Next::Failed(failure),
            Next::Answer(response) => Next::Answer(response.status),
        }
    }

    fn deadline(&self) -> Timestamp {
        self.0.deadline()
    }

    fn output(&mut self) -> &mut Vec<u8> {
        self.0.output()
    }
}

#[cfg(test)]
mod tests {
    use alloc::string::String;

    use super::*;
    use crate::Failure;

    fn said(post: &mut Post) -> String {
        let mut all = Vec::new();
        while let Next::Write = post.next(Timestamp::from_ms(0)) {
            all.append(post.output());
        }
        all.append(post.output());
        String::from_utf8(all).expect("text")
    }

    #[test]
    fn content_goes_whole_and_its_status_comes_back() {
        let url = Url::parse("https://r.example:8443/v1?x").expect("an address");
        let post = || Post::new(HttpConfig::default(), &url, "text/plain", b"hello".to_vec());
        let mut one = post();
        assert_eq!(
            said(&mut one),
            "POST /v1?x HTTP/1.1\r\nHost: r.example:8443\r\nUser-Agent: angarium\r\nContent-Type: text/plain\r\n\
             Connection: close\r\nContent-Length: 5\r\n\r\nhello"
        );
        one.input(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok");
        assert_eq!(one.next(Timestamp::from_ms(1)), Next::Answer(201));
        let mut late = post();
        said(&mut late);
        assert_eq!(late.next(Timestamp::from_ms(60_000)), Next::Failed(Failure::Timeout));
        let mut cut = post();
        said(&mut cut);
        cut.ended();
        assert_eq!(cut.next(Timestamp::from_ms(1)), Next::Failed(Failure::Closed));
    }
}
