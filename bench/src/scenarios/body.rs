//! `imap-body`: FETCH BODY[] of a message drawn by chance, in a mailbox opened by EXAMINE so that nothing is
//! written. Every byte must be as it was appended.

use super::fill::{fill, mailbox_name};
use super::list::fetched;
use super::{Share, log_in, measure};
use crate::cli::{MailboxArgs, Options};
use crate::load::{Io, Scenario, Target};
use crate::message::Originals;
use crate::report::Report;
use crate::wire::{Event, Imap, quoted};
use crate::wrong::Wrong;

pub(super) fn run(options: &Options, args: MailboxArgs) -> Result<Report, Wrong> {
    let mailbox = mailbox_name(options, args.messages)?;
    let size = options.fixed_size()?;
    fill(options, &mailbox, options.users.min(options.connections), args.messages)?;
    let outcome =
        measure(options, |share| Body::new(options, share, args, &mailbox), super::nothing_to_count)?;
    let bytes = outcome.measured.operations * size as u64;
    let seconds = outcome.measured.time.as_secs_f64().max(1e-9);
    let report = Report::new("imap-body")
        .figure("messages", args.messages)
        .figure("payload_mb_per_s", crate::report::rounded(bytes as f64 / seconds / 1e6, 1));
    Ok(outcome.report(report, bytes))
}

struct Body<'a> {
    options: &'a Options,
    share: Share,
    messages: u32,
    size: usize,
    lines: Vec<Line>,
    random: base::Random,
    originals: Originals,
}

struct Line {
    imap: Imap,
    /// The message in hand, from 1.
    number: u32,
    has_come: bool,
}

impl<'a> Body<'a> {
    fn new(options: &'a Options, share: Share, args: MailboxArgs, mailbox: &str) -> Self {
        let lines = (0..share.connections).map(|id| {
            let setup = [log_in(options, share.first + id), format!("EXAMINE {}", quoted(mailbox)).into()];
            Line { imap: Imap::new(setup), number: 0, has_come: false }
        });
        Self {
            options,
            share,
            messages: args.messages,
            size: options.fixed_size().unwrap_or(0),
            lines: lines.collect(),
            random: base::Random::new(1 + share.thread as u64),
            originals: Originals::new(),
        }
    }
}

impl Scenario for Body<'_> {
    fn target(&self, _id: usize) -> Target {
        self.options.imap
    }

    fn opened(&mut self, _id: usize, _io: &mut Io) {}

    fn input(&mut self, id: usize, bytes: &[u8], io: &mut Io) -> Result<(), Wrong> {
        let Line { imap, number, has_come } = &mut self.lines[id];
        imap.input(bytes);
        while let Some(event) = imap.next(io.output(id))? {
            match event {
                Event::Prepared => io.ready(id),
                Event::Untagged(line) => {
                    let Some((got, items)) = fetched(line) else { continue };
                    let Some(message) = body(items) else { continue };
                    let user = self.options.address(self.share.first + id);
                    if got != *number || message.len() != self.size || !self.originals.is_true(&user, message)
                    {
                        let size = self.size;
                        return Err(Wrong::answer(
                            &format!("message {number} of {size} bytes, unchanged"),
                            line,
                        ));
                    }
                    *has_come = true;
                }
                Event::Tagged { is_ok, text } => {
                    if !is_ok || !*has_come {
                        return Err(Wrong::answer("OK to FETCH, after the message", text));
                    }
                    io.done(id);
                }
                Event::Continue | Event::LoggedOut => {}
            }
        }
        Ok(())
    }

    fn begin(&mut self, id: usize, io: &mut Io) -> Result<(), Wrong> {
        let line = &mut self.lines[id];
        line.number = 1 + self.random.below(u64::from(self.messages)) as u32;
        line.has_come = false;
        line.imap.command(io.output(id), &format!("FETCH {} BODY[]", line.number));
        Ok(())
    }

    fn finish(&mut self, id: usize, io: &mut Io) {
        self.lines[id].imap.log_out(io.output(id));
    }
}

/// The literal of BODY[] among the items of a FETCH response.
pub(super) fn body(items: &[u8]) -> Option<&[u8]> {
    let start = memchr::memmem::find(items, b"BODY[] {")? + 8;
    let rest = items.get(start..)?;
    let end = memchr::memmem::find(rest, b"}\r\n")?;
    let size: usize = std::str::from_utf8(rest.get(..end)?).ok()?.parse().ok()?;
    rest.get(end + 3..end + 3 + size)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_body_is_found_among_other_items() {
        assert_eq!(body(b"UID 3 BODY[] {3}\r\na)\r FLAGS (\\Seen))"), Some(&b"a)\r"[..]));
        assert_eq!(body(b"FLAGS (\\Seen))"), None);
        assert_eq!(body(b"BODY[] {9}\r\nshort)"), None);
    }
}
