//! `UPDATE=1`: the transcript with what the peer really says.

use std::collections::BTreeMap;

use crate::play::Player;
use crate::transcript::write_expected;
use crate::{Action, Bindings, Cut, Mismatch, Pattern, Peer, Step, Transcript};

/// Plays the transcript and gives its text with the `S` lines as they came. Lines that match keep
/// their spelling, variables included.
pub fn record(transcript: &Transcript, peer: &mut dyn Peer) -> Result<String, Mismatch> {
    let mut recorder = Recorder {
        player: Player::new(transcript, peer, Cut::Whole),
        is_numbered: transcript.steps.iter().any(|step| step.connection != 1),
        replaced: BTreeMap::new(),
        inserted: BTreeMap::new(),
    };
    let first = transcript.steps.first().map_or(transcript.source.len(), |step| step.line);
    if !matches!(transcript.steps.first(), Some(step) if is_expected(&step.action)) {
        recorder.insert_rest(first.saturating_sub(1), 1);
    }
    let mut at = 0;
    while let Some(step) = transcript.steps.get(at) {
        recorder.opened(step);
        at += match step.action {
            Action::Expect(_) | Action::ExpectFree(_) => recorder.expected(transcript, at),
            _ => recorder.acted(transcript, step, at)?,
        };
    }
    Ok(recorder.text(transcript))
}

struct Recorder<'a> {
    player: Player<'a>,
    is_numbered: bool,
    /// New text by the number of the line it replaces; `None` when the line goes.
    replaced: BTreeMap<usize, Option<String>>,
    /// New lines by the number of the line they follow.
    inserted: BTreeMap<usize, Vec<String>>,
}

impl Recorder<'_> {
    /// What a new connection is greeted with stands before what its client says.
    fn opened(&mut self, step: &Step) {
        let is_new = !self.player.heard.contains_key(&step.connection);
        self.player.open(step.connection);
        if is_new && !is_expected(&step.action) {
            self.insert_rest(step.line - 1, step.connection);
        }
    }

    fn acted(&mut self, transcript: &Transcript, step: &Step, at: usize) -> Result<usize, Mismatch> {
        let count = self.player.act(step, at)?;
        let next = transcript.steps.get(at + count);
        let is_expected_next =
            next.is_some_and(|next| next.connection == step.connection && is_expected(&next.action));
        if !is_expected_next {
            let last = transcript.steps.get(at + count - 1).map_or(step.line, |last| last.line);
            self.insert_rest(last, step.connection);
        }
        Ok(count)
    }

    fn insert_rest(&mut self, after: usize, connection: u32) {
        let lines: Vec<String> =
            self.rest(connection).iter().map(|line| self.numbered(connection, line)).collect();
        self.inserted.entry(after).or_default().extend(lines);
    }

    fn rest(&mut self, connection: u32) -> Vec<Vec<u8>> {
        let mut lines = Vec::new();
        loop {
            let line = self.player.line(connection);
            if line.is_empty() {
                return lines;
            }
            lines.push(line);
        }
    }

    /// A run of expected lines of one connection takes all that the peer has said on it.
    fn expected(&mut self, transcript: &Transcript, at: usize) -> usize {
        let connection = transcript.steps.get(at).map_or(1, |step| step.connection);
        let run: Vec<(usize, &Pattern, bool)> = transcript
            .steps
            .iter()
            .skip(at)
            .filter(|step| !matches!(step.action, Action::ExpectClosed))
            .map_while(|step| match &step.action {
                Action::Expect(pattern) if step.connection == connection => Some((step.line, pattern, false)),
                Action::ExpectFree(pattern) if step.connection == connection => {
                    Some((step.line, pattern, true))
                }
                _ => None,
            })
            .collect();
        let lines = self.rest(connection);
        if let Some(bindings) = matches_all(&run, &lines, &self.player.bindings) {
            self.player.bindings = bindings;
            return run.len();
        }
        for (i, (number, pattern, _)) in run.iter().enumerate() {
            let new = match lines.get(i) {
                Some(line) if pattern.matches(line, &mut self.player.bindings) => continue,
                Some(line) => Some(self.numbered(connection, line)),
                None => None,
            };
            self.replaced.insert(*number, new);
        }
        let last = run.last().map_or(0, |(number, ..)| *number);
        let rest: Vec<String> =
            lines.iter().skip(run.len()).map(|line| self.numbered(connection, line)).collect();
        self.inserted.entry(last).or_default().extend(rest);
        run.len()
    }

    fn numbered(&self, connection: u32, line: &[u8]) -> String {
        let text = write_expected(line);
        if self.is_numbered { format!("{connection}{text}") } else { text }
    }

    fn text(&self, transcript: &Transcript) -> String {
        let mut out: Vec<&str> = Vec::new();
        for (at, line) in transcript.source.iter().enumerate() {
            match self.replaced.get(&(at + 1)) {
                Some(Some(new)) => out.push(new),
                Some(None) => {}
                None => out.push(line),
            }
            out.extend(self.inserted.get(&(at + 1)).into_iter().flatten().map(String::as_str));
        }
        out.join("\n") + "\n"
    }
}

const fn is_expected(action: &Action) -> bool {
    matches!(action, Action::Expect(_) | Action::ExpectFree(_))
}

fn matches_all(run: &[(usize, &Pattern, bool)], lines: &[Vec<u8>], bindings: &Bindings) -> Option<Bindings> {
    let (mut bindings, mut lines) = (bindings.clone(), lines.to_vec());
    for (i, (_, pattern, is_free)) in run.iter().enumerate() {
        let free_run = run.iter().skip(i).take_while(|(.., is_free)| *is_free).count();
        let window = if *is_free { free_run } else { 1 };
        let found = lines.iter().take(window).position(|line| pattern.matches(line, &mut bindings))?;
        lines.remove(found);
    }
    lines.is_empty().then_some(bindings)
}
