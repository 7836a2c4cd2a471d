//! Writing a mailbox to an mbox file or a Maildir.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use base::Timestamp;
use serde_json::{Value, json};

use crate::cli::{ExportArgs, Format};
use crate::import::{KEYWORDS_FILE, status_fields, taken};
use crate::limits::MAILDIR_KEYWORDS_MAX;
use crate::{Control, Exit, Failure, Request, Response};

/// Runs an export to its end. The target must not be there yet.
pub(crate) fn export(args: &ExportArgs, control: &mut dyn Control) -> Result<Value, Failure> {
    let broken = |error: io::Error| Failure::new(Exit::Io, format!("{}: {error}", args.target.display()));
    if args.target.exists() {
        let words =
            format!("{} is there already; export writes to a new file or folder", args.target.display());
        return Err(Failure::new(Exit::Exists, words));
    }
    // Asked before anything is made: the account or the mailbox may not be there.
    let first = ask(args, control, 1)?;
    let mut target = Target::create(&args.target, args.format).map_err(broken)?;
    let written = write_all(args, control, first, &mut target).and_then(|count| {
        target.finish().map_err(broken)?;
        Ok(count)
    });
    if written.is_err() {
        // It would pass for the whole, and stand in the way of the next try.
        remove(&args.target);
    }
    Ok(json!({ "exported": written?, "mailbox": args.mailbox, "account": args.account }))
}

fn ask(args: &ExportArgs, control: &mut dyn Control, from_uid: u32) -> Result<Response, Failure> {
    let request =
        Request::ExportBatch { account: args.account.clone(), mailbox: args.mailbox.clone(), from_uid };
    control.call(&request, &[])
}

fn write_all(
    args: &ExportArgs,
    control: &mut dyn Control,
    first: Response,
    target: &mut Target<'_>,
) -> Result<u64, Failure> {
    let broken = |error: io::Error| Failure::new(Exit::Io, format!("{}: {error}", args.target.display()));
    let mut count = 0;
    let mut response = first;
    loop {
        let mut rest = response.payload.as_slice();
        for message in response.json["messages"].as_array().into_iter().flatten() {
            let bytes = message["bytes"].as_u64().unwrap_or(0) as usize;
            let (data, after) = rest.split_at_checked(bytes).ok_or_else(|| {
                Failure::new(Exit::Internal, "the server's answer is shorter than its messages")
            })?;
            rest = after;
            target.write(message, data).map_err(broken)?;
            count += 1;
        }
        match response.json["next_uid"].as_u64().and_then(|uid| u32::try_from(uid).ok()) {
            Some(uid) => response = ask(args, control, uid)?,
            None => return Ok(count),
        }
    }
}

/// Takes away what this export has made.
fn remove(target: &Path) {
    let _gone = if target.is_dir() { fs::remove_dir_all(target) } else { fs::remove_file(target) };
}

enum Target<'a> {
    Mbox(BufWriter<fs::File>),
    Maildir { path: &'a Path, keywords: Vec<String> },
    Eml(&'a Path),
}

impl<'a> Target<'a> {
    fn create(path: &'a Path, format: Format) -> io::Result<Self> {
        match format {
            Format::Mbox => Ok(Self::Mbox(BufWriter::new(fs::File::create_new(path)?))),
            Format::Maildir => {
                fs::create_dir(path)?;
                for sub in ["cur", "new", "tmp"] {
                    fs::create_dir(path.join(sub))?;
                }
                Ok(Self::Maildir { path, keywords: Vec::new() })
            }
            Format::Eml => {
                fs::create_dir(path)?;
                Ok(Self::Eml(path))
            }
        }
    }

    fn write(&mut self, message: &Value, data: &[u8]) -> io::Result<()> {
        let received = Timestamp::from_s(message["received_s"].as_i64().unwrap_or(0));
        let uid = message["uid"].as_u64().unwrap_or(0);
        let flags: Vec<&str> =
            message["flags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        match self {
            Self::Mbox(out) => write_mbox(out, received, &flags, data),
            Self::Maildir { path, keywords } => {
                let letters = letters(&flags, keywords);
                let name = format!("{}.{uid:010}.angarium:2,{letters}", received.as_s());
                write_file(&path.join("cur").join(name), received, &without_cr(data))
            }
            Self::Eml(path) => write_file(&path.join(format!("{uid:010}.eml")), received, data),
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Mbox(out) => out.into_inner()?.sync_all(),
            Self::Maildir { path, keywords } if !keywords.is_empty() => {
                let lines = keywords.iter().enumerate().map(|(i, name)| format!("{i} {name}\n"));
                fs::write(path.join(KEYWORDS_FILE), lines.collect::<String>())
            }
            Self::Maildir { .. } | Self::Eml(_) => Ok(()),
        }
    }
}

/// A file whose time of change says when its message was received.
fn write_file(path: &Path, received: Timestamp, data: &[u8]) -> io::Result<()> {
    let mut file = fs::File::create_new(path)?;
    file.write_all(data)?;
    let since = Duration::from_secs(received.as_s().unsigned_abs());
    let modified =
        if received.as_s() < 0 { UNIX_EPOCH.checked_sub(since) } else { UNIX_EPOCH.checked_add(since) };
    modified.map_or(Ok(()), |modified| file.set_modified(modified))
}

/// The letters of a Maildir's name: capitals for what all programs know, then those of keywords,
/// which get one at their first message as long as there are any.
fn letters(flags: &[&str], keywords: &mut Vec<String>) -> String {
    let known = [
        ('D', "\\Draft"),
        ('F', "\\Flagged"),
        ('P', "$Forwarded"),
        ('R', "\\Answered"),
        ('S', "\\Seen"),
        ('T', "\\Deleted"),
    ];
    let capitals = known.iter().filter(|(_, name)| flags.contains(name)).map(|(letter, _)| *letter);
    let mut numbers = Vec::new();
    for name in flags.iter().filter(|name| !name.starts_with('\\') && **name != "$Forwarded") {
        let at = keywords.iter().position(|keyword| keyword == name);
        if at.is_none() && keywords.len() < MAILDIR_KEYWORDS_MAX {
            keywords.push((*name).to_owned());
        }
        numbers.extend(at.or_else(|| keywords.iter().position(|keyword| keyword == name)));
    }
    numbers.sort_unstable();
    let small = numbers.into_iter().map(|number| char::from(b'a' + number as u8));
    capitals.chain(small).collect()
}

/// RFC 4155 with the quoting that can be undone: every line of `>`s and `From ` gets one `>` more.
/// Flags stand in fields at the end of the header section, in place of any of that name in the message.
fn write_mbox(out: &mut impl Write, received: Timestamp, flags: &[&str], data: &[u8]) -> io::Result<()> {
    let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day, hour, minute, second) = received.civil_utc();
    let (weekday, month) =
        (days[received.weekday_utc() as usize % 7], months[(month as usize).saturating_sub(1) % 12]);
    writeln!(out, "From MAILER-DAEMON {weekday} {month} {day:2} {hour:02}:{minute:02}:{second:02} {year}")?;
    let text = with_status(&without_cr(data), flags);
    for line in text.split_inclusive(|&byte| byte == b'\n') {
        let quotes = line.iter().take_while(|&&byte| byte == b'>').count();
        if line.get(quotes..).is_some_and(|rest| rest.starts_with(b"From ")) {
            out.write_all(b">")?;
        }
        out.write_all(line)?;
    }
    if !text.ends_with(b"\n") {
        out.write_all(b"\n")?;
    }
    out.write_all(b"\n")
}

/// A message with its flags in its header section. At the end of that, no line can be taken for one
/// that goes on with them.
fn with_status(message: &[u8], flags: &[&str]) -> Vec<u8> {
    let (mut text, _) = taken(message);
    let header =
        text.split_inclusive(|&byte| byte == b'\n').take_while(|line| !line.trim_ascii_end().is_empty());
    let mut end: usize = header.map(<[u8]>::len).sum();
    if end == text.len() && !text.is_empty() && !text.ends_with(b"\n") {
        text.push(b'\n');
        end += 1;
    }
    text.splice(end..end, status_fields(flags).into_bytes());
    text
}

fn without_cr(data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len());
    for line in data.split_inclusive(|&byte| byte == b'\n') {
        match line.strip_suffix(b"\r\n") {
            Some(bare) => {
                out.extend_from_slice(bare);
                out.push(b'\n');
            }
            None => out.extend_from_slice(line),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_mbox_is_written_so_that_it_can_be_read_again() {
        let mut out = Vec::new();
        let flags = ["\\Seen", "\\Flagged", "work"];
        let data = b"Subject: x\r\nStatus: sender's\r\n\r\nFrom a\r\n>From b\r\nend";
        write_mbox(&mut out, Timestamp::from_s(1_795_500_000), &flags, data).unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "From MAILER-DAEMON Tue Nov 24 06:00:00 2026\nSubject: x\nStatus: RO\nX-Status: F\nX-Keywords: work\n\n>From a\n>>From b\nend\n\n"
        );
    }

    #[test]
    fn flags_have_a_place_in_any_message() {
        let text = |message: &[u8]| String::from_utf8(with_status(message, &[])).unwrap();
        assert_eq!(text(b""), "Status: O\n");
        assert_eq!(text(b"\nbody\n"), "Status: O\n\nbody\n");
        assert_eq!(text(b"Subject: x"), "Subject: x\nStatus: O\n");
        assert_eq!(text(b" odd\n\nbody"), " odd\nStatus: O\n\nbody");
    }

    #[test]
    fn keywords_have_letters_until_there_are_none_left() {
        let mut keywords = Vec::new();
        assert_eq!(letters(&["\\Seen", "work", "$Forwarded"], &mut keywords), "PSa");
        assert_eq!(letters(&["home", "work"], &mut keywords), "ab");
        let many: Vec<String> = (0..30).map(|i| format!("k{i}")).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        assert_eq!(letters(&many, &mut keywords), "cdefghijklmnopqrstuvwxyz");
        assert_eq!(keywords.len(), MAILDIR_KEYWORDS_MAX);
    }
}
