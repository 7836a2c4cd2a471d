//! mbox files (RFC 4155, with the `>From ` quoting known as mboxrd).

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _, Seek, SeekFrom};
use std::path::Path;

use base::Timestamp;

use super::mark::mark;
use super::status::taken;
use super::{Read, Source, with_crlf};
use crate::limits::{IMPORT_MARK_BYTES, IMPORT_MESSAGE_BYTES_MAX};

/// An mbox file, read from the front. A position is the byte offset of a `From ` line, and a mark of
/// the bytes at the file's front: a file that only grew keeps that, another one has another.
pub(crate) struct Mbox {
    reader: BufReader<File>,
    total: u64,
    /// The file's first bytes, [`IMPORT_MARK_BYTES`] of them at most.
    front: Vec<u8>,
    /// The mark of all of `front`, which most positions have.
    front_mark: String,
    offset: u64,
    /// Where the message that is next begins, its separator included.
    begin: u64,
    line: Vec<u8>,
    /// The separator line of the next message, when it has been read already.
    separator: Option<Vec<u8>>,
}

impl Mbox {
    pub(crate) fn open(path: &Path) -> io::Result<Self> {
        let mut file = File::open(path)?;
        let total = file.metadata()?.len();
        let mut front = Vec::new();
        file.by_ref().take(IMPORT_MARK_BYTES).read_to_end(&mut front)?;
        file.rewind()?;
        let front_mark = mark(&front);
        let reader = BufReader::with_capacity(1 << 20, file);
        Ok(Self { reader, total, front, front_mark, offset: 0, begin: 0, line: Vec::new(), separator: None })
    }

    fn read_line(&mut self) -> io::Result<bool> {
        self.line.clear();
        self.begin = if self.separator.is_none() { self.offset } else { self.begin };
        // A line without an end is not kept whole; what it belongs to is too large anyway.
        let some = IMPORT_MESSAGE_BYTES_MAX as u64 + 1;
        let read = self.reader.by_ref().take(some).read_until(b'\n', &mut self.line)?;
        self.offset += read as u64;
        Ok(read > 0)
    }

    /// The message after a separator, quoting undone, up to the next separator; only its length when
    /// it is larger than any that can be taken.
    fn text(&mut self) -> io::Result<Result<Vec<u8>, u64>> {
        let mut text = Vec::new();
        let (mut bytes, mut is_after_blank) = (0, true);
        while self.read_line()? {
            if is_after_blank && self.line.starts_with(b"From ") {
                self.separator = Some(self.line.clone());
                break;
            }
            is_after_blank = matches!(self.line.as_slice(), b"\n" | b"\r\n");
            bytes += self.line.len() as u64;
            if bytes > IMPORT_MESSAGE_BYTES_MAX as u64 {
                text = Vec::new();
                continue;
            }
            let quotes = self.line.iter().take_while(|&&byte| byte == b'>').count();
            let is_quoted =
                quotes > 0 && self.line.get(quotes..).is_some_and(|rest| rest.starts_with(b"From "));
            text.extend_from_slice(self.line.get(usize::from(is_quoted)..).unwrap_or_default());
        }
        if self.separator.is_none() {
            self.begin = self.offset;
        }
        if bytes > IMPORT_MESSAGE_BYTES_MAX as u64 {
            return Ok(Err(bytes));
        }
        // The blank line before the next separator belongs to the file, not to the message.
        for blank in [b"\r\n\r\n".as_slice(), b"\n\n"] {
            if text.ends_with(blank) {
                text.truncate(text.len() - blank.len() / 2);
                break;
            }
        }
        Ok(Ok(text))
    }

    /// The position of the message that is next.
    fn position(&self) -> String {
        if self.begin >= self.front.len() as u64 {
            return format!("{} {} {}", self.begin, self.front.len(), self.front_mark);
        }
        let front = self.front.get(..self.begin as usize).unwrap_or_default();
        format!("{} {} {}", self.begin, front.len(), mark(front))
    }

    /// The offset in a position, if it is one of this file's.
    fn offset_of(&self, position: &str) -> Option<u64> {
        let mut words = position.split(' ');
        let (offset, marked) = (words.next()?.parse().ok()?, words.next()?.parse::<usize>().ok()?);
        let is_same = offset <= self.total && Some(mark(self.front.get(..marked)?).as_str()) == words.next();
        is_same.then_some(offset)
    }
}

impl Source for Mbox {
    fn total(&self) -> u64 {
        self.total
    }

    fn seek(&mut self, position: &str) -> io::Result<bool> {
        let Some(offset) = self.offset_of(position) else { return Ok(false) };
        self.offset = self.reader.seek(SeekFrom::Start(offset))?;
        self.begin = self.offset;
        self.separator = None;
        Ok(true)
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
        let place = format!("at byte {}", self.begin);
        let text = self.text()?;
        let position = self.position();
        let (data, bytes, flags) = match text {
            Ok(text) => {
                let (data, flags) = taken(&with_crlf(&text));
                (Some(data), text.len() as u64, flags)
            }
            Err(bytes) => (None, bytes, Vec::new()),
        };
        Ok(Some(Read {
            data,
            bytes,
            place,
            flags,
            received_s: from_line_date(&separator),
            position,
            progress: self.begin,
        }))
    }
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
        let path = std::env::temp_dir().join(format!(
            "angarium-mbox-{}-{}",
            std::process::id(),
            mark(text.as_bytes())
        ));
        File::create(&path).and_then(|mut file| file.write_all(text.as_bytes())).expect("a temporary file");
        let mbox = Mbox::open(&path).expect("it was just written");
        (path, mbox)
    }

    const TWO: &str = "From a@example.org Tue Nov 24 06:00:01 2026\nSubject: one\nStatus: RO\nX-Status: F\n\n>From here\n>>From there\n\nFrom b@example.org  Wed Nov 25 06:00:00 2026 +0100\nSubject: two\n\nFrom the middle\n\n";

    #[test]
    fn messages_are_found_and_unquoted() {
        let (path, mut mbox) = file(TWO);
        let first = mbox.next().unwrap().unwrap();
        assert_eq!(first.data.unwrap(), b"Subject: one\r\n\r\nFrom here\r\n>From there\r\n");
        assert_eq!(first.flags, ["\\Seen", "\\Flagged"]);
        assert_eq!(first.received_s, Some(Timestamp::from_civil_utc(2026, 11, 24, 6, 0, 1).as_s()));
        let second = mbox.next().unwrap().unwrap();
        // RFC 4155 quotes such a line; a file that did not is read as it stands: it is a separator.
        assert_eq!(second.data.unwrap(), b"Subject: two\r\n");
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_position_leads_back_to_the_next_message() {
        let (path, mut mbox) = file(&TWO.replace("From the", "Out of the"));
        let first = mbox.next().unwrap().unwrap();
        let second = mbox.next().unwrap().unwrap();
        assert_eq!(mbox.next().unwrap(), None);
        assert!(mbox.seek(&first.position).unwrap());
        assert_eq!(mbox.next().unwrap(), Some(second.clone()));
        assert!(mbox.seek(&second.position).unwrap());
        assert_eq!(mbox.next().unwrap(), None);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_position_is_of_one_file_which_may_have_grown() {
        let two = TWO.replace("From the", "Beside the");
        let (path, mut mbox) = file(&two);
        mbox.next().unwrap();
        let end = mbox.next().unwrap().unwrap().position;
        let (grown_path, mut grown) = file(&format!("{two}From c@example.org\nSubject: three\n\n"));
        assert!(grown.seek(&end).unwrap());
        assert_eq!(grown.next().unwrap().unwrap().data.unwrap(), b"Subject: three\r\n");
        for text in ["From c@example.org\nSubject: short\n\n".to_owned(), two.replace("one", "uno")] {
            let (other_path, mut other) = file(&text);
            assert!(!other.seek(&end).unwrap());
            assert!(other.next().unwrap().is_some(), "it is taken from its front");
            std::fs::remove_file(other_path).ok();
        }
        std::fs::remove_file(path).ok();
        std::fs::remove_file(grown_path).unwrap();
    }

    #[test]
    fn a_message_that_nothing_can_take_is_counted_and_passed_over() {
        let large = "x".repeat(1023) + "\n";
        let head = "From a@example.org Tue Nov 24 06:00:01 2026\nSubject: large\n\n";
        let path = std::env::temp_dir().join(format!("angarium-mbox-large-{}", std::process::id()));
        let mut out = std::io::BufWriter::new(File::create(&path).unwrap());
        out.write_all(head.as_bytes()).unwrap();
        for _ in 0..=IMPORT_MESSAGE_BYTES_MAX / large.len() {
            out.write_all(large.as_bytes()).unwrap();
        }
        out.write_all(b"\nFrom b@example.org\nSubject: after\n\n").unwrap();
        out.into_inner().unwrap();
        let mut mbox = Mbox::open(&path).unwrap();
        let read = mbox.next().unwrap().unwrap();
        assert_eq!((read.data, read.place.as_str()), (None, "at byte 0"));
        assert!(read.bytes > IMPORT_MESSAGE_BYTES_MAX as u64);
        let after = mbox.next().unwrap().unwrap();
        assert_eq!(after.data.unwrap(), b"Subject: after\r\n");
        assert!(after.place.starts_with("at byte 134"), "{}", after.place);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn what_is_no_mbox_is_refused() {
        let (path, mut mbox) = file("Subject: x\n\ny\n");
        assert!(mbox.next().is_err());
        std::fs::remove_file(path).unwrap();
    }
}
