//! From bytes to complete commands: lines and the literals in them (RFC 9051 §4.3, RFC 7888).
//! A literal is read by its count, so nothing inside it can be taken for a command; what is refused
//! is read past the same way.

use alloc::string::{String, ToString};
use alloc::sync::Arc;
use alloc::vec::Vec;
use core::mem;

use base::{Budget, Charge, Line, LineError, take_line};

use crate::limits::{
    ATTACHED_BYTES_MIN, INPUT_BYTES_MAX, Limits, MESSAGE_DOUBLING_BYTES, MESSAGES_PER_APPEND_MAX,
    TAG_BYTES_MAX,
};
use crate::parse::{Cursor, Text};

/// What the input has come to.
#[derive(Clone, Debug)]
pub(crate) enum Taken {
    /// More bytes are needed.
    Nothing,
    /// A command, complete.
    Command(Text),
    /// The client waits to be told to send its literal.
    Continue,
    /// A command that was not taken, and is gone.
    Refused(Option<String>, Refusal),
    /// What follows cannot be understood: the connection has to end.
    Lost(Refusal),
}

/// Why a command was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A line beyond its limit.
    LineTooLong,
    /// A CR without LF, an LF without CR, or a NUL.
    BareLineBreak,
    /// A literal, or a command as a whole, beyond its limit.
    TooBig,
    /// A message beyond its limit (RFC 7889 §4).
    MessageTooBig,
    /// More than the memory that all connections share has left now.
    NoMemory,
}

/// Bytes that came in and what has become of them.
#[derive(Default)]
pub(crate) struct Input {
    bytes: Vec<u8>,
    text: Text,
    phase: Phase,
    discarded: u64,
    /// Covers the literals of the command that is coming in or being done.
    charge: Charge,
}

#[derive(Default)]
enum Phase {
    /// A line, or the rest of one after a literal.
    #[default]
    Line,
    /// The bytes of a literal, into the text.
    Literal { left: u64 },
    /// The bytes of a message, beside the text.
    Message { left: u64, data: Vec<u8> },
    /// The bytes of a literal that is refused; then the rest of its line.
    Skip { left: u64, why: Refusal },
    /// The rest of a command that is refused.
    SkipLine { why: Refusal },
}

impl Input {
    /// As the default, but literals are taken of `budget`.
    pub(crate) fn within(budget: Arc<Budget>) -> Self {
        Self { charge: Charge::new(Some(budget)), ..Self::default() }
    }

    /// Takes bytes; those of a message go where they stay.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        if let Phase::Message { left, .. } = &self.phase
            && self.bytes.is_empty()
        {
            let count = usize::try_from(*left).unwrap_or(usize::MAX).min(bytes.len());
            let (own, after) = bytes.split_at(count);
            self.take_message(own);
            rest = after;
        }
        self.bytes.extend_from_slice(rest);
    }

    /// Bytes of a message; when there is no memory for them, it is read past from here on.
    fn take_message(&mut self, bytes: &[u8]) {
        let Phase::Message { left, data } = &mut self.phase else { return };
        *left -= bytes.len() as u64;
        let (held, needed) = (data.capacity(), data.len() + bytes.len());
        if needed > held {
            // What was announced is the most that it can need.
            let whole = data.len() + bytes.len() + usize::try_from(*left).unwrap_or(usize::MAX - needed);
            let step = if held < MESSAGE_DOUBLING_BYTES { held } else { held / 4 };
            let room = (held + step).clamp(needed, whole);
            if !self.charge.cover(self.charge.bytes() + (room - held)) {
                self.discarded = self.discarded.saturating_add(*left);
                self.text.attached = Vec::new();
                self.text.bytes.truncate(TAG_BYTES_MAX + 1);
                self.phase = Phase::Skip { left: *left, why: Refusal::NoMemory };
                self.charge.release();
                return;
            }
            data.reserve_exact(room - data.len());
        }
        data.extend_from_slice(bytes);
    }

    /// How many bytes more it would take.
    pub(crate) fn room(&self, limits: &Limits) -> usize {
        limits.line_bytes_max.max(INPUT_BYTES_MAX).saturating_sub(self.bytes.len())
    }

    /// Forgets everything: what came before TLS was not said inside it (RFC 9051 §6.2.1).
    pub(crate) fn clear(&mut self) {
        let mut charge = mem::take(&mut self.charge);
        charge.release();
        *self = Self { charge, ..Self::default() };
    }

    /// Bytes held, messages that are coming in included.
    pub(crate) fn buffered_bytes(&self) -> usize {
        let message = if let Phase::Message { data, .. } = &self.phase { data.capacity() } else { 0 };
        let attached: usize = self.text.attached.iter().map(|(_, data)| data.capacity()).sum();
        self.bytes.capacity() + self.text.bytes.capacity() + message + attached
    }

    /// A line that is no command: a SASL response, or DONE.
    pub(crate) fn take_line(&mut self, limits: &Limits) -> Result<Option<Vec<u8>>, Refusal> {
        match take_line(&mut self.bytes, limits.line_bytes_max) {
            Ok(Line::Complete(line)) => Ok(Some(line)),
            Ok(Line::Partial) => Ok(None),
            Err(LineError::TooLong) => Err(Refusal::LineTooLong),
            Err(LineError::BareLineBreak | LineError::Nul) => Err(Refusal::BareLineBreak),
        }
    }

    /// Gives back a line that was taken for none and begins as a command does, to be taken as one.
    pub(crate) fn put_back(&mut self, mut line: Vec<u8>) {
        if tag(&line).is_some() {
            line.extend_from_slice(b"\r\n");
            line.append(&mut self.bytes);
            self.bytes = line;
        }
    }

    /// The next command. `takes_messages` once somebody is logged in.
    pub(crate) fn take(&mut self, limits: &Limits, takes_messages: bool) -> Taken {
        if self.text.bytes.is_empty() {
            // The command before is done.
            self.charge.release();
        }
        loop {
            if !self.pour() {
                return Taken::Nothing;
            }
            let broken = broken_line(&self.bytes);
            let line = match self.take_line(limits) {
                Ok(Some(line)) => line,
                Ok(None) => return self.rest(),
                Err(Refusal::LineTooLong) => return Taken::Lost(Refusal::LineTooLong),
                Err(why) => {
                    // A line that may have announced a literal, or followed one, leaves it unclear
                    // what the next bytes are.
                    let is_clear =
                        self.text.bytes.is_empty() && broken.as_ref().is_some_and(|line| !line.is_announcing);
                    self.text = Text::default();
                    let tag = broken.and_then(|line| line.tag);
                    return if is_clear { Taken::Refused(tag, why) } else { Taken::Lost(why) };
                }
            };
            if let Some(taken) = self.line(line, limits, takes_messages) {
                return taken;
            }
        }
    }

    /// Moves bytes to where the phase wants them; true when a line is due.
    fn pour(&mut self) -> bool {
        let available = self.bytes.len();
        let take = |left: &mut u64| {
            let count = usize::try_from(*left).unwrap_or(usize::MAX).min(available);
            *left -= count as u64;
            count
        };
        match &mut self.phase {
            Phase::Line | Phase::SkipLine { .. } => return true,
            Phase::Literal { left } => {
                let count = take(left);
                self.text.bytes.extend(self.bytes.drain(..count));
                if *left > 0 {
                    return false;
                }
            }
            Phase::Message { left, .. } => {
                let count = usize::try_from(*left).unwrap_or(usize::MAX).min(available);
                let mut bytes = mem::take(&mut self.bytes);
                self.take_message(bytes.get(..count).unwrap_or_default());
                bytes.drain(..count);
                self.bytes = bytes;
                return self.message_done();
            }
            Phase::Skip { left, why } => {
                let (count, why) = (take(left), *why);
                self.bytes.drain(..count);
                if *left > 0 {
                    return false;
                }
                self.phase = Phase::SkipLine { why };
                return true;
            }
        }
        self.phase = Phase::Line;
        true
    }

    /// After bytes of a message: true when a line is due.
    fn message_done(&mut self) -> bool {
        match &mut self.phase {
            Phase::Message { left: 0, data } => {
                self.text.attached.push((self.text.bytes.len(), Arc::new(mem::take(data))));
                self.phase = Phase::Line;
                true
            }
            Phase::Skip { left: 0, why } => {
                self.phase = Phase::SkipLine { why: *why };
                true
            }
            _ => false,
        }
    }

    /// An idle connection holds no buffer.
    fn rest(&mut self) -> Taken {
        if self.bytes.is_empty() {
            self.bytes = Vec::new();
        }
        Taken::Nothing
    }

    /// What a line, or a piece of one before a literal, leads to.
    fn line(&mut self, line: Vec<u8>, limits: &Limits, takes_messages: bool) -> Option<Taken> {
        let announced = announced(&line);
        if self.text.bytes.is_empty() {
            self.text.bytes = line;
        } else {
            self.text.bytes.extend_from_slice(&line);
        }
        if let Phase::SkipLine { why } = self.phase {
            return self.skipped(announced, why, limits);
        }
        let is_append = takes_messages && is_append(&self.text.bytes);
        let Some(literal) = announced else {
            let text = mem::take(&mut self.text);
            let is_bounded = text.bytes.len() <= limits.command_bytes_max;
            return Some(if is_bounded {
                Taken::Command(text)
            } else {
                Taken::Refused(tag(&text.bytes), Refusal::TooBig)
            });
        };
        if let Some(why) = self.refusal(&literal, limits, is_append).or_else(|| self.no_memory(&literal)) {
            return self.refuse(&literal, why, limits);
        }
        let is_message = is_append && literal.length >= ATTACHED_BYTES_MIN;
        // A message is covered as it comes, other literals, which are small, by what was announced.
        let bytes = if is_message { 0 } else { literal.length as usize };
        if !self.charge.cover(self.charge.bytes() + bytes) {
            return self.refuse(&literal, Refusal::NoMemory, limits);
        }
        self.text.bytes.extend_from_slice(b"\r\n");
        self.phase = if is_message {
            Phase::Message { left: literal.length, data: Vec::new() }
        } else {
            Phase::Literal { left: literal.length }
        };
        (!literal.is_sent_at_once).then_some(Taken::Continue)
    }

    fn refusal(&self, literal: &Announced, limits: &Limits, is_append: bool) -> Option<Refusal> {
        let attached: usize = self.text.attached.iter().map(|(_, data)| data.len()).sum();
        let (one_max, all_max, why) = if is_append {
            (limits.append_bytes_max, limits.append_command_bytes_max, Refusal::MessageTooBig)
        } else {
            (limits.literal_bytes_max, limits.command_bytes_max, Refusal::TooBig)
        };
        let all = literal.length.saturating_add((self.text.bytes.len() + attached) as u64);
        let text_is_bounded = self.text.bytes.len() <= limits.command_bytes_max;
        let has_room = self.text.attached.len() < MESSAGES_PER_APPEND_MAX;
        (!has_room || literal.length > one_max as u64 || all > all_max as u64 || !text_is_bounded)
            .then_some(why)
    }

    /// What there is no memory for now need not come at all.
    fn no_memory(&self, literal: &Announced) -> Option<Refusal> {
        let bytes = usize::try_from(literal.length).unwrap_or(usize::MAX);
        let has_room = self.charge.has_room(self.charge.bytes().saturating_add(bytes));
        (!has_room).then_some(Refusal::NoMemory)
    }

    /// Refuses a literal: at once if its client waits, else after what it sends has passed by.
    fn refuse(&mut self, literal: &Announced, why: Refusal, limits: &Limits) -> Option<Taken> {
        if !literal.is_sent_at_once {
            let text = mem::take(&mut self.text);
            return Some(Taken::Refused(tag(&text.bytes), why));
        }
        self.text.attached = Vec::new();
        // Only the tag is needed from here on.
        self.text.bytes.truncate(TAG_BYTES_MAX + 1);
        self.discarded = self.discarded.saturating_add(literal.length);
        if self.discarded > limits.discard_bytes_max {
            return Some(Taken::Lost(why));
        }
        self.phase = Phase::Skip { left: literal.length, why };
        None
    }

    /// The rest of a line whose literal was refused: the end of its command, or another literal.
    fn skipped(&mut self, announced: Option<Announced>, why: Refusal, limits: &Limits) -> Option<Taken> {
        if let Some(literal) = announced.filter(|literal| literal.is_sent_at_once) {
            return self.refuse(&literal, why, limits);
        }
        self.phase = Phase::Line;
        let text = mem::take(&mut self.text);
        Some(Taken::Refused(tag(&text.bytes), why))
    }
}

/// The announcement of a literal at a line's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Announced {
    length: u64,
    /// `{n+}`: the bytes come without waiting for us (RFC 7888 §4).
    is_sent_at_once: bool,
}

fn announced(line: &[u8]) -> Option<Announced> {
    let inside = line.strip_suffix(b"}")?;
    let open = memchr::memrchr(b'{', inside)?;
    let inside = inside.get(open + 1..)?;
    let (digits, is_sent_at_once) = match inside.strip_suffix(b"+") {
        Some(digits) => (digits, true),
        None => (inside, false),
    };
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let length = digits
        .iter()
        .fold(0_u64, |length, digit| length.saturating_mul(10).saturating_add(u64::from(digit - b'0')));
    Some(Announced { length, is_sent_at_once })
}

/// The tag a command begins with, if it has one.
fn tag(bytes: &[u8]) -> Option<String> {
    let mut cursor = Cursor::new(bytes);
    let tag = cursor.tag().ok().filter(|tag| tag.len() <= TAG_BYTES_MAX)?.to_string();
    cursor.skip(b' ').then_some(tag)
}

/// Whether a command is APPEND: its literals may be messages.
fn is_append(bytes: &[u8]) -> bool {
    let mut cursor = Cursor::new(bytes);
    cursor.tag().is_ok() && cursor.skip(b' ') && cursor.skip_word("APPEND ")
}

struct Broken {
    tag: Option<String>,
    is_announcing: bool,
}

/// What can be said of the next line if it has a byte that no line may have.
fn broken_line(bytes: &[u8]) -> Option<Broken> {
    let line = memchr::memmem::find(bytes, b"\r\n").and_then(|end| bytes.get(..end))?;
    memchr::memchr3(b'\r', b'\n', 0, line)?;
    Some(Broken { tag: tag(line), is_announcing: line.ends_with(b"}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits() -> Limits {
        Limits {
            line_bytes_max: 64,
            literal_bytes_max: 16,
            append_bytes_max: 5000,
            command_bytes_max: 128,
            append_command_bytes_max: 6000,
            discard_bytes_max: 9000,
            ..Limits::default()
        }
    }

    fn all(bytes: &[u8], piece: usize) -> Vec<String> {
        let mut input = Input::default();
        let mut out = Vec::new();
        for bytes in bytes.chunks(piece) {
            input.feed(bytes);
            loop {
                out.push(match input.take(&limits(), true) {
                    Taken::Nothing => break,
                    Taken::Command(text) => {
                        let attached: Vec<_> =
                            text.attached.iter().map(|(at, data)| (*at, data.len())).collect();
                        format!("{} {attached:?}", String::from_utf8_lossy(&text.bytes))
                    }
                    Taken::Continue => "+".to_owned(),
                    Taken::Refused(tag, why) => format!("{tag:?} {why:?}"),
                    Taken::Lost(why) => {
                        out.push(format!("lost {why:?}"));
                        return out;
                    }
                });
            }
        }
        out
    }

    #[test]
    fn commands_come_out_whole_however_they_came_in() {
        let long = "x".repeat(4096);
        let append = format!("d APPEND a {{4096+}}\r\n{long} {{2}}\r\nab\r\n");
        let input =
            ["a NOOP\r\nb LOGIN {3}\r\na\r\n \"b\"\r\nc LOGIN {2+}\r\n\r\n {1+}\r\nx\r\n", &append].concat();
        let want = [
            "a NOOP []",
            "+",
            "b LOGIN {3}\r\na\r\n \"b\" []",
            "c LOGIN {2+}\r\n\r\n {1+}\r\nx []",
            "+",
            "d APPEND a {4096+}\r\n {2}\r\nab [(20, 4096)]",
        ];
        for piece in [1, 2, 7, 64, 10_000] {
            assert_eq!(all(input.as_bytes(), piece), want, "in pieces of {piece}");
        }
    }

    #[test]
    fn what_is_too_big_is_read_past() {
        let input =
            format!("a LOGIN {{17}}\r\nb LOGIN {{17+}}\r\n{} {{2+}}\r\nab x\r\nc NOOP\r\n", "y".repeat(17));
        let want = ["Some(\"a\") TooBig", "Some(\"b\") TooBig", "c NOOP []"];
        for piece in [1, 5, 1000] {
            assert_eq!(all(input.as_bytes(), piece), want, "in pieces of {piece}");
        }
        assert_eq!(all(b"a APPEND x {5001}\r\n", 99), ["Some(\"a\") MessageTooBig"]);
        assert_eq!(all(b"a APPEND x {99999999999999999999999+}\r\n", 99), ["lost MessageTooBig"]);
        assert_eq!(all("a".repeat(70).as_bytes(), 70), ["lost LineTooLong"]);
    }

    #[test]
    fn literals_are_taken_of_the_budget_until_their_command_is_done() {
        let budget = Budget::new(10_000);
        let mut input = Input::within(Arc::clone(&budget));
        let limits = Limits::default();
        let other = |bytes: usize| {
            let mut charge = Charge::new(Some(Arc::clone(&budget)));
            assert!(charge.cover(bytes));
            charge
        };
        input.feed(format!("a APPEND x {{4096+}}\r\n{}\r\n", "x".repeat(4096)).as_bytes());
        assert!(matches!(input.take(&limits, true), Taken::Command(_)));
        assert_eq!(budget.used(), 4096, "while it is done");
        assert!(matches!(input.take(&limits, true), Taken::Nothing));
        assert_eq!(budget.used(), 0);

        // Announced at a time when there is no memory.
        let held = other(6_000);
        input.feed(b"b APPEND x {5000}\r\n");
        assert!(
            matches!(input.take(&limits, true), Taken::Refused(Some(tag), Refusal::NoMemory) if tag == "b")
        );
        input.feed(b"c LOGIN {5000}\r\n");
        assert!(matches!(input.take(&limits, false), Taken::Refused(_, Refusal::NoMemory)));
        drop(held);

        // Begun, and then the memory was gone: the rest is read past, the connection goes on.
        input.feed(b"d APPEND x {8000}\r\n");
        assert!(matches!(input.take(&limits, true), Taken::Continue));
        input.feed("x".repeat(3000).as_bytes());
        let held = other(6_000);
        for _ in 0..5 {
            input.feed("x".repeat(1000).as_bytes());
            assert!(budget.used() <= 10_000 && input.buffered_bytes() < 9_000);
        }
        input.feed(b"\r\ne NOOP\r\n");
        assert!(
            matches!(input.take(&limits, true), Taken::Refused(Some(tag), Refusal::NoMemory) if tag == "d")
        );
        assert_eq!(budget.used(), 6_000);
        assert!(matches!(input.take(&limits, true), Taken::Command(text) if text.bytes == b"e NOOP"));
        drop(held);
        drop(input);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn a_bare_line_break_is_no_line_end() {
        assert_eq!(all(b"a NOOP\nb NOOP\r\nc NOOP\r\n", 99), ["Some(\"a\") BareLineBreak", "c NOOP []"]);
        assert_eq!(all(b"a N\0OOP\r\nc NOOP\r\n", 99), ["Some(\"a\") BareLineBreak", "c NOOP []"]);
        assert_eq!(all(b"a LOGIN\r{3+}\r\nabc\r\n", 99), ["lost BareLineBreak"]);
    }
}
