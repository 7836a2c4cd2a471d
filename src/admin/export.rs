//! Writing a mailbox to an mbox file or a Maildir.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use base::Timestamp;
use serde_json::{Value, json};

use crate::cli::{ExportArgs, Format};
use crate::{Control, Exit, Failure, Request};

/// Runs an export to its end. The target must not be there yet.
pub(crate) fn export(args: &ExportArgs, control: &mut dyn Control) -> Result<Value, Failure> {
    let broken = |error: io::Error| Failure::new(Exit::Io, format!("{}: {error}", args.target.display()));
    if args.target.exists() {
        let words =
            format!("{} is there already; export writes to a new file or folder", args.target.display());
        return Err(Failure::new(Exit::Exists, words));
    }
    let mut target = Target::create(&args.target, args.format).map_err(broken)?;
    let mut from_uid = Some(1);
    let mut count = 0_u64;
    while let Some(uid) = from_uid {
        let request = Request::ExportBatch {
            account: args.account.clone(),
            mailbox: args.mailbox.clone(),
            from_uid: uid,
        };
        let response = control.call(&request, &[])?;
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
        from_uid = response.json["next_uid"].as_u64().and_then(|uid| u32::try_from(uid).ok());
    }
    target.finish().map_err(broken)?;
    Ok(json!({ "exported": count, "mailbox": args.mailbox, "account": args.account }))
}

enum Target<'a> {
    Mbox(BufWriter<fs::File>),
    Maildir(&'a Path),
}

impl<'a> Target<'a> {
    fn create(path: &'a Path, format: Format) -> io::Result<Self> {
        match format {
            Format::Mbox => Ok(Self::Mbox(BufWriter::new(fs::File::create_new(path)?))),
            Format::Maildir => {
                for sub in ["cur", "new", "tmp"] {
                    fs::create_dir_all(path.join(sub))?;
                }
                Ok(Self::Maildir(path))
            }
            Format::Eml => {
                fs::create_dir(path)?;
                Ok(Self::Maildir(path))
            }
        }
    }

    fn write(&mut self, message: &Value, data: &[u8]) -> io::Result<()> {
        let received = Timestamp::from_s(message["received_s"].as_i64().unwrap_or(0));
        let flags: Vec<&str> =
            message["flags"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        match self {
            Self::Mbox(out) => write_mbox(out, received, data),
            Self::Maildir(path) => {
                let uid = message["uid"].as_u64().unwrap_or(0);
                if !path.join("cur").is_dir() {
                    return fs::write(path.join(format!("{uid:010}.eml")), data);
                }
                let known = [
                    ('D', "\\Draft"),
                    ('F', "\\Flagged"),
                    ('P', "$Forwarded"),
                    ('R', "\\Answered"),
                    ('S', "\\Seen"),
                    ('T', "\\Deleted"),
                ];
                let letters: String =
                    known.iter().filter(|(_, flag)| flags.contains(flag)).map(|(letter, _)| letter).collect();
                let name = format!("{}.{uid:010}.angarium:2,{letters}", received.as_s());
                fs::write(path.join("cur").join(name), without_cr(data))
            }
        }
    }

    fn finish(self) -> io::Result<()> {
        match self {
            Self::Mbox(out) => out.into_inner()?.sync_all(),
            Self::Maildir(_) => Ok(()),
        }
    }
}

/// RFC 4155 with the quoting that can be undone: every line of `>`s and `From ` gets one `>` more.
fn write_mbox(out: &mut impl Write, received: Timestamp, data: &[u8]) -> io::Result<()> {
    let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day, hour, minute, second) = received.civil_utc();
    let (weekday, month) =
        (days[received.weekday_utc() as usize % 7], months[(month as usize).saturating_sub(1) % 12]);
    writeln!(out, "From MAILER-DAEMON {weekday} {month} {day:2} {hour:02}:{minute:02}:{second:02} {year}")?;
    for line in without_cr(data).split_inclusive(|&byte| byte == b'\n') {
        let quotes = line.iter().take_while(|&&byte| byte == b'>').count();
        if line.get(quotes..).is_some_and(|rest| rest.starts_with(b"From ")) {
            out.write_all(b">")?;
        }
        out.write_all(line)?;
    }
    if !data.ends_with(b"\n") {
        out.write_all(b"\n")?;
    }
    out.write_all(b"\n")
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
        write_mbox(&mut out, Timestamp::from_s(1_795_500_000), b"Subject: x\r\n\r\nFrom a\r\n>From b\r\nend")
            .unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "From MAILER-DAEMON Tue Nov 24 06:00:00 2026\nSubject: x\n\n>From a\n>>From b\nend\n\n"
        );
    }
}
