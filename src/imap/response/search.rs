//! SEARCH and ESEARCH responses (RFC 3501 §7.2.5, RFC 9051 §7.3.4, RFC 4731 §3.1, RFC 7162 §3.1.5).

use alloc::vec::Vec;

use base::{ChangeNumber, Closed, Out, Ranges};

use super::text::{write_number, write_quoted, write_ranges};
use crate::command::search::Returns;

/// What a search found, in the numbers that its client used.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    /// UIDs rather than sequence numbers.
    pub(crate) is_uid: bool,
    /// The messages.
    pub(crate) numbers: &'a Ranges,
    /// The greatest MODSEQ of what is told, if that is to be told.
    pub(crate) mod_seq: Option<ChangeNumber>,
}

/// `* SEARCH 2 3 (MODSEQ 9)`, in pieces when it is long.
pub(crate) async fn write_search(out: &mut Out<'_>, found: &Found<'_>) -> Result<(), Closed> {
    out.buffer.extend_from_slice(b"* SEARCH");
    for number in found.numbers.iter() {
        out.buffer.push(b' ');
        write_number(&mut out.buffer, u64::from(number));
        out.room().await?;
    }
    if let Some(mod_seq) = found.mod_seq {
        out.buffer.extend_from_slice(b" (MODSEQ ");
        write_number(&mut out.buffer, mod_seq.0);
        out.buffer.push(b')');
    }
    out.buffer.extend_from_slice(b"\r\n");
    Ok(())
}

/// `* ESEARCH (TAG "a") UID MIN 2 MAX 9 ALL 2:3,9 COUNT 3 MODSEQ 17`. What is not there (MIN of
/// nothing) is left out (RFC 9051 §7.3.4).
pub(crate) fn write_esearch(out: &mut Vec<u8>, tag: &str, returns: Returns, found: &Found<'_>) {
    out.extend_from_slice(b"* ESEARCH (TAG ");
    write_quoted(out, tag.as_bytes());
    out.push(b')');
    if found.is_uid {
        out.extend_from_slice(b" UID");
    }
    let ends =
        [(Returns::MIN, b" MIN ", found.numbers.first()), (Returns::MAX, b" MAX ", found.numbers.last())];
    for (option, name, number) in ends {
        if let (true, Some(number)) = (returns.has(option), number) {
            out.extend_from_slice(name);
            write_number(out, u64::from(number));
        }
    }
    if returns.has(Returns::ALL) && !found.numbers.is_empty() {
        out.extend_from_slice(b" ALL ");
        write_ranges(out, found.numbers);
    }
    if returns.has(Returns::COUNT) {
        out.extend_from_slice(b" COUNT ");
        write_number(out, found.numbers.len() as u64);
    }
    if let Some(mod_seq) = found.mod_seq {
        out.extend_from_slice(b" MODSEQ ");
        write_number(out, mod_seq.0);
    }
    out.extend_from_slice(b"\r\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::String;

    #[test]
    fn only_what_was_asked_for_is_told() {
        let numbers: Ranges = [2, 3, 9].into_iter().collect();
        let all = Returns::ALL.with(Returns::COUNT);
        let ends = Returns::MIN.with(Returns::MAX);
        for (returns, is_uid, numbers, mod_seq, want) in [
            (all, false, &numbers, None, "* ESEARCH (TAG \"a1\") ALL 2:3,9 COUNT 3\r\n"),
            (
                ends,
                true,
                &numbers,
                Some(ChangeNumber(7)),
                "* ESEARCH (TAG \"a1\") UID MIN 2 MAX 9 MODSEQ 7\r\n",
            ),
            (all.with(ends), false, &Ranges::new(), None, "* ESEARCH (TAG \"a1\") COUNT 0\r\n"),
        ] {
            let mut out = Vec::new();
            write_esearch(&mut out, "a1", returns, &Found { is_uid, numbers, mod_seq });
            assert_eq!(String::from_utf8(out).unwrap(), want);
        }
    }
}
