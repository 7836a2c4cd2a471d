//! `login`: connect, LOGIN, SELECT INBOX, LOGOUT; an operation is all of it. Everybody has logged in once before:
//! what a password hash costs is the operator's choice.

use super::held::Mailboxes;
use super::{Share, log_in, measure};
use crate::cli::Options;
use crate::load::{Io, Scenario, Target};
use crate::report::Report;
use crate::wire::{Event, Imap};
use crate::wrong::Wrong;

pub(super) fn run(options: &Options) -> Result<Report, Wrong> {
    drop(Mailboxes::open(options, "INBOX", options.users)?);
    let outcome = measure(options, |share| Login::new(options, share), super::nothing_to_count)?;
    Ok(outcome.report(Report::new("login"), 0))
}

struct Login<'a> {
    options: &'a Options,
    share: Share,
    lines: Vec<Imap>,
    /// Logins so far: users take turns.
    logins: usize,
}

impl<'a> Login<'a> {
    fn new(options: &'a Options, share: Share) -> Self {
        let lines = (0..share.connections).map(|_| Imap::new([])).collect();
        Self { options, share, lines, logins: 0 }
    }
}

impl Scenario for Login<'_> {
    fn target(&self, _id: usize) -> Target {
        self.options.imap
    }

    fn opens_per_operation(&self) -> bool {
        true
    }

    fn opened(&mut self, id: usize, _io: &mut Io) {
        let user = self.share.first + self.logins;
        self.logins += 1;
        self.lines[id] = Imap::new([log_in(self.options, user), "SELECT INBOX".into()]);
    }

    fn input(&mut self, id: usize, bytes: &[u8], io: &mut Io) -> Result<(), Wrong> {
        let imap = &mut self.lines[id];
        imap.input(bytes);
        while let Some(event) = imap.next(io.output(id))? {
            match event {
                Event::Prepared => {
                    if imap.facts.exists.is_none() {
                        return Err(Wrong::Answer("SELECT came without EXISTS".into()));
                    }
                    imap.log_out(io.output(id));
                }
                Event::LoggedOut => {
                    io.close(id);
                    io.done(id);
                }
                Event::Tagged { text, .. } => return Err(Wrong::answer("OK to LOGOUT", text)),
                Event::Untagged(_) | Event::Continue => {}
            }
        }
        Ok(())
    }

    fn begin(&mut self, _id: usize, _io: &mut Io) -> Result<(), Wrong> {
        Ok(())
    }

    fn finish(&mut self, _id: usize, _io: &mut Io) {}
}
