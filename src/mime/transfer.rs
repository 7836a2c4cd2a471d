//! Content-Transfer-Encoding (RFC 2045 §6).

use alloc::vec::Vec;

use crate::content::hex;
use crate::header::without_line_end;

/// A transfer encoding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Encoding {
    /// `7bit`, also when no field names one.
    SevenBit,
    /// `8bit`.
    EightBit,
    /// `binary`.
    Binary,
    /// `quoted-printable`.
    QuotedPrintable,
    /// `base64`.
    Base64,
    /// Any other word: it cannot be decoded here.
    Other,
}

/// Why a body cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TransferError {
    /// The encoding is not known (RFC 3516 §4.3 UNKNOWN-CTE).
    UnknownEncoding,
    /// The body is not in the encoding that it claims.
    Malformed,
}

impl Encoding {
    /// The encoding of that name, without regard to case (RFC 2045 §6.1).
    pub fn named(token: &str) -> Self {
        const NAMES: [(&str, Encoding); 5] = [
            ("7bit", Encoding::SevenBit),
            ("8bit", Encoding::EightBit),
            ("binary", Encoding::Binary),
            ("quoted-printable", Encoding::QuotedPrintable),
            ("base64", Encoding::Base64),
        ];
        NAMES
            .into_iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(token))
            .map_or(Self::Other, |(_, encoding)| encoding)
    }

    /// Whether the body's bytes are the content's bytes.
    pub fn is_identity(self) -> bool {
        match self {
            Self::SevenBit | Self::EightBit | Self::Binary => true,
            Self::QuotedPrintable | Self::Base64 | Self::Other => false,
        }
    }
}

/// Decodes what can be decoded: bytes that do not belong to the encoding are skipped in base64
/// (RFC 2045 §6.8) and kept in quoted-printable (RFC 2045 §6.7). An unknown encoding is left as it
/// is.
pub fn decode_transfer(encoding: Encoding, body: &[u8]) -> Vec<u8> {
    match encoding {
        Encoding::Base64 => base64(body).0,
        Encoding::QuotedPrintable => quoted_printable(body).0,
        Encoding::SevenBit | Encoding::EightBit | Encoding::Binary | Encoding::Other => body.to_vec(),
    }
}

/// Decodes the body, or says why that cannot be done without a guess.
pub fn decode_transfer_strictly(encoding: Encoding, body: &[u8]) -> Result<Vec<u8>, TransferError> {
    let (decoded, is_clean) = match encoding {
        Encoding::Base64 => base64(body),
        Encoding::QuotedPrintable => quoted_printable(body),
        Encoding::SevenBit | Encoding::EightBit | Encoding::Binary => (body.to_vec(), true),
        Encoding::Other => return Err(TransferError::UnknownEncoding),
    };
    if is_clean { Ok(decoded) } else { Err(TransferError::Malformed) }
}

/// Not a digit of base64.
const NO_DIGIT: u8 = 0xff;

/// The value of each base64 digit (RFC 4648 §4).
const DIGITS: [u8; 256] = {
    let mut digits = [NO_DIGIT; 256];
    let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut value = 0;
    while value < alphabet.len() {
        digits[alphabet[value] as usize] = value as u8;
        value += 1;
    }
    digits
};

fn digit(byte: u8) -> u8 {
    DIGITS.get(byte as usize).copied().unwrap_or(NO_DIGIT)
}

/// The decoded bytes, and whether nothing had to be guessed. Padding ends a group of digits; more
/// may follow, as when encoded pieces were joined.
fn base64(body: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::with_capacity(body.len() / 4 * 3 + 3);
    let mut is_clean = true;
    let mut rest = body;
    while !rest.is_empty() {
        rest = whole_groups(rest, &mut out);
        rest = odd_group(rest, &mut out, &mut is_clean);
    }
    (out, is_clean)
}

/// Decodes groups of four digits while nothing else is between.
fn whole_groups<'a>(body: &'a [u8], out: &mut Vec<u8>) -> &'a [u8] {
    let mut rest = body;
    while let [a, b, c, d, after @ ..] = rest {
        let (a, b, c, d) = (digit(*a), digit(*b), digit(*c), digit(*d));
        // Digits are below 64 and `NO_DIGIT` is not, so one test covers all four.
        if (a | b | c | d) >= 64 {
            break;
        }
        out.extend_from_slice(&[a << 2 | b >> 4, b << 4 | c >> 2, c << 6 | d]);
        rest = after;
    }
    rest
}

/// Decodes one group that has line ends, padding or junk in it, or is the last.
fn odd_group<'a>(body: &'a [u8], out: &mut Vec<u8>, is_clean: &mut bool) -> &'a [u8] {
    let mut rest = body;
    let (mut bits, mut count, mut padding) = (0_u32, 0_u32, 0_u32);
    while let Some((&byte, after)) = rest.split_first() {
        let value = digit(byte);
        if value != NO_DIGIT {
            if padding > 0 {
                break;
            }
            bits = bits << 6 | u32::from(value);
            count += 1;
        } else if byte == b'=' {
            padding += 1;
        } else if !byte.is_ascii_whitespace() {
            *is_clean = false;
        }
        rest = after;
        if count == 4 && padding == 0 {
            break;
        }
        if padding > 0 && count + padding == 4 {
            break;
        }
    }
    *is_clean &= matches!((count, padding), (4 | 0, 0) | (3, 1) | (2, 2));
    let bytes = (bits << (6 * (4 - count))).to_be_bytes();
    let length = (count * 6 / 8) as usize;
    out.extend(bytes.iter().skip(1).take(length));
    rest
}

/// The decoded bytes, and whether nothing had to be guessed.
fn quoted_printable(body: &[u8]) -> (Vec<u8>, bool) {
    let mut out = Vec::with_capacity(body.len());
    let mut is_clean = true;
    for line in body.split_inclusive(|&byte| byte == b'\n') {
        let content = without_line_end(line);
        let line_end = line.get(content.len()..).unwrap_or_default();
        // RFC 2045 §6.7 rule 3: white space at the end of a line was added on the way.
        let content = content.trim_ascii_end();
        // RFC 2045 §6.7 rule 5: `=` at the end of a line says that the line goes on.
        if let Some((b'=', content)) = content.split_last() {
            is_clean &= quoted_line(content, &mut out);
        } else {
            is_clean &= quoted_line(content, &mut out);
            out.extend_from_slice(line_end);
        }
    }
    (out, is_clean)
}

/// Decodes a line without its end. A `=` that begins no hexadecimal pair stays.
fn quoted_line(line: &[u8], out: &mut Vec<u8>) -> bool {
    let mut rest = line;
    let mut is_clean = true;
    while let Some(at) = memchr::memchr(b'=', rest) {
        let (plain, encoded) = rest.split_at_checked(at).unwrap_or((rest, b""));
        out.extend_from_slice(plain);
        rest = if let [_, high, low, after @ ..] = encoded
            && let (Some(high), Some(low)) = (hex(*high), hex(*low))
        {
            out.push(high << 4 | low);
            after
        } else {
            is_clean = false;
            out.push(b'=');
            encoded.get(1..).unwrap_or_default()
        };
    }
    out.extend_from_slice(rest);
    is_clean
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_decoded_as_far_as_it_goes() {
        for (body, decoded, is_clean) in [
            ("", "", true),
            ("aGVsbG8=", "hello", true),
            ("aGVs\r\nbG8=\r\n", "hello", true),
            ("aG\r\nVsbG8gd29ybGQh\r\n", "hello world!", true),
            ("aGVsbA==", "hell", true),
            ("aGVsbA==aGVsbG8=", "hellhello", true),
            ("aGVsbG8", "hello", false),
            ("aGVsbG8==", "hello", false),
            ("aGVs*bG8=", "hello", false),
            ("aGVsb", "hel", false),
            ("a", "", false),
            ("====", "", false),
            ("A=\r\nBCD", "\u{4}", false),
        ] {
            let strict = if is_clean { Ok(decoded.into()) } else { Err(TransferError::Malformed) };
            assert_eq!(decode_transfer_strictly(Encoding::Base64, body.as_bytes()), strict, "{body}");
            if !body.contains("A=\r") {
                let tolerant = decode_transfer(Encoding::Base64, body.as_bytes());
                assert_eq!(String::from_utf8_lossy(&tolerant), decoded, "{body}");
            }
        }
    }

    #[test]
    fn base64_agrees_with_another_decoder_at_every_line_length() {
        use ::base64::{Engine, engine::general_purpose::STANDARD};
        let mut random = base::Random::new(7);
        for length in 0..200 {
            let bytes: Vec<u8> = (0..length).map(|_| random.next_u64() as u8).collect();
            let line_length = 1 + random.below(80) as usize;
            let encoded = STANDARD.encode(&bytes);
            let body: Vec<u8> =
                encoded.as_bytes().chunks(line_length).flat_map(|line| [line, b"\r\n"].concat()).collect();
            assert_eq!(decode_transfer_strictly(Encoding::Base64, &body), Ok(bytes));
        }
    }

    #[test]
    fn quoted_printable_is_decoded_as_far_as_it_goes() {
        for (body, decoded, is_clean) in [
            ("", "", true),
            ("caf=C3=A9 =3d\r\n", "café =\r\n", true),
            ("one=\r\ntwo= \t\r\nthree=", "onetwothree", true),
            ("trailing \t\r\nx\n", "trailing\r\nx\n", true),
            ("a=zz b=4", "a=zz b=4", false),
            ("==41", "=A", false),
        ] {
            let strict = if is_clean { Ok(decoded.into()) } else { Err(TransferError::Malformed) };
            assert_eq!(
                decode_transfer_strictly(Encoding::QuotedPrintable, body.as_bytes()),
                strict,
                "{body}"
            );
            let tolerant = decode_transfer(Encoding::QuotedPrintable, body.as_bytes());
            assert_eq!(String::from_utf8_lossy(&tolerant), decoded, "{body}");
        }
    }

    #[test]
    fn unknown_encodings_are_said() {
        assert_eq!(Encoding::named("x-uuencode"), Encoding::Other);
        assert_eq!(Encoding::named("BASE64"), Encoding::Base64);
        assert_eq!(decode_transfer_strictly(Encoding::Other, b"x"), Err(TransferError::UnknownEncoding));
        assert_eq!(decode_transfer(Encoding::Other, b"x"), b"x");
        assert_eq!(decode_transfer_strictly(Encoding::SevenBit, b"x\0"), Ok(b"x\0".to_vec()));
    }
}
