//! Who a message says it is from, and what follows from who may say so.

use std::borrow::Cow;
use std::ops::Range;

use directory::{EmailAddress, SendRight, SenderUse};
use mime::{Headers, addresses, encode_word};
use smtp::Refused;

use crate::inbound::{FromCheck, refused};
use crate::limits::FROM_ADDRESSES_MAX;
use crate::local_mail::quoted;

/// What the header says; of a message that is sent on once more, what whoever does that says (RFC 5322 §3.6.6).
#[derive(Debug, Default)]
pub(super) struct Authors {
    /// The addresses of From, or of Resent-From.
    pub(super) from: Vec<Named>,
    /// The addresses of Sender, or of Resent-Sender.
    pub(super) sender: Vec<Named>,
    /// Where the fields are that the latter stand in.
    pub(super) sender_fields: Vec<Range<usize>>,
    /// The message has a From.
    pub(super) has_from: bool,
    from_fields: usize,
    is_resent: bool,
    has_too_many: bool,
}

/// An address as it stands in a field.
#[derive(Debug)]
pub(super) struct Named {
    text: String,
    /// None when it can be nobody's.
    pub(super) address: Option<EmailAddress>,
}

/// What becomes of the Sender field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sender {
    /// It stays, or there is none.
    AsItIs,
    /// It names the account, in place of whatever is there.
    Own,
}

impl Authors {
    pub(super) fn of(header: &[u8]) -> Self {
        let mut authors = Self { has_from: mime::field(header, "From").is_some(), ..Self::default() };
        authors.is_resent = mime::field(header, "Resent-From").is_some();
        let (from, sender) =
            if authors.is_resent { ("Resent-From", "Resent-Sender") } else { ("From", "Sender") };
        for field in Headers::of(header) {
            // Earlier resendings stand below, each with a From of its own.
            if authors.is_resent && authors.from_fields > 0 && (field.is(from) || field.is("Received")) {
                break;
            }
            if field.is(from) {
                authors.from_fields += 1;
                authors.has_too_many |= named(field.value, &mut authors.from);
            } else if field.is(sender) {
                authors.sender_fields.push(field.range);
                authors.has_too_many |= named(field.value, &mut authors.sender);
            }
        }
        authors
    }

    /// The name of the field for who really sends.
    pub(super) const fn sender_name(&self) -> &'static str {
        if self.is_resent { "Resent-Sender" } else { "Sender" }
    }

    const fn author_name(&self) -> &'static str {
        if self.is_resent { "Resent-From" } else { "From" }
    }

    /// What follows, when `from` and `sender` are what the account may do with the addresses, and `fault` is what is
    /// wrong with that.
    pub(super) fn judge(
        &self,
        from: &[SenderUse],
        sender: &[SenderUse],
        (check, fault): (FromCheck, Option<Box<Refused>>),
    ) -> Result<Sender, Box<Refused>> {
        match (check, fault) {
            (FromCheck::Any, _) => Ok(Sender::AsItIs),
            (FromCheck::Enforce, Some(fault)) => Err(fault),
            (FromCheck::Sender, Some(_)) => Ok(Sender::Own),
            (_, None) => Ok(self.sender(from, sender)),
        }
    }

    /// The first thing that nobody who may send it would write.
    pub(super) fn fault(&self, from: &[SenderUse], sender: &[SenderUse]) -> Option<Box<Refused>> {
        let name = self.author_name();
        let wrong = |text: &str| Some(refused(550, (5, 6, 0), text));
        if self.has_too_many {
            return wrong(&format!("more than {FROM_ADDRESSES_MAX} addresses say who the message is from"));
        }
        if self.from_fields > 1 {
            return wrong(&format!("the message has more than one {name} field"));
        }
        if self.from_fields == 1 && self.from.is_empty() {
            return wrong(&format!("{name} names nobody"));
        }
        let of = |field: &'static str, named: &[Named], uses: &[SenderUse]| {
            let denied = named.iter().zip(uses).find(|(_, found)| **found == SenderUse::Denied)?;
            let text = match &denied.0.address {
                Some(address) => format!("you may not send as {address}, which {field} names"),
                None => format!("{field} names {:?}, which is no address", denied.0.text),
            };
            Some(refused(550, (5, 7, 1), &text))
        };
        of(name, &self.from, from).or_else(|| of(self.sender_name(), &self.sender, sender))
    }

    /// RFC 5322 §3.6.2: who sends for others, or for several, says so.
    fn sender(&self, from: &[SenderUse], sender: &[SenderUse]) -> Sender {
        let is_on_behalf =
            |found: &SenderUse| matches!(found, SenderUse::Delegated { right: SendRight::OnBehalf, .. });
        let names_one = self.sender_fields.len() == 1 && sender.len() == 1;
        let is_told = if from.iter().any(is_on_behalf) {
            names_one && sender.iter().all(|found| *found == SenderUse::Own)
        } else if from.len() > 1 {
            names_one
        } else {
            self.sender_fields.len() <= 1
        };
        if is_told && !sender.iter().any(is_on_behalf) { Sender::AsItIs } else { Sender::Own }
    }
}

/// The first address in From, if it can be somebody's.
pub(crate) fn first_author(message: &[u8]) -> Option<EmailAddress> {
    let header = message.get(..mime::end_of_headers(message)).unwrap_or(message);
    let mut all = Vec::new();
    named(mime::field(header, "From")?.value, &mut all);
    all.into_iter().next()?.address
}

/// Adds the addresses of a field; whether there are too many.
fn named(value: &[u8], to: &mut Vec<Named>) -> bool {
    let all = addresses(value).into_iter().filter_map(|address| Some((address.mailbox?, address.host?)));
    for (local, host) in all {
        if to.len() >= FROM_ADDRESSES_MAX {
            return true;
        }
        let (local, host) = (String::from_utf8_lossy(&local), String::from_utf8_lossy(&host));
        let text = format!("{}@{host}", quoted(&local));
        to.push(Named { address: EmailAddress::parse(&text).ok(), text });
    }
    false
}

/// A mailbox as fields have it (RFC 5322 §3.4).
pub(super) fn mailbox(name: &str, address: &str) -> String {
    let name: String = name.chars().filter(|c| !c.is_control()).collect();
    let name = name.trim();
    if name.is_empty() {
        return address.to_owned();
    }
    match encode_word(name) {
        Cow::Borrowed(plain) => {
            format!("\"{}\" <{address}>", plain.replace('\\', "\\\\").replace('"', "\\\""))
        }
        Cow::Owned(encoded) => format!("{encoded} <{address}>"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// ann's own, boss's by a right of each kind, others' not.
    fn use_of(named: &Named) -> SenderUse {
        let right = |right| SenderUse::Delegated { right, copy_to: None };
        let text = named.address.as_ref().map(EmailAddress::key).unwrap_or_default();
        match text.split('@').next() {
            Some("ann" | "anna") => SenderUse::Own,
            Some("as") => right(SendRight::SendAs),
            Some("behalf") => right(SendRight::OnBehalf),
            _ => SenderUse::Denied,
        }
    }

    fn judged(header: &str, check: FromCheck) -> Result<Sender, String> {
        let authors = Authors::of(header.as_bytes());
        let uses = |all: &[Named]| all.iter().map(use_of).collect::<Vec<_>>();
        let (from, sender) = (uses(&authors.from), uses(&authors.sender));
        let judged = authors.judge(&from, &sender, (check, authors.fault(&from, &sender)));
        judged.map_err(|refused| {
            assert_eq!(refused.code, 550);
            refused.text
        })
    }

    #[test]
    fn who_may_say_what_says_it_and_others_are_told_who_really_sends() {
        for (header, expected) in [
            ("From: Ann <ann@x.example>\r\n", Sender::AsItIs),
            ("From: as@x.example\r\n", Sender::AsItIs),
            ("From: as@x.example\r\nSender: ann@x.example\r\n", Sender::AsItIs),
            ("From: ann@x.example\r\nSender: as@x.example\r\n", Sender::AsItIs),
            ("From: behalf@x.example\r\n", Sender::Own),
            ("From: behalf@x.example\r\nSender: Anna <anna@x.example>\r\n", Sender::AsItIs),
            ("From: behalf@x.example\r\nSender: as@x.example\r\n", Sender::Own),
            ("From: behalf@x.example\r\nSender:\r\n", Sender::Own),
            ("From: ann@x.example\r\nSender: behalf@x.example\r\n", Sender::Own),
            ("From: ann@x.example, as@x.example\r\n", Sender::Own),
            ("From: ann@x.example, as@x.example\r\nSender: as@x.example\r\n", Sender::AsItIs),
            ("From: ann@x.example, as@x.example\r\nSender: ann@x.example, anna@x.example\r\n", Sender::Own),
            ("From: ann@x.example\r\nSender: ann@x.example\r\nSender: anna@x.example\r\n", Sender::Own),
            ("Subject: x\r\n", Sender::AsItIs),
            ("From: us: ann@x.example;\r\n", Sender::AsItIs),
        ] {
            for check in [FromCheck::Enforce, FromCheck::Sender] {
                assert_eq!(judged(header, check), Ok(expected), "{header:?} {check:?}");
            }
            assert_eq!(judged(header, FromCheck::Any), Ok(Sender::AsItIs), "{header:?}");
        }
    }

    #[test]
    fn what_is_not_theirs_is_refused_with_its_name() {
        let many = format!("From: {}\r\n", "ann@x.example, ".repeat(FROM_ADDRESSES_MAX + 1));
        for (header, words) in [
            ("From: bob@x.example\r\n", "you may not send as bob@x.example, which From names"),
            ("From: ann@x.example <bob@x.example>\r\n", "you may not send as bob@x.example"),
            ("From: ann@x.example, bob@x.example\r\n", "you may not send as bob@x.example"),
            ("FROM :\r\n bob@x.example\r\n", "you may not send as bob@x.example"),
            ("From: <ann@x.example> <bob@x.example>\r\n", "you may not send as bob@x.example"),
            ("From: us: ann@x.example, bob@x.example;\r\n", "you may not send as bob@x.example"),
            ("From: ann@x.example\r\nSender: bob@x.example\r\n", "bob@x.example, which Sender names"),
            ("Sender: bob@x.example\r\n", "bob@x.example, which Sender names"),
            ("From: ann\r\n", "From names \"ann@\", which is no address"),
            ("From: <>\r\n", "From names \"@\", which is no address"),
            ("From: \"ann@x.example\r\n", "which is no address"),
            ("From:\r\n", "From names nobody"),
            ("From: nobody:;\r\n", "From names nobody"),
            ("From: ann@x.example\r\nfrom: bob@x.example\r\n", "more than one From field"),
            (&many, "more than 32 addresses"),
        ] {
            let text = judged(header, FromCheck::Enforce).expect_err(header);
            assert!(text.contains(words), "{header:?}: {text}");
            assert_eq!(judged(header, FromCheck::Sender), Ok(Sender::Own), "{header:?}");
            assert_eq!(judged(header, FromCheck::Any), Ok(Sender::AsItIs), "{header:?}");
        }
    }

    #[test]
    fn of_what_is_sent_on_the_resender_is_looked_at() {
        let of =
            |header: &str| (judged(header, FromCheck::Enforce), Authors::of(header.as_bytes()).sender_name());
        let from = "From: bob@x.example\r\nSender: eve@x.example\r\n";
        let resent = |fields: &str| of(&format!("{fields}{from}"));
        assert_eq!(resent("Resent-From: ann@x.example\r\n"), (Ok(Sender::AsItIs), "Resent-Sender"));
        assert_eq!(resent("Resent-From: behalf@x.example\r\n").0, Ok(Sender::Own));
        let fields = "Resent-Sender: ann@x.example\r\nResent-From: behalf@x.example\r\n";
        assert_eq!(resent(fields).0, Ok(Sender::AsItIs));
        // Those who sent it on before were somebody else's to look at.
        let fields =
            "Resent-From: ann@x.example\r\nResent-From: bob@x.example\r\nResent-Sender: eve@x.example\r\n";
        assert_eq!(resent(fields).0, Ok(Sender::AsItIs));
        let fields = "Resent-From: ann@x.example\r\nReceived: x\r\nResent-Sender: eve@x.example\r\n";
        assert_eq!(resent(fields).0, Ok(Sender::AsItIs));
        let refusal = resent("Resent-From: bob@x.example\r\n").0.expect_err("bob's");
        assert!(refusal.contains("which Resent-From names"), "{refusal}");
        let refusal = resent("Resent-Sender: eve@x.example\r\nResent-From: ann@x.example\r\n").0;
        assert!(refusal.expect_err("eve's").contains("which Resent-Sender names"));
        // Without one there is nobody who sends it on.
        assert!(resent("Resent-To: ann@x.example\r\n").0.is_err());
    }

    #[test]
    fn a_name_is_quoted_or_encoded() {
        for (name, expected) in [
            ("", "ann@x.example"),
            (" \u{7} ", "ann@x.example"),
            ("Ann A. (x)", "\"Ann A. (x)\" <ann@x.example>"),
            ("A \"b\" \\", "\"A \\\"b\\\" \\\\\" <ann@x.example>"),
            ("J\u{f6}rg", "=?utf-8?B?SsO2cmc=?= <ann@x.example>"),
            ("A\r\nBcc: eve@x.example", "\"ABcc: eve@x.example\" <ann@x.example>"),
        ] {
            assert_eq!(mailbox(name, "ann@x.example"), expected);
        }
    }
}
