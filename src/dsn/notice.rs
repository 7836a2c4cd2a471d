//! Who is to be told what: the rules of RFC 3461 §5.2.

use base::{Notify, Timestamp};

use crate::status::Status;

/// What became of a recipient.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It lies in the recipient's mailbox, or a mailing list has it.
    Delivered,
    /// The next server has taken it. One that speaks DSN has taken over the duty to report too.
    Relayed {
        /// Whether that server announced DSN and was given the parameters.
        has_dsn: bool,
    },
    /// An alias has put several addresses in its place (RFC 3461 §5.2.7.3).
    Expanded,
    /// It has not been delivered for so long that the sender should know. It will be tried again.
    Delayed,
    /// It will not be tried again.
    Failed,
}

/// What a report says of a recipient (RFC 3464 §2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    /// `failed`
    Failed,
    /// `delayed`
    Delayed,
    /// `delivered`
    Delivered,
    /// `relayed`
    Relayed,
    /// `expanded`
    Expanded,
}

/// A recipient of the message, as its envelope and its last attempt know it.
#[derive(Clone, Copy, Debug)]
pub struct Recipient<'a> {
    /// `local@domain` of the envelope.
    pub address: &'a str,
    /// ORCPT, `type;xtext`, still encoded.
    pub orcpt: Option<&'a str>,
    /// NOTIFY; `None` when it was not given.
    pub notify: Option<Notify>,
    /// What became of it.
    pub outcome: Outcome,
    /// The enhanced status code. What is missing or contradicts the outcome is replaced by the code that says
    /// nothing but the outcome (RFC 3461 §6.3 (g)).
    pub status: Option<Status>,
    /// The server that was tried; `None` for a local decision.
    pub remote_host: Option<&'a str>,
    /// What that server said, reply code and all, lines joined or not; or, without a server, our own reason.
    pub response: Option<&'a str>,
    /// The last attempt.
    pub attempted_at: Option<Timestamp>,
    /// Until when it is tried again; only told of delays.
    pub retry_until: Option<Timestamp>,
}

impl<'a> Recipient<'a> {
    /// A recipient of which nothing but the outcome is known.
    pub fn new(address: &'a str, outcome: Outcome) -> Self {
        Self {
            address,
            orcpt: None,
            notify: None,
            outcome,
            status: None,
            remote_host: None,
            response: None,
            attempted_at: None,
            retry_until: None,
        }
    }

    /// What the sender is to be told of this recipient, if anything.
    fn action(&self) -> Option<Action> {
        // Without NOTIFY: failures and, if we like, delays (RFC 3461 §5.2.2 (e), §5.2.5 (b), §5.2.6 (c)).
        let wanted = self.notify.unwrap_or(Notify { on_success: false, on_failure: true, on_delay: true });
        let (action, is_wanted) = match self.outcome {
            Outcome::Failed => (Action::Failed, wanted.on_failure),
            Outcome::Delayed => (Action::Delayed, wanted.on_delay),
            Outcome::Delivered => (Action::Delivered, wanted.on_success),
            // RFC 3461 §5.2.1: the next server reports; §5.2.2 (b): one without DSN will not.
            Outcome::Relayed { has_dsn } => (Action::Relayed, wanted.on_success && !has_dsn),
            Outcome::Expanded => (Action::Expanded, wanted.on_success),
        };
        is_wanted.then_some(action)
    }
}

impl Action {
    /// The word of the Action field.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Delayed => "delayed",
            Self::Delivered => "delivered",
            Self::Relayed => "relayed",
            Self::Expanded => "expanded",
        }
    }

    /// The action of a field's word, without regard to case.
    pub fn named(word: &str) -> Option<Self> {
        const ALL: [Action; 5] =
            [Action::Failed, Action::Delayed, Action::Delivered, Action::Relayed, Action::Expanded];
        ALL.into_iter().find(|action| action.as_str().eq_ignore_ascii_case(word))
    }

    /// The code to report with it: the one known, unless it contradicts. A failure after long waiting keeps
    /// the passing error that was its reason.
    pub(crate) fn status(self, known: Option<Status>) -> Status {
        let (plain, fits): (_, fn(u8) -> bool) = match self {
            Self::Failed => (Status::new(5, 0, 0), |class| class != 2),
            Self::Delayed => (Status::new(4, 0, 0), |class| class == 4),
            Self::Delivered | Self::Relayed | Self::Expanded => (Status::new(2, 0, 0), |class| class == 2),
        };
        known.filter(|status| fits(status.class)).unwrap_or(plain)
    }
}

/// A report to send: to whom, and about which recipients. Never empty, and never to nobody.
#[derive(Clone, Debug)]
pub struct Notice<'a> {
    to: &'a str,
    sender: &'a str,
    audience: Audience,
    recipients: Vec<(Action, &'a Recipient<'a>)>,
}

/// Who reads a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Audience {
    /// The message's sender.
    Sender,
    /// The people who run the server.
    Postmaster,
}

impl<'a> Notice<'a> {
    /// The message's sender, or the postmaster: the one recipient of the report. Its own sender is `<>`, and where DSN is spoken it
    /// has NOTIFY=NEVER and no RET (RFC 3461 §6.1).
    pub fn to(&self) -> &'a str {
        self.to
    }

    /// The same for the postmaster: for those who want to see what their users are told.
    #[must_use]
    pub fn copy_for(&self, postmaster: &'a str) -> Self {
        Self { to: postmaster, audience: Audience::Postmaster, ..self.clone() }
    }

    /// The message's sender; empty for `<>`.
    pub(crate) fn sender(&self) -> &'a str {
        self.sender
    }

    pub(crate) fn audience(&self) -> Audience {
        self.audience
    }

    /// Whether it is for the postmaster, whose texts are others ([`crate::Templates::for_postmaster`]).
    pub fn is_for_postmaster(&self) -> bool {
        self.audience == Audience::Postmaster
    }

    /// What is told of whom.
    pub fn recipients(&self) -> &[(Action, &'a Recipient<'a>)] {
        &self.recipients
    }

    /// Whether it tells this of anybody.
    pub fn has(&self, action: Action) -> bool {
        self.recipients.iter().any(|(of, _)| *of == action)
    }
}

/// Decides whether a report is due for these recipients of one message, which may be all that changed at this
/// time, and for which of them (RFC 3461 §5.2.8).
///
/// None is due for a message from `<>` (`None` or empty): a report about a report would circle for ever
/// (RFC 3461 §5.2). A failure that nobody is told of, for that reason or for NOTIFY's, is for the log.
pub fn notice_for<'a>(sender: Option<&'a str>, recipients: &'a [Recipient<'a>]) -> Option<Notice<'a>> {
    let to = sender.filter(|sender| !matches!(*sender, "" | "<>"))?;
    let recipients: Vec<_> =
        recipients.iter().filter_map(|recipient| Some((recipient.action()?, recipient))).collect();
    let notice = Notice { to, sender: to, audience: Audience::Sender, recipients };
    (!notice.recipients.is_empty()).then_some(notice)
}

/// The report to the postmaster about mail from `<>` that failed: it has no sender who could be told. What its envelope says
/// of notices (NOTIFY=NEVER in that of our own reports) is about senders. `None` when nothing failed.
pub fn undeliverable<'a>(postmaster: &'a str, recipients: &'a [Recipient<'a>]) -> Option<Notice<'a>> {
    let failed = recipients.iter().filter(|recipient| recipient.outcome == Outcome::Failed);
    let recipients: Vec<_> = failed.map(|recipient| (Action::Failed, recipient)).collect();
    let notice = Notice { to: postmaster, sender: "", audience: Audience::Postmaster, recipients };
    (!notice.recipients.is_empty()).then_some(notice)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEVER: Option<Notify> = Some(Notify { on_success: false, on_failure: false, on_delay: false });
    const SUCCESS: Option<Notify> = Some(Notify { on_success: true, on_failure: false, on_delay: false });
    const FAILURE: Option<Notify> = Some(Notify { on_success: false, on_failure: true, on_delay: false });
    const DELAY: Option<Notify> = Some(Notify { on_success: false, on_failure: false, on_delay: true });

    #[test]
    fn each_rule_of_rfc_3461_5_2() {
        let relayed = |has_dsn| Outcome::Relayed { has_dsn };
        for (clause, notify, outcome, action) in [
            ("5.2.1", SUCCESS, relayed(true), None),
            ("5.2.2 b", SUCCESS, relayed(false), Some(Action::Relayed)),
            ("5.2.2 c", FAILURE, Outcome::Failed, Some(Action::Failed)),
            ("5.2.2 d", NEVER, Outcome::Failed, None),
            ("5.2.2 d", NEVER, relayed(false), None),
            ("5.2.2 e", None, relayed(false), None),
            ("5.2.2 f", None, Outcome::Failed, Some(Action::Failed)),
            ("5.2.3 a", SUCCESS, Outcome::Delivered, Some(Action::Delivered)),
            ("5.2.3 b", FAILURE, Outcome::Delivered, None),
            ("5.2.3 c", None, Outcome::Delivered, None),
            ("5.2.5 a", DELAY, Outcome::Delayed, Some(Action::Delayed)),
            ("5.2.5 b", None, Outcome::Delayed, Some(Action::Delayed)),
            ("5.2.5 c", FAILURE, Outcome::Delayed, None),
            ("5.2.5 c", NEVER, Outcome::Delayed, None),
            ("5.2.6 b", SUCCESS, Outcome::Failed, None),
            ("5.2.6 b", DELAY, Outcome::Failed, None),
            ("5.2.7.3 c", SUCCESS, Outcome::Expanded, Some(Action::Expanded)),
            ("5.2.7.3 c", None, Outcome::Expanded, None),
        ] {
            let recipients = [Recipient { notify, ..Recipient::new("b@example.org", outcome) }];
            let notice = notice_for(Some("a@example.org"), &recipients);
            assert_eq!(notice.map(|notice| notice.recipients()[0].0), action, "{clause}");
            assert!(notice_for(None, &recipients).is_none(), "{clause}: nothing goes to <>");
            assert!(
                notice_for(Some(""), &recipients).is_none() && notice_for(Some("<>"), &recipients).is_none()
            );
        }
    }

    #[test]
    fn a_notice_names_only_those_it_is_due_for() {
        let recipients = [
            Recipient { notify: NEVER, ..Recipient::new("b@example.org", Outcome::Failed) },
            Recipient::new("c@example.org", Outcome::Failed),
            Recipient { notify: SUCCESS, ..Recipient::new("d@example.org", Outcome::Delivered) },
        ];
        let notice = notice_for(Some("a@example.org"), &recipients).unwrap();
        let told: Vec<_> = notice.recipients().iter().map(|(action, of)| (*action, of.address)).collect();
        assert_eq!(told, [(Action::Failed, "c@example.org"), (Action::Delivered, "d@example.org")]);
        assert!(notice.has(Action::Failed) && !notice.has(Action::Delayed) && notice.to() == "a@example.org");
        assert!(notice_for(Some("a@example.org"), &[]).is_none());

        let copy = notice.copy_for("postmaster@example.org");
        assert_eq!((copy.to(), copy.sender()), ("postmaster@example.org", "a@example.org"));
        assert_eq!((copy.audience(), copy.recipients().len()), (Audience::Postmaster, 2));
    }

    #[test]
    fn the_postmaster_is_told_of_what_failed_from_nobody() {
        let recipients = [
            Recipient { notify: NEVER, ..Recipient::new("b@example.org", Outcome::Failed) },
            Recipient::new("c@example.org", Outcome::Delayed),
        ];
        let notice = undeliverable("postmaster@example.org", &recipients).unwrap();
        let told: Vec<_> = notice.recipients().iter().map(|(action, of)| (*action, of.address)).collect();
        assert_eq!(told, [(Action::Failed, "b@example.org")]);
        assert_eq!((notice.to(), notice.sender()), ("postmaster@example.org", ""));
        assert!(undeliverable("postmaster@example.org", &recipients[1..]).is_none());
    }

    #[test]
    fn a_code_that_contradicts_is_replaced() {
        let (good, passing, bad) = (Status::new(2, 1, 5), Status::new(4, 4, 7), Status::new(5, 1, 1));
        assert_eq!(Action::Failed.status(Some(bad)), bad);
        assert_eq!(Action::Failed.status(Some(passing)), passing);
        assert_eq!(Action::Failed.status(Some(good)), Status::new(5, 0, 0));
        assert_eq!(Action::Delayed.status(Some(bad)), Status::new(4, 0, 0));
        assert_eq!(Action::Relayed.status(None), Status::new(2, 0, 0));
        assert_eq!(Action::named("Failed"), Some(Action::Failed));
        assert_eq!(Action::named("lost"), None);
    }
}
