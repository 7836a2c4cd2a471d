//! Reading mail from mbox files, Maildirs and .eml files, a message at a time, and sending it to
//! the server in batches. A bookmark in the account goes with each batch, so that an import that was
//! cut short goes on where it stopped and puts nothing in twice.

mod files;
mod mark;
mod mbox;
mod status;

pub(crate) use self::files::KEYWORDS_FILE;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use self::mark::mark;
pub(crate) use self::status::{fields as status_fields, taken};
use crate::cli::{Format, ImportArgs};
use crate::limits::{IMPORT_BYTES_MAX, IMPORT_MESSAGES_MAX};
use crate::print::progress_bar;
use crate::{Control, Exit, Failure, ImportMessage, Request};

/// A message read from somewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    /// The bytes, lines ended by CRLF; `None` when it is larger than any that can be taken.
    pub(crate) data: Option<Vec<u8>>,
    /// Its bytes in the source.
    pub(crate) bytes: u64,
    /// Where in the source it is, for people.
    pub(crate) place: String,
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
    /// Goes to a position that this source gave before. False when what is there now is another
    /// source than the one that gave it; it stays at its front then.
    fn seek(&mut self, position: &str) -> std::io::Result<bool>;
    /// The next message.
    fn next(&mut self) -> std::io::Result<Option<Read>>;
}

/// Runs an import to its end. The exit says whether messages had to be left out.
pub(crate) fn import(
    args: &ImportArgs,
    control: &mut dyn Control,
    now_s: i64,
) -> Result<(Value, Exit), Failure> {
    let path = args.source.canonicalize().map_err(|error| unreadable(&args.source, &error))?;
    let mut source = open(&path, args.format)?;
    let name = bookmark_name(&args.mailbox, &path);
    let mut is_other = false;
    if !args.again {
        let asked = Request::ImportPosition { account: args.account.clone(), source: name.clone() };
        if let Some(position) = control.call(&asked, &[])?.json["position"].as_str() {
            is_other = !source.seek(position).map_err(|error| unreadable(&path, &error))?;
        }
    }
    let bar = progress_bar();
    bar.set_length(source.total());
    let mut sending = Sending { args, control, name, done: 0, left_out: Vec::new() };
    let mut batch = Batch::default();
    while let Some(read) = source.next().map_err(|error| unreadable(&path, &error))? {
        bar.set_position(read.progress);
        if let Some(read) = batch.push(read, now_s) {
            sending.send(&std::mem::take(&mut batch))?;
            bar.set_message(format!("{} messages", sending.done));
            if let Some(read) = batch.push(read, now_s) {
                sending.leave_out(&read.place, read.bytes);
            }
        }
    }
    sending.send(&batch)?;
    bar.finish();
    let exit = if sending.left_out.is_empty() { Exit::Done } else { Exit::Failed };
    let mut json = json!({ "imported": sending.done, "mailbox": args.mailbox, "account": args.account });
    if !sending.left_out.is_empty() {
        json["too_large"] = Value::Array(sending.left_out);
    }
    if is_other {
        json["note"] = json!("the source is not the one that was imported before: taken from its front");
    }
    Ok((json, exit))
}

/// The name of an import's bookmark, short whatever the path is.
fn bookmark_name(mailbox: &str, path: &Path) -> String {
    let whole = [mailbox.as_bytes(), path.as_os_str().as_bytes()].join(&0);
    format!("import {}", mark(&whole))
}

/// The way of batches into the account.
struct Sending<'a> {
    args: &'a ImportArgs,
    control: &'a mut dyn Control,
    name: String,
    done: u64,
    left_out: Vec<Value>,
}

impl Sending<'_> {
    /// Sends a batch in one transaction. If that is more than the store takes, its messages go one
    /// by one, and the one that is too large is left out.
    fn send(&mut self, batch: &Batch) -> Result<(), Failure> {
        if batch.messages.is_empty() || self.ask(&batch.messages, &batch.positions, &batch.payload)? {
            return Ok(());
        }
        let mut rest = batch.payload.as_slice();
        for (i, message) in batch.messages.iter().enumerate() {
            let (data, after) = rest.split_at_checked(message.bytes).unwrap_or((rest, &[]));
            rest = after;
            let alone = |all: &[String]| all.get(i).cloned().unwrap_or_default();
            let position = [alone(&batch.positions)];
            let is_alone = batch.messages.len() == 1;
            if is_alone || !self.ask(std::slice::from_ref(message), &position, data)? {
                self.leave_out(&alone(&batch.places), message.bytes as u64);
            }
        }
        Ok(())
    }

    /// False when it is too large; nothing is in then.
    fn ask(
        &mut self,
        messages: &[ImportMessage],
        positions: &[String],
        payload: &[u8],
    ) -> Result<bool, Failure> {
        let request = Request::ImportBatch {
            account: self.args.account.clone(),
            mailbox: self.args.mailbox.clone(),
            source: self.name.clone(),
            position: positions.last().cloned().unwrap_or_default(),
            messages: messages.to_vec(),
        };
        let is_in = self.control.call(&request, payload)?.json["too_large"].is_null();
        self.done += if is_in { messages.len() as u64 } else { 0 };
        Ok(is_in)
    }

    fn leave_out(&mut self, place: &str, bytes: u64) {
        self.left_out.push(json!({ "message": place, "bytes": bytes }));
    }
}

#[derive(Default)]
struct Batch {
    messages: Vec<ImportMessage>,
    payload: Vec<u8>,
    /// The source's position after each message.
    positions: Vec<String>,
    /// Where each message is.
    places: Vec<String>,
}

impl Batch {
    /// Takes a message, or gives it back: a full batch takes none, and none takes one without bytes.
    fn push(&mut self, read: Read, now_s: i64) -> Option<Read> {
        let bytes = read.data.as_ref().map_or(0, Vec::len);
        let is_full = self.messages.len() >= IMPORT_MESSAGES_MAX
            || (!self.messages.is_empty() && self.payload.len() + bytes > IMPORT_BYTES_MAX);
        if is_full || read.data.is_none() {
            return Some(read);
        }
        let received_s = read.received_s.unwrap_or(now_s);
        self.messages.push(ImportMessage { bytes, flags: read.flags, received_s });
        self.payload.extend(read.data.unwrap_or_default());
        self.positions.push(read.position);
        self.places.push(read.place);
        None
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Response;

    /// Takes what fits 100 bytes a transaction, and remembers it.
    #[derive(Default)]
    struct Small {
        taken: Vec<(usize, String)>,
    }

    impl Control for Small {
        fn call(&mut self, request: &Request, payload: &[u8]) -> Result<Response, Failure> {
            let Request::ImportBatch { messages, position, .. } = request else {
                panic!("an import sends batches: {request:?}")
            };
            let is_large = payload.len() > 100;
            if !is_large {
                self.taken.push((messages.len(), position.clone()));
            }
            let json = if is_large { json!({ "too_large": true }) } else { json!({ "uids": "1" }) };
            Ok(Response { json, payload: Vec::new() })
        }
    }

    fn read(bytes: usize, place: &str) -> Read {
        Read {
            data: Some(vec![b'x'; bytes]),
            bytes: bytes as u64,
            place: place.to_owned(),
            flags: Vec::new(),
            received_s: None,
            position: format!("after {place}"),
            progress: 0,
        }
    }

    #[test]
    fn a_message_that_is_too_large_is_named_and_the_others_go_in() {
        let args = ImportArgs {
            account: String::new(),
            source: PathBuf::new(),
            mailbox: "INBOX".to_owned(),
            format: None,
            again: false,
        };
        let mut control = Small::default();
        let mut sending = Sending {
            args: &args,
            control: &mut control,
            name: String::new(),
            done: 0,
            left_out: Vec::new(),
        };
        let mut batch = Batch::default();
        for (bytes, place) in [(60, "one"), (101, "two"), (60, "three")] {
            assert!(batch.push(read(bytes, place), 0).is_none());
        }
        sending.send(&batch).unwrap();
        let mut alone = Batch::default();
        assert!(alone.push(read(500, "four"), 0).is_none());
        sending.send(&alone).unwrap();
        assert_eq!(sending.done, 2);
        let left_out =
            [json!({ "message": "two", "bytes": 101 }), json!({ "message": "four", "bytes": 500 })];
        assert_eq!(sending.left_out, left_out);
        assert_eq!(control.taken, [(1, "after one".to_owned()), (1, "after three".to_owned())]);
    }

    #[test]
    fn a_large_message_does_not_make_a_batch_larger() {
        let mut batch = Batch::default();
        assert!(batch.push(read(10, "one"), 0).is_none());
        assert!(batch.push(read(IMPORT_BYTES_MAX, "two"), 0).is_some(), "it is to go alone");
        assert!(Batch::default().push(read(IMPORT_BYTES_MAX + 1, "two"), 0).is_none());
    }

    #[test]
    fn a_bookmark_is_of_one_mailbox_and_one_path_however_long() {
        let long = "d/".repeat(500);
        let name = |mailbox: &str, path: &str| bookmark_name(mailbox, Path::new(path));
        assert_ne!(name("a", &long), name("b", &long));
        assert_ne!(name("a", &long), name("a", &format!("/{long}")));
        assert!(name("a", &long).len() < 50);
    }
}
