//! How far an entry has come: which recipients are done, and what was tried. Stored beside the row only once
//! something is to be said.

use base::Timestamp;

use crate::codec::{Reader, Writer};
use crate::limits::{ATTEMPTS_KEPT_MAX, REPLY_BYTES_MAX};

const VERSION: u8 = 2;

/// What has become of an entry so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// Recipients that need nothing more, by their place in the envelope, ascending.
    pub done: Vec<u32>,
    /// What was tried: the first attempt and the latest ones.
    pub attempts: Vec<Attempt>,
    /// The route that an operator has named, instead of the one it would go.
    pub route: Option<String>,
}

/// One try, or one reason not to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attempt {
    /// When it ended.
    pub at: Timestamp,
    /// The host and address that were talked to; empty when there was none.
    pub host: String,
    /// What protected the connection; empty for nothing.
    pub tls: String,
    /// The reply that decided, or our own words.
    pub reply: String,
    /// Recipients, by their place in the envelope, that this is about.
    pub recipients: Vec<u32>,
    /// What followed from it.
    pub action: Action,
}

/// What follows from an attempt, with the words of RFC 3464 §2.3.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Taken over by the next system.
    Relayed,
    /// To be tried again.
    Delayed,
    /// Given up.
    Failed,
}

impl Action {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Relayed => "relayed",
            Self::Delayed => "delayed",
            Self::Failed => "failed",
        }
    }
}

impl Progress {
    /// Adds an attempt. Past the bound, the second oldest goes: the first and the latest say most.
    pub fn push(&mut self, mut attempt: Attempt) {
        cut(&mut attempt.reply);
        if attempt.action != Action::Delayed {
            self.done.extend(&attempt.recipients);
            self.done.sort_unstable();
            self.done.dedup();
        }
        if self.attempts.len() >= ATTEMPTS_KEPT_MAX {
            self.attempts.remove(1);
        }
        self.attempts.push(attempt);
    }

    /// Whether a recipient needs nothing more.
    pub fn is_done(&self, recipient: u32) -> bool {
        self.done.binary_search(&recipient).is_ok()
    }

    pub(crate) fn encode(&self) -> Vec<u8> {
        let mut out = Writer::new(VERSION);
        self.write(&mut out);
        out.finish()
    }

    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        Self::read(&mut Reader::new(bytes, VERSION)?)
    }

    pub(crate) fn write(&self, out: &mut Writer) {
        out.maybe(self.route.as_deref());
        write_numbers(out, &self.done);
        out.u32(self.attempts.len() as u32);
        for attempt in &self.attempts {
            out.time(attempt.at).text(&attempt.host).text(&attempt.tls).text(&attempt.reply);
            out.u8(attempt.action as u8);
            write_numbers(out, &attempt.recipients);
        }
    }

    pub(crate) fn read(from: &mut Reader<'_>) -> Option<Self> {
        let (route, done) = (from.maybe()?, read_numbers(from)?);
        let mut attempts = Vec::new();
        for _ in 0..from.count(ATTEMPT_BYTES_MIN)? {
            let (at, host, tls, reply) = (from.time()?, from.text()?, from.text()?, from.text()?);
            let action = match from.u8()? {
                0 => Action::Relayed,
                1 => Action::Delayed,
                2 => Action::Failed,
                _ => return None,
            };
            attempts.push(Attempt { at, host, tls, reply, recipients: read_numbers(from)?, action });
        }
        Some(Self { done, attempts, route })
    }
}

/// A time, three empty texts, an action and no recipients.
const ATTEMPT_BYTES_MIN: usize = 25;

fn write_numbers(out: &mut Writer, numbers: &[u32]) {
    out.u32(numbers.len() as u32);
    for number in numbers {
        out.u32(*number);
    }
}

fn read_numbers(from: &mut Reader<'_>) -> Option<Vec<u32>> {
    (0..from.count(4)?).map(|_| from.u32()).collect()
}

/// Shortens a text to [`REPLY_BYTES_MAX`] at a character's edge.
fn cut(text: &mut String) {
    let mut end = REPLY_BYTES_MAX.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
}
