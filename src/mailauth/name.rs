//! Domain names as text.

use crate::limits::{LABEL_BYTES_MAX, NAME_BYTES_MAX};

/// The name in lower case, with A-labels (RFC 5890 §2.3.2.1), without a last dot. Nothing when it cannot be a
/// domain name: an empty or long label, too long altogether, or bytes that no name has.
pub fn normal(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let ascii = if name.is_ascii() { name.to_ascii_lowercase() } else { idna::domain_to_ascii(name).ok()? };
    (is_name(&ascii) && !ascii.contains(' ')).then_some(ascii)
}

/// The same from bytes of a message, which may be UTF-8 (RFC 6532).
pub fn normal_bytes(name: &[u8]) -> Option<String> {
    normal(std::str::from_utf8(name).ok()?)
}

/// Whether the name system could hold it, as what macros make of names: printable bytes and spaces, in labels
/// of 1 to 63.
pub fn is_name(name: &str) -> bool {
    name.len() <= NAME_BYTES_MAX
        && name.bytes().all(|byte| matches!(byte, b' '..=b'~'))
        && name.split('.').all(|label| (1..=LABEL_BYTES_MAX).contains(&label.len()))
}

/// Letters, digits, hyphens, underscores: what the `d=` and `s=` of a signature may hold (RFC 6376 §3.5).
pub fn is_host_like(name: &str) -> bool {
    is_name(name)
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
}

/// `name` itself or something below it. Both as [`normal`] gives them.
pub fn is_within(name: &str, domain: &str) -> bool {
    name.strip_suffix(domain).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
}

/// How many labels.
pub fn labels(name: &str) -> usize {
    name.split('.').count()
}

/// The last `count` labels.
pub fn last_labels(name: &str, count: usize) -> &str {
    let skip = labels(name).saturating_sub(count);
    let mut rest = name;
    for _ in 0..skip {
        rest = rest.split_once('.').map_or("", |(_, rest)| rest);
    }
    rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_made_comparable() {
        assert_eq!(normal("Example.COM.").as_deref(), Some("example.com"));
        assert_eq!(normal("bücher.example").as_deref(), Some("xn--bcher-kva.example"));
        assert_eq!(normal("a..example"), None);
        assert_eq!(normal(&format!("{}.example", "a".repeat(64))), None);
        assert_eq!(normal("a b.example"), None);
        assert_eq!(normal(""), None);
    }

    #[test]
    fn below_is_told_from_ends_with() {
        assert!(is_within("a.example.com", "example.com"));
        assert!(is_within("example.com", "example.com"));
        assert!(!is_within("badexample.com", "example.com"));
        assert_eq!(last_labels("a.b.c.d", 2), "c.d");
        assert_eq!(last_labels("a.b", 7), "a.b");
    }
}
