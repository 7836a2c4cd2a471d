//! One file a message: Maildirs and folders of .eml files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::{Read, Source, with_crlf};

/// Files in the order of their names, which is the order of arrival in a Maildir. A position is
/// the last name that was read.
pub(crate) struct Files {
    names: Vec<(String, PathBuf)>,
    next: usize,
}

impl Files {
    /// A Maildir's `cur` and `new`. Flags are in the names, after `:2,`.
    pub(crate) fn maildir(path: &Path) -> io::Result<Self> {
        let mut names = list(&path.join("cur"), |_| true)?;
        if path.join("new").is_dir() {
            names.extend(list(&path.join("new"), |_| true)?);
        }
        names.sort_by(|(a, _), (b, _)| stem(a).cmp(stem(b)));
        Ok(Self { names, next: 0 })
    }

    /// A file, or the files of a folder whose names end in .eml.
    pub(crate) fn eml(path: &Path) -> io::Result<Self> {
        let names = if path.is_dir() {
            list(path, |name| name.rsplit('.').next().is_some_and(|end| end.eq_ignore_ascii_case("eml")))?
        } else {
            vec![(path.file_name().unwrap_or_default().to_string_lossy().into_owned(), path.to_owned())]
        };
        Ok(Self { names, next: 0 })
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
    names.sort();
    Ok(names)
}

/// A name without its flags: what stays when a mail program changes them.
fn stem(name: &str) -> &str {
    name.split(":2,").next().unwrap_or(name)
}

impl Source for Files {
    fn total(&self) -> u64 {
        self.names.len() as u64
    }

    fn seek(&mut self, position: &str) -> io::Result<()> {
        self.next = self.names.partition_point(|(name, _)| stem(name) <= position);
        Ok(())
    }

    fn next(&mut self) -> io::Result<Option<Read>> {
        let Some((name, path)) = self.names.get(self.next) else { return Ok(None) };
        self.next += 1;
        let data = with_crlf(&fs::read(path)?);
        let modified = fs::metadata(path)?.modified()?.duration_since(UNIX_EPOCH);
        let letters = name.split_once(":2,").map_or("", |(_, letters)| letters);
        let known = [
            ('S', "\\Seen"),
            ('R', "\\Answered"),
            ('F', "\\Flagged"),
            ('T', "\\Deleted"),
            ('D', "\\Draft"),
            ('P', "$Forwarded"),
        ];
        let flags =
            known.iter().filter(|(letter, _)| letters.contains(*letter)).map(|(_, flag)| (*flag).to_owned());
        Ok(Some(Read {
            data,
            flags: flags.collect(),
            received_s: modified.ok().and_then(|since| i64::try_from(since.as_secs()).ok()),
            position: stem(name).to_owned(),
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
        fs::write(folder.join("cur/1.a:2,FS"), "Subject: one\n\nx\n").unwrap();
        fs::write(folder.join("new/2.b"), "Subject: two\r\n\r\ny\r\n").unwrap();
        let mut files = Files::maildir(&folder).unwrap();
        let first = files.next().unwrap().unwrap();
        assert_eq!(first.data, b"Subject: one\r\n\r\nx\r\n");
        assert_eq!(first.flags, ["\\Seen", "\\Flagged"]);
        let second = files.next().unwrap().unwrap();
        assert_eq!(second.data, b"Subject: two\r\n\r\ny\r\n");
        assert!(files.next().unwrap().is_none());
        files.seek(&first.position).unwrap();
        assert_eq!(files.next().unwrap().unwrap().data, second.data);
        fs::remove_dir_all(folder).unwrap();
    }
}
