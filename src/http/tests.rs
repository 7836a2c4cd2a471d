//! Every transcript played whole, cut and mutated, against a server with one file.

use std::path::PathBuf;
use std::sync::Arc;

use base::{Budget, Session};
use sim::{Clock, FromFn, Peer, SessionPeer, Transcript, from_fn};

use crate::limits::{HEAD_BYTES_MAX, REQUESTS_MAX};
use crate::{Http, Method, Posts, Request, Response, Status};

/// What one may post, and what all may together.
const BOX_BYTES_MAX: usize = 20_000;

type Server = FromFn<fn(Request) -> Response>;

fn serve(request: &Request) -> Response {
    match (request.host.as_str(), request.target.as_str(), request.method) {
        ("here.example", "/file", Method::Get | Method::Head) => {
            Response::content("text/plain", b"hello\r\n".to_vec())
        }
        ("here.example", "/box", Method::Post) if request.content == b"too many" => {
            Response::later(Status::TooManyRequests, "60")
        }
        ("here.example", "/box", Method::Post) => {
            let text = format!("{} bytes of {}\r\n", request.content.len(), request.kind);
            Response::content("text/plain", text.into_bytes())
        }
        ("here.example", "/box", _) => Response::only("POST"),
        ("here.example", _, Method::Other | Method::Post) => Response::only("GET, HEAD"),
        _ => Response::of(Status::NotFound),
    }
}

fn peer(_: &Transcript) -> SessionPeer<Http, Server> {
    let answer: fn(Request) -> Response = |request| serve(&request);
    let budget = Budget::new(BOX_BYTES_MAX);
    let posts = Posts { target: "/box".into(), kinds: &["text/plain"], bytes_max: BOX_BYTES_MAX, budget };
    let posts = Arc::new(posts);
    let open = move |_| (Http::new().with_posts(Arc::clone(&posts)), from_fn(answer));
    SessionPeer::new(Clock::default(), open).with_tls(true)
}

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("transcripts")
}

#[test]
fn every_transcript_is_answered_as_written() {
    sim::play_folder(&folder(), peer);
}

#[test]
fn every_transcript_survives_any_cut_of_its_input() {
    sim::cut_folder(&folder(), peer);
}

#[test]
fn noise_neither_panics_nor_gathers() {
    sim::noise_folder(&folder(), 1..40, peer, |peer| {
        let session = peer.session(1).expect("it was opened");
        assert!(session.room() <= HEAD_BYTES_MAX);
        assert!(session.output().is_empty());
    });
}

fn open() -> SessionPeer<Http, Server> {
    let mut peer = peer(&Transcript::parse("# RFC 9112").expect("valid"));
    assert_eq!(peer.open(1), b"");
    peer
}

const GET: &[u8] = b"GET /file HTTP/1.1\r\nHost: here.example\r\n\r\n";

#[test]
fn a_connection_has_its_share_of_requests() {
    let mut peer = open();
    for number in 1..=REQUESTS_MAX {
        let said = String::from_utf8(peer.send(1, GET)).expect("it is text");
        assert!(said.starts_with("HTTP/1.1 200 OK\r\n"), "{said}");
        assert_eq!(said.contains("Connection: close\r\n"), number == REQUESTS_MAX, "request {number}");
    }
    assert!(peer.is_closed(1));
}

#[test]
fn a_drained_connection_ends_between_two_requests() {
    let mut peer = open();
    peer.session(1).expect("it is open").drain();
    let said = String::from_utf8(peer.send(1, GET)).expect("it is text");
    assert!(said.contains("Connection: close\r\n"), "{said}");
    assert!(peer.is_closed(1));
}

fn post(bytes: usize) -> Vec<u8> {
    let head = "POST /box HTTP/1.1\r\nHost: here.example\r\nContent-Type: text/plain\r\nContent-Length: ";
    format!("{head}{bytes}\r\n\r\n").into_bytes()
}

#[test]
fn content_has_a_bound_for_one_and_for_all() {
    let mut peer = open();
    peer.send(1, &post(BOX_BYTES_MAX));
    peer.send(1, &vec![b'x'; BOX_BYTES_MAX - 1]);
    assert!(peer.session(1).expect("it is open").room() == 1, "no more than was said");
    peer.open(2);
    let said = String::from_utf8(peer.send(2, &post(2))).expect("it is text");
    assert!(said.starts_with("HTTP/1.1 503 "), "all the memory is taken: {said}");
    let said = String::from_utf8(peer.send(1, b"x")).expect("it is text");
    assert!(said.starts_with("HTTP/1.1 200 ") && said.contains("\r\n20000 bytes"), "{said}");
    // It was given back with the answer.
    peer.open(3);
    peer.send(3, &post(BOX_BYTES_MAX));
    let said = String::from_utf8(peer.send(3, &vec![b'x'; BOX_BYTES_MAX])).expect("it is text");
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
}

#[test]
fn content_that_was_only_announced_takes_no_memory() {
    let mut peer = open();
    for number in 1..=8 {
        if number > 1 {
            peer.open(number);
        }
        assert_eq!(peer.send(number, &post(BOX_BYTES_MAX)), b"");
    }
    peer.send(1, &vec![b'x'; BOX_BYTES_MAX / 2]);
    let said = String::from_utf8(peer.send(2, &vec![b'x'; BOX_BYTES_MAX / 2 + 1])).expect("it is text");
    assert!(said.starts_with("HTTP/1.1 503 ") && peer.is_closed(2), "{said}");
    // What that one had is given back.
    let said = String::from_utf8(peer.send(1, &vec![b'x'; BOX_BYTES_MAX / 2])).expect("it is text");
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
    let said = String::from_utf8(peer.send(3, &vec![b'x'; BOX_BYTES_MAX])).expect("it is text");
    assert!(said.starts_with("HTTP/1.1 200 "), "{said}");
}
