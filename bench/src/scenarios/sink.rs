//! `smtp-sink`: a server that takes every message, counts it and keeps nothing. It can hold answers back and
//! refuse, to show what a client, or this load generator, makes of that.

use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::relay::Arrivals;
use crate::cli::{Options, SinkArgs};
use crate::clock;
use crate::limits::SINK_LINE_BYTES_MAX;
use crate::report::{Report, rounded};
use crate::serve::{Serve, Service, Then, listen};
use crate::signals;
use crate::wrong::Wrong;

pub(super) fn run(options: &Options, args: SinkArgs) -> Result<Report, Wrong> {
    if args.threads == 0 || [args.delay_every, args.reject_every].contains(&Some(0)) {
        return Err(Wrong::Usage("--threads, --delay-every and --reject-every begin at 1".into()));
    }
    crate::socket::raise_open_files(crate::limits::SERVED_MAX * args.threads)?;
    let listener = listen(args.listen)?;
    let address = listener.local_addr().map_err(|error| Wrong::io(args.listen, &error))?;
    signals::hold_back()?;
    let mut out = std::io::stdout();
    writeln!(out, "{}", serde_json::json!({ "listening": address.to_string() }))
        .and_then(|()| out.flush())
        .map_err(|error| Wrong::io("standard output", &error))?;
    let (stop, serial, began) = (AtomicBool::new(false), Arc::new(AtomicU64::new(0)), clock::now());
    let serve = || {
        let mut sink = Sink::new(args, Arc::clone(&serial));
        let served = Serve::new(&listener).and_then(|mut serve| serve.run(&mut sink, &stop));
        // One thread's end is the end of all.
        served.map(|()| sink.counted).inspect_err(|_| signals::ask_to_end())
    };
    let counted = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..args.threads).map(|_| scope.spawn(serve)).collect();
        signals::wait(options.own_duration);
        stop.store(true, Ordering::Relaxed);
        let join = |thread: std::thread::ScopedJoinHandle<'_, Result<Counted, Wrong>>| {
            thread.join().expect("a panic is reported where it happens")
        };
        threads.into_iter().map(join).collect::<Result<Vec<_>, _>>()
    })?;
    let seconds = clock::now().saturating_duration_since(began).as_secs_f64();
    let sum = |of: fn(&Counted) -> u64| counted.iter().map(of).sum::<u64>();
    let messages = sum(|counted| counted.messages);
    Ok(Report::new("smtp-sink")
        .figure("messages", messages)
        .figure("bytes", sum(|counted| counted.bytes))
        .figure("recipients", sum(|counted| counted.recipients))
        .figure("refused", sum(|counted| counted.refused))
        .figure("connections_served", sum(|counted| counted.connections))
        .figure("seconds", rounded(seconds, 3))
        .figure("rate_per_s", rounded(messages as f64 / seconds.max(1e-9), 1))
        .figure("cpu_us_each", rounded(crate::server::own_cpu_ns() as f64 / 1e3 / messages.max(1) as f64, 2)))
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counted {
    pub(super) messages: u64,
    /// Of their content, as it came over the wire.
    pub(super) bytes: u64,
    recipients: u64,
    refused: u64,
    pub(super) connections: u64,
}

/// One thread's connections.
pub(super) struct Sink {
    args: SinkArgs,
    /// Of messages, over all threads.
    serial: Arc<AtomicU64>,
    lines: Vec<Line>,
    pub(super) counted: Counted,
    /// Looks at what arrives, for a scenario that has sent it.
    pub(super) arrivals: Option<Arrivals>,
}

#[derive(Default)]
struct Line {
    /// A command without its end so far; within the content, its last bytes.
    partial: Vec<u8>,
    expects: Expects,
    recipients: u64,
}

/// What the next bytes of a client are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expects {
    #[default]
    Command,
    /// Content up to its dot.
    Content,
    /// A chunk of it (RFC 3030 §2), so much of which is still to come.
    Chunk { left: u64, is_last: bool },
}

const CONTENT_END: &[u8] = b"\r\n.\r\n";

impl Sink {
    pub(super) fn new(args: SinkArgs, serial: Arc<AtomicU64>) -> Self {
        Self { args, serial, lines: Vec::new(), counted: Counted::default(), arrivals: None }
    }

    /// As [`Sink::new`], and `arrivals` looks at every message.
    pub(super) fn watched(args: SinkArgs, serial: Arc<AtomicU64>, arrivals: Arrivals) -> Self {
        Self { arrivals: Some(arrivals), ..Self::new(args, serial) }
    }

    /// Answers a command, and says whether the connection ends.
    fn command(&mut self, id: usize, command: &[u8], output: &mut Vec<u8>) -> bool {
        let verb = command.split(|byte| *byte == b' ').next().unwrap_or_default().to_ascii_uppercase();
        let line = &mut self.lines[id];
        let hello: &[u8] = if self.args.is_lmtp { b"LHLO" } else { b"EHLO" };
        let reply: &[u8] = match verb.as_slice() {
            verb if verb == hello => {
                output.extend_from_slice(b"250-sink.example.org\r\n250-PIPELINING\r\n250-SIZE\r\n");
                if self.args.chunking {
                    output.extend_from_slice(b"250-CHUNKING\r\n");
                }
                b"250-8BITMIME\r\n250 SMTPUTF8\r\n"
            }
            b"HELO" if !self.args.is_lmtp => b"250 sink.example.org\r\n",
            b"MAIL" | b"RSET" => {
                line.recipients = 0;
                self.arrivals.iter_mut().for_each(|arrivals| arrivals.forget(id));
                b"250 ok\r\n"
            }
            b"RCPT" => {
                line.recipients += 1;
                self.arrivals.iter_mut().for_each(|arrivals| arrivals.recipient(id, command));
                b"250 ok\r\n"
            }
            b"NOOP" => b"250 ok\r\n",
            b"BDAT" if self.args.chunking => {
                let Some(chunk) = chunk(command) else { return true };
                line.expects = chunk;
                // It is answered when it is there.
                b""
            }
            b"DATA" if line.recipients > 0 => {
                line.expects = Expects::Content;
                // A dot may be the first thing that comes.
                line.partial.extend_from_slice(b"\r\n");
                b"354 go on\r\n"
            }
            b"DATA" => b"503 to whom?\r\n",
            b"QUIT" => {
                output.extend_from_slice(b"221 bye\r\n");
                return true;
            }
            _ => b"500 what?\r\n",
        };
        output.extend_from_slice(reply);
        false
    }

    /// Takes content; how many bytes of `bytes` belong to it, if it ends among them.
    fn content(&mut self, id: usize, bytes: &[u8]) -> Option<usize> {
        let line = &mut self.lines[id];
        let seam = line.partial.len();
        line.partial.extend_from_slice(&bytes[..bytes.len().min(CONTENT_END.len() - 1)]);
        let end = match memchr::memmem::find(&line.partial, CONTENT_END) {
            Some(at) => Some(at + CONTENT_END.len() - seam),
            None => memchr::memmem::find(bytes, CONTENT_END).map(|at| at + CONTENT_END.len()),
        };
        let own = &bytes[..end.unwrap_or(bytes.len())];
        self.counted.bytes += own.len() as u64;
        self.arrivals.iter_mut().for_each(|arrivals| arrivals.content(id, own));
        if end.is_none() {
            if bytes.len() >= CONTENT_END.len() {
                line.partial.clear();
                line.partial.extend_from_slice(&bytes[bytes.len() - (CONTENT_END.len() - 1)..]);
            } else {
                let surplus = line.partial.len().saturating_sub(CONTENT_END.len() - 1);
                line.partial.drain(..surplus);
            }
        } else {
            line.partial.clear();
            line.expects = Expects::Command;
            self.arrivals.iter_mut().for_each(|arrivals| arrivals.cut_dot(id));
        }
        end
    }

    /// Takes some of a chunk, or its end where nothing is left of it; how many bytes of `bytes` belong to it, and
    /// what follows if that was its end.
    fn chunk(&mut self, id: usize, bytes: &[u8], output: &mut Vec<u8>) -> (usize, Option<Then>) {
        let line = &mut self.lines[id];
        let Expects::Chunk { left, is_last } = line.expects else { return (0, None) };
        let count = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let left = left - count as u64;
        self.counted.bytes += count as u64;
        self.arrivals.iter_mut().for_each(|arrivals| arrivals.content(id, &bytes[..count]));
        if left > 0 {
            line.expects = Expects::Chunk { left, is_last };
            return (count, None);
        }
        line.expects = Expects::Command;
        if is_last && line.recipients > 0 {
            return (count, Some(self.received(id, output)));
        }
        output.extend_from_slice(if is_last { b"503 to whom?\r\n" } else { b"250 ok\r\n" });
        (count, Some(Then::Answer))
    }

    /// Answers the content.
    fn received(&mut self, id: usize, output: &mut Vec<u8>) -> Then {
        let serial = self.serial.fetch_add(1, Ordering::Relaxed) + 1;
        let is_each = |every: Option<u64>| every.is_some_and(|every| serial.is_multiple_of(every));
        let recipients = std::mem::take(&mut self.lines[id].recipients);
        let replies = if self.args.is_lmtp { recipients } else { 1 };
        let is_refused = is_each(self.args.reject_every);
        let reply: &[u8] = if is_refused { b"451 not now\r\n" } else { b"250 taken\r\n" };
        (0..replies).for_each(|_| output.extend_from_slice(reply));
        if is_refused {
            self.counted.refused += 1;
        } else {
            self.counted.messages += 1;
            self.counted.recipients += recipients;
            self.arrivals.iter_mut().for_each(|arrivals| arrivals.taken(id));
        }
        match self.args.delay {
            Some(delay) if is_each(self.args.delay_every) => Then::Hold(Duration::from_millis(delay)),
            _ => Then::Answer,
        }
    }
}

impl Service for Sink {
    fn opened(&mut self, id: usize, output: &mut Vec<u8>) {
        if self.lines.len() <= id {
            self.lines.resize_with(id + 1, Line::default);
        }
        self.lines[id] = Line::default();
        self.counted.connections += 1;
        output.extend_from_slice(b"220 sink.example.org\r\n");
    }

    fn input(&mut self, id: usize, mut bytes: &[u8], output: &mut Vec<u8>) -> Then {
        let mut then = Then::Answer;
        loop {
            if let Expects::Chunk { .. } = self.lines[id].expects {
                let (count, end) = self.chunk(id, bytes, output);
                bytes = &bytes[count..];
                match end {
                    None => break,
                    Some(Then::Answer) => {}
                    Some(other) => then = other,
                }
                continue;
            }
            if bytes.is_empty() {
                break;
            }
            if self.lines[id].expects == Expects::Content {
                let Some(end) = self.content(id, bytes) else { break };
                bytes = &bytes[end..];
                match self.received(id, output) {
                    Then::Answer => {}
                    other => then = other,
                }
                continue;
            }
            let mut command = std::mem::take(&mut self.lines[id].partial);
            let Some(end) = memchr::memchr(b'\n', bytes) else {
                command.extend_from_slice(bytes);
                if command.len() > SINK_LINE_BYTES_MAX {
                    return Then::Close;
                }
                self.lines[id].partial = command;
                break;
            };
            command.extend_from_slice(&bytes[..end]);
            bytes = &bytes[end + 1..];
            let has_quit = self.command(id, command.strip_suffix(b"\r").unwrap_or(&command), output);
            if has_quit {
                return Then::Close;
            }
        }
        then
    }
}

/// `BDAT chunk-size [LAST]`; `None` where it is something else, after which nobody knows what the bytes mean.
fn chunk(command: &[u8]) -> Option<Expects> {
    let text = std::str::from_utf8(command).ok()?;
    let mut words = text.split_ascii_whitespace().skip(1);
    let left = words.next()?.parse().ok()?;
    let is_last = words.next().is_some_and(|word| word.eq_ignore_ascii_case("LAST"));
    Some(Expects::Chunk { left, is_last })
}

#[cfg(test)]
mod tests;
