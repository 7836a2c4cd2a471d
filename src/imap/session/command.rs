//! The match of state and command (RFC 9051 §6): answered here when no account is needed, else
//! turned into an [`Action`].

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem;

use auth::Identity;
use base::Next;

use super::state::{Idle, Running, State};
use super::{Imap, Request};
use crate::capability::Enabled;
use crate::command::{Command, Rump, Select, Status, StatusItems, Tagged};
use crate::handlers::{Act, Action, Done};
use crate::reply::{Code, Failure};
use crate::url::INTERNAL;
use crate::view::Selected;

impl Imap {
    pub(super) fn command(&mut self, tagged: Tagged) -> Option<Next<Request>> {
        let Tagged { tag, command } = tagged;
        match command {
            // What was wrong is said, not what stood there: it may have been a password.
            Err(error) => {
                self.bad_commands += 1;
                let text = ["expected ", error.expected].concat();
                crate::reply::write_line(&mut self.output, &tag, "BAD", None, &text);
                None
            }
            Ok(command) => self.any(tag, command),
        }
    }

    /// RFC 9051 §6.1: legal in every state.
    fn any(&mut self, tag: String, command: Command) -> Option<Next<Request>> {
        match command {
            Command::Capability => {
                self.output.extend_from_slice(b"* ");
                self.write_capabilities(self.identity().is_some());
                self.output.extend_from_slice(b"\r\n");
                self.ok(&tag, "that is all");
            }
            Command::Id => {
                self.output.extend_from_slice(
                    concat!(
                        "* ID (\"name\" \"Angarium\" \"version\" \"",
                        env!("CARGO_PKG_VERSION"),
                        "\")\r\n"
                    )
                    .as_bytes(),
                );
                self.ok(&tag, "pleased to meet you");
            }
            Command::Logout => {
                self.bye("goodbye");
                self.ok(&tag, "logged out");
            }
            command => return self.by_state(tag, command),
        }
        None
    }

    fn by_state(&mut self, tag: String, command: Command) -> Option<Next<Request>> {
        match mem::replace(&mut self.state, State::NotAuthenticated) {
            State::Authenticated(identity) => self.authenticated(tag, identity, None, command),
            State::Selected(identity, view) => self.authenticated(tag, identity, Some(view), command),
            state => {
                self.state = state;
                self.not_authenticated(tag, command)
            }
        }
    }

    /// RFC 9051 §6.2
    fn not_authenticated(&mut self, tag: String, command: Command) -> Option<Next<Request>> {
        match command {
            Command::Noop => self.ok(&tag, "nothing done"),
            Command::StartTls if self.tls.is_none() && self.config.starttls => {
                self.ok(&tag, "begin TLS now");
                self.state = State::Handshake;
            }
            Command::StartTls => self.bad(&tag, "TLS cannot be started here"),
            Command::Login(login) => return self.login(tag, login),
            Command::Authenticate(request) => return self.authenticate(tag, &request),
            _ => self.bad(&tag, "log in first"),
        }
        None
    }

    /// RFC 9051 §6.3, and §6.4 once a mailbox is selected.
    fn authenticated(
        &mut self,
        tag: String,
        identity: Identity,
        selected: Option<Box<Selected>>,
        command: Command,
    ) -> Option<Next<Request>> {
        let action = match self.judge(&tag, selected.as_deref(), command) {
            Judged::Act(action) => action,
            Judged::Idle => {
                self.output.extend_from_slice(b"+ idling\r\n");
                self.state = State::Idle(Idle { identity, tag, selected, is_behind: true });
                return None;
            }
            Judged::Unselect => {
                self.ok(&tag, "no mailbox is selected any more");
                self.state = State::Authenticated(identity);
                return None;
            }
            Judged::Refused(failure) => {
                self.finish(&tag, &Err(failure));
                self.state = State::resting(identity, selected);
                return None;
            }
            Judged::Answered => {
                self.state = State::resting(identity, selected);
                return None;
            }
        };
        Some(self.run(identity, tag, selected, action, false))
    }

    fn judge(&mut self, tag: &str, selected: Option<&Selected>, command: Command) -> Judged {
        let action = match command {
            Command::Noop if selected.is_none() => return self.answered_ok(tag, "nothing done"),
            Command::Noop => Action::Sync,
            Command::StartTls | Command::Login(_) | Command::Authenticate(_) => {
                return Judged::Refused(Failure::Bad("you are logged in already"));
            }
            Command::Enable(enable) => return self.enable(tag, selected, enable.wanted),
            Command::Namespace => {
                // RFC 2342 §5: one's own mailboxes, and no others.
                self.output.extend_from_slice(b"* NAMESPACE ((\"\" \"/\")) NIL NIL\r\n");
                return self.answered_ok(tag, "that is all");
            }
            Command::Idle => return Judged::Idle,
            // RFC 7162 §3.2.5: QRESYNC has to be enabled before.
            Command::Select(Select { sync_from: Some(_), .. }) if !self.enabled.has(Enabled::QRESYNC) => {
                return Judged::Refused(Failure::Bad("QRESYNC is not enabled"));
            }
            Command::Select(select) => Action::Select(select),
            Command::Create(create) => Action::Create(create),
            Command::Delete(name) => Action::Delete(name),
            Command::Rename { from, to } => Action::Rename { from, to },
            Command::Subscribe(name) => Action::Subscribe(name),
            Command::Unsubscribe(name) => Action::Unsubscribe(name),
            Command::List(list) => Action::List(list),
            Command::Status(status) => Action::Status(status),
            Command::Append(append) => Action::Append(append),
            Command::ResetKey(request) if request.mechanisms.iter().any(|name| name != INTERNAL) => {
                return NO_MECHANISM;
            }
            Command::ResetKey(request) => Action::ResetKey(request),
            Command::GenUrlAuth(rumps) => return self.judge_rumps(rumps),
            Command::UrlFetch(urls) => Action::UrlFetch(urls),
            command => return selected.map_or(NOT_SELECTED, |view| in_mailbox(view, command)),
        };
        Judged::Act(action)
    }

    /// RFC 4467 §7: only URLs of this server are given, by a name of it: its own, or the one by which the client came.
    fn judge_rumps(&self, rumps: Vec<Rump>) -> Judged {
        let asked_for = self.tls.as_ref().and_then(|tls| tls.server_name.as_deref());
        let is_ours = |host: &str| {
            let names = [Some(self.config.hostname.as_str()), asked_for];
            names.iter().flatten().any(|name| name.eq_ignore_ascii_case(host))
        };
        if !rumps.iter().all(|rump| is_ours(&rump.url.host)) {
            return Judged::Refused(Failure::Bad("the URL is of another server"));
        }
        if rumps.iter().any(|rump| rump.mechanism != INTERNAL) {
            return NO_MECHANISM;
        }
        Judged::Act(Action::GenUrlAuth(rumps))
    }

    fn answered_ok(&mut self, tag: &str, text: &'static str) -> Judged {
        self.ok(tag, text);
        Judged::Answered
    }

    /// ENABLE (RFC 5161 §3.1): what is newly on is told.
    fn enable(&mut self, tag: &str, selected: Option<&Selected>, wanted: Enabled) -> Judged {
        let fresh = wanted.without(self.enabled);
        self.output.extend_from_slice(b"* ENABLED");
        for name in fresh.names() {
            self.output.push(b' ');
            self.output.extend_from_slice(name.as_bytes());
        }
        self.output.extend_from_slice(b"\r\n");
        // RFC 7162 §3.1: with a mailbox selected its HIGHESTMODSEQ is told, which its account knows.
        if fresh.has(Enabled::CONDSTORE) && selected.is_some() {
            return Judged::Act(Action::Enable(fresh));
        }
        self.enabled = self.enabled.with(fresh);
        self.answered_ok(tag, "enabled")
    }

    /// Hands a command to its handler, the view with it.
    pub(super) fn run(
        &mut self,
        identity: Identity,
        tag: String,
        selected: Option<Box<Selected>>,
        action: Action,
        is_idle: bool,
    ) -> Next<Request> {
        let fresh = enables(&action).without(self.enabled);
        self.enabled = self.enabled.with(fresh);
        self.state = State::Running(Running { identity, is_idle });
        let (enabled, limits) = (self.enabled, self.config.limits);
        let is_condstore_new = fresh.has(Enabled::CONDSTORE);
        Next::Run(Request::Act(Box::new(Act { action, tag, selected, enabled, is_condstore_new, limits })))
    }

    pub(super) fn command_done(&mut self, done: Done) {
        let State::Running(Running { identity, is_idle }) = mem::replace(&mut self.state, State::Logout)
        else {
            unreachable!("only a running command is done");
        };
        let Done { tag, selected, outcome, is_deleted } = done;
        if outcome == Err(Failure::Closed) {
            return;
        }
        if is_deleted {
            if !is_idle {
                self.finish(&tag, &outcome);
            }
            return self.bye("[UNAVAILABLE] the selected mailbox was deleted");
        }
        self.state = if is_idle {
            State::Idle(Idle { identity, tag, selected, is_behind: false })
        } else {
            self.finish(&tag, &outcome);
            State::resting(identity, selected)
        };
    }
}

/// What becomes of a command of somebody who is logged in.
enum Judged {
    Act(Action),
    Idle,
    Unselect,
    Refused(Failure),
    Answered,
}

const NO_MECHANISM: Judged =
    Judged::Refused(Failure::No(Some(Code::Word("CANNOT")), "the only mechanism is INTERNAL"));

const NOT_SELECTED: Judged = Judged::Refused(Failure::Bad("no mailbox is selected"));

/// RFC 9051 §6.4: legal with a mailbox selected.
fn in_mailbox(view: &Selected, command: Command) -> Judged {
    let action = match command {
        Command::Check => Action::Sync,
        Command::Unselect => return Judged::Unselect,
        // RFC 9051 §6.4.1: nothing is removed from a mailbox that EXAMINE opened.
        Command::Close if view.is_read_only => return Judged::Unselect,
        Command::Close => Action::Close,
        Command::Expunge(_) | Command::Store(_) | Command::Move(_) if view.is_read_only => {
            return Judged::Refused(Failure::No(
                Some(Code::Word("READ-ONLY")),
                "the mailbox is open to be read only",
            ));
        }
        Command::Expunge(set) => Action::Expunge(set),
        Command::Fetch(fetch) => Action::Fetch(fetch),
        Command::Search(search) => Action::Search(search),
        Command::Store(store) => Action::Store(store),
        Command::Copy(copy) => Action::Copy(copy),
        Command::Move(copy) => Action::Move(copy),
        _ => return Judged::Refused(Failure::Bad("that cannot be said now")),
    };
    Judged::Act(action)
}

/// What a command enables by being given (RFC 7162 §3.1).
fn enables(action: &Action) -> Enabled {
    let is_condstore = match action {
        Action::Select(select) => select.has_condstore,
        Action::Status(Status { items, .. }) => items.has(StatusItems::HIGHESTMODSEQ),
        Action::List(list) => list.returns.status.is_some_and(|items| items.has(StatusItems::HIGHESTMODSEQ)),
        Action::Fetch(fetch) => fetch.enables_condstore(),
        Action::Search(search) => search.enables_condstore(),
        Action::Store(store) => store.enables_condstore(),
        Action::Enable(fresh) => return *fresh,
        _ => false,
    };
    if is_condstore { Enabled::CONDSTORE } else { Enabled::NONE }
}
