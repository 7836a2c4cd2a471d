//! Addresses (RFC 5322 §3.4 and, tolerated, §4.4) in the four parts IMAP shows (RFC 9051 §7.5.2).

use alloc::vec::Vec;

use crate::lex::Lexer;
use crate::limits::ADDRESSES_MAX;

/// One address, or a group's begin (`mailbox` is the group's name, `host` is none) or end (all
/// none).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Address {
    /// The display name, quoting removed, encoded-words and 8-bit bytes kept. A comment behind an
    /// address without display name counts as one.
    pub name: Option<Vec<u8>>,
    /// The source route (RFC 5322 §4.4), e.g. `@a,@b`.
    pub adl: Option<Vec<u8>>,
    /// The local part, quoting removed. Empty, not none, when the address has none.
    pub mailbox: Option<Vec<u8>>,
    /// The domain. Empty, not none, when the address has none (`root`).
    pub host: Option<Vec<u8>>,
}

impl Address {
    /// A group begins here; its members follow.
    pub fn is_group_start(&self) -> bool {
        self.host.is_none() && self.mailbox.is_some()
    }

    /// The group that began last ends here.
    pub fn is_group_end(&self) -> bool {
        self.host.is_none() && self.mailbox.is_none()
    }
}

/// Reads an address list. What stands outside of the grammar is taken for what was most likely
/// meant; a group is always ended.
pub fn addresses(value: &[u8]) -> Vec<Address> {
    let mut lexer = Lexer::of(value);
    let mut out = Vec::new();
    let mut phrase = Phrase::default();
    let mut is_in_group = false;
    // Room for the address or group mark of this round, and for the group's end.
    while out.len() + 2 < ADDRESSES_MAX {
        // A group does not contain groups, so there a colon is just a character.
        let end = phrase.read(&mut lexer, if is_in_group { b"<,;" } else { b"<,;:" });
        match end {
            Some(b'<') => {
                let name = phrase.take_name();
                out.push(angle_address(&mut lexer, name, &mut phrase));
                continue;
            }
            Some(b':') => {
                is_in_group = true;
                let name = phrase.take_name().unwrap_or_default();
                out.push(Address { mailbox: Some(name), ..Address::default() });
            }
            Some(_) | None => out.extend(phrase.take_address()),
        }
        phrase.clear();
        if end == Some(b';') && is_in_group {
            is_in_group = false;
            out.push(Address::default());
        }
        if end.is_none() {
            break;
        }
    }
    if is_in_group {
        out.push(Address::default());
    }
    out
}

/// `[route ":"] addr-spec ">"` and the comments behind. Leaves `phrase` ready for what follows.
fn angle_address(lexer: &mut Lexer<'_>, name: Option<Vec<u8>>, phrase: &mut Phrase) -> Address {
    phrase.clear();
    let adl = route(lexer);
    let is_closed = phrase.read(lexer, b">,") == Some(b'>');
    let (mailbox, host) = phrase.split();
    let address = Address { name, adl, mailbox: Some(mailbox.to_vec()), host: Some(host.to_vec()) };
    phrase.clear();
    if !is_closed {
        return address;
    }
    lexer.skip_cfws_keeping(&mut phrase.comment);
    phrase.follows_address = true;
    if address.name.is_none() && !phrase.comment.is_empty() {
        let name = Some(core::mem::take(&mut phrase.comment));
        return Address { name, ..address };
    }
    phrase.comment.clear();
    address
}

/// `obs-route = obs-domain-list ":"` (RFC 5322 §4.4), white space removed.
fn route(lexer: &mut Lexer<'_>) -> Option<Vec<u8>> {
    lexer.skip_cfws();
    if lexer.peek() != Some(b'@') {
        return None;
    }
    let mut ahead = lexer.clone();
    let route = ahead.until(|byte| matches!(byte, b':' | b'>' | b'<'));
    if !ahead.skip(b':') {
        return None;
    }
    *lexer = ahead;
    Some(route.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect())
}

/// Words up to a special character, which will turn out to be a display name, a group's name or
/// an address without angle brackets.
#[derive(Default)]
struct Phrase {
    /// As a display name: single spaces where white space was.
    name: Vec<u8>,
    /// As an address: without the white space around `.` and `@` that RFC 5322 §4.4 allows.
    spec: Vec<u8>,
    /// The last `@` of `spec` outside of quotes.
    at: Option<usize>,
    comment: Vec<u8>,
    is_spaced: bool,
    follows_special: bool,
    /// An address in angle brackets came before without a comma: bare words are then nothing.
    follows_address: bool,
}

impl Phrase {
    fn clear(&mut self) {
        self.name.clear();
        self.spec.clear();
        self.comment.clear();
        self.at = None;
        (self.is_spaced, self.follows_special, self.follows_address) = (false, false, false);
    }

    /// Reads up to one of `stops`, goes past it and returns it; `None` at the end.
    fn read(&mut self, lexer: &mut Lexer<'_>, stops: &[u8]) -> Option<u8> {
        loop {
            self.is_spaced |= lexer.skip_cfws_keeping(&mut self.comment);
            let byte = lexer.peek()?;
            if stops.contains(&byte) {
                return lexer.next();
            }
            match byte {
                b'"' => {
                    self.begin_word(true);
                    let start = self.spec.len();
                    lexer.quoted_string(&mut self.spec);
                    self.name.extend_from_slice(self.spec.get(start..).unwrap_or_default());
                }
                b'@' | b'.' => {
                    lexer.next();
                    self.special(byte);
                }
                b'[' => {
                    self.word(lexer.until(|byte| matches!(byte, b']' | b'>' | b',')));
                    if lexer.skip(b']') {
                        self.push(b"]");
                    }
                }
                // Left over from brackets that do not match.
                b'<' | b'>' | b')' => {
                    lexer.next();
                }
                b':' | b';' | b',' => {
                    lexer.next();
                    self.word(&[byte]);
                }
                _ => self.word(lexer.until(is_end_of_atom)),
            }
        }
    }

    fn word(&mut self, word: &[u8]) {
        self.begin_word(true);
        self.push(word);
    }

    fn special(&mut self, special: u8) {
        if special == b'@' {
            self.at = Some(self.spec.len());
        }
        self.begin_word(false);
        self.push(&[special]);
        self.follows_special = true;
    }

    /// Puts the space that was before this word, if it was one.
    fn begin_word(&mut self, is_word: bool) {
        if self.is_spaced && !self.name.is_empty() {
            self.name.push(b' ');
            if is_word && !self.follows_special {
                self.spec.push(b' ');
            }
        }
        (self.is_spaced, self.follows_special) = (false, false);
    }

    fn push(&mut self, bytes: &[u8]) {
        self.name.extend_from_slice(bytes);
        self.spec.extend_from_slice(bytes);
    }

    fn take_name(&mut self) -> Option<Vec<u8>> {
        if self.name.is_empty() { None } else { Some(self.name.clone()) }
    }

    /// Local part and domain.
    fn split(&self) -> (&[u8], &[u8]) {
        let Some(at) = self.at else { return (&self.spec, b"") };
        (self.spec.get(..at).unwrap_or_default(), self.spec.get(at + 1..).unwrap_or_default())
    }

    /// The words as an address without angle brackets, if there are any.
    fn take_address(&mut self) -> Option<Address> {
        if self.spec.is_empty() || self.follows_address {
            return None;
        }
        let (mailbox, host) = self.split();
        let (mailbox, host) = (Some(mailbox.to_vec()), Some(host.to_vec()));
        let name = if self.comment.is_empty() { None } else { Some(core::mem::take(&mut self.comment)) };
        Some(Address { name, adl: None, mailbox, host })
    }
}

fn is_end_of_atom(byte: u8) -> bool {
    byte.is_ascii_whitespace() || b"()<>@,;:\".[".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `name|adl|mailbox|host`, none as `-`.
    fn show(value: &str) -> Vec<String> {
        let text = |part: &Option<Vec<u8>>| {
            part.as_ref().map_or("-".to_owned(), |b| String::from_utf8_lossy(b).into_owned())
        };
        addresses(value.as_bytes())
            .iter()
            .map(|a| [&a.name, &a.adl, &a.mailbox, &a.host].map(text).join("|"))
            .collect()
    }

    #[test]
    fn the_examples_of_rfc_5322_are_read() {
        for (value, expected) in [
            (
                "\"Joe Q. Public\" <john.q.public@example.com>",
                &["Joe Q. Public|-|john.q.public|example.com"][..],
            ),
            (
                "Mary Smith <mary@x.test>, jdoe@example.org, Who? <one@y.test>",
                &["Mary Smith|-|mary|x.test", "-|-|jdoe|example.org", "Who?|-|one|y.test"],
            ),
            (
                "<boss@nil.test>, \"Giant; \\\"Big\\\" Box\" <sysservices@example.net>",
                &["-|-|boss|nil.test", "Giant; \"Big\" Box|-|sysservices|example.net"],
            ),
            (
                "A Group:Ed Jones <c@a.test>,joe@where.test,John <jdoe@one.test>;",
                &[
                    "-|-|A Group|-",
                    "Ed Jones|-|c|a.test",
                    "-|-|joe|where.test",
                    "John|-|jdoe|one.test",
                    "-|-|-|-",
                ],
            ),
            ("Undisclosed recipients:;", &["-|-|Undisclosed recipients|-", "-|-|-|-"]),
            ("Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", &["Pete|-|pete|silly.test"]),
            (
                "A Group(Some people)\r\n     :Chris Jones <c@(Chris's host.)public.example>,\r\n joe@example.org,\r\n \
                 John <jdoe@one.test> (my dear friend); (the end of the group)",
                &[
                    "-|-|A Group|-",
                    "Chris Jones|-|c|public.example",
                    "-|-|joe|example.org",
                    "John|-|jdoe|one.test",
                    "-|-|-|-",
                ],
            ),
            (
                "(Empty list)(start)Hidden recipients  :(nobody(that I know))  ;",
                &["-|-|Hidden recipients|-", "-|-|-|-"],
            ),
            ("Joe Q. Public <john.q.public@example.com>", &["Joe Q. Public|-|john.q.public|example.com"]),
            (
                "Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
                &["Mary Smith|@node.test|mary|example.net", "-|-|jdoe|test.example"],
            ),
        ] {
            assert_eq!(show(value), expected, "{value}");
        }
    }

    #[test]
    fn what_programs_send_is_read() {
        for (value, expected) in [
            ("", &[][..]),
            (" , ,; ", &[]),
            ("root", &["-|-|root|"]),
            ("a\u{c}b@c\u{b}d", &["-|-|a b|c\u{b}d"]),
            ("root (Operator)", &["Operator|-|root|"]),
            ("a@b (Comment (nested))", &["Comment (nested)|-|a|b"]),
            ("<a@b> (Comment)", &["Comment|-|a|b"]),
            ("a@b <a@b>", &["a@b|-|a|b"]),
            ("<>", &["-|-||"]),
            ("MAILER-DAEMON <>", &["MAILER-DAEMON|-||"]),
            ("Name <a@b", &["Name|-|a|b"]),
            ("Name <a@b, c@d", &["Name|-|a|b", "-|-|c|d"]),
            ("a@b>, c@d", &["-|-|a|b", "-|-|c|d"]),
            ("<a@b> <c@d>", &["-|-|a|b", "-|-|c|d"]),
            ("<a@b> trailing words, c@d", &["-|-|a|b", "-|-|c|d"]),
            ("a@b; c@d", &["-|-|a|b", "-|-|c|d"]),
            ("\"a b\"@c", &["-|-|a b|c"]),
            ("<\"a@b\"@c>", &["-|-|a@b|c"]),
            ("a@[192.0.2.1], b@[IPv6:2001:db8::1]", &["-|-|a|[192.0.2.1]", "-|-|b|[IPv6:2001:db8::1]"]),
            ("=?utf-8?q?J=C3=B6rg?= Meier <j@m>", &["=?utf-8?q?J=C3=B6rg?= Meier|-|j|m"]),
            ("Jörg <jörg@bücher.example>", &["Jörg|-|jörg|bücher.example"]),
            ("<@a,@b : c@d>", &["-|@a,@b|c|d"]),
            ("<@a>", &["-|-||a"]),
            ("G: a@b", &["-|-|G|-", "-|-|a|b", "-|-|-|-"]),
            ("G: a:b@c, H: d@e;", &["-|-|G|-", "-|-|a:b|c", "-|-|H: d|e", "-|-|-|-"]),
            (":;", &["-|-||-", "-|-|-|-"]),
            ("O'Neil \"The\" Man <o@n>", &["O'Neil The Man|-|o|n"]),
            ("\"unclosed <a@b>", &["-|-|unclosed <a@b>|"]),
        ] {
            assert_eq!(show(value), expected, "{value}");
        }
    }

    #[test]
    fn groups_are_balanced_and_the_number_of_addresses_is_bounded() {
        let many = addresses("a@b,".repeat(ADDRESSES_MAX * 2).as_bytes());
        assert!(many.len() <= ADDRESSES_MAX && many.len() > ADDRESSES_MAX - 3);
        let group = addresses(format!("g:{}", "a@b,".repeat(ADDRESSES_MAX * 2)).as_bytes());
        assert!(group.len() <= ADDRESSES_MAX);
        assert!(group[0].is_group_start() && group.last().is_some_and(Address::is_group_end));
        // Many beginnings of a route and of an angle address: linear, not quadratic.
        assert!(addresses("<@".repeat(500_000).as_bytes()).len() <= ADDRESSES_MAX);
    }
}
