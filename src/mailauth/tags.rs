//! Lists of tags, `a=b; c=d` (RFC 6376 §3.2), as DKIM, ARC and DMARC write them.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::limits::{TAG_LIST_BYTES_MAX, TAGS_MAX};

/// Padding may be missing: keys are copied by hand.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The tags of a list in their order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Tags<'a> {
    list: Vec<(&'a [u8], &'a [u8])>,
}

impl<'a> Tags<'a> {
    /// `tag-list = tag-spec *( ";" tag-spec ) [ ";" ]`; a name stands once.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        if text.len() > TAG_LIST_BYTES_MAX {
            return None;
        }
        let mut list: Vec<(&[u8], &[u8])> = Vec::new();
        let text = text.trim_ascii();
        for spec in text.strip_suffix(b";").unwrap_or(text).split(|byte| *byte == b';') {
            let equals = spec.iter().position(|byte| *byte == b'=')?;
            let (name, value) = spec.split_at(equals);
            let name = name.trim_ascii();
            let is_name = name.first().is_some_and(u8::is_ascii_alphabetic)
                && name.iter().all(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
            if !is_name || list.len() == TAGS_MAX || list.iter().any(|(known, _)| *known == name) {
                return None;
            }
            list.push((name, value.get(1..)?.trim_ascii()));
        }
        Some(Self { list })
    }

    /// A tag's value, blanks around it removed.
    pub(crate) fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.list.iter().find(|(known, _)| *known == name.as_bytes()).map(|(_, value)| *value)
    }

    /// The name of the first tag.
    pub(crate) fn first(&self) -> Option<&'a [u8]> {
        self.list.first().map(|(name, _)| *name)
    }
}

/// The value as text without any blanks and folds in it.
pub(crate) fn without_blanks(value: &[u8]) -> Vec<u8> {
    value.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect()
}

/// A Base64 value with blanks anywhere (RFC 6376 §3.5, `b=`).
pub(crate) fn base64(value: &[u8]) -> Option<Vec<u8>> {
    BASE64.decode(without_blanks(value)).ok()
}

/// Base64 in one piece.
pub(crate) fn to_base64(bytes: &[u8]) -> String {
    BASE64.encode(bytes)
}

/// A number of 1 to 19 digits.
pub(crate) fn number(value: &[u8]) -> Option<i64> {
    let is_digits = (1..=19).contains(&value.len()) && value.iter().all(u8::is_ascii_digit);
    if !is_digits {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// The parts of a list with colons, blanks around each removed.
pub(crate) fn colon_list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b':').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_and_broken_ones_refused() {
        let tags = Tags::parse(b" v=1; a = x y ;\r\n b=; ").unwrap();
        assert_eq!(tags.get("a"), Some(&b"x y"[..]));
        assert_eq!(tags.get("b"), Some(&b""[..]));
        assert_eq!(tags.first(), Some(&b"v"[..]));
        for text in ["v=1; v=2", "v=1; x", "=1", "v=1;; a=2", "1a=2", ""] {
            assert_eq!(Tags::parse(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn numbers_and_base64_have_bounds() {
        assert_eq!(number(b"12"), Some(12));
        assert_eq!(number(b"-1"), None);
        assert_eq!(number(b"99999999999999999999"), None);
        assert_eq!(base64(b"YWJ j\r\n"), Some(b"abc".to_vec()));
        assert_eq!(base64(b"Y=W"), None);
    }
}
