//! An IMAP session by a list of acts.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::Talk;
use crate::load::{Io, Target};
use crate::message::Originals;
use crate::scenarios::body::body;
use crate::scenarios::list::fetched;
use crate::wire::{Event, Imap, Step, quoted};
use crate::wrong::Wrong;

/// One thing to do. A command is over with its tagged response, a pause by the clock.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::scenarios) enum Act {
    Select(String),
    /// FETCH of the newest messages' envelopes.
    Newest(u32),
    /// FETCH of the newest message.
    Body,
    /// STORE on the newest message: \Seen, or not.
    Seen(bool),
    /// IDLE, for so long.
    Idle(Duration),
    Think(Duration),
}

/// Login, the acts, LOGOUT.
pub(in crate::scenarios) struct ImapTalk {
    kind: &'static str,
    target: Target,
    imap: Imap,
    acts: VecDeque<Act>,
    current: Current,
    /// When the command or pause in hand began.
    asked: Instant,
    pauses: Duration,
    steps: Vec<(&'static str, Duration)>,
    originals: Originals,
    /// Others set and clear flags in this mailbox at the same time.
    is_shared: bool,
    is_over: bool,
}

/// What is in hand.
enum Current {
    Login,
    Select,
    /// Messages from `.0` to `.1`, of which `.2` have come.
    Newest(u32, u32, u32),
    /// Whether it has come.
    Body(bool),
    /// The message, what its flag shall be, and what the server says it is.
    Seen(u32, bool, Option<bool>),
    Idle(Duration),
    Done,
    Think,
    Logout,
}

impl ImapTalk {
    pub(in crate::scenarios) fn new(
        kind: &'static str,
        target: Target,
        login: Step,
        acts: impl IntoIterator<Item = Act>,
        now: Instant,
    ) -> Self {
        Self {
            kind,
            target,
            imap: Imap::new([login]),
            acts: acts.into_iter().collect(),
            current: Current::Login,
            asked: now,
            pauses: Duration::ZERO,
            steps: Vec::new(),
            originals: Originals::new(),
            is_shared: false,
            is_over: false,
        }
    }

    /// In a mailbox where others store flags at the same time: what a STORE comes to is theirs as well, and not checked.
    pub(in crate::scenarios) fn shared(self) -> Self {
        Self { is_shared: true, ..self }
    }

    /// Begins the next act; those that need a message are passed over where there is none.
    fn proceed(&mut self, id: usize, io: &mut Io) {
        self.asked = io.now;
        let exists = self.imap.facts.exists.unwrap_or(0);
        let imap = &mut self.imap;
        self.current = loop {
            match self.acts.pop_front() {
                None => {
                    imap.log_out(io.output(id));
                    break Current::Logout;
                }
                Some(Act::Select(mailbox)) => {
                    imap.command(io.output(id), &format!("SELECT {}", quoted(&mailbox)));
                    break Current::Select;
                }
                Some(Act::Think(pause)) => {
                    io.wake_after(id, pause);
                    break Current::Think;
                }
                Some(Act::Idle(pause)) => {
                    imap.command(io.output(id), "IDLE");
                    break Current::Idle(pause);
                }
                Some(_) if exists == 0 => {}
                Some(Act::Newest(count)) => {
                    let first = exists.saturating_sub(count) + 1;
                    imap.command(io.output(id), &format!("FETCH {first}:{exists} (UID FLAGS ENVELOPE)"));
                    break Current::Newest(first, exists, 0);
                }
                Some(Act::Body) => {
                    imap.command(io.output(id), &format!("FETCH {exists} BODY.PEEK[]"));
                    break Current::Body(false);
                }
                Some(Act::Seen(is_seen)) => {
                    let sign = if is_seen { '+' } else { '-' };
                    imap.command(io.output(id), &format!("STORE {exists} {sign}FLAGS (\\Seen)"));
                    break Current::Seen(exists, is_seen, None);
                }
            }
        };
    }

    fn untagged(current: &mut Current, line: &[u8], originals: &mut Originals) -> Result<(), Wrong> {
        let Some((number, items)) = fetched(line) else { return Ok(()) };
        match current {
            // Others may change flags meanwhile: only what was asked for has an envelope or a body.
            Current::Newest(first, last, come) if memchr::memmem::find(items, b"ENVELOPE (").is_some() => {
                if !(*first..=*last).contains(&number) {
                    return Err(Wrong::answer(&format!("messages {first} to {last}"), line));
                }
                *come += 1;
            }
            Current::Body(has_come) => {
                let Some(message) = body(items) else { return Ok(()) };
                if !originals.is_delivered(message) {
                    return Err(Wrong::answer("the message, unchanged", line));
                }
                *has_come = true;
            }
            Current::Seen(wanted, _, is_seen) if number == *wanted => {
                *is_seen = Some(memchr::memmem::find(items, b"\\Seen").is_some());
            }
            _ => {}
        }
        Ok(())
    }

    /// Checks an act by its end, and names it.
    fn ended(&self, text: &[u8]) -> Result<&'static str, Wrong> {
        let (name, is_right) = match self.current {
            Current::Select => ("select", self.imap.facts.exists.is_some()),
            Current::Newest(first, last, come) => ("fetch", come == last + 1 - first),
            Current::Body(has_come) => ("body", has_come),
            Current::Seen(_, wanted, is_seen) => {
                ("store", self.is_shared || is_seen.is_none_or(|is_seen| is_seen == wanted))
            }
            Current::Done => ("done", true),
            Current::Login | Current::Idle(_) | Current::Think | Current::Logout => ("nothing", false),
        };
        if is_right { Ok(name) } else { Err(Wrong::answer(&format!("all of {name} before this"), text)) }
    }

    fn note(&mut self, step: &'static str, now: Instant) {
        self.steps.push((step, now.saturating_duration_since(self.asked)));
    }
}

impl Talk for ImapTalk {
    fn kind(&self) -> &'static str {
        self.kind
    }

    fn target(&self) -> Target {
        self.target
    }

    fn opened(&mut self, now: Instant) {
        self.asked = now;
    }

    fn input(&mut self, id: usize, bytes: &[u8], io: &mut Io) -> Result<(), Wrong> {
        self.imap.input(bytes);
        loop {
            let step = match self.imap.next(io.output(id))? {
                None => return Ok(()),
                Some(Event::Untagged(line)) => {
                    Self::untagged(&mut self.current, line, &mut self.originals)?;
                    continue;
                }
                Some(Event::Continue) => {
                    let Current::Idle(pause) = self.current else { continue };
                    self.note("idle", io.now);
                    self.asked = io.now;
                    io.wake_after(id, pause);
                    continue;
                }
                Some(Event::Prepared) => "login",
                Some(Event::LoggedOut) => {
                    self.note("logout", io.now);
                    self.is_over = true;
                    return Ok(());
                }
                Some(Event::Tagged { is_ok: false, text }) => return Err(Wrong::answer("OK", text)),
                Some(Event::Tagged { text, .. }) => {
                    let text = text.to_vec();
                    self.ended(&text)?
                }
            };
            self.note(step, io.now);
            self.proceed(id, io);
        }
    }

    fn woken(&mut self, id: usize, io: &mut Io) {
        self.pauses += io.now.saturating_duration_since(self.asked);
        if matches!(self.current, Current::Idle(_)) {
            io.output(id).extend_from_slice(b"DONE\r\n");
            self.asked = io.now;
            self.current = Current::Done;
        } else {
            self.proceed(id, io);
        }
    }

    fn is_over(&self) -> bool {
        self.is_over
    }

    fn pauses(&self) -> Duration {
        self.pauses
    }

    fn steps(&self) -> &[(&'static str, Duration)] {
        &self.steps
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_that_another_session_changed_is_no_wrong_answer() {
        let target = Target { address: ([127, 0, 0, 1], 1).into(), is_tls: false };
        let login = Step::LogIn { name: "a".into(), password: "b".into() };
        let mut talk = ImapTalk::new("webmail", target, login, [], crate::clock::now());
        talk.current = Current::Seen(3, true, None);
        let cleared = b"* 3 FETCH (FLAGS ())";
        ImapTalk::untagged(&mut talk.current, cleared, &mut talk.originals).expect("a response");
        assert!(talk.ended(b"t1 OK").is_err());
        assert_eq!(talk.shared().ended(b"t1 OK"), Ok("store"));
    }
}
