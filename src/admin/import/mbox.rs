//! mbox files (RFC 4155, with the `>From ` quoting known as mboxrd).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom};
use std::path::Path;

use base::Timestamp;

use super::{Read, Source, with_crlf};

/// An mbox file, read from the front. Positions are byte offsets of `From ` lines.
pub(crate) struct Mbox {
    reader: BufReader<File>,
    total: u64,
    offset: u64,
    line: Vec<u8>,
    /// The separator line of the next message, when it has been read already.
    separator: Option<Vec<u8>>,
}

impl Mbox {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let total = file.metadata()?.len();
        let reader = BufReader::with_capacity(1 << 20, file);
        Ok(Self { reader, total, offset: 0, line: Vec::new(), separator: None })
    }

    fn read_line(&mut self) -> io::Result<bool> {
        self.line.clear();
        let read = self.reader.read_until(b'\n', &mut self.line)?;
        self.offset += read as u64;
        Ok(read > 0)
    }
}

impl Source for Mbox {
    fn total(&self) -> u64 {
        self.total
    }

    fn seek(&mut self, position: &str) -> io::Result<()> {
        let offset = position
            .parse()
            .map_err(|_| io::Error::other("the bookmark of this import cannot be read; use --again"))?;
        self.offset = self.reader.seek(SeekFrom::Start(offset))?;
        self.separator = None;
        Ok(())
    }

    fn next(&mut self) -> io::Result<Option<Read>> {
        while self.separator.is_none() {
            if !self.read_line()? {
                return Ok(None);
            }
            if self.line.starts_with(b"From ") {
                self.separator = Some(self.line.clone());
            } else if !self.line.trim_ascii().is_empty() {
                return Err(io::Error::other(format!(
                    "not an mbox file: no \"From \" line before byte {}",
                    self.offset
                )));
            }
        }
        let separator = self.separator.take().unwrap_or_default();
        let mut text = Vec::new();
        let mut position = self.offset;
        while self.read_line()? {
            let is_after_blank = text.is_empty() || text.ends_with(b"\n\n") || text.ends_with(b"\n\r\n");
            if is_after_blank && self.line.starts_with(b"From ") {
                self.separator = Some(self.line.clone());
                position = self.offset - self.line.len() as u64;
                break;
            }
            let quotes = self.line.iter().take_while(|&&byte| byte == b'>').count();
            let is_quoted =
                quotes > 0 && self.line.get(quotes..).is_some_and(|rest| rest.starts_with(b"From "));
            text.extend_from_slice(self.line.get(usize::from(is_quoted)..).unwrap_or_default());
            position = self.offset;
        }
        // The blank line before the next separator belongs to the file, not to the message.
        for blank in [b"\r\n\r\n".as_slice(), b"\n\n"] {
            if text.ends_with(blank) {
                text.truncate(text.len() - blank.len() / 2);
                break;
            }
        }
        let data = with_crlf(&text);
        let flags = status_flags(&data);
        let position_text = position.to_string();
        Ok(Some(Read {
            data,
            flags,
            received_s: from_line_date(&separator),
            position: position_text,
            progress: position,
        }))
    }
}

/// The flags that mbox programs keep in Status and X-Status fields.
fn status_flags(data: &[u8]) -> Vec<String> {
    let mut flags = Vec::new();
    for line in data.split(|&byte| byte == b'\n').take_while(|line| !line.trim_ascii().is_empty()) {
        let Some(colon) = line.iter().position(|&byte| byte == b':') else { continue };
        let (name, value) = line.split_at(colon);
        if name.eq_ignore_ascii_case(b"Status") && value.contains(&b'R') {
            flags.push("\\Seen".to_owned());
        }
        if name.eq_ignore_ascii_case(b"X-Status") {
            let known = [(b'A', "\\Answered"), (b'F', "\\Flagged"), (b'T', "\\Draft"), (b'D', "\\Deleted")];
            flags.extend(
                known.iter().filter(|(letter, _)| value.contains(letter)).map(|(_, flag)| (*flag).to_owned()),
            );
        }
    }
    flags
}

/// The date of a `From ` line, `Tue Nov 24 06:00:00 2026`, as UTC.
fn from_line_date(line: &[u8]) -> Option<i64> {
    let text = String::from_utf8_lossy(line);
    let words: Vec<&str> = text.split_whitespace().collect();
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let at = words.iter().rposition(|word| months.contains(word))?;
    let month = months.iter().position(|name| Some(name) == words.get(at))? as u32 + 1;
    let day = words.get(at + 1)?.parse().ok()?;
    let mut clock = words.get(at + 2)?.split(':').map(|part| part.parse::<u32>().ok());
    let (hour, minute, second) = (clock.next()??, clock.next()??, clock.next().flatten().unwrap_or(0));
    let year =
        words.get(at + 3..)?.iter().find_map(|word| word.parse::<i64>().ok().filter(|year| *year > 1900))?;
    Some(Timestamp::from_civil_utc(year, month, day, hour, minute, second).as_s())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(text: &str) -> (std::path::PathBuf, Mbox) {
        let path = std::env::temp_dir().join(format!("angarium-mbox-{}-{}", std::process::id(), text.len()));
        File::create(&path).and_then(|mut file| file.write_all(text.as_bytes())).expect("a temporary file");
        let mbox = Mbox::open(&path).expect("it was just written");
        (path, mbox)
    }

    const TWO: &str = "From a@example.org Tue Nov 24 06:00:01 2026\nSubject: one\nStatus: RO\nX-Status: F\n\n>From here\n>>From there\n\nFrom b@example.org  Wed Nov 25 06:00:00 2026 +0100\nSubject: two\n\nFrom the middle\n\n";

    #[test]
    fn messages_are_found_and_unquoted() {
        let (path, mut mbox) = file(TWO);
        let first = mbox.next().unwrap().unwrap();
        assert_eq!(
            first.data,
            b"Subject: one\r\nStatus: RO\r\nX-Status: F\r\n\r\nFrom here\r\n>From there\r\n"
        );
        assert_eq!(first.flags, ["\\Seen", "\\Flagged"]);
        assert_eq!(first.received_s, Some(Timestamp::from_civil_utc(2026, 11, 24, 6, 0, 1).as_s()));
        let second = mbox.next().unwrap().unwrap();
        // RFC 4155 quotes such a line; a file that did not is read as it stands: it is a separator.
        assert_eq!(second.data, b"Subject: two\r\n");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_position_leads_back_to_the_next_message() {
        let (path, mut mbox) = file(&TWO.replace("From the", "Out of the"));
        let first = mbox.next().unwrap().unwrap();
        let second = mbox.next().unwrap().unwrap();
        assert_eq!(mbox.next().unwrap(), None);
        mbox.seek(&first.position).unwrap();
        assert_eq!(mbox.next().unwrap(), Some(second.clone()));
        mbox.seek(&second.position).unwrap();
        assert_eq!(mbox.next().unwrap(), None);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_is_no_mbox_is_refused() {
        let (path, mut mbox) = file("Subject: x\n\ny\n");
        assert!(mbox.next().is_err());
        std::fs::remove_file(path).unwrap();
    }
}
