//! Plays a transcript against a peer and says where they differ.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use crate::transcript::write_expected;
use crate::{Action, Bindings, Cut, Pattern, Peer, Step, Transcript};

/// Where peer and transcript differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mismatch {
    /// The file, if there is one.
    pub path: PathBuf,
    /// The line of the transcript, from 1.
    pub line: usize,
    /// What stands there.
    pub expected: String,
    /// What came instead.
    pub got: String,
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, line, expected, got } = self;
        write!(f, "{}:{line}: expected `{expected}`, got `{got}`", path.display())
    }
}

/// Plays the transcript; client lines that follow each other arrive as one read.
pub fn play(transcript: &Transcript, peer: &mut dyn Peer) -> Result<(), Mismatch> {
    play_cut(transcript, peer, Cut::Whole)
}

/// Plays the transcript with the client's bytes delivered as `cut` says. The answers must be the
/// same.
pub fn play_cut(transcript: &Transcript, peer: &mut dyn Peer, cut: Cut) -> Result<(), Mismatch> {
    let mut player = Player::new(transcript, peer, cut);
    let mut at = 0;
    while let Some(step) = transcript.steps.get(at) {
        at += player.step(step, at)?;
    }
    let last = transcript.steps.last().map_or(0, |step| step.line);
    let connections: Vec<u32> = player.heard.keys().copied().collect();
    connections.into_iter().try_for_each(|connection| player.nothing_left(connection, last))
}

/// A transcript being played.
pub(crate) struct Player<'a> {
    transcript: &'a Transcript,
    peer: &'a mut dyn Peer,
    cut: Cut,
    /// Bytes the client has sent on all connections.
    sent: usize,
    pub(crate) bindings: Bindings,
    /// What each open connection has said and nobody has looked at.
    pub(crate) heard: BTreeMap<u32, Vec<u8>>,
}

impl<'a> Player<'a> {
    pub(crate) fn new(transcript: &'a Transcript, peer: &'a mut dyn Peer, cut: Cut) -> Self {
        let (bindings, heard) = (Bindings::new(), BTreeMap::new());
        let mut player = Self { transcript, peer, cut, sent: 0, bindings, heard };
        player.open(1);
        player
    }

    /// Does the step at `at`, and those that belong to it; gives how many that were.
    fn step(&mut self, step: &Step, at: usize) -> Result<usize, Mismatch> {
        self.open(step.connection);
        match &step.action {
            Action::Expect(pattern) => self.expect(step, pattern).map(|()| 1),
            Action::ExpectFree(_) => self.expect_free(step, at),
            Action::ExpectClosed => self.expect_closed(step).map(|()| 1),
            Action::Send(_) => {
                self.nothing_left(step.connection, step.line)?;
                self.act(step, at)
            }
            Action::Close | Action::Clock(_) | Action::Event(..) => self.act(step, at),
        }
    }

    /// Does what the client or the world does at `at`; gives how many steps that were.
    pub(crate) fn act(&mut self, step: &Step, at: usize) -> Result<usize, Mismatch> {
        match &step.action {
            Action::Send(_) => return self.send_all(step, at),
            Action::Close => self.peer.close(step.connection),
            Action::Clock(ms) => {
                let said = self.peer.clock_ms(*ms);
                self.hear(1, said);
            }
            Action::Event(key, value) => {
                self.peer
                    .event(key, value)
                    .map_err(|why| self.mismatch(step.line, format!("{key}: {value}"), why))?;
            }
            Action::Expect(_) | Action::ExpectFree(_) | Action::ExpectClosed => {}
        }
        Ok(1)
    }

    pub(crate) fn open(&mut self, connection: u32) {
        if !self.heard.contains_key(&connection) {
            let said = self.peer.open(connection);
            self.heard.insert(connection, said);
        }
    }

    fn send_all(&mut self, step: &Step, at: usize) -> Result<usize, Mismatch> {
        let mut bytes = Vec::new();
        let mut count = 0;
        for next in self.transcript.steps.iter().skip(at) {
            let Action::Send(pattern) = &next.action else { break };
            if next.connection != step.connection {
                break;
            }
            let unbound =
                |name| self.mismatch(next.line, format!("${{{name}}} to be known"), "it is not".into());
            bytes.extend(pattern.fill(&self.bindings).map_err(unbound)?);
            count += 1;
        }
        for piece in self.cut.pieces(&bytes, self.sent) {
            let said = self.peer.send(step.connection, piece);
            self.hear(step.connection, said);
        }
        self.sent += bytes.len();
        Ok(count)
    }

    fn hear(&mut self, connection: u32, said: Vec<u8>) {
        self.heard.entry(connection).or_default().extend(said);
    }

    /// The next line, or the rest when no more comes; empty when there is nothing.
    pub(crate) fn line(&mut self, connection: u32) -> Vec<u8> {
        loop {
            let heard = self.heard.entry(connection).or_default();
            if let Some(end) = heard.windows(2).position(|pair| pair == b"\r\n") {
                return heard.drain(..end + 2).collect();
            }
            let more = self.peer.more(connection);
            if more.is_empty() {
                return std::mem::take(heard);
            }
            heard.extend(more);
        }
    }

    fn expect(&mut self, step: &Step, pattern: &Pattern) -> Result<(), Mismatch> {
        let line = self.line(step.connection);
        if pattern.matches(&line, &mut self.bindings) {
            return Ok(());
        }
        Err(self.unlike(step.line, pattern, &line))
    }

    fn expect_free(&mut self, step: &Step, at: usize) -> Result<usize, Mismatch> {
        let group = free_group(self.transcript, at);
        let mut lines: Vec<Vec<u8>> = group.iter().map(|_| self.line(step.connection)).collect();
        for (line, pattern) in &group {
            match lines.iter().position(|said| pattern.matches(said, &mut self.bindings)) {
                Some(found) => drop(lines.remove(found)),
                None => return Err(self.unlike(*line, pattern, &lines.concat())),
            }
        }
        Ok(group.len())
    }

    fn expect_closed(&mut self, step: &Step) -> Result<(), Mismatch> {
        if !self.peer.is_closed(step.connection) {
            let more = self.peer.more(step.connection);
            self.hear(step.connection, more);
        }
        self.nothing_left(step.connection, step.line)?;
        if self.peer.is_closed(step.connection) {
            return Ok(());
        }
        Err(self.mismatch(step.line, "closed".to_owned(), "an open connection".to_owned()))
    }

    pub(crate) fn nothing_left(&mut self, connection: u32, line: usize) -> Result<(), Mismatch> {
        let rest = self.heard.get(&connection).map(Vec::as_slice).unwrap_or_default();
        if rest.is_empty() {
            return Ok(());
        }
        Err(self.mismatch(line, "nothing more before this".to_owned(), shown(rest)))
    }

    fn unlike(&self, line: usize, pattern: &Pattern, got: &[u8]) -> Mismatch {
        self.mismatch(line, shown(&pattern.fill_known(&self.bindings)), shown(got))
    }

    fn mismatch(&self, line: usize, expected: String, got: String) -> Mismatch {
        Mismatch { path: self.transcript.path.clone(), line, expected, got }
    }
}

/// The `S*:` steps of one connection that stand together, from `at` on.
fn free_group(transcript: &Transcript, at: usize) -> Vec<(usize, &Pattern)> {
    let connection = transcript.steps.get(at).map(|step| step.connection);
    let steps = transcript.steps.iter().skip(at);
    steps
        .map_while(|step| match &step.action {
            Action::ExpectFree(pattern) if Some(step.connection) == connection => Some((step.line, pattern)),
            _ => None,
        })
        .collect()
}

fn shown(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "nothing".to_owned();
    }
    let lines = bytes.split_inclusive(|&b| b == b'\n').map(write_expected);
    lines.collect::<Vec<_>>().join(" / ")
}
