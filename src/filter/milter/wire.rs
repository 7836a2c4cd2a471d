//! Packets: a length of four bytes, a letter, and data. The letters and bits are those of libmilter's `mfdef.h` and
//! `mfapi.h`; beside them and libmilter's pages there is no specification.

use alloc::string::String;
use alloc::vec::Vec;

use crate::Failure;
use crate::limits::{MILTER_DATA_BYTES_MAX, MILTER_PACKET_BYTES_MAX};

/// The version spoken (Sendmail 8.14 and later).
pub(crate) const VERSION: u32 = 6;
/// The oldest that a filter may answer with.
pub(crate) const VERSION_MIN: u32 = 2;

/// What the server says.
pub(crate) mod command {
    pub(crate) const ABORT: u8 = b'A';
    pub(crate) const BODY: u8 = b'B';
    pub(crate) const CONNECT: u8 = b'C';
    pub(crate) const MACRO: u8 = b'D';
    pub(crate) const BODY_END: u8 = b'E';
    pub(crate) const HELO: u8 = b'H';
    pub(crate) const QUIT_NEW_CONNECTION: u8 = b'K';
    pub(crate) const HEADER: u8 = b'L';
    pub(crate) const MAIL: u8 = b'M';
    pub(crate) const HEADER_END: u8 = b'N';
    pub(crate) const NEGOTIATE: u8 = b'O';
    pub(crate) const QUIT: u8 = b'Q';
    pub(crate) const RCPT: u8 = b'R';
    pub(crate) const DATA: u8 = b'T';
    pub(crate) const UNKNOWN: u8 = b'U';
}

/// What a filter says.
pub(crate) mod reply {
    pub(crate) const ADD_RCPT: u8 = b'+';
    pub(crate) const DELETE_RCPT: u8 = b'-';
    pub(crate) const ADD_RCPT_PARAMETERS: u8 = b'2';
    pub(crate) const SHUTDOWN: u8 = b'4';
    pub(crate) const ACCEPT: u8 = b'a';
    pub(crate) const REPLACE_BODY: u8 = b'b';
    pub(crate) const CONTINUE: u8 = b'c';
    pub(crate) const DISCARD: u8 = b'd';
    pub(crate) const CHANGE_FROM: u8 = b'e';
    pub(crate) const CONNECTION_FAILURE: u8 = b'f';
    pub(crate) const ADD_HEADER: u8 = b'h';
    pub(crate) const INSERT_HEADER: u8 = b'i';
    pub(crate) const SET_SYMBOLS: u8 = b'l';
    pub(crate) const CHANGE_HEADER: u8 = b'm';
    pub(crate) const PROGRESS: u8 = b'p';
    pub(crate) const QUARANTINE: u8 = b'q';
    pub(crate) const REJECT: u8 = b'r';
    pub(crate) const SKIP: u8 = b's';
    pub(crate) const TEMPFAIL: u8 = b't';
    pub(crate) const REPLY_CODE: u8 = b'y';
}

/// What a filter may do with a message (`SMFIF_`).
pub(crate) mod action {
    pub(crate) const ADD_HEADERS: u32 = 0x001;
    pub(crate) const CHANGE_BODY: u32 = 0x002;
    pub(crate) const ADD_RCPT: u32 = 0x004;
    pub(crate) const DELETE_RCPT: u32 = 0x008;
    pub(crate) const CHANGE_HEADERS: u32 = 0x010;
    pub(crate) const QUARANTINE: u32 = 0x020;
    pub(crate) const CHANGE_FROM: u32 = 0x040;
    pub(crate) const ADD_RCPT_PARAMETERS: u32 = 0x080;
    pub(crate) const SET_SYMBOLS: u32 = 0x100;
    /// All of them are offered.
    pub(crate) const ALL: u32 = 0x1ff;
}

/// What is sent and answered (`SMFIP_`).
pub(crate) mod step {
    pub(crate) const NO_CONNECT: u32 = 0x0000_0001;
    pub(crate) const NO_HELO: u32 = 0x0000_0002;
    pub(crate) const NO_MAIL: u32 = 0x0000_0004;
    pub(crate) const NO_RCPT: u32 = 0x0000_0008;
    pub(crate) const NO_BODY: u32 = 0x0000_0010;
    pub(crate) const NO_HEADERS: u32 = 0x0000_0020;
    pub(crate) const NO_HEADER_END: u32 = 0x0000_0040;
    pub(crate) const NO_REPLY_HEADER: u32 = 0x0000_0080;
    pub(crate) const NO_UNKNOWN: u32 = 0x0000_0100;
    pub(crate) const NO_DATA: u32 = 0x0000_0200;
    pub(crate) const SKIP: u32 = 0x0000_0400;
    pub(crate) const REJECTED_RCPT: u32 = 0x0000_0800;
    pub(crate) const NO_REPLY_CONNECT: u32 = 0x0000_1000;
    pub(crate) const NO_REPLY_HELO: u32 = 0x0000_2000;
    pub(crate) const NO_REPLY_MAIL: u32 = 0x0000_4000;
    pub(crate) const NO_REPLY_RCPT: u32 = 0x0000_8000;
    pub(crate) const NO_REPLY_DATA: u32 = 0x0001_0000;
    pub(crate) const NO_REPLY_UNKNOWN: u32 = 0x0002_0000;
    pub(crate) const NO_REPLY_HEADER_END: u32 = 0x0004_0000;
    pub(crate) const NO_REPLY_BODY: u32 = 0x0008_0000;
    pub(crate) const LEADING_SPACE: u32 = 0x0010_0000;
    /// All of them are offered.
    pub(crate) const ALL: u32 = 0x001f_ffff;
}

/// A packet that has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) letter: u8,
    pub(crate) data: Vec<u8>,
}

/// Takes the first packet off `input`; `None` when it is not complete.
pub(crate) fn take_packet(input: &mut Vec<u8>) -> Result<Option<Packet>, Failure> {
    let Some((length, rest)) = input.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if length == 0 {
        return Err(Failure::Protocol("a packet without a letter"));
    }
    if length > MILTER_PACKET_BYTES_MAX {
        return Err(Failure::Protocol("a packet is too long"));
    }
    let Some((letter, data)) = rest.get(..length).and_then(|packet| packet.split_first()) else {
        return Ok(None);
    };
    let packet = Packet { letter: *letter, data: data.to_vec() };
    input.drain(..4 + length);
    Ok(Some(packet))
}

/// Writes a packet whose data are these parts; what is over the bound is cut.
pub(crate) fn put(out: &mut Vec<u8>, letter: u8, parts: &[&[u8]]) {
    let whole: usize = parts.iter().map(|part| part.len()).sum();
    let length = whole.min(MILTER_DATA_BYTES_MAX);
    out.extend_from_slice(&(length as u32 + 1).to_be_bytes());
    out.push(letter);
    let end = out.len() + length;
    for part in parts {
        let room = end - out.len();
        out.extend_from_slice(part.get(..room.min(part.len())).unwrap_or_default());
    }
}

/// A string for the wire: no NUL in it, one behind it.
pub(crate) fn put_string(data: &mut Vec<u8>, text: &[u8]) {
    data.extend(text.iter().filter(|byte| **byte != 0));
    data.push(0);
}

/// Reads data of the wire from the front.
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn number(&mut self) -> Result<u32, Failure> {
        let (number, rest) =
            self.0.split_first_chunk::<4>().ok_or(Failure::Protocol("a number is cut short"))?;
        self.0 = rest;
        Ok(u32::from_be_bytes(*number))
    }

    /// A string up to its NUL.
    pub(crate) fn string(&mut self) -> Result<&'a [u8], Failure> {
        let end = memchr::memchr(0, self.0).ok_or(Failure::Protocol("a string without its end"))?;
        let text = self.0.get(..end).unwrap_or_default();
        self.0 = self.0.get(end + 1..).unwrap_or_default();
        Ok(text)
    }

    /// The same, as text without control characters.
    pub(crate) fn text(&mut self, bytes_max: usize) -> Result<String, Failure> {
        let text =
            core::str::from_utf8(self.string()?).map_err(|_| Failure::Protocol("text that is not UTF-8"))?;
        if text.len() > bytes_max {
            return Err(Failure::Protocol("text is too long"));
        }
        if text.chars().any(char::is_control) {
            return Err(Failure::Protocol("text with control characters"));
        }
        Ok(String::from(text))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_taken_when_they_are_whole() {
        let (mut input, mut found) = (Vec::new(), Vec::new());
        for (at, byte) in b"\0\0\0\x01c\0\0\0\x03hab".iter().enumerate() {
            input.push(*byte);
            found.extend(
                take_packet(&mut input)
                    .expect("a good packet")
                    .map(|packet| (at, packet.letter, packet.data)),
            );
        }
        assert_eq!(found, [(4, b'c', Vec::new()), (11, b'h', b"ab".to_vec())]);
        assert!(take_packet(&mut b"\0\0\0\0".to_vec()).is_err());
        assert!(take_packet(&mut b"\xff\0\0\0".to_vec()).is_err(), "before any of it is kept");
    }

    #[test]
    fn what_we_say_keeps_to_libmilters_bound() {
        let mut out = Vec::new();
        put(&mut out, b'L', &[b"ab\0", &b"x".repeat(100_000), b"\0"]);
        assert_eq!(out.len(), 4 + 1 + MILTER_DATA_BYTES_MAX);
        assert_eq!(out.get(..9), Some(&b"\0\x01\0\0Lab\0x"[..]));
    }
}
