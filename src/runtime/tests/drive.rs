//! Sessions over real sockets.

mod support;

use std::future::poll_fn;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::time::Duration;

use base::{Out, ShardId};
use runtime::{Address, Conn, ConnError, ConnectionLimits, Peer, block_on};
use support::{BIG_LINE, Begin, INPUT_BYTES_MAX, Plan, Server, ask, line, until};

#[test]
fn commands_are_answered_in_order_and_the_last_word_arrives() {
    let server = Server::start(&Plan::new(1, Begin::Plain));
    let mut client = server.connect();
    assert_eq!(line(&mut client), "hello");
    assert_eq!(ask(&mut client, "one"), "one");
    client.write_all(b"two\r\nthree\r\nfo").unwrap();
    assert_eq!(line(&mut client), "two");
    assert_eq!(line(&mut client), "three");
    client.write_all(b"ur\r\nQUIT\r\nnever read\r\n").unwrap();
    let mut rest = String::new();
    client.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "four\r\nbye\r\n");
    drop(client);
    until("the connection is counted out", || server.gate.open() == 0);
    until("its end is seen", || server.shared.ended.load(Ordering::Relaxed) == 1);
}

#[test]
fn a_client_that_pipelines_more_than_there_is_room_for_is_held_back_not_cut() {
    let server = Server::start(&Plan::new(1, Begin::Plain));
    let mut client = server.connect();
    assert_eq!(line(&mut client), "hello");
    let count = 20 * INPUT_BYTES_MAX;
    let mut sender = client.try_clone().unwrap();
    let sending = std::thread::spawn(move || {
        (0..count).for_each(|number| write!(sender, "{number}\r\n").unwrap());
        sender.shutdown(Shutdown::Write).unwrap();
    });
    let mut answers = String::new();
    client.read_to_string(&mut answers).unwrap();
    sending.join().unwrap();
    assert!(answers.lines().eq((0..count).map(|number| number.to_string())));
}

#[test]
fn a_slow_reader_stops_its_answer_within_bounded_memory_and_others_go_on() {
    let server = Server::start(&Plan::new(1, Begin::Plain));
    let mut slow = server.connect();
    assert_eq!(line(&mut slow), "hello");
    let lines = 1_000_000;
    slow.write_all(format!("BIG {lines}\r\n").as_bytes()).unwrap();
    let sent = || server.shared.lines.load(Ordering::Relaxed);
    until("the answer begins", || sent() > 0);
    // It stands still once the kernel's buffers are full, long before its 64 MB are made.
    let mut last = 0;
    until("the answer stands still", || {
        std::thread::park_timeout(Duration::from_millis(50));
        std::mem::replace(&mut last, sent()) == sent()
    });
    assert!(sent() < lines / 2, "{} lines were made for a peer that reads nothing", sent());
    let mut other = server.connect();
    assert_eq!(line(&mut other), "hello");
    assert_eq!(ask(&mut other, "quick"), "quick");
    let mut answer = vec![0; BIG_LINE.len() * lines];
    slow.read_exact(&mut answer).unwrap();
    assert!(answer.chunks(BIG_LINE.len()).all(|line| line == BIG_LINE));
    assert_eq!(line(&mut slow), "end");
    let most = server.shared.buffered_max.load(Ordering::Relaxed);
    assert!(most <= Out::HIGH_BYTES + BIG_LINE.len(), "{most} bytes were buffered");
}

#[test]
fn a_peer_that_leaves_in_the_middle_of_an_answer_ends_the_work_for_it() {
    let server = Server::start(&Plan::new(1, Begin::Plain));
    let mut client = server.connect();
    client.write_all(b"BIG 1000000000\r\n").unwrap();
    until("the answer begins", || server.shared.lines.load(Ordering::Relaxed) > 0);
    drop(client);
    until("the connection has ended", || server.gate.open() == 0);
}

#[test]
fn a_session_that_waits_too_long_is_told_so() {
    let mut plan = Plan::new(1, Begin::Plain);
    plan.patience = Duration::from_millis(60);
    let server = Server::start(&plan);
    let mut text = String::new();
    server.connect().read_to_string(&mut text).unwrap();
    assert_eq!(text, "hello\r\ntoo slow\r\n");
}

#[test]
fn a_watch_ends_with_a_change_or_with_input() {
    let server = Server::start(&Plan::new(1, Begin::Plain));
    let mut client = server.connect();
    assert_eq!(line(&mut client), "hello");
    assert_eq!(ask(&mut client, "WATCH"), "watching");
    assert_eq!(line(&mut client), "changed");
    assert_eq!(ask(&mut client, "WATCH"), "watching");
    assert_eq!(ask(&mut client, "done"), "done");
}

#[test]
fn a_panic_ends_its_own_connection_and_is_counted() {
    let server = Server::start(&Plan::new(1, Begin::Plain));
    let (mut unlucky, mut other) = (server.connect(), server.connect());
    assert_eq!(line(&mut unlucky), "hello");
    assert_eq!(line(&mut other), "hello");
    unlucky.write_all(b"PANIC\r\n").unwrap();
    assert_eq!(unlucky.read(&mut [0; 16]).unwrap_or(0), 0);
    assert_eq!(ask(&mut other, "still here"), "still here");
    assert_eq!(server.panics(), 1);
    drop((unlucky, other));
    until("no connection is counted any more", || server.gate.open() == 0);
}

#[test]
fn a_connection_moves_to_the_shard_it_belongs_to_with_what_it_had_sent() {
    let server = Server::start(&Plan::new(2, Begin::Plain));
    let mut client = server.connect();
    assert_eq!(line(&mut client), "hello");
    for turn in 0..50 {
        let there = turn % 2;
        client.write_all(format!("first\r\nMOVE {there}\r\nWHERE\r\nsecond {turn}\r\n").as_bytes()).unwrap();
        assert_eq!(line(&mut client), "first");
        assert_eq!(line(&mut client), format!("moved to {there}"));
        assert_eq!(line(&mut client), format!("shard {there}"));
        assert_eq!(line(&mut client), format!("second {turn}"));
    }
    assert_eq!(server.gate.open(), 1, "a moved connection keeps its one place");
}

#[test]
fn a_drain_tells_sessions_and_takes_no_new_connections() {
    let server = Server::start(&Plan::new(2, Begin::Plain));
    let mut clients: Vec<_> = (0..8).map(|_| server.connect()).collect();
    for client in &mut clients {
        assert_eq!(line(client), "hello");
    }
    assert_eq!(ask(&mut clients[0], "WATCH"), "watching");
    let Address::Tcp(address) = server.address else { panic!("over TCP") };
    server.stop();
    for client in &mut clients {
        let mut text = String::new();
        client.read_to_string(&mut text).unwrap();
        assert!(text.ends_with("draining\r\n"), "{text:?}");
    }
    assert!(std::net::TcpStream::connect(address).is_err());
}

#[test]
fn more_connections_than_a_source_may_have_are_refused_with_a_word() {
    let mut plan = Plan::new(1, Begin::Plain);
    plan.limits = ConnectionLimits { connections_max: 10, per_source_max: 1 };
    let server = Server::start(&plan);
    let mut first = server.connect();
    assert_eq!(line(&mut first), "hello");
    assert_eq!(line(&mut server.connect()), "too many");
    drop(first);
    until("there is room again", || server.gate.open() == 0);
    assert_eq!(line(&mut server.connect()), "hello");
}

#[test]
fn a_shard_connects_to_others() {
    let server = Server::start(&Plan::new(2, Begin::Plain));
    let Address::Tcp(address) = server.address else { panic!("over TCP") };
    let talk = move |_| async move {
        let mut conn = Conn::connect(address).await?;
        assert_eq!(conn.peer(), Peer::Tcp(address));
        conn.write(&mut b"one\r\nQUIT\r\n".to_vec()).await?;
        let mut answer = Vec::new();
        while poll_fn(|cx| conn.poll_read(cx, 5, &mut |bytes| answer.extend_from_slice(bytes))).await? > 0 {}
        Ok::<_, ConnError>(answer)
    };
    let router = server.shards.as_ref().unwrap().router();
    let answer = block_on(router.on(ShardId(0), talk)).unwrap().unwrap();
    assert_eq!(answer, b"hello\r\none\r\nbye\r\n");
    // Nobody listens on port 1.
    let nobody = |_| async { Conn::connect("127.0.0.1:1".parse().unwrap()).await.map(drop) };
    let refused = block_on(router.on(ShardId(0), nobody)).unwrap();
    assert_eq!(refused, Err(ConnError::Io(std::io::ErrorKind::ConnectionRefused)));
}

#[test]
fn a_unix_socket_serves_the_same_sessions_and_replaces_a_stale_one() {
    let path = std::env::temp_dir().join(format!("runtime-{}.sock", std::process::id()));
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let mut plan = Plan::new(2, Begin::Plain);
    plan.address = Address::Unix(path.clone());
    let server = Server::start(&plan);
    assert!(runtime::bind_all(&plan.address, 1).is_err(), "a live socket is not taken away");
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || {
                for _ in 0..50 {
                    let mut client = UnixStream::connect(&path).unwrap();
                    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
                    assert_eq!(line(&mut client), "hello");
                }
            })
        })
        .collect();
    for caller in callers {
        caller.join().unwrap();
    }
    for _ in 0..4 {
        let mut client = UnixStream::connect(&path).unwrap();
        client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        assert_eq!(line(&mut client), "hello");
        assert_eq!(ask(&mut client, "MOVE 1"), "moved to 1");
        assert_eq!(ask(&mut client, "one"), "one");
    }
    server.stop();
    std::fs::remove_file(&path).unwrap();
}
