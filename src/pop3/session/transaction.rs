//! The TRANSACTION and UPDATE states (RFC 1939 §5, §6).

use alloc::boxed::Box;

use auth::Identity;

use super::{Pop3, State};
use crate::reply::{self, Asked};
use crate::{Act, Action, Command, Maildrop, Outcome, Request};

impl Pop3 {
    pub(super) fn transaction(&mut self, identity: Identity, mut maildrop: Box<Maildrop>, command: Command) {
        let out = &mut self.output;
        let action = match command {
            Command::List(None) => Some(Action::List),
            Command::Uidl(None) => Some(Action::Uidl),
            Command::Quit => Some(Action::Quit),
            Command::List(Some(n)) => maildrop.uid(n).map(Action::ListOne),
            Command::Retr(n) => maildrop.uid(n).map(Action::Retr),
            Command::Top(n, lines) => maildrop.uid(n).map(|uid| Action::Top(uid, lines)),
            Command::Dele(n) => maildrop.uid(n).map(Action::Dele),
            Command::Uidl(Some(n)) => match maildrop.uid(n) {
                Some(uid) => {
                    out.extend_from_slice(b"+OK ");
                    reply::unique_id_listing(n, maildrop.uid_validity(), uid, out);
                    return self.state = State::Transaction(identity, maildrop);
                }
                None => None,
            },
            other => {
                if matches!(other, Command::Rset) {
                    maildrop.unmark_all();
                }
                self.local(&maildrop, other);
                return self.state = State::Transaction(identity, maildrop);
            }
        };
        let Some(action) = action else {
            reply::account_error(&account::Error::NotFound, out);
            return self.state = State::Transaction(identity, maildrop);
        };
        self.request = Some(Request::Act(Act { action, maildrop }));
        self.state = State::Working(identity);
    }

    /// What needs nothing from outside.
    fn local(&mut self, maildrop: &Maildrop, command: Command) {
        let out = &mut self.output;
        match command {
            Command::Stat => reply::stat(maildrop, out),
            Command::Rset => reply::holds("nothing is deleted", maildrop, out),
            Command::Noop => reply::ok("nothing done", out),
            Command::Capa => reply::capabilities(&self.config, self.tls.as_ref(), Asked::AfterLogin, out),
            Command::Lang(None) => reply::languages(out),
            Command::Lang(Some(tag)) => reply::language(&tag, out),
            // UTF8, STLS, AUTH, USER and PASS belong before the login (RFC 6856 §2.1, RFC 2595 §4).
            _ => self.bad(|out| reply::err("that is not allowed after login", out)),
        }
    }

    pub(super) fn done(&mut self, identity: Identity, maildrop: Box<Maildrop>, outcome: Outcome) {
        let out = &mut self.output;
        match outcome {
            Outcome::Said => {}
            Outcome::Size(uid, size) => {
                out.extend_from_slice(b"+OK ");
                reply::scan_listing(maildrop.number(uid), size, out);
            }
            Outcome::Marked(uid) => reply::marked(maildrop.number(uid), out),
            Outcome::Failed(error) => reply::account_error(&error, out),
            Outcome::Removed(_) => {
                reply::ok("bye", out);
                return self.state = State::Closing;
            }
            // RFC 1939 §6: whatever came of the removal, QUIT ends the session.
            Outcome::NotRemoved(error) => {
                reply::account_error(&error, out);
                return self.state = State::Closing;
            }
            Outcome::Broken => return self.state = State::Closing,
        }
        self.state = State::Transaction(identity, maildrop);
    }
}
