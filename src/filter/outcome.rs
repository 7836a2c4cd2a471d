//! What a filter decides, in one form for all kinds of filters.

use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::reply::Reply;

/// A filter's decision at one stage: what becomes of the command or message, and what is changed in it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// What becomes of it.
    pub verdict: Verdict,
    /// What to change, in this order; empty when the verdict lets nothing through.
    pub modifications: Vec<Modification>,
}

/// What becomes of the connection, the command or the message.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Verdict {
    /// Nothing against it.
    #[default]
    Continue,
    /// Nothing against it, and this filter wants to hear no more: of the connection at its first two
    /// stages, of the message after that. It says nothing about other filters.
    Accept,
    /// Refuse for good. At RCPT this recipient, at MAIL and later the message, before that the connection.
    Reject(Reply),
    /// Refuse for now. A reply of 421 also ends the connection.
    TempFail(Reply),
    /// Refuse for now unless it has been tried before: whoever asks keeps the memory of first attempts.
    Greylist(Reply),
    /// Say that it was accepted and drop it.
    Discard,
    /// Accept it, and hold it for an operator. The reason is for people.
    Quarantine(String),
    /// Accept it, and deliver it as junk.
    Junk {
        /// The filter's own measure; higher is worse.
        score: f64,
    },
    /// Nothing against it yet, but points for the rules that come later.
    Points(i32),
}

/// A change of the message or its envelope. [`crate::apply`] does those of the message.
///
/// A field's value is all that comes after the colon: a space at its front is part of it. Its lines are
/// divided by LF or CRLF; what comes after is folded again where it has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Modification {
    /// A field at the end of the header section.
    AddHeader {
        /// The field's name.
        name: String,
        /// What comes after the colon.
        value: Vec<u8>,
    },
    /// A field at a place among the others: 0 is the top, -1 the end. Our own fields count and stay on top,
    /// so 0 and 1 are the same place under one Received field.
    InsertHeader {
        /// The place.
        index: i32,
        /// The field's name.
        name: String,
        /// What comes after the colon.
        value: Vec<u8>,
    },
    /// A new value for the field that has this number among those of its name, the first being 1; a new
    /// field at the end if there are not so many.
    ChangeHeader {
        /// The number among the fields of this name.
        index: u32,
        /// The field's name.
        name: String,
        /// What comes after the colon.
        value: Vec<u8>,
    },
    /// Fields of a name are taken out.
    RemoveHeader {
        /// The field's name.
        name: String,
        /// Which of them.
        which: Which,
    },
    /// Another body. Its lines are made to end at CRLF.
    ReplaceBody(Vec<u8>),
    /// Another envelope sender.
    ChangeSender {
        /// `local@domain`; empty is the null path.
        address: String,
        /// ESMTP parameters as one would write them after MAIL FROM; often empty.
        parameters: String,
    },
    /// One more recipient.
    AddRecipient {
        /// `local@domain`.
        address: String,
        /// ESMTP parameters as one would write them after RCPT TO; often empty.
        parameters: String,
    },
    /// A recipient is taken out: all that [`crate::is_same_address`].
    RemoveRecipient(String),
}

/// Which of the fields of one name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// The one with this number, the first being 1.
    Nth(u32),
    /// The one with this number from the end, the last being 1.
    FromEnd(u32),
    /// All of them.
    All,
}

impl Outcome {
    /// Nothing against it and nothing to change.
    pub const CONTINUE: Self = Self { verdict: Verdict::Continue, modifications: Vec::new() };

    /// That verdict, and nothing to change.
    pub const fn of(verdict: Verdict) -> Self {
        Self { verdict, modifications: Vec::new() }
    }
}

impl Verdict {
    /// Whether the message goes on, so that changes make sense.
    pub const fn lets_through(&self) -> bool {
        match self {
            Self::Continue
            | Self::Accept
            | Self::Greylist(_)
            | Self::Quarantine(_)
            | Self::Junk { .. }
            | Self::Points(_) => true,
            Self::Reject(_) | Self::TempFail(_) | Self::Discard => false,
        }
    }

    /// What holds when two filters have judged the same thing: a refusal before what lets it through, to hold it
    /// before junk, the higher score of two; of equals the first.
    #[must_use]
    pub fn and(self, later: Self) -> Self {
        let is_worse = match (&self, &later) {
            (Self::Junk { score }, Self::Junk { score: other }) => other > score,
            _ => later.weight() > self.weight(),
        };
        if is_worse { later } else { self }
    }

    const fn weight(&self) -> u32 {
        match self {
            Self::Continue | Self::Accept | Self::Points(_) => 0,
            Self::Junk { .. } => 1,
            Self::Quarantine(_) => 2,
            Self::Greylist(_) => 3,
            Self::TempFail(_) => 4,
            Self::Discard => 5,
            Self::Reject(_) => 6,
        }
    }
}

/// Why a filter gave no decision.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It took too long.
    Timeout,
    /// It closed the connection before it had answered, or could not be reached.
    Closed,
    /// What it said is against its protocol or over a bound: which one.
    Protocol(&'static str),
    /// It answered with this HTTP status.
    Status(u16),
    /// It says that it failed itself; its words, without control characters.
    Reported(String),
    /// The message is larger than the filter takes.
    TooLarge,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Timeout => f.write_str("no answer in time"),
            Self::Closed => f.write_str("the connection was closed before an answer"),
            Self::Protocol(what) => write!(f, "not as the protocol has it: {what}"),
            Self::Status(code) => write!(f, "HTTP status {code}"),
            Self::Reported(words) => write!(f, "it failed: {words}"),
            Self::TooLarge => f.write_str("the message is larger than it takes"),
        }
    }
}

/// What a filter's failure means for the mail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailurePolicy {
    /// As if the filter were not there.
    Accept,
    /// Refuse for now.
    #[default]
    TempFail,
    /// Refuse for good.
    Reject,
}

impl FailurePolicy {
    /// The outcome in place of the one that the filter did not give. A message that is too large for the
    /// filter would never pass: it is not refused for now, but for good.
    pub fn outcome(self, failure: &Failure) -> Outcome {
        let verdict = match (self, failure) {
            (Self::Accept, _) => Verdict::Continue,
            (Self::TempFail | Self::Reject, Failure::TooLarge) => {
                Verdict::Reject(Reply::new(552, "5.3.4", "Message is larger than can be checked"))
            }
            (Self::TempFail, _) => {
                Verdict::TempFail(Reply::new(451, "4.3.0", "Mail cannot be checked now, try again later"))
            }
            (Self::Reject, _) => Verdict::Reject(Reply::new(554, "5.3.0", "Mail cannot be checked")),
        };
        Outcome::of(verdict)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_becomes_what_the_operator_said() {
        let code = |policy: FailurePolicy, failure: &Failure| match policy.outcome(failure).verdict {
            Verdict::Continue => 0,
            Verdict::Reject(reply) | Verdict::TempFail(reply) => reply.code(),
            other => panic!("{other:?}"),
        };
        for failure in [Failure::Timeout, Failure::Closed, Failure::Protocol("x"), Failure::Status(500)] {
            assert_eq!(code(FailurePolicy::Accept, &failure), 0);
            assert_eq!(code(FailurePolicy::TempFail, &failure), 451);
            assert_eq!(code(FailurePolicy::Reject, &failure), 554);
        }
        // It would be tried for days and never pass.
        assert_eq!(code(FailurePolicy::TempFail, &Failure::TooLarge), 552);
        assert_eq!(code(FailurePolicy::Accept, &Failure::TooLarge), 0);
    }

    #[test]
    fn the_worse_of_two_verdicts_holds() {
        let reply = |code, text| Reply::new(code, "4.7.1", text);
        let rising = [
            Verdict::Continue,
            Verdict::Junk { score: 1.0 },
            Verdict::Junk { score: 2.0 },
            Verdict::Quarantine(String::new()),
            Verdict::Greylist(reply(451, "grey")),
            Verdict::TempFail(reply(451, "later")),
            Verdict::Discard,
            Verdict::Reject(reply(550, "no")),
        ];
        for (at, less) in rising.iter().enumerate() {
            for more in &rising[at..] {
                assert_eq!(less.clone().and(more.clone()), *more);
                assert_eq!(more.clone().and(less.clone()), *more);
            }
        }
        let (one, other) = (Verdict::Reject(reply(550, "a")), Verdict::Reject(reply(550, "b")));
        assert_eq!(one.clone().and(other), one);
    }
}
