//! Connections that go to and fro between shards while bytes are on their way to them.

#![allow(clippy::unwrap_used, reason = "a test ends where it fails")]

mod support;

use std::io::{BufReader, Write};
use std::sync::atomic::Ordering;
use std::time::Duration;

use runtime::instant;
use support::{Begin, Plan, Server, line, until};

const CLIENTS: usize = 8;
const SHARDS: usize = 2;

/// Each client sends without waiting, so that a move finds unread bytes, and reads all answers in order.
/// Returns how many moves there were.
fn streams(server: &Server, commands: usize) -> usize {
    let client = |number: usize| {
        let stream = server.connect();
        let mut sender = stream.try_clone().unwrap();
        let moves_at = move |at: usize| at % 50 == number;
        let sending = std::thread::spawn(move || {
            for at in 0..commands {
                let text =
                    if moves_at(at) { format!("MOVE {}\r\n", at % SHARDS) } else { format!("{at}\r\n") };
                sender.write_all(text.as_bytes()).unwrap();
                if at % 997 == 0 {
                    // The shard falls asleep now and then.
                    std::thread::park_timeout(Duration::from_millis(1));
                }
            }
            sender.write_all(b"QUIT\r\n").unwrap();
        });
        let receiving = std::thread::spawn(move || {
            let mut stream = BufReader::new(stream);
            assert_eq!(line(&mut stream), "hello");
            for at in 0..commands {
                let expected =
                    if moves_at(at) { format!("moved to {}", at % SHARDS) } else { at.to_string() };
                assert_eq!(line(&mut stream), expected);
            }
            assert_eq!(line(&mut stream), "bye");
        });
        (sending, receiving)
    };
    let clients: Vec<_> = (0..CLIENTS).map(client).collect();
    for (sending, receiving) in clients {
        sending.join().unwrap();
        receiving.join().unwrap();
    }
    CLIENTS * commands / 50
}

fn begin() -> Server {
    Server::start(&Plan::new(SHARDS as u16, Begin::Plain))
}

#[test]
fn streams_stay_whole_over_many_moves() {
    let server = begin();
    let moves = streams(&server, 5000);
    assert!(moves >= 500);
    until("every connection is counted out", || server.gate.open() == 0);
    assert_eq!(server.panics(), 0);
    server.stop();
}

/// As long as `SOAK_SECONDS` says, by default five minutes:
/// `cargo test --release -p runtime --test moves -- --ignored`
#[test]
#[ignore = "a soak"]
fn moves_never_stall() {
    let seconds = std::env::var("SOAK_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(300);
    let end = instant() + Duration::from_secs(seconds);
    let server = begin();
    let mut moves = 0;
    while instant() < end {
        // The clients' own time-outs find a stall.
        moves += streams(&server, 5000);
        until("every connection is counted out", || server.gate.open() == 0);
    }
    println!("{moves} moves, {} sessions", server.shared.ended.load(Ordering::Relaxed));
    server.stop();
}
