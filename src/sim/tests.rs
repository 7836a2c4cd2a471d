//! The player against a small session of its own.

use base::{Handled, Line, Next, Out, Service, Session, Timestamp, TlsInfo, take_line};

use crate::{Clock, Peer, SessionPeer, Transcript, cuts, play, play_cut, record};

/// Answers each line by itself in capitals; `RUN` through a handler, `TLS`, `WATCH`, `BYE`.
#[derive(Default)]
struct Echo {
    input: Vec<u8>,
    output: Vec<u8>,
    seen: Timestamp,
    is_watching: bool,
    is_ending: bool,
}

impl Session for Echo {
    type Request = u32;
    type Reply = u32;

    fn input(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    fn room(&self) -> usize {
        64 - self.input.len().min(64)
    }

    fn next(&mut self, now: Timestamp) -> Next<u32> {
        if self.seen != Timestamp::default() && now >= self.deadline() {
            self.output.extend_from_slice(b"late\r\n");
            return Next::Close;
        }
        self.seen = now;
        if self.is_watching && !self.input.is_empty() {
            self.is_watching = false;
        }
        loop {
            if self.is_watching {
                return Next::Watch;
            }
            if self.is_ending {
                return Next::Close;
            }
            let Ok(Line::Complete(line)) = take_line(&mut self.input, 64) else { return Next::Read };
            match line.as_slice() {
                b"run" => return Next::Run(1),
                b"bye" => self.is_ending = true,
                b"watch" => self.is_watching = true,
                b"tls" => {
                    self.input.clear();
                    return Next::StartTls;
                }
                other => self.output.extend(other.to_ascii_uppercase().iter().chain(b"\r\n")),
            }
        }
    }

    fn reply(&mut self, reply: u32) {
        self.output.extend(format!("reply {reply}\r\n").bytes());
    }

    fn deadline(&self) -> Timestamp {
        self.seen + core::time::Duration::from_mins(10)
    }

    fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }

    fn secured(&mut self, tls: TlsInfo) {
        self.output.extend(format!("{}\r\n", tls.version).bytes());
    }

    fn changed(&mut self) {
        self.output.extend_from_slice(b"changed\r\n");
    }

    fn drain(&mut self) {
        self.is_ending = true;
    }
}

struct Counting(u32);

impl Service<Echo> for Counting {
    async fn handle(&mut self, _session: &mut Echo, request: u32, out: &mut Out<'_>) -> Handled<u32> {
        out.buffer.extend_from_slice(b"streamed\r\n");
        self.0 += request;
        Handled::Reply(self.0)
    }

    async fn changed(&mut self) {}
}

fn peer() -> SessionPeer<Echo, Counting> {
    SessionPeer::new(Clock::new(), |_| (Echo::default(), Counting(0)))
        .with_events(|key, value| if key == "note" { Ok(()) } else { Err(value.to_owned()) })
}

fn outcome(text: &str) -> Result<(), String> {
    let transcript = Transcript::parse(text).expect(text);
    play(&transcript, &mut peer())
        .map_err(|mismatch| format!("{}: {} / {}", mismatch.line, mismatch.expected, mismatch.got))
}

const WHOLE: &str = "# x
C: hello
S: HELLO
C: a
C: b-${_}
";

#[test]
fn a_transcript_that_is_right_passes_however_it_is_cut() {
    let text = "# x\nC: hello\nS: HEL${x}\nC: a\nC: LO${x}\nS: A\nS: LOLO\nC: run\nC: run\nS: streamed\nS: reply 1\n\
S: streamed\nS: reply 2\nC: tls\nS: TLS1.3\nC: b\nC: a\nS*: A\nS*: B\nC| bye\\r\\n\nS! closed\n";
    assert_eq!(outcome(text), Ok(()));
    let transcript = Transcript::parse(text).expect("valid");
    for cut in cuts(&transcript) {
        assert_eq!(play_cut(&transcript, &mut peer(), cut), Ok(()), "{cut:?}");
    }
}

#[test]
fn what_was_read_with_the_start_of_tls_is_dropped() {
    assert_eq!(outcome("# x\nC: tls\nC: lost\nS: TLS1.3\nC: a\nS: A\n"), Ok(()));
}

#[test]
fn differences_are_found_where_they_are() {
    for (text, want) in [
        ("# x\nC: a\nS: B\n", "3: S: B / S: A"),
        ("# x\nC: a\nS: A\nS: more\n", "4: S: more / nothing"),
        ("# x\nC: a\nC: b\nS: A\n", "4: nothing more before this / S: B"),
        ("# x\nC: a\nC: b\nS: A\nC: c\nS: B\n", "5: nothing more before this / S: B"),
        ("# x\nC: a\nS! closed\n", "3: nothing more before this / S: A"),
        ("# x\nC: a\nS: A\nS! closed\n", "4: closed / an open connection"),
        ("# x\nC: ${what}\n", "2: ${what} to be known / it is not"),
        ("# x\nC: a\nC: b\nS*: A\nS*: C\n", "5: S: C / S: B"),
        ("# x\nC: a\nS: A\nfoo: bar\n", "4: foo: bar / bar"),
    ] {
        assert_eq!(outcome(text), Err(want.to_owned()), "{text}");
    }
}

#[test]
fn time_and_other_connections_are_part_of_a_transcript() {
    assert_eq!(outcome("# x\nC: a\nS: A\nclock: +9m\nC: b\nS: B\nclock: +10m\nS: late\nS! closed\n"), Ok(()));
    assert_eq!(
        outcome(
            "# x\n1C: watch\n2C: run\n2S: streamed\n2S: reply 1\n1S: changed\nnote: x\n1S: changed\n1C: a\n1S: A\n"
        ),
        Ok(())
    );
    assert_eq!(outcome("# x\n2C: a\n2S: A\n2C! close\n2S! closed\n1C: a\n1S: A\n"), Ok(()));
}

#[test]
fn recording_writes_what_is_said_and_keeps_what_matches() {
    let record = |text: &str| record(&Transcript::parse(text).expect(text), &mut peer()).expect(text);
    assert_eq!(record(WHOLE.trim_end_matches("C: a\nC: b-${_}\n")), "# x\nC: hello\nS: HELLO\n");
    assert_eq!(
        record("# x\nC: a\nC: b\nS: ${a}\n# note\nC: c"),
        "# x\nC: a\nC: b\nS: ${a}\nS: B\n# note\nC: c\nS: C\n"
    );
    assert_eq!(record("# x\nC: a\nS: B\nS: C\nC: bye\nS! closed"), "# x\nC: a\nS: A\nC: bye\nS! closed\n");
    assert_eq!(record("# x\nC: b\nC: a\nS*: A\nS*: B"), "# x\nC: b\nC: a\nS*: A\nS*: B\n");
    assert_eq!(record("# x\n2C: a"), "# x\n2C: a\n2S: A\n");
}

#[test]
fn a_closed_connection_takes_nothing_more() {
    let mut peer = peer();
    peer.open(1);
    assert_eq!(peer.send(1, b"bye\r\nhello\r\n"), b"");
    assert!(peer.is_closed(1));
    assert_eq!(peer.send(1, b"hello\r\n"), b"");
}
