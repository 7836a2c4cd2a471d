//! Every refusal the server says (RFC 5321 §4.2, RFC 3463, RFC 5248): the one match from what went wrong
//! to its codes and text.

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use auth::{Failure, Unsupported};

use crate::command::ParseError;
use crate::config::Mode;
use crate::limits::REFUSED_TEXT_BYTES_MAX;
use crate::path::PathError;
use crate::request::{Outcome, Refused, UrlFault, Verdict};

/// Why the client does not get what it asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// A line that is no command.
    Parse(ParseError),
    /// A line beyond its limit.
    LineTooLong,
    /// A bare CR, a bare LF or a NUL in a command line.
    LineOctets,
    /// A command that exists elsewhere.
    NotImplemented,
    /// HELO or EHLO to LMTP, or LHLO to SMTP.
    OtherProtocol(Mode),
    /// A command at the wrong time.
    Order(Order),
    /// MAIL before AUTH on a submission port.
    AuthRequired,
    /// AUTH where nobody logs in.
    AuthNotOffered,
    /// A mechanism that cannot be used.
    Mechanism(Unsupported),
    /// A login that failed.
    Login(Failure),
    /// STARTTLS where there is none.
    TlsNotOffered,
    /// REQUIRETLS without TLS.
    TlsRequired,
    /// It is to be returned unless it is there sooner than anything can be promised.
    TooSoon,
    /// A reverse-path in UTF-8 without SMTPUTF8.
    SenderNotAscii,
    /// A forward-path in UTF-8 without SMTPUTF8.
    RecipientNotAscii,
    /// A recipient beyond the limit.
    TooManyRecipients,
    /// More messages in a minute than the limit.
    TooFast,
    /// What a handler said about a recipient. Never made of [`Verdict::Accept`].
    Recipient(Verdict, Mode),
    /// What is wrong with the content.
    Content(Bad),
    /// A URL that gives nothing.
    Url(UrlFault),
    /// What became of an accepted message. Never made of [`Outcome::Stored`].
    Delivery(Outcome),
    /// The connection ends.
    End(End),
}

/// Which order was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Before EHLO, HELO or LHLO.
    HelloFirst,
    /// RCPT, DATA or BDAT before MAIL.
    MailFirst,
    /// MAIL in a transaction.
    MailTwice,
    /// DATA or BDAT before a recipient was accepted.
    NoRecipients,
    /// BURL before a recipient was accepted.
    NoRecipientsForUrl,
    /// RCPT or DATA after BDAT.
    AfterChunk,
    /// DATA for a BINARYMIME message.
    BinaryByData,
    /// AUTH after AUTH.
    AuthTwice,
    /// AUTH in a transaction.
    AuthInMail,
    /// XCLIENT in a transaction.
    AnnounceInMail,
    /// STARTTLS under TLS.
    TlsTwice,
}

/// What can be wrong with content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bad {
    LineBreak,
    Nul,
    TooLarge,
    HeaderTooLarge,
    Loop,
    /// More content is coming in, on all connections, than there is memory for.
    NoMemory,
}

/// Why a connection is ended by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Idle,
    Draining,
    TooManyErrors,
    TooManyRefusedRecipients,
    TooManyLogins,
    TooManyMessages,
    TooManyIdleCommands,
}

/// Code, enhanced status code and text.
type Words = (u16, &'static str, &'static str);

/// Appends the reply for `refusal`; returns its code.
pub(crate) fn refuse(output: &mut Vec<u8>, refusal: Refusal) -> u16 {
    let (code, status, text) = words(refusal);
    line(output, code, status, text);
    code
}

/// Appends a reply in words that come from elsewhere, made fit to be one line; returns its code. A code that refuses
/// nothing, or an enhanced one of another class, would be a promise: then it is a refusal for now.
pub(crate) fn refused(output: &mut Vec<u8>, refused: &Refused) -> u16 {
    let (class, subject, detail) = refused.enhanced;
    let is_sound = (400..600).contains(&refused.code) && u16::from(class) == refused.code / 100;
    let (code, status) =
        if is_sound { (refused.code, format!("{class}.{subject}.{detail}")) } else { (451, "4.7.0".into()) };
    let is_printable = |c: char| c == ' ' || c.is_ascii_graphic();
    let text = refused.text.chars().map(|c| if is_printable(c) { c } else { '?' });
    line(output, code, &status, &text.take(REFUSED_TEXT_BYTES_MAX).collect::<String>());
    code
}

/// Appends a reply of one line.
pub(crate) fn line(output: &mut Vec<u8>, code: u16, status: &str, text: &str) {
    output.extend_from_slice(format!("{code} {status} {text}\r\n").as_bytes());
}

/// Appends a reply of several lines without enhanced codes: EHLO's (RFC 2034 §4 keeps them out of it).
pub(crate) fn lines(output: &mut Vec<u8>, code: u16, texts: &[String]) {
    for (number, text) in texts.iter().enumerate() {
        let separator = if number + 1 == texts.len() { ' ' } else { '-' };
        output.extend_from_slice(format!("{code}{separator}{text}\r\n").as_bytes());
    }
}

fn words(refusal: Refusal) -> Words {
    match refusal {
        Refusal::Parse(error) => parse_words(error),
        Refusal::LineTooLong => (500, "5.5.2", "line too long"),
        Refusal::LineOctets => (500, "5.5.2", "a line ends at CRLF; no bare CR, LF or NUL may be in it"),
        Refusal::NotImplemented => (502, "5.5.1", "command not implemented"),
        Refusal::OtherProtocol(Mode::Lmtp) => (500, "5.5.1", "this is LMTP: say LHLO"),
        Refusal::OtherProtocol(Mode::Mx | Mode::Submission) => (500, "5.5.1", "this is SMTP: say EHLO"),
        Refusal::Order(order) => order_words(order),
        Refusal::AuthRequired => (530, "5.7.0", "authentication required"),
        Refusal::AuthNotOffered => (502, "5.5.1", "nobody logs in here"),
        Refusal::Mechanism(error) => mechanism_words(error),
        Refusal::Login(failure) => login_words(failure),
        Refusal::TlsNotOffered => (502, "5.5.1", "TLS is not available here"),
        // RFC 3207 §4 has this for what needs TLS; RFC 8689 §2 does not offer the parameter then.
        Refusal::TlsRequired => (530, "5.7.0", "REQUIRETLS needs TLS: say STARTTLS first"),
        // RFC 2852 asks for a 55z code.
        Refusal::TooSoon => (555, "5.4.7", "it cannot be there that soon; DELIVERBY says how soon"),
        // RFC 6531 §3.5 gives each command its code.
        Refusal::SenderNotAscii => (550, "5.6.7", "a UTF-8 address needs the SMTPUTF8 parameter"),
        Refusal::RecipientNotAscii => (553, "5.6.7", "a UTF-8 address needs SMTPUTF8 in the MAIL command"),
        // RFC 5321 §4.5.3.1.10 prefers 452 to the old 552: the client sends the rest later.
        Refusal::TooManyRecipients => (452, "4.5.3", "too many recipients"),
        Refusal::TooFast => (451, "4.7.0", "too many messages in a minute; slow down"),
        Refusal::Recipient(verdict, mode) => verdict_words(verdict, mode),
        Refusal::Content(bad) => content_words(bad),
        Refusal::Url(fault) => url_words(fault),
        Refusal::Delivery(outcome) => outcome_words(outcome),
        Refusal::End(end) => end_words(end),
    }
}

fn parse_words(error: ParseError) -> Words {
    match error {
        ParseError::Unknown => (500, "5.5.1", "command not recognised"),
        ParseError::Encoding => (500, "5.5.2", "command is not UTF-8"),
        ParseError::Arguments => (501, "5.5.4", "wrong arguments"),
        ParseError::Syntax => (501, "5.5.2", "syntax error"),
        ParseError::Sender(PathError::Brackets) => (501, "5.1.7", "the sender belongs in <angle brackets>"),
        ParseError::Sender(PathError::Mailbox) => (501, "5.1.7", "the sender's address is malformed"),
        ParseError::Sender(PathError::TooLong) => (501, "5.1.7", "the sender's address is too long"),
        ParseError::Recipient(PathError::Brackets) => {
            (501, "5.1.3", "the recipient belongs in <angle brackets>")
        }
        ParseError::Recipient(PathError::Mailbox) => (501, "5.1.3", "the recipient's address is malformed"),
        ParseError::Recipient(PathError::TooLong) => (501, "5.1.3", "the recipient's address is too long"),
        // RFC 5321 §4.1.1.11.
        ParseError::Parameter => (555, "5.5.4", "parameter not recognised"),
        ParseError::ParameterValue => (501, "5.5.4", "a parameter's value is wrong"),
        ParseError::ChunkSize => (501, "5.5.4", "chunk size unreadable; closing"),
    }
}

fn order_words(order: Order) -> Words {
    match order {
        Order::HelloFirst => (503, "5.5.1", "introduce yourself first"),
        Order::MailFirst => (503, "5.5.1", "MAIL comes first"),
        Order::MailTwice => (503, "5.5.1", "a transaction is open already"),
        Order::NoRecipients => (503, "5.5.1", "no valid recipients"),
        // RFC 4468 §3.4
        Order::NoRecipientsForUrl => (554, "5.5.0", "no valid recipients"),
        Order::AfterChunk => (503, "5.5.1", "not after BDAT"),
        Order::BinaryByData => (503, "5.5.1", "BINARYMIME needs BDAT"),
        Order::AuthTwice => (503, "5.5.1", "logged in already"),
        Order::AuthInMail | Order::AnnounceInMail => (503, "5.5.1", "not in a transaction"),
        Order::TlsTwice => (503, "5.5.1", "TLS is on already"),
    }
}

/// RFC 4954 §4, §6.
fn mechanism_words(error: Unsupported) -> Words {
    match error {
        Unsupported::Unknown => (504, "5.5.4", "mechanism not available"),
        Unsupported::NeedsEncryption => (538, "5.7.11", "encryption required for this mechanism"),
        Unsupported::NeedsBinding => (504, "5.5.4", "no channel binding on this connection"),
    }
}

/// RFC 4954 §4, §6.
fn login_words(failure: Failure) -> Words {
    match failure {
        Failure::Denied => (535, "5.7.8", "authentication credentials invalid"),
        Failure::Unavailable => (454, "4.7.0", "temporary authentication failure"),
        Failure::Throttled { .. } => (454, "4.7.0", "too many failed logins; try again later"),
        Failure::Malformed => (501, "5.5.2", "malformed response"),
        Failure::Cancelled => (501, "5.7.0", "authentication cancelled"),
        Failure::TooLong => (500, "5.5.6", "authentication exchange line is too long"),
    }
}

fn verdict_words(verdict: Verdict, mode: Mode) -> Words {
    match (verdict, mode) {
        (Verdict::Accept, _) => unreachable!("an acceptance is no refusal"),
        (Verdict::UnknownUser, _) => (550, "5.1.1", "no such user here"),
        (Verdict::NotLocal, Mode::Mx | Mode::Lmtp) => (550, "5.7.1", "relaying denied"),
        (Verdict::NotLocal, Mode::Submission) => {
            (451, "4.4.0", "sending to other domains is not available yet")
        }
        (Verdict::BadAddress, _) => (553, "5.1.3", "no mailbox can have this address"),
        (Verdict::OverQuota, _) => (452, "4.2.2", "mailbox full"),
        (Verdict::Disabled, _) => (550, "5.2.1", "mailbox disabled"),
        (Verdict::AliasLoop, _) => {
            (451, "4.3.5", "this alias leads back to itself; the postmaster must mend it")
        }
        (Verdict::SenderDenied, _) => (550, "5.7.1", "you may not send as this sender"),
        (Verdict::TooMany, _) => (450, "4.7.0", "too much mail for this recipient; try again later"),
        (Verdict::Unavailable, _) => (451, "4.3.0", "try again later"),
    }
}

fn content_words(bad: Bad) -> Words {
    match bad {
        Bad::LineBreak => (550, "5.6.11", "message refused: bare CR or LF"),
        Bad::Nul => (550, "5.6.0", "message refused: NUL in it"),
        Bad::TooLarge => (552, "5.3.4", "message too large"),
        Bad::HeaderTooLarge => (552, "5.3.4", "header section too large"),
        // RFC 5321 §4.2.2: 452; the client tries again later.
        Bad::NoMemory => (452, "4.3.1", "too much mail is coming in now; try again later"),
        Bad::Loop => (554, "5.4.6", "message refused: too many Received fields, it goes in circles"),
    }
}

/// RFC 4468 §6.
fn url_words(fault: UrlFault) -> Words {
    match fault {
        UrlFault::Malformed => (501, "5.5.4", "that is no IMAP URL of a message"),
        UrlFault::Foreign => (554, "5.7.8", "the URL is of another server"),
        UrlFault::Denied => (554, "5.7.0", "the URL gives you no access"),
        UrlFault::Missing => (554, "5.6.6", "what the URL means is not there"),
        UrlFault::TooLarge => content_words(Bad::TooLarge),
        UrlFault::NoMemory => content_words(Bad::NoMemory),
        UrlFault::Unavailable => (451, "4.4.1", "the URL cannot be asked for now; try again later"),
    }
}

fn outcome_words(outcome: Outcome) -> Words {
    match outcome {
        Outcome::Stored => unreachable!("a success is no refusal"),
        Outcome::OverQuota => (452, "4.2.2", "mailbox full"),
        Outcome::TooLarge => (552, "5.2.3", "message too large for this mailbox"),
        Outcome::Disabled => (550, "5.2.1", "mailbox disabled"),
        Outcome::Rejected => (550, "5.7.1", "message refused by the recipient"),
        Outcome::NoSpace => (452, "4.3.1", "insufficient system storage"),
        // RFC 5321 §4.5.3.1.10: 452 asks the client to send to fewer at a time.
        Outcome::TooManyRecipients => (452, "4.5.3", "too many recipients behind these addresses"),
        Outcome::Unavailable => (451, "4.3.0", "try again later"),
    }
}

/// RFC 5321 §3.8: 421 may come at any time. The status codes tell load from abuse.
fn end_words(end: End) -> Words {
    match end {
        End::Idle => (421, "4.4.2", "timed out waiting for you; closing"),
        End::Draining => (421, "4.3.2", "going down; closing"),
        End::TooManyErrors => (421, "4.7.0", "too many errors; closing"),
        End::TooManyRefusedRecipients => (421, "4.7.0", "too many refused recipients; closing"),
        End::TooManyLogins => (421, "4.7.0", "too many attempts to log in; closing"),
        End::TooManyMessages => (421, "4.7.0", "too many messages on one connection; closing"),
        End::TooManyIdleCommands => (421, "4.7.0", "too many commands without a message; closing"),
    }
}

/// The reply for several recipients at once, where SMTP has room for one: `None` when all have it.
///
/// A failure counts more than a success. The client then tries again (a later failure) or tells the sender
/// (a final one); said the other way, mail would be lost without a word. A failure that may pass
/// counts more than a final one, since only it gets the mail to those who can have it.
pub(crate) fn worst(outcomes: &[Outcome]) -> Option<Refusal> {
    let failures = || outcomes.iter().copied().filter(|outcome| *outcome != Outcome::Stored);
    let later = failures().find(|outcome| outcome_words(*outcome).0 < 500);
    later.or_else(|| failures().next()).map(Refusal::Delivery)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_failure_outweighs_any_success() {
        use Outcome::{Disabled, OverQuota, Stored};
        assert_eq!(worst(&[Stored, Stored]), None);
        assert_eq!(worst(&[Stored, Disabled]), Some(Refusal::Delivery(Disabled)));
        assert_eq!(worst(&[Disabled, Stored, OverQuota]), Some(Refusal::Delivery(OverQuota)));
    }

    #[test]
    fn a_reply_of_several_lines_marks_all_but_the_last() {
        let mut output = Vec::new();
        lines(&mut output, 250, &["a".into(), "b".into()]);
        assert_eq!(output, b"250-a\r\n250 b\r\n");
    }
}
