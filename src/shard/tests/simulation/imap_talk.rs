//! IMAP from the client's side: commands with their answers, and what is read out of them.

use std::collections::BTreeSet;
use std::rc::Rc;

use crate::client::{Conn, Lost, Town};
use crate::connection::Door;
use crate::ledger::{Box, Token, token_of};
use crate::password::PASSWORD;

/// How a command ended.
pub(crate) struct Answer {
    pub(crate) is_ok: bool,
    /// The tagged line without its tag.
    pub(crate) text: String,
    /// Untagged responses, literals included.
    pub(crate) untagged: Vec<String>,
}

/// A FETCH response.
#[derive(Clone, Debug)]
pub(crate) struct Fetched {
    pub(crate) uid: u32,
    pub(crate) modseq: u64,
    pub(crate) flags: BTreeSet<String>,
    pub(crate) token: Option<Token>,
}

/// A session that is logged in.
pub(crate) struct Talk {
    pub(crate) conn: Conn,
    last_tag: u32,
    /// LOGOUT was said.
    is_leaving: bool,
}

impl Talk {
    /// Connects and logs in. `None` when the server cannot say yet who is who.
    pub(crate) async fn login(town: &Rc<Town>, who: &str, name: &str) -> Result<Self, Lost> {
        let mut talk = Self { conn: Conn::open(town, who, Door::Imap).await, last_tag: 0, is_leaving: false };
        talk.response().await?;
        let answer = talk.command(&format!("LOGIN {name} {PASSWORD}")).await?;
        match answer.text.contains("[UNAVAILABLE]") {
            _ if answer.is_ok => Ok(talk),
            true => Err(Lost),
            false => Err(talk.conn.wrong(&answer.text)),
        }
    }

    /// Sends a command and waits for its end.
    pub(crate) async fn command(&mut self, text: &str) -> Result<Answer, Lost> {
        self.last_tag += 1;
        let tag = format!("a{}", self.last_tag);
        self.conn.send(&format!("{tag} {text}\r\n"));
        self.end_of(&tag).await
    }

    /// Says good-bye.
    pub(crate) async fn logout(mut self) -> Result<(), Lost> {
        self.conn.may_end = true;
        self.is_leaving = true;
        self.command("LOGOUT").await.map(|_| ())
    }

    /// Sends a command with a literal at its end.
    pub(crate) async fn command_with(&mut self, text: &str, literal: &str) -> Result<Answer, Lost> {
        if self.conn.town.one_in(2) {
            return self.command(&format!("{text} {{{}+}}\r\n{literal}", literal.len())).await;
        }
        self.last_tag += 1;
        let tag = format!("a{}", self.last_tag);
        self.conn.send(&format!("{tag} {text} {{{}}}\r\n", literal.len()));
        let mut untagged = Vec::new();
        loop {
            let response = self.response().await?;
            if response.starts_with('+') {
                break;
            }
            if let Some(text) = response.strip_prefix(&format!("{tag} ")) {
                let (is_ok, text) = (false, text.to_owned());
                return Ok(Answer { is_ok, text, untagged });
            }
            untagged.push(response);
        }
        self.conn.send(&format!("{literal}\r\n"));
        let mut answer = self.end_of(&tag).await?;
        untagged.append(&mut answer.untagged);
        Ok(Answer { untagged, ..answer })
    }

    async fn end_of(&mut self, tag: &str) -> Result<Answer, Lost> {
        let mut untagged = Vec::new();
        loop {
            let response = self.response().await?;
            if let Some(text) = response.strip_prefix(&format!("{tag} ")) {
                if text.starts_with("BAD") {
                    return Err(self.conn.wrong(&response));
                }
                let is_ok = text.starts_with("OK");
                // Only two clients of one account that change the same message may get in each other's way.
                if !is_ok && !text.contains("OVERQUOTA") && self.conn.must_do() {
                    return Err(self.conn.wrong(&response));
                }
                return Ok(Answer { is_ok, text: text.to_owned(), untagged });
            }
            untagged.push(response);
        }
    }

    /// A response with its literals. A server that stops says BYE.
    pub(crate) async fn response(&mut self) -> Result<String, Lost> {
        let mut whole = self.conn.line().await?;
        while let Some(count) = literal(&whole) {
            whole.push_str(&self.conn.bytes(count).await?);
            whole.push_str(&self.conn.line().await?);
        }
        if whole.starts_with("* BYE") {
            if !self.conn.may_end && self.conn.must_go_on() {
                return Err(self.conn.wrong(&whole));
            }
            if !self.is_leaving {
                return Err(Lost);
            }
        }
        Ok(whole)
    }
}

/// The count of bytes of the literal that a line announces at its end.
fn literal(line: &str) -> Option<usize> {
    line.strip_suffix('}')?.rsplit_once('{')?.1.parse().ok()
}

/// What stands between two texts.
fn between<'a>(text: &'a str, before: &str, after: &str) -> Option<&'a str> {
    Some(text.split_once(before)?.1.split_once(after)?.0)
}

/// The number after a text.
pub(crate) fn number<T: std::str::FromStr>(text: &str, before: &str) -> Option<T> {
    let (_, rest) = text.split_once(before)?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest.get(..end)?.parse().ok()
}

impl Fetched {
    /// A FETCH response that says which message it is about and what its flags were when.
    pub(crate) fn parse(response: &str) -> Option<Self> {
        let uid = response.contains(" FETCH (").then(|| number(response, "UID "))??;
        let modseq = number(response, "MODSEQ (")?;
        let flags = between(response, "FLAGS (", ")")?;
        let flags = flags.split_whitespace().map(str::to_owned).collect();
        Some(Self { uid, modseq, flags, token: token_of(response) })
    }
}

/// The UIDs of a set such as `1:3,7`.
pub(crate) fn uids(set: &str) -> Vec<u32> {
    let mut all = Vec::new();
    for part in set.split(',') {
        let (first, last) = part.split_once(':').unwrap_or((part, part));
        let (Ok(first), Ok(last)) = (first.parse::<u32>(), last.parse()) else { continue };
        all.extend(first..=last);
    }
    all
}

/// The UIDs that went, by VANISHED.
pub(crate) fn vanished(response: &str) -> Vec<u32> {
    let Some(set) = response.strip_prefix("* VANISHED ") else { return Vec::new() };
    uids(set.strip_prefix("(EARLIER) ").unwrap_or(set))
}

/// UIDVALIDITY, sources and targets of COPYUID.
pub(crate) fn copied(answer: &Answer) -> Option<(u32, Vec<u32>, Vec<u32>)> {
    let mut texts = answer.untagged.iter().chain([&answer.text]);
    let words = texts.find_map(|text| between(text, "[COPYUID ", "]"))?;
    let mut words = words.split(' ');
    Some((words.next()?.parse().ok()?, uids(words.next()?), uids(words.next()?)))
}

/// What SELECT says of a mailbox.
pub(crate) fn shown(answer: &Answer) -> Option<(Box, u32)> {
    let find = |what: &str| answer.untagged.iter().find_map(|text| number::<u64>(text, what));
    let exists = answer.untagged.iter().find(|text| text.ends_with(" EXISTS"))?;
    let exists = number(exists, "* ")?;
    let uid_validity = find("[UIDVALIDITY ")? as u32;
    let (uid_next, highest_modseq) = (find("[UIDNEXT ")? as u32, find("[HIGHESTMODSEQ ")?);
    Some((Box { uid_validity, uid_next, highest_modseq }, exists))
}
