//! clamd's commands, over TCP or a socket in the file system: `zINSTREAM`, `zPING` and `zVERSION`, one a connection.

use alloc::string::{String, ToString as _};
use alloc::vec::Vec;

use base::Timestamp;

use crate::exchange::{Content, Exchange, Next};
use crate::limits::{CLAMD_ANSWER_BYTES_MAX, OUTPUT_BYTES, REASON_BYTES_MAX};
use crate::outcome::{Failure, Outcome, Verdict};
use crate::reply::Reply;

/// How long to wait for clamd, and how much it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClamdConfig {
    /// Longest time from the command to its answer, in milliseconds.
    pub answer_ms_max: i64,
    /// clamd's `StreamMaxLength`, in bytes: a larger message fails at once, since clamd would cut the connection
    /// in the middle of it.
    pub message_bytes_max: usize,
}

impl Default for ClamdConfig {
    fn default() -> Self {
        Self { answer_ms_max: 120_000, message_bytes_max: 25 * 1024 * 1024 }
    }
}

/// What clamd says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClamdAnswer {
    /// Nothing was found in the message.
    Clean,
    /// The signature that was found, as `Win.Test.EICAR_HDB-1`.
    Found(String),
    /// It is there.
    Pong,
    /// Its version and that of its signatures.
    Version(String),
}

/// What becomes of a message with something bad in it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnVirus {
    /// Refuse it.
    #[default]
    Reject,
    /// Accept it and drop it.
    Discard,
    /// Hold it for an operator.
    Quarantine,
}

impl ClamdAnswer {
    /// The outcome for the message that was asked about.
    pub fn outcome(&self, on_virus: OnVirus) -> Outcome {
        let Self::Found(name) = self else { return Outcome::CONTINUE };
        Outcome::of(match on_virus {
            OnVirus::Reject => Verdict::Reject(Reply::new(
                550,
                "5.7.1",
                &alloc::format!("Message refused: {name} found in it"),
            )),
            OnVirus::Discard => Verdict::Discard,
            OnVirus::Quarantine => Verdict::Quarantine(alloc::format!("clamd: {name}")),
        })
    }
}

/// One command over one connection.
#[derive(Debug)]
pub struct Clamd {
    config: ClamdConfig,
    question: Question,
    input: Vec<u8>,
    output: Vec<u8>,
    is_ended: bool,
    deadline: Option<Timestamp>,
}

#[derive(Debug)]
enum Question {
    /// A message, of which so many bytes are sent.
    Scan(Content, usize),
    /// A message that is sent.
    Scanned,
    Ping,
    Version,
    /// It is over.
    Failed(Failure),
}

impl Clamd {
    /// Is there anything bad in this message?
    pub fn scan(config: ClamdConfig, message: Content) -> Self {
        if message.shown().len() > config.message_bytes_max {
            return Self::new(config, b"", Question::Failed(Failure::TooLarge));
        }
        Self::new(config, b"zINSTREAM\0", Question::Scan(message, 0))
    }

    /// Are you there?
    pub fn ping(config: ClamdConfig) -> Self {
        Self::new(config, b"zPING\0", Question::Ping)
    }

    /// Who are you?
    pub fn version(config: ClamdConfig) -> Self {
        Self::new(config, b"zVERSION\0", Question::Version)
    }

    fn new(config: ClamdConfig, command: &[u8], question: Question) -> Self {
        Self {
            config,
            question,
            input: Vec::new(),
            output: command.to_vec(),
            is_ended: false,
            deadline: None,
        }
    }

    /// Writes another piece of the message: its length in four bytes and itself. A length of 0 ends it.
    fn put(&mut self) -> bool {
        let Question::Scan(content, at) = &mut self.question else { return false };
        let message = content.shown();
        let piece = message.get(*at..).unwrap_or_default();
        let piece = piece.get(..piece.len().min(OUTPUT_BYTES)).unwrap_or_default();
        self.output.extend_from_slice(&(piece.len() as u32).to_be_bytes());
        self.output.extend_from_slice(piece);
        *at += piece.len();
        if piece.is_empty() {
            self.question = Question::Scanned;
        }
        true
    }

    fn answer(&self) -> Result<Option<ClamdAnswer>, Failure> {
        let end = match memchr::memchr(0, &self.input) {
            Some(end) => end,
            None if self.input.len() > CLAMD_ANSWER_BYTES_MAX => {
                return Err(Failure::Protocol("an answer that is too long"));
            }
            None if self.is_ended => return Err(Failure::Closed),
            None => return Ok(None),
        };
        let line = self.input.get(..end.min(CLAMD_ANSWER_BYTES_MAX)).unwrap_or_default();
        let line = String::from_utf8_lossy(line).trim().to_string();
        let words = || line.chars().filter(|c| !c.is_control()).take(REASON_BYTES_MAX).collect::<String>();
        if line.starts_with("INSTREAM size limit exceeded") {
            return Err(Failure::TooLarge);
        }
        if line.ends_with(" ERROR") || line == "UNKNOWN COMMAND" {
            return Err(Failure::Reported(words()));
        }
        match &self.question {
            Question::Scan(..) | Question::Scanned => match line.strip_prefix("stream: ") {
                // No answer of this kind can come before the whole message.
                Some("OK") if matches!(self.question, Question::Scanned) => Ok(Some(ClamdAnswer::Clean)),
                Some(found) if found.ends_with(" FOUND") => {
                    let name = found.trim_end_matches(" FOUND").chars();
                    Ok(Some(ClamdAnswer::Found(
                        name.filter(|c| !c.is_control()).take(REASON_BYTES_MAX).collect(),
                    )))
                }
                _ => Err(Failure::Protocol("no answer to INSTREAM")),
            },
            Question::Ping if line == "PONG" => Ok(Some(ClamdAnswer::Pong)),
            Question::Ping => Err(Failure::Protocol("no answer to PING")),
            Question::Version if line.starts_with("ClamAV") => Ok(Some(ClamdAnswer::Version(words()))),
            Question::Version => Err(Failure::Protocol("no answer to VERSION")),
            Question::Failed(failure) => Err(failure.clone()),
        }
    }
}

impl Exchange for Clamd {
    type Answer = ClamdAnswer;

    fn input(&mut self, bytes: &[u8]) {
        self.input.extend_from_slice(bytes);
    }

    fn ended(&mut self) {
        self.is_ended = true;
    }

    fn next(&mut self, now: Timestamp) -> Next<ClamdAnswer> {
        if let Question::Failed(failure) = &self.question {
            return Next::Failed(failure.clone());
        }
        let deadline = *self
            .deadline
            .get_or_insert_with(|| Timestamp::from_ms(now.as_ms().saturating_add(self.config.answer_ms_max)));
        let failure = match self.answer() {
            Ok(Some(answer)) => return Next::Answer(answer),
            Ok(None) if now >= deadline => Failure::Timeout,
            Ok(None) if self.put() => return Next::Write,
            Ok(None) => return Next::Read,
            Err(failure) => failure,
        };
        self.question = Question::Failed(failure.clone());
        Next::Failed(failure)
    }

    fn deadline(&self) -> Timestamp {
        let is_open = !matches!(self.question, Question::Failed(_));
        self.deadline.filter(|_| is_open).unwrap_or(Timestamp::NEVER)
    }

    fn output(&mut self) -> &mut Vec<u8> {
        &mut self.output
    }
}

#[cfg(test)]
mod tests;
