//! The HTTP endpoint for Prometheus: one plain thread that answers `GET /metrics`, one request a
//! connection, one connection at a time ([design/0010-metrics.md](../../../docs/design/0010-metrics.md)).

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use admin::{CONTENT_TYPE, Exit, Failure, Snapshot};
use base::ShardId;
use router::Router;
use shard::Shard;
use socket2::SockRef;

use crate::limits::{METRICS_PAUSE, METRICS_REQUEST_BYTES_MAX, METRICS_TIMEOUT};
use crate::{Address, ListenError, block_on_for, clock};

/// The running thread; dropping it ends it.
#[derive(Debug)]
pub(super) struct Endpoint {
    listener: TcpListener,
    thread: Option<JoinHandle<()>>,
}

/// Listens, before anything is started that would have to be stopped again.
pub(super) fn bind(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).map_err(|error| {
        let fault = ListenError { address: Address::Tcp(address), kind: error.kind() };
        Failure::new(Exit::Unavailable, format!("metrics.listen: {fault}"))
    })
}

impl Endpoint {
    /// Serves what `router` leads to.
    pub(super) fn start(listener: TcpListener, router: Router<Shard>) -> io::Result<Self> {
        let accepting = listener.try_clone()?;
        let serve = move || serve(&accepting, METRICS_TIMEOUT, &mut || text(&router));
        let thread = thread::Builder::new().name("metrics".to_owned()).spawn(serve)?;
        Ok(Self { listener, thread: Some(thread) })
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        // Whoever waits in `accept` is told that it is over.
        let _already_closed = SockRef::from(&self.listener).shutdown(std::net::Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// The metrics of all shards; `None` while one of them does not answer.
fn text(router: &Router<Shard>) -> Option<String> {
    let asked = router.on(ShardId(0), async |shard: std::rc::Rc<Shard>| Snapshot::gather(&shard).await);
    Some(block_on_for(asked, METRICS_TIMEOUT)?.ok()?.ok()?.exposition())
}

/// Answers one after the other. A peer has `patience` for its request and as much for reading the answer.
fn serve(listener: &TcpListener, patience: Duration, text: &mut dyn FnMut() -> Option<String>) {
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                // A scraper that is gone or slow is its own fault: the next one gets its turn.
                let _gone = answer(stream, patience, text);
            }
            Err(error) if error.kind() == ErrorKind::InvalidInput => return,
            Err(error) if matches!(error.kind(), ErrorKind::ConnectionAborted | ErrorKind::Interrupted) => {}
            Err(error) => {
                tracing::warn!(event = "runtime.metrics_accept_failed", %error);
                thread::park_timeout(METRICS_PAUSE);
            }
        }
    }
}

fn answer(
    mut stream: TcpStream,
    patience: Duration,
    text: &mut dyn FnMut() -> Option<String>,
) -> io::Result<()> {
    let request = read_request(&mut stream, patience)?;
    let (status, body) = match judge(&request) {
        Ok(()) => match text() {
            Some(text) => ("200 OK", text),
            None => ("503 Service Unavailable", "a shard does not answer\n".to_owned()),
        },
        Err((status, why)) => (status, format!("{why}\n")),
    };
    let kind = if status == "200 OK" { CONTENT_TYPE } else { "text/plain; charset=utf-8" };
    let allow = if status.starts_with("405") { "Allow: GET\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nCache-Control: no-store\r\n{allow}Connection: close\r\n\r\n",
        body.len()
    );
    write(&mut stream, patience, &[head, body].concat())?;
    stream.shutdown(std::net::Shutdown::Write)?;
    // Closing before the peer has would take unread bytes of it for a reason to reset the connection.
    stream.set_read_timeout(Some(METRICS_PAUSE))?;
    let _closed_or_not = stream.read(&mut [0; 512]);
    Ok(())
}

/// Reads up to the empty line, within a bound of bytes and of time.
fn read_request(stream: &mut TcpStream, patience: Duration) -> io::Result<Vec<u8>> {
    let end = clock::instant() + patience;
    let mut request = Vec::new();
    let mut piece = [0; 1024];
    while !has_ended(&request) && request.len() <= METRICS_REQUEST_BYTES_MAX {
        let left = end.saturating_duration_since(clock::instant()).max(Duration::from_millis(1));
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut piece)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => request.extend_from_slice(&piece[..count]),
        }
        if clock::instant() >= end {
            return Err(ErrorKind::TimedOut.into());
        }
    }
    Ok(request)
}

/// Writes everything, within a bound of time for all of it: a peer that reads a little now and then would else keep
/// all others waiting, and the server from stopping.
fn write(stream: &mut TcpStream, patience: Duration, answer: &str) -> io::Result<()> {
    let end = clock::instant() + patience;
    let mut rest = answer.as_bytes();
    while !rest.is_empty() {
        let left = end.saturating_duration_since(clock::instant());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_write_timeout(Some(left))?;
        let count = stream.write(rest)?;
        rest = rest.get(count..).unwrap_or_default();
    }
    Ok(())
}

fn has_ended(request: &[u8]) -> bool {
    request.windows(4).any(|four| four == b"\r\n\r\n")
}

/// Whether it is the one request that is answered: RFC 9112 §3, with nothing but GET and one path.
fn judge(request: &[u8]) -> Result<(), (&'static str, &'static str)> {
    if !has_ended(request) {
        return Err(("431 Request Header Fields Too Large", "the request is too long"));
    }
    let line = request.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(("400 Bad Request", "this is no HTTP request"));
    };
    if !matches!(version, b"HTTP/1.1" | b"HTTP/1.0") {
        return Err(("400 Bad Request", "only HTTP/1.1 is spoken here"));
    }
    if method != b"GET" {
        return Err(("405 Method Not Allowed", "only GET is answered"));
    }
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    if path != b"/metrics" {
        return Err(("404 Not Found", "there is /metrics and nothing else"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(address: SocketAddr, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Serves `text` until `talk` is done.
    fn with_server(text: fn() -> Option<String>, talk: impl FnOnce(SocketAddr)) {
        with_patient_server(METRICS_TIMEOUT, text, talk);
    }

    fn with_patient_server(patience: Duration, text: fn() -> Option<String>, talk: impl FnOnce(SocketAddr)) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let accepting = listener.try_clone().unwrap();
        let thread = thread::spawn(move || serve(&accepting, patience, &mut || text()));
        talk(address);
        drop(Endpoint { listener, thread: Some(thread) });
        assert!(TcpStream::connect(address).is_err(), "it has ended");
    }

    #[test]
    fn metrics_are_given_and_nothing_else() {
        with_server(
            || Some("angarium_commits_total 7\n".to_owned()),
            |address| {
                let good = ask(address, b"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n");
                assert!(
                    good.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"),
                    "{good}"
                );
                assert!(good.contains("\r\nContent-Length: 25\r\n"), "{good}");
                assert!(good.ends_with("\r\n\r\nangarium_commits_total 7\n"), "{good}");
                assert!(ask(address, b"GET /metrics?x=y HTTP/1.0\r\n\r\n").starts_with("HTTP/1.1 200"));
                for (request, status) in [
                    (&b"GET / HTTP/1.1\r\n\r\n"[..], "404"),
                    (b"POST /metrics HTTP/1.1\r\n\r\n", "405"),
                    (b"GET /metrics HTTP/2\r\n\r\n", "400"),
                    (b"GET /metrics\r\n\r\n", "400"),
                    (b"\r\n\r\n", "400"),
                    (&[b'x'; METRICS_REQUEST_BYTES_MAX + 1], "431"),
                ] {
                    let answer = ask(address, request);
                    assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
                }
            },
        );
    }

    #[test]
    fn a_peer_that_goes_away_is_forgotten_and_a_silent_shard_is_said() {
        with_server(
            || None,
            |address| {
                drop(TcpStream::connect(address).unwrap());
                assert!(ask(address, b"GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 503 "));
            },
        );
    }

    #[test]
    fn a_peer_that_reads_slowly_does_not_hold_the_endpoint() {
        const ALL_BYTES: usize = 64 << 20;
        with_patient_server(
            Duration::from_millis(100),
            || Some("x".repeat(ALL_BYTES)),
            |address| {
                let mut stream = TcpStream::connect(address).unwrap();
                stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").unwrap();
                let (mut piece, mut read) = (vec![0; 64 * 1024], 0);
                // Never still for long, and yet slow.
                for _ in 0..50 {
                    read += stream.read(&mut piece).unwrap();
                    thread::park_timeout(Duration::from_millis(10));
                }
                while let Ok(count @ 1..) = stream.read(&mut piece) {
                    read += count;
                }
                assert!(read < ALL_BYTES, "it was let read to the end");
            },
        );
    }
}
