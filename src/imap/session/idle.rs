//! IDLE (RFC 2177, RFC 9051 §6.3.13).

use core::mem;

use base::Next;

use super::state::{Idle, State};
use super::{Imap, Request};
use crate::handlers::Action;

impl Imap {
    /// Waits for DONE and for news at once. Anything else ends it too, and what is a command is then
    /// done: whoever says LOGOUT here means it.
    pub(super) fn idle(&mut self) -> Option<Next<Request>> {
        let State::Idle(mut idle) = mem::replace(&mut self.state, State::Logout) else { return None };
        if mem::take(&mut idle.is_behind) && idle.selected.is_some() {
            let Idle { identity, tag, selected, .. } = idle;
            return Some(self.run(identity, tag, selected, Action::Sync, true));
        }
        let line = match self.input.take_line(&self.config.limits) {
            Ok(Some(line)) => line,
            Ok(None) => {
                let is_watching = idle.selected.is_some();
                self.state = State::Idle(idle);
                return Some(if is_watching { Next::Watch } else { Next::Read });
            }
            Err(why) => {
                self.bye(super::lost(why));
                return None;
            }
        };
        self.state = State::resting(idle.identity, idle.selected);
        if line.eq_ignore_ascii_case(b"DONE") {
            self.ok(&idle.tag, "no longer idle");
        } else {
            self.bad(&idle.tag, "DONE was expected");
            self.input.put_back(line);
        }
        None
    }
}
