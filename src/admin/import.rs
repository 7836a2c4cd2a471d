//! Reading mail from mbox files, Maildirs and .eml files, a message at a time, and sending it to
//! the server in batches. A bookmark in the account goes with each batch, so that an import that was
//! cut short goes on where it stopped and puts nothing in twice.

mod files;
mod mbox;

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::cli::{Format, ImportArgs};
use crate::limits::{IMPORT_BYTES_MAX, IMPORT_MESSAGES_MAX};
use crate::print::progress_bar;
use crate::{Control, Exit, Failure, ImportMessage, Request};

/// A message read from somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    /// The bytes, lines ended by CRLF.
    pub(crate) data: Vec<u8>,
    /// Flags it had there.
    pub(crate) flags: Vec<String>,
    /// When it was received, in seconds since 1970, if that is written anywhere.
    pub(crate) received_s: Option<i64>,
    /// Where the source is after it.
    pub(crate) position: String,
    /// How far that is, in the progress bar's unit.
    pub(crate) progress: u64,
}

/// Somewhere to read messages from.
pub(crate) trait Source {
    /// All there is, in the progress bar's unit.
    fn total(&self) -> u64;
    /// Goes to a position that this source gave before.
    fn seek(&mut self, position: &str) -> std::io::Result<()>;
    /// The next message.
    fn next(&mut self) -> std::io::Result<Option<Read>>;
}

/// Runs an import to its end.
pub(crate) fn import(args: &ImportArgs, control: &mut dyn Control, now_s: i64) -> Result<Value, Failure> {
    let path = args.source.canonicalize().map_err(|error| unreadable(&args.source, &error))?;
    let mut source = open(&path, args.format)?;
    let name = format!("{}\n{}", args.mailbox, path.display());
    let mut done = 0_u64;
    if !args.again {
        let asked = Request::ImportPosition { account: args.account.clone(), source: name.clone() };
        if let Some(position) = control.call(&asked, &[])?.json["position"].as_str() {
            source.seek(position).map_err(|error| unreadable(&path, &error))?;
        }
    }
    let bar = progress_bar();
    bar.set_length(source.total());
    let mut batch = Batch::default();
    loop {
        let read = source.next().map_err(|error| unreadable(&path, &error))?;
        let is_last = read.is_none();
        if let Some(read) = read {
            bar.set_position(read.progress);
            batch.push(read, now_s);
        }
        if batch.is_full() || (is_last && !batch.messages.is_empty()) {
            let sent = std::mem::take(&mut batch);
            done += sent.messages.len() as u64;
            let request = Request::ImportBatch {
                account: args.account.clone(),
                mailbox: args.mailbox.clone(),
                source: name.clone(),
                position: sent.position,
                messages: sent.messages,
            };
            control.call(&request, &sent.payload)?;
            bar.set_message(format!("{done} messages"));
        }
        if is_last {
            bar.finish();
            return Ok(json!({ "imported": done, "mailbox": args.mailbox, "account": args.account }));
        }
    }
}

#[derive(Default)]
struct Batch {
    messages: Vec<ImportMessage>,
    payload: Vec<u8>,
    position: String,
}

impl Batch {
    fn push(&mut self, read: Read, now_s: i64) {
        let received_s = read.received_s.unwrap_or(now_s);
        self.messages.push(ImportMessage { bytes: read.data.len(), flags: read.flags, received_s });
        self.payload.extend(read.data);
        self.position = read.position;
    }

    fn is_full(&self) -> bool {
        self.messages.len() >= IMPORT_MESSAGES_MAX || self.payload.len() >= IMPORT_BYTES_MAX
    }
}

fn open(path: &Path, format: Option<Format>) -> Result<Box<dyn Source>, Failure> {
    let format = format.unwrap_or_else(|| guess(path));
    let opened: std::io::Result<Box<dyn Source>> = match format {
        Format::Mbox => mbox::Mbox::open(path).map(|source| Box::new(source) as Box<dyn Source>),
        Format::Maildir => files::Files::maildir(path).map(|source| Box::new(source) as Box<dyn Source>),
        Format::Eml => files::Files::eml(path).map(|source| Box::new(source) as Box<dyn Source>),
    };
    opened.map_err(|error| unreadable(path, &error))
}

fn guess(path: &Path) -> Format {
    if path.is_dir() {
        return if path.join("cur").is_dir() { Format::Maildir } else { Format::Eml };
    }
    let is_eml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("eml"));
    if is_eml { Format::Eml } else { Format::Mbox }
}

fn unreadable(path: &Path, error: &std::io::Error) -> Failure {
    Failure::new(Exit::Io, format!("{}: {error}", PathBuf::from(path).display()))
}

/// Line ends as mail has them: each LF that has no CR before it gets one. A bare CR stays.
pub(crate) fn with_crlf(text: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(text.len() + text.len() / 32);
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        match line.strip_suffix(b"\n") {
            Some(bare) if !bare.ends_with(b"\r") => {
                out.extend_from_slice(bare);
                out.extend_from_slice(b"\r\n");
            }
            _ => out.extend_from_slice(line),
        }
    }
    out
}
