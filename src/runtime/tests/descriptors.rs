//! Running out of descriptors. Alone in its file: the limit holds for the whole process.

mod support;

use std::fs::File;
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use runtime::Address;
use support::{Begin, Plan, Server, ask, line, until};

/// How many descriptors may be open while the server has none left.
const DESCRIPTORS_MAX: usize = 200;

#[test]
fn a_server_without_descriptors_goes_on_when_there_are_some_again() {
    let server = Server::start(&Plan::new(1, Begin::Plain));
    let mut before = server.connect();
    assert_eq!(line(&mut before), "hello");
    let limit = Command::new("prlimit")
        .args(["--pid", &std::process::id().to_string()])
        .arg(format!("--nofile={DESCRIPTORS_MAX}:"))
        .status()
        .unwrap();
    assert!(limit.success());
    let Address::Tcp(address) = server.address else { panic!("over TCP") };
    // The accept that was pending has the old limit with it; this connection takes it.
    assert_eq!(line(&mut server.connect()), "hello");
    until("that one has ended", || server.gate.open() == 1);
    // The client's own descriptor is taken first; then nothing is left to accept it with.
    let mut files: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).collect();
    assert!(files.len() > 10);
    files.pop();
    let mut client = TcpStream::connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
    assert!(client.peek(&mut [0; 1]).is_err(), "there was a descriptor left");
    assert_eq!(ask(&mut before, "one"), "one", "who is connected is served");
    files.clear();
    client.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    assert_eq!(line(&mut client), "hello");
    assert_eq!(ask(&mut client, "two"), "two");
}
