//! The encodings of addresses and identifiers in DSN parameters and fields: `xtext` (RFC 3461 §4) and the
//! forms of `utf-8` addresses (RFC 6533 §3).

use std::fmt::Write;

/// Encodes as `xtext`: what is not printable ASCII, and `+` and `=`, become `+` and two hex digits.
pub fn encode_xtext(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'+' | b'=') {
            out.push(char::from(byte));
        } else {
            write!(out, "+{byte:02X}").expect("a String takes all");
        }
    }
    out
}

/// Decodes `xtext`; `None` when it is none, or when what it holds is no UTF-8.
pub fn decode_xtext(text: &str) -> Option<String> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        match byte {
            b'+' => {
                let (high, low) = (upper_hex(bytes.next()?)?, upper_hex(bytes.next()?)?);
                decoded.push(high << 4 | low);
            }
            b'=' => return None,
            byte if byte.is_ascii_graphic() => decoded.push(byte),
            _ => return None,
        }
    }
    String::from_utf8(decoded).ok()
}

/// Writes an address so that it is ASCII: `utf-8-addr-xtext` of RFC 6533 §3, in which a character beyond
/// ASCII, and `\`, `+`, `=`, space and controls, stand as `\x{HEX}`.
pub(crate) fn encode_utf8_address(address: &str) -> String {
    let mut out = String::with_capacity(address.len());
    for character in address.chars() {
        if character.is_ascii_graphic() && !matches!(character, '\\' | '+' | '=') {
            out.push(character);
        } else {
            write!(out, "\\x{{{:X}}}", u32::from(character)).expect("a String takes all");
        }
    }
    out
}

/// Reads an address of type `utf-8` in any of the three forms of RFC 6533 §3. What does not belong to an
/// escape stays as it is.
pub(crate) fn decode_utf8_address(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x{") {
        out.push_str(before);
        let escape = after.split_once('}').filter(|(hex, _)| (1..=6).contains(&hex.len()));
        let character =
            escape.and_then(|(hex, _)| u32::from_str_radix(hex, 16).ok()).and_then(char::from_u32);
        rest = if let (Some(character), Some((_, after))) = (character, escape) {
            out.push(character);
            after
        } else {
            out.push_str("\\x{");
            after
        };
    }
    out.push_str(rest);
    out
}

/// Splits an ORCPT parameter or a recipient field into its address type and its address, decoded where the
/// type says how. `None` without a type.
///
/// `generic-address = addr-type ";" address` (RFC 3464 §2.1.2).
pub(crate) fn split_address(text: &str, is_parameter: bool) -> Option<(&str, String)> {
    let (kind, address) = text.split_once(';')?;
    let (kind, address) = (kind.trim(), address.trim());
    let decoded = if kind.eq_ignore_ascii_case("utf-8") {
        decode_utf8_address(address)
    } else if is_parameter {
        decode_xtext(address)?
    } else {
        address.to_owned()
    };
    Some((kind, decoded))
}

/// Only upper case is `xtext` (RFC 3461 §4 `hexchar`).
fn upper_hex(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'A'..=b'F' => Some(byte - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn xtext_goes_there_and_back() {
        assert_eq!(encode_xtext("a+b = c"), "a+2Bb+20+3D+20c");
        let mut random = base::Random::new(1);
        for _ in 0..2000 {
            let text: String = (0..random.below(20))
                .filter_map(|_| {
                    let end = [0x80, 0x3000, 0x11_0000][random.below(3) as usize];
                    char::from_u32(random.below(end) as u32)
                })
                .collect();
            let encoded = encode_xtext(&text);
            assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'='));
            assert_eq!(decode_xtext(&encoded).as_deref(), Some(&*text));
            let encoded = encode_utf8_address(&text);
            assert!(encoded.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'=' | b'+')));
            assert_eq!(decode_utf8_address(&encoded), text);
        }
        for bad in ["+", "+4", "+4g", "+4a", "=", " ", "é", "+FF"] {
            assert_eq!(decode_xtext(bad), None, "{bad}");
        }
    }

    #[test]
    fn addresses_have_a_type() {
        assert_eq!(split_address("rfc822;Bob+2B@a", true), Some(("rfc822", "Bob+@a".into())));
        assert_eq!(split_address("rfc822; Bob+2B@a", false), Some(("rfc822", "Bob+2B@a".into())));
        assert_eq!(split_address("UTF-8;\\x{E9}@a", true), Some(("UTF-8", "é@a".into())));
        assert_eq!(
            split_address("utf-8;\\x{zz}\\x{}\\x{D800}@a", true).unwrap().1,
            "\\x{zz}\\x{}\\x{D800}@a"
        );
        assert_eq!(split_address("bob@a", false), None);
        assert_eq!(split_address("rfc822;a=b", true), None);
    }
}
