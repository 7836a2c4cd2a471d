//! Flags (RFC 9051 §2.3.2) as lists.

use alloc::string::String;
use alloc::vec::Vec;

use account::{Flags, Keywords};

/// `"(" [flag *(SP flag)] ")"`; `names` are the account's keywords.
pub(crate) fn write_flags(out: &mut Vec<u8>, flags: Flags, keywords: Keywords, names: &[String]) {
    out.push(b'(');
    let start = out.len();
    for (flag, name) in Flags::NAMED {
        if flags.has(flag) {
            separate(out, start);
            out.extend_from_slice(name.as_bytes());
        }
    }
    if keywords != Keywords::NONE {
        for name in keywords.indexes().filter_map(|index| names.get(index)) {
            separate(out, start);
            out.extend_from_slice(name.as_bytes());
        }
    }
    out.push(b')');
}

fn separate(out: &mut Vec<u8>, start: usize) {
    if out.len() > start {
        out.push(b' ');
    }
}

/// `* FLAGS (…)`: every flag there is in the mailbox (RFC 9051 §7.3.5).
pub(crate) fn write_defined(out: &mut Vec<u8>, names: &[String]) {
    out.extend_from_slice(b"* FLAGS ");
    write_all(out, names);
    out.extend_from_slice(b"\r\n");
}

/// `* OK [PERMANENTFLAGS (…)]`: what can be changed for good. `\*` says that there is room for new
/// keywords.
pub(crate) fn write_permanent(out: &mut Vec<u8>, names: &[String], is_read_only: bool) {
    out.extend_from_slice(b"* OK [PERMANENTFLAGS ");
    if is_read_only {
        out.extend_from_slice(b"()");
    } else {
        write_all(out, names);
        if names.len() < account::KEYWORDS_MAX {
            out.pop();
            out.extend_from_slice(b" \\*)");
        }
    }
    out.extend_from_slice(b"] flags that are kept\r\n");
}

fn write_all(out: &mut Vec<u8>, names: &[String]) {
    let all = Flags::NAMED.iter().fold(Flags::NONE, |all, (flag, _)| all.with(*flag));
    let keywords = if names.len() >= 64 { u64::MAX } else { (1 << names.len()) - 1 };
    write_flags(out, all, Keywords(keywords), names);
}
