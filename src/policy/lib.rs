//! Rules: what is accepted, from whom, how fast, and what is done with it. All of it is values: facts
//! come in, and a verdict, or a question that somebody else answers, goes out.
//!
//! ```text
//! TOML ── Policy::parse ──> Policy ── evaluate(stage, facts) ──> Needs(questions) | Done(Verdict)
//!                                        ^ Known::answer <── DNS, SPF, Greylist, Rates, Reputation, ...
//! TOML ── Flow::parse ────> Flow ──── evaluate(message, facts) ─> Needs(questions) | Done(FlowVerdict)
//!                                        └─ apply(message, effects) ─> bytes
//! ```
//!
//! - [`Policy`] has the rules at the stages of SMTP, [`Flow`] those for whole messages of an organisation.
//!   `docs/operate/rules.md` is their language.
//! - `state` remembers what has happened: greylisting, rates, concurrency, reputation. Bounded, and to be
//!   kept as bytes.
//! - `edit` changes messages: header fields, disclaimers, journal reports.
//!
//! Layer L2: no I/O, no clock, no chance; they come in as values.

mod dnslist;
mod edit;
mod facts;
mod flow;
mod limits;
mod lists;
mod network;
mod pattern;
mod read;
mod rules;
mod state;
mod tree;
mod words;

#[cfg(test)]
mod tests;

pub use dnslist::DnsList;
pub use edit::{
    Disclaimed, Disclaimer, Fallback, FieldEdit, Journal, JournalRecipient, Place, RecipientKind, disclaim,
    edit_fields, header_addresses, journal_report, wrap,
};
pub use facts::{Answer, AuthResult, DnsListId, Facts, Known, LimitId, Question, Stage};
pub use flow::{
    Applied, Attachment, Effect, Finding, Flow, FlowAction, FlowFacts, FlowKnown, FlowOutcome, FlowQuestion,
    FlowVerdict, Message, Step, StepState, apply, parse_moment,
};
pub use limits::{
    ATTACHMENTS_MAX, CONCURRENT_KEYS_MAX, GREYLIST_SOURCES_MAX, GREYLIST_TRIPLETS_MAX, PREGREET_SOURCES_MAX,
    RATE_BUCKETS_MAX, REPUTATION_SOURCES_MAX, RULES_MAX, TARPIT_MS_MAX, TEXT_BYTES_MAX,
};
pub use lists::ReadFile;
pub use read::Fault;
pub use rules::action::Reply;
pub use rules::settings::{Amount, Counted, Limit, Per, Settings};
pub use rules::{Decision, Outcome, Policy, RuleId, Verdict};
pub use state::{
    Change, Concurrent, Conduct, Greylist, GreylistSettings, Home, Key, KeyMaker, Passes, PreGreet, Rate,
    Rates, Remembered, Reputation, ReputationSettings, Taken, Tarpit,
};
pub use tree::Truth;
