//! A poll by POP3: what is there, and the newest two messages.

use std::time::Instant;

use pop3::Client;

use super::Talk;
use crate::cli::Options;
use crate::load::{Io, Target};
use crate::scenarios::retr::listed;
use crate::wrong::Wrong;

/// Messages that a poll takes.
const NEW: usize = 2;

/// AUTH PLAIN, STAT, LIST, RETR of the newest, QUIT.
pub(in crate::scenarios) struct PopTalk {
    user: usize,
    login: (String, String),
    target: Target,
    client: Client,
    stage: Stage,
    /// Number and size of messages still to be had; the one in hand is the last.
    wanted: Vec<(u32, usize)>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    Greeting,
    Login,
    Stat,
    List,
    Message,
    Leaving,
    Over,
}

impl PopTalk {
    pub(in crate::scenarios) fn new(options: &Options, user: usize) -> Self {
        Self {
            user,
            login: (options.user(user), options.password.clone()),
            target: options.pop3,
            client: Client::new(),
            stage: Stage::Greeting,
            wanted: Vec::new(),
        }
    }

    fn next_message(&mut self) {
        if let Some((number, _)) = self.wanted.last() {
            self.client.command(&format!("RETR {number}"));
            self.stage = Stage::Message;
        } else {
            self.client.command("QUIT");
            self.stage = Stage::Leaving;
        }
    }

    fn response(&mut self, text: &str, lines: &[u8]) -> Result<(), Wrong> {
        match self.stage {
            Stage::Greeting => {
                self.client.log_in(&self.login.0, &self.login.1);
                self.stage = Stage::Login;
            }
            Stage::Login => {
                self.client.command("STAT");
                self.stage = Stage::Stat;
            }
            Stage::Stat if text.starts_with("0 ") => self.next_message(),
            Stage::Stat => {
                self.client.command("LIST");
                self.stage = Stage::List;
            }
            Stage::List => {
                let all = listed(lines)?;
                self.wanted = all[all.len().saturating_sub(NEW)..].to_vec();
                self.next_message();
            }
            Stage::Message => {
                let (number, size) = self.wanted.pop().unwrap_or_default();
                if lines.len() != size {
                    let got = lines.len();
                    return Err(Wrong::Answer(format!("message {number}: {size} bytes listed, {got} came")));
                }
                self.next_message();
            }
            Stage::Leaving | Stage::Over => self.stage = Stage::Over,
        }
        Ok(())
    }
}

impl Talk for PopTalk {
    fn kind(&self) -> &'static str {
        "pop3"
    }

    fn target(&self) -> Target {
        self.target
    }

    fn opened(&mut self, _now: Instant) {}

    fn input(&mut self, id: usize, bytes: &[u8], io: &mut Io) -> Result<(), Wrong> {
        self.client.input(bytes);
        let failed = |error| Wrong::Answer(format!("POP3: {error:?}"));
        while let Some(response) = self.client.response().map_err(failed)? {
            if !response.is_ok {
                return Err(Wrong::answer("+OK", response.text.as_bytes()));
            }
            self.response(&response.text, &response.lines)?;
        }
        io.output(id).append(self.client.output());
        Ok(())
    }

    fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    fn locked(&self) -> Option<usize> {
        Some(self.user)
    }
}
