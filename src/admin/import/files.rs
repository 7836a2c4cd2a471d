//! One file a message: Maildirs and folders of .eml files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::mark::mark;
use super::{Read, Source, with_crlf};
use crate::limits::IMPORT_MESSAGE_BYTES_MAX;

/// Files in the order of their names, which is the order of arrival in a Maildir: by the number that
/// they begin with, then by letters. A position is the last name that was read.
pub(crate) struct Files {
    names: Vec<(String, PathBuf)>,
    next: usize,
    /// What the letters a, b, ... of a Maildir's names mean.
    keywords: Vec<(char, String)>,
    /// One file that was named itself: its name says nothing about what is in it.
    is_single: bool,
}

impl Files {
    /// A Maildir's `cur` and `new`. Flags are in the names, after `:2,`.
    pub(crate) fn maildir(path: &Path) -> io::Result<Self> {
        let mut names = list(&path.join("cur"), |_| true)?;
        if path.join("new").is_dir() {
            names.extend(list(&path.join("new"), |_| true)?);
        }
        names.sort_by(|(a, _), (b, _)| order(a).cmp(&order(b)));
        let table = fs::read_to_string(path.join(KEYWORDS_FILE)).unwrap_or_default();
        let keywords = table.lines().filter_map(keyword).collect();
        Ok(Self { names, next: 0, keywords, is_single: false })
    }

    /// A file, or the files of a folder whose names end in .eml.
    pub(crate) fn eml(path: &Path) -> io::Result<Self> {
        let names = if path.is_dir() {
            list(path, |name| name.rsplit('.').next().is_some_and(|end| end.eq_ignore_ascii_case("eml")))?
        } else {
            vec![(path.file_name().unwrap_or_default().to_string_lossy().into_owned(), path.to_owned())]
        };
        Ok(Self { names, next: 0, keywords: Vec::new(), is_single: !path.is_dir() })
    }
}

/// The file beside `cur` that says what letters of keywords mean, one a line: `0 work` is about a.
pub(crate) const KEYWORDS_FILE: &str = "dovecot-keywords";

fn keyword(line: &str) -> Option<(char, String)> {
    let (number, name) = line.split_once(' ')?;
    let letter = b'a'.checked_add(number.parse().ok()?).filter(u8::is_ascii_lowercase)?;
    Some((char::from(letter), name.trim().to_owned()))
}

/// When a file was changed, in seconds since 1970.
fn modified_s(file: &fs::Metadata) -> Option<i64> {
    match file.modified().ok()?.duration_since(UNIX_EPOCH) {
        Ok(since) => i64::try_from(since.as_secs()).ok(),
        // Earlier; a part of a second counts back to the second before.
        Err(before) => {
            let before = before.duration();
            Some(-i64::try_from(before.as_secs()).ok()? - i64::from(before.subsec_nanos() > 0))
        }
    }
}

fn list(folder: &Path, is_wanted: impl Fn(&str) -> bool) -> io::Result<Vec<(String, PathBuf)>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_file() && !name.starts_with('.') && is_wanted(&name) {
            names.push((name, entry.path()));
        }
    }
    names.sort_by(|(a, _), (b, _)| order(a).cmp(&order(b)));
    Ok(names)
}

/// A name without its flags: what stays when a mail program changes them.
fn stem(name: &str) -> &str {
    name.split(":2,").next().unwrap_or(name)
}

/// A Maildir's names begin with the seconds since 1970, which had nine digits until 2001.
fn order(name: &str) -> (u64, &str) {
    let digits = name.bytes().take_while(u8::is_ascii_digit).count();
    (name.get(..digits).and_then(|number| number.parse().ok()).unwrap_or(0), stem(name))
}

impl Source for Files {
    fn total(&self) -> u64 {
        self.names.len() as u64
    }

    fn seek(&mut self, position: &str) -> io::Result<bool> {
        if self.is_single {
            let is_same = self.next()?.is_some_and(|read| read.position == position);
            self.next = usize::from(is_same);
            return Ok(is_same);
        }
        self.next = self.names.partition_point(|(name, _)| order(name) <= order(position));
        Ok(true)
    }

    fn next(&mut self) -> io::Result<Option<Read>> {
        let Some((name, path)) = self.names.get(self.next) else { return Ok(None) };
        self.next += 1;
        let about = fs::metadata(path)?;
        let is_readable = about.len() <= IMPORT_MESSAGE_BYTES_MAX as u64;
        let data = if is_readable { Some(with_crlf(&fs::read(path)?)) } else { None };
        let position = match &data {
            Some(data) if self.is_single => mark(data),
            _ => stem(name).to_owned(),
        };
        let letters = name.split_once(":2,").map_or("", |(_, letters)| letters);
        let known = [
            ('S', "\\Seen"),
            ('R', "\\Answered"),
            ('F', "\\Flagged"),
            ('T', "\\Deleted"),
            ('D', "\\Draft"),
            ('P', "$Forwarded"),
        ];
        let keywords = self.keywords.iter().map(|(letter, name)| (*letter, name.as_str()));
        let flags = known.into_iter().chain(keywords).filter(|(letter, _)| letters.contains(*letter));
        Ok(Some(Read {
            data,
            bytes: about.len(),
            place: name.clone(),
            flags: flags.map(|(_, flag)| flag.to_owned()).collect(),
            received_s: modified_s(&about),
            position,
            progress: self.next as u64,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_maildir_gives_flags_and_resumes_by_name() {
        let folder = std::env::temp_dir().join(format!("angarium-maildir-{}", std::process::id()));
        for sub in ["cur", "new", "tmp"] {
            fs::create_dir_all(folder.join(sub)).unwrap();
        }
        fs::write(folder.join("cur/1.a:2,FSb"), "Subject: one\n\nx\n").unwrap();
        fs::write(folder.join(KEYWORDS_FILE), "0 home\n1 work\n99 none\n").unwrap();
        fs::write(folder.join("new/2.b"), "Subject: two\r\n\r\ny\r\n").unwrap();
        let mut files = Files::maildir(&folder).unwrap();
        let first = files.next().unwrap().unwrap();
        assert_eq!(first.data.unwrap(), b"Subject: one\r\n\r\nx\r\n");
        assert_eq!(first.flags, ["\\Seen", "\\Flagged", "work"]);
        let second = files.next().unwrap().unwrap();
        assert_eq!(second.data.as_deref().unwrap(), b"Subject: two\r\n\r\ny\r\n");
        assert!(files.next().unwrap().is_none());
        assert!(files.seek(&first.position).unwrap());
        assert_eq!(files.next().unwrap().unwrap().data, second.data);
        fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn names_are_in_the_order_of_their_numbers() {
        let mut names = ["1012622706.b", "978310923.c", "978310923.a:2,S", "x"];
        names.sort_by(|a, b| order(a).cmp(&order(b)));
        assert_eq!(names, ["x", "978310923.a:2,S", "978310923.c", "1012622706.b"]);
    }

    #[test]
    fn a_single_file_is_known_by_what_is_in_it() {
        let path = std::env::temp_dir().join(format!("angarium-single-{}.eml", std::process::id()));
        fs::write(&path, "Subject: one\n\nx\n").unwrap();
        let position = Files::eml(&path).unwrap().next().unwrap().unwrap().position;
        let mut again = Files::eml(&path).unwrap();
        assert!(again.seek(&position).unwrap());
        assert!(again.next().unwrap().is_none());
        fs::write(&path, "Subject: other\n\nx\n").unwrap();
        let mut other = Files::eml(&path).unwrap();
        assert!(!other.seek(&position).unwrap());
        assert!(other.next().unwrap().is_some());
        fs::remove_file(path).unwrap();
    }
}
