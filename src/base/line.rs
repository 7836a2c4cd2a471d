//! One law for lines, in every protocol: a line ends at CRLF and at nothing else. What a bare CR
//! or LF means is an error the protocol names; it is never a line end. This closes the smuggling
//! class of bug in one place (RFC 5321 §2.3.8).

use alloc::vec::Vec;

/// A line that was taken, without its CRLF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Line {
    /// Complete and clean: no CR, LF or NUL inside.
    Complete(Vec<u8>),
    /// Not ended yet: give more bytes.
    Partial,
}

/// Why no line can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LineError {
    /// More than the limit arrived without CRLF. The bytes stay where they are.
    TooLong,
    /// A CR without LF or an LF without CR; the line up to its CRLF has been consumed.
    BareLineBreak,
    /// A NUL; the line up to its CRLF has been consumed.
    Nul,
}

/// Takes the next line off the front of `input`. `line_bytes_max` counts the CRLF.
pub fn take_line(input: &mut Vec<u8>, line_bytes_max: usize) -> Result<Line, LineError> {
    let Some(end) = memchr::memmem::find(input, b"\r\n") else {
        return if input.len() >= line_bytes_max { Err(LineError::TooLong) } else { Ok(Line::Partial) };
    };
    if end + 2 > line_bytes_max {
        return Err(LineError::TooLong);
    }
    let mut line: Vec<u8> = input.drain(..end + 2).collect();
    line.truncate(end);
    match memchr::memchr3(b'\r', b'\n', 0, &line).and_then(|at| line.get(at)) {
        None => Ok(Line::Complete(line)),
        Some(0) => Err(LineError::Nul),
        Some(_) => Err(LineError::BareLineBreak),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(input: &str, max: usize) -> (Result<Line, LineError>, Vec<u8>) {
        let mut bytes = input.as_bytes().to_vec();
        (take_line(&mut bytes, max), bytes)
    }

    #[test]
    fn a_line_ends_at_crlf_and_at_nothing_else() {
        assert_eq!(take("NOOP\r\nx", 64), (Ok(Line::Complete(b"NOOP".to_vec())), b"x".to_vec()));
        assert_eq!(take("NOOP\r", 64), (Ok(Line::Partial), b"NOOP\r".to_vec()));
        assert_eq!(take("a\nb\r\nc", 64), (Err(LineError::BareLineBreak), b"c".to_vec()));
        assert_eq!(take("a\rb\r\nc", 64), (Err(LineError::BareLineBreak), b"c".to_vec()));
        assert_eq!(take("a\0b\r\nc", 64), (Err(LineError::Nul), b"c".to_vec()));
        assert_eq!(take("abcdef", 6).0, Err(LineError::TooLong));
        assert_eq!(take("abcd\r\n", 6).0, Ok(Line::Complete(b"abcd".to_vec())));
        assert_eq!(take("abcde\r\n", 6).0, Err(LineError::TooLong));
    }
}
