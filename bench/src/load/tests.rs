//! The loop against small servers of its own.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::Duration;

use super::*;

/// Sends a line, and takes the same line for the answer.
struct Echo {
    target: Target,
    asked: Vec<u64>,
    serial: u64,
}

impl Scenario for Echo {
    fn target(&self, _id: usize) -> Target {
        self.target
    }

    fn opened(&mut self, _id: usize, _io: &mut Io) {}

    fn input(&mut self, id: usize, bytes: &[u8], io: &mut Io) -> Result<(), Wrong> {
        if bytes == b"hello\n" {
            io.ready(id);
        } else if bytes == format!("{}\n", self.asked[id]).as_bytes() {
            io.done(id);
        } else {
            return Err(Wrong::answer("an echo", bytes));
        }
        Ok(())
    }

    fn begin(&mut self, id: usize, io: &mut Io) -> Result<(), Wrong> {
        self.serial += 1;
        self.asked[id] = self.serial;
        io.output(id).extend_from_slice(format!("{}\n", self.serial).as_bytes());
        Ok(())
    }

    fn finish(&mut self, _id: usize, _io: &mut Io) {}
}

/// A server that echoes on `connections`, one after the other or at once; `before` sees each line's count.
fn server(connections: usize, before: fn(u64) -> Option<&'static [u8]>) -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has ports");
    let address = listener.local_addr().expect("a bound listener");
    std::thread::spawn(move || {
        for _ in 0..connections {
            let (mut peer, _) = listener.accept().expect("somebody comes");
            std::thread::spawn(move || {
                peer.write_all(b"hello\n").expect("greeted");
                let mut line = [0; 64];
                for number in 1.. {
                    match peer.read(&mut line) {
                        Ok(count @ 1..) => {
                            let said = before(number).unwrap_or(&line[..count]);
                            if peer.write_all(said).is_err() {
                                return;
                            }
                        }
                        _ => return,
                    }
                }
            });
        }
    });
    address
}

fn load(connections: usize, address: SocketAddr) -> (Load, Echo) {
    let setup = Setup {
        connections,
        sources: Vec::new(),
        quick_ack: QuickAck::Off,
        opening: 4,
        progress: Arc::default(),
    };
    let target = Target { address, is_tls: false };
    (Load::new(setup).expect("io_uring"), Echo { target, asked: vec![0; connections], serial: 0 })
}

#[test]
fn operations_take_turns_on_all_connections_and_are_counted() {
    let (mut load, mut echo) = load(5, server(5, |_| None));
    load.prepare(&mut echo).expect("all are greeted");
    let plan = Plan { count: Some(500), duration: Duration::from_mins(1), rate: None, is_random: false };
    let measured = load.run(&mut echo, &plan).expect("all are answered");
    assert_eq!((measured.operations, measured.unstarted, load.ready()), (500, 0, 5));
    let each = load.run(&mut echo, &Plan::once_each(5)).expect("all are answered");
    assert_eq!(each.operations, 5);
    // One operation each: the last serials were given to five connections.
    let mut last = echo.asked.clone();
    last.sort_unstable();
    assert_eq!(last, [501, 502, 503, 504, 505]);
}

#[test]
fn an_open_loop_hears_the_answers_that_come_after_its_end() {
    // One operation, answered when the next one would be due, had the run not ended before; and a connection that
    // is ready all the time.
    let slow = |_| {
        clock::pause(Duration::from_millis(150));
        None
    };
    let (mut load, mut echo) = load(2, server(2, slow));
    load.prepare(&mut echo).expect("greeted");
    let plan = Plan { count: None, duration: Duration::from_millis(50), rate: Some(10.0), is_random: false };
    let measured = load.run(&mut echo, &plan).expect("answered");
    assert_eq!((measured.operations, measured.unstarted), (1, 0));
}

#[test]
fn connections_that_find_nobody_are_tried_again_and_then_given_up() {
    let free = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|listener| listener.local_addr());
    let (mut late, mut echo) = load(3, free().expect("loopback has ports"));
    let address = echo.target.address;
    std::thread::spawn(move || {
        clock::pause(Duration::from_millis(300));
        let listener = TcpListener::bind(address).expect("it was free");
        let mut peers = Vec::new();
        while let Ok((mut peer, _)) = listener.accept() {
            peer.write_all(b"hello\n").expect("greeted");
            peers.push(peer);
        }
    });
    late.prepare(&mut echo).expect("all are greeted in the end");
    assert_eq!((late.ready(), late.open), (3, 3));
    let (mut never, mut echo) = load(1, free().expect("loopback has ports"));
    assert!(never.prepare(&mut echo).is_err());
}

#[test]
fn a_wrong_answer_fails_the_run() {
    let (mut load, mut echo) = load(1, server(1, |number| (number == 3).then_some(&b"nonsense\n"[..])));
    load.prepare(&mut echo).expect("greeted");
    let plan = Plan { count: Some(10), duration: Duration::from_mins(1), rate: None, is_random: false };
    let wrong = load.run(&mut echo, &plan).err();
    assert!(matches!(wrong, Some(Wrong::Answer(_))), "{wrong:?}");
}

#[test]
fn a_stalling_server_cannot_hide_it_from_an_open_loop() {
    // Every hundredth answer is 200 ms late. At 200/s that holds up 40 of each 100 operations; counted
    // from when they were sent, 99 of 100 would look quick.
    let stalls = |number| {
        if number % 100 == 0 {
            clock::pause(Duration::from_millis(200));
        }
        None
    };
    let (mut load, mut echo) = load(1, server(1, stalls));
    load.prepare(&mut echo).expect("greeted");
    let plan =
        Plan { count: Some(300), duration: Duration::from_mins(1), rate: Some(200.0), is_random: false };
    let measured = load.run(&mut echo, &plan).expect("all are answered");
    assert_eq!(measured.operations, 300);
    assert!(measured.percentile_us(90.0) > 80_000.0, "p90 is {} us", measured.percentile_us(90.0));
}
