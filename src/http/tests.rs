//! Every transcript played whole, cut and mutated, against a server with one file.

use std::path::PathBuf;

use base::Session;
use sim::{Clock, FromFn, Peer, SessionPeer, Transcript, from_fn};

use crate::limits::{HEAD_BYTES_MAX, REQUESTS_MAX};
use crate::{Http, Method, Request, Response, Status};

type Server = FromFn<fn(Request) -> Response>;

fn serve(request: &Request) -> Response {
    match (request.host.as_str(), request.target.as_str(), request.method) {
        ("here.example", "/file", Method::Get | Method::Head) => {
            Response::content("text/plain", b"hello\r\n".to_vec())
        }
        ("here.example", _, Method::Other) => Response::only("GET, HEAD"),
        _ => Response::of(Status::NotFound),
    }
}

fn peer(_: &Transcript) -> SessionPeer<Http, Server> {
    let answer: fn(Request) -> Response = |request| serve(&request);
    SessionPeer::new(Clock::default(), move |_| (Http::new(), from_fn(answer))).with_tls(true)
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
