//! The items of a FETCH response that need no byte of the message (RFC 9051 §7.5.2). These are
//! written for every message of a mailbox when a client synchronises, so nothing allocates here.

use alloc::string::String;
use alloc::vec::Vec;

use account::Message;
use base::{MessageId, Timestamp};

use super::flags::write_flags;
use super::text::write_number;
use crate::command::fetch::Property;

/// `* n FETCH (`
pub(crate) fn write_start(out: &mut Vec<u8>, number: u32) {
    out.extend_from_slice(b"* ");
    write_number(out, u64::from(number));
    out.extend_from_slice(b" FETCH (");
}

/// What ends it.
pub(crate) fn write_end(out: &mut Vec<u8>) {
    out.extend_from_slice(b")\r\n");
}

/// A property with its name; `names` are the account's keywords.
pub(crate) fn write_property(out: &mut Vec<u8>, property: Property, message: &Message, names: &[String]) {
    match property {
        Property::Uid => {
            out.extend_from_slice(b"UID ");
            write_number(out, u64::from(message.uid.0));
        }
        Property::Flags => {
            out.extend_from_slice(b"FLAGS ");
            write_flags(out, message.flags, message.keywords, names);
        }
        Property::InternalDate => {
            out.extend_from_slice(b"INTERNALDATE ");
            write_date_time(out, message.received);
        }
        Property::Size => {
            out.extend_from_slice(b"RFC822.SIZE ");
            write_number(out, u64::from(message.size));
        }
        Property::ModSeq => {
            out.extend_from_slice(b"MODSEQ (");
            write_number(out, message.change.0);
            out.push(b')');
        }
        Property::EmailId => {
            out.extend_from_slice(b"EMAILID (");
            write_email_id(out, message.id);
            out.push(b')');
        }
        // RFC 8474 §5.2: NIL where the server keeps no threads.
        Property::ThreadId => out.extend_from_slice(b"THREADID NIL"),
        Property::SaveDate => {
            out.extend_from_slice(b"SAVEDATE ");
            write_date_time(out, message.saved);
        }
    }
}

/// The `objectid` of a message (RFC 8474 §7): `M` and its number in decimal.
pub(crate) fn write_email_id(out: &mut Vec<u8>, id: MessageId) {
    out.push(b'M');
    write_number(out, id.0);
}

/// The message an `objectid` names; `None` when it is not one of ours.
pub(crate) fn read_email_id(text: &str) -> Option<MessageId> {
    let digits = text.strip_prefix('M').filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?;
    digits.parse().ok().map(MessageId)
}

const MONTHS: [&[u8; 3]; 12] =
    [b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"];

/// RFC 9051 §9 `date-time`, in UTC.
pub(crate) fn write_date_time(out: &mut Vec<u8>, at: Timestamp) {
    let (year, month, day, hour, minute, second) = at.civil_utc();
    // RFC 9051 §9 `date-day-fixed`: two places, the first may be a space.
    out.extend_from_slice(if day < 10 { b"\" " } else { b"\"" });
    write_number(out, u64::from(day));
    out.push(b'-');
    out.extend_from_slice(MONTHS.get((month as usize).wrapping_sub(1)).map_or(&b"Jan"[..], |name| &name[..]));
    out.push(b'-');
    // `date-year` has four digits; moments outside of them do not come from any clock.
    let year = u32::try_from(year.clamp(0, 9999)).unwrap_or(0);
    write_two_digits(out, year / 100);
    write_two_digits(out, year % 100);
    for (before, part) in [(b' ', hour), (b':', minute), (b':', second)] {
        out.push(before);
        write_two_digits(out, part);
    }
    out.extend_from_slice(b" +0000\"");
}

fn write_two_digits(out: &mut Vec<u8>, value: u32) {
    out.push(b'0' + (value / 10 % 10) as u8);
    out.push(b'0' + (value % 10) as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_have_two_places_for_the_day() {
        for (at, want) in [
            (Timestamp::from_civil_utc(1996, 7, 17, 2, 44, 25), "\"17-Jul-1996 02:44:25 +0000\""),
            (Timestamp::from_civil_utc(2026, 1, 2, 23, 0, 9), "\" 2-Jan-2026 23:00:09 +0000\""),
            (Timestamp::from_civil_utc(999, 12, 31, 0, 0, 0), "\"31-Dec-0999 00:00:00 +0000\""),
        ] {
            let mut out = Vec::new();
            write_date_time(&mut out, at);
            assert_eq!(String::from_utf8(out).unwrap(), want);
        }
    }

    #[test]
    fn email_ids_go_there_and_back() {
        let mut out = Vec::new();
        write_email_id(&mut out, MessageId(42));
        assert_eq!(out, b"M42");
        assert_eq!(read_email_id("M42"), Some(MessageId(42)));
        for text in ["42", "M", "M-1", "M+1", "Mx", "M99999999999999999999"] {
            assert_eq!(read_email_id(text), None, "{text}");
        }
    }
}
