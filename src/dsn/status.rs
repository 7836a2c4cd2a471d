//! Enhanced status codes (RFC 3463 §2) and what they mean in words: RFC 3463 §3 and the registry of RFC 5248.

use std::fmt;

/// A status code `class.subject.detail`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Status {
    /// 2: it worked; 4: not now; 5: never.
    pub class: u8,
    /// What it is about: 1 address, 2 mailbox, 3 mail system, 4 network, 5 protocol, 6 content, 7 policy.
    pub subject: u16,
    /// What exactly; 0 is "something else".
    pub detail: u16,
}

impl Status {
    /// A code from its three numbers; for codes that stand in the source.
    pub const fn new(class: u8, subject: u16, detail: u16) -> Self {
        Self { class, subject, detail }
    }

    /// Reads a code, all of `text`.
    ///
    /// `status-code = class "." subject "." detail`, each number up to three digits (RFC 3463 §2).
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('.');
        let class = match parts.next()? {
            "2" => 2,
            "4" => 4,
            "5" => 5,
            _ => return None,
        };
        let (subject, detail) = (number(parts.next()?)?, number(parts.next()?)?);
        if parts.next().is_some() { None } else { Some(Self { class, subject, detail }) }
    }

    /// The code at the front of a server's answer: `550 5.1.1 No such user`, with or without the three
    /// digits before it (RFC 2034 §4).
    pub fn of_response(text: &str) -> Option<Self> {
        let (first, rest) = word(text);
        Self::parse(first).or_else(|| reply_code(first).and_then(|_| Self::parse(word(rest).0)))
    }

    /// What it means, as a clause without a full stop. A code that the registry lacks has the words of its
    /// subject, and one whose subject is unknown the words of its class.
    pub fn phrase(self) -> &'static str {
        let found = |subject, detail| {
            PHRASES
                .binary_search_by_key(&(subject, detail), |row| (row.0, row.1))
                .ok()
                .and_then(|at| PHRASES.get(at))
        };
        // `X.1.5` and its like say that all is well; of a failure they say nothing.
        let row =
            found(self.subject, self.detail).or_else(|| found(self.subject, 0)).filter(|row| row.0 != 0);
        match (row, self.class) {
            (_, 2) => "the message was accepted",
            (Some(row), _) => row.2,
            (None, 4) => "the message could not be delivered so far",
            (None, _) => "the message could not be delivered",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.class, self.subject, self.detail)
    }
}

/// The three digits at the front of a server's answer (RFC 5321 §4.2), if they are a reply code.
pub(crate) fn reply_code(text: &str) -> Option<u16> {
    let digits = text.get(..3).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    let is_whole = text.as_bytes().get(3).is_none_or(|byte| matches!(byte, b' ' | b'-'));
    digits.parse().ok().filter(|code| is_whole && (200..600).contains(code))
}

/// The first word, which a space or the hyphen of a multi-line answer ends, and what follows.
fn word(text: &str) -> (&str, &str) {
    let text = text.trim_start();
    text.split_once([' ', '-', '\r', '\n', '\t']).unwrap_or((text, ""))
}

fn number(text: &str) -> Option<u16> {
    let is_number = (1..=3).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// Subject, detail, words; in order, for the search.
const PHRASES: &[(u16, u16, &str)] = &[
    (1, 0, "there is a problem with the address"),
    (1, 1, "there is no such mailbox"),
    (1, 2, "there is no such domain or mail server"),
    (1, 3, "the address is not written correctly"),
    (1, 4, "the address fits more than one mailbox"),
    (1, 5, "the address is valid"),
    (1, 6, "the mailbox has moved and left no new address"),
    (1, 7, "the sender's address is not written correctly"),
    (1, 8, "there is no such domain for the sender's address"),
    (1, 9, "the message went to a system that cannot report further"),
    (1, 10, "the domain says that it takes no mail"),
    (2, 0, "there is a problem with the mailbox"),
    (2, 1, "the mailbox is switched off and takes no messages"),
    (2, 2, "the mailbox is full"),
    (2, 3, "the message is larger than this mailbox takes"),
    (2, 4, "the mailing list could not be expanded"),
    (3, 0, "there is a problem with the receiving mail system"),
    (3, 1, "the receiving mail system has no room left"),
    (3, 2, "the receiving mail system takes no mail at present"),
    (3, 3, "the receiving mail system lacks a feature that the message needs"),
    (3, 4, "the message is larger than the receiving mail system takes"),
    (3, 5, "the receiving mail system is not set up correctly"),
    (3, 6, "the message's priority was changed"),
    (4, 0, "there is a problem with the network"),
    (4, 1, "the mail server does not answer"),
    (4, 2, "the connection to the mail server was lost"),
    (4, 3, "a directory or name server did not answer"),
    (4, 4, "no way to the mail server could be found"),
    (4, 5, "the mail system is overloaded"),
    (4, 6, "the message goes in circles"),
    (4, 7, "the message could not be delivered in the time allowed"),
    (5, 0, "the mail servers could not understand each other"),
    (5, 1, "the mail server does not know a command"),
    (5, 2, "the mail server found a command malformed"),
    (5, 3, "the message has more recipients than the mail server takes at once"),
    (5, 4, "the mail server refused a command's parameters"),
    (5, 5, "the mail servers speak different versions of the protocol"),
    (5, 6, "a line of the login was too long"),
    (6, 0, "there is a problem with the message's content"),
    (6, 1, "this kind of content is not accepted"),
    (6, 2, "the content would have to be converted, which is not allowed"),
    (6, 3, "the content would have to be converted, which is not possible"),
    (6, 4, "the content was converted and lost something on the way"),
    (6, 5, "the content could not be converted"),
    (6, 6, "the content could not be fetched"),
    (6, 7, "addresses with letters beyond ASCII are not accepted there"),
    (6, 8, "the answer has letters that this connection cannot carry"),
    (6, 9, "header fields with letters beyond ASCII are not accepted there"),
    (6, 10, "the answer has letters that this connection cannot carry"),
    (7, 0, "the receiving side refused the message for reasons of policy"),
    (7, 1, "the sender is not allowed to write to this address"),
    (7, 2, "the sender is not allowed to write to this mailing list"),
    (7, 3, "the message would have to be secured in a way that is not possible"),
    (7, 4, "the receiving side lacks a security feature that the message needs"),
    (7, 5, "encryption or decryption failed"),
    (7, 6, "the kind of encryption is not supported"),
    (7, 7, "the message was damaged or changed on its way"),
    (7, 8, "the name or password was not accepted"),
    (7, 9, "the kind of login is too weak"),
    (7, 10, "encryption is needed"),
    (7, 11, "encryption is needed for this kind of login"),
    (7, 12, "the password must first be set anew"),
    (7, 13, "the account is switched off"),
    (7, 14, "the two sides must first be made known to each other"),
    (7, 15, "the message's priority is too low at present"),
    (7, 16, "the message is too large for its priority"),
    (7, 17, "the mailbox has another owner now"),
    (7, 18, "the domain has another owner now"),
    (7, 19, "whether the mailbox still has its owner could not be found out"),
    (7, 20, "the message has no DKIM signature that passes"),
    (7, 21, "the message has no DKIM signature that is accepted"),
    (7, 22, "the message has no DKIM signature of its author's domain"),
    (7, 23, "SPF says that the message may not come from there"),
    (7, 24, "the SPF check did not succeed"),
    (7, 25, "the sending server has no valid reverse name"),
    (7, 26, "several authentication checks failed"),
    (7, 27, "the sender's domain says that it takes no mail"),
    (7, 28, "the sender sends too much mail at once"),
    (7, 29, "the ARC check failed"),
    (7, 30, "the message must travel encrypted, and the next server cannot promise that"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read_and_written() {
        for text in ["2.0.0", "4.4.7", "5.7.30", "5.999.999"] {
            assert_eq!(Status::parse(text).unwrap().to_string(), text);
        }
        for text in
            ["", "5", "5.1", "5.1.1.1", "3.1.1", "5.1.", "5..1", "5.1000.1", "5.1.x", " 5.1.1", "5.+1.1"]
        {
            assert_eq!(Status::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_code_is_found_at_the_front_of_an_answer() {
        for (text, code) in [
            ("550 5.1.1 No such user", Some(Status::new(5, 1, 1))),
            ("550-5.1.1 No such\r\n550 5.1.1 user", Some(Status::new(5, 1, 1))),
            ("4.2.2 full", Some(Status::new(4, 2, 2))),
            ("5.1.1", Some(Status::new(5, 1, 1))),
            ("550 no such user 5.1.1", None),
            ("mail 5.1.1", None),
            ("", None),
            ("550", None),
            ("550é5.1.1", None),
        ] {
            assert_eq!(Status::of_response(text), code, "{text}");
        }
        for (text, code) in
            [("550", Some(550)), ("250-a", Some(250)), ("5500", None), ("150 x", None), ("é", None)]
        {
            assert_eq!(reply_code(text), code, "{text}");
        }
    }

    #[test]
    fn every_code_has_words_and_the_table_is_in_order() {
        assert!(PHRASES.windows(2).all(|pair| (pair[0].0, pair[0].1) < (pair[1].0, pair[1].1)));
        assert_eq!(Status::new(5, 1, 1).phrase(), "there is no such mailbox");
        assert_eq!(Status::new(5, 7, 300).phrase(), Status::new(5, 7, 0).phrase());
        assert_eq!(Status::new(5, 8, 1).phrase(), "the message could not be delivered");
        assert_eq!(Status::new(4, 0, 0).phrase(), "the message could not be delivered so far");
        assert_eq!(Status::new(2, 1, 5).phrase(), "the message was accepted");
    }
}
