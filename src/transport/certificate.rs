//! The one field of a certificate that is compared with records: its public key.

/// The SubjectPublicKeyInfo of a certificate in DER (RFC 5280 §4.1), with its header. `None` when this is
/// no certificate.
///
/// Certificate ::= SEQUENCE { SEQUENCE { \[0\] version OPTIONAL, serialNumber, signature, issuer, validity,
/// subject, subjectPublicKeyInfo, .. }, .. }
pub fn public_key(certificate: &[u8]) -> Option<&[u8]> {
    const SEQUENCE: u8 = 0x30;
    const VERSION: u8 = 0xa0;
    const FIELDS_BEFORE: usize = 5;
    let (whole, after) = take(certificate)?;
    if whole.tag != SEQUENCE || !after.is_empty() {
        return None;
    }
    let (signed, _) = take(whole.content)?;
    if signed.tag != SEQUENCE {
        return None;
    }
    let mut rest = signed.content;
    let (first, after) = take(rest)?;
    if first.tag == VERSION {
        rest = after;
    }
    for _ in 0..FIELDS_BEFORE {
        rest = take(rest)?.1;
    }
    let (key, after) = take(rest)?;
    let length = rest.len() - after.len();
    (key.tag == SEQUENCE).then(|| rest.get(..length))?
}

struct Value<'a> {
    tag: u8,
    content: &'a [u8],
}

/// The first DER value, and what follows it.
fn take(der: &[u8]) -> Option<(Value<'_>, &[u8])> {
    let (tag, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(*first) {
        short @ 0..0x80 => (short, rest),
        long => {
            let (bytes, rest) = rest.split_at_checked(long & 0x7f)?;
            if bytes.is_empty() || bytes.len() > 4 {
                return None;
            }
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some((Value { tag: *tag, content }, rest))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A DER value.
    pub(crate) fn value(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).unwrap().to_be_bytes();
        [&[tag, 0x82], &length[..], content].concat()
    }

    /// What has the shape of a certificate around this key.
    pub(crate) fn shaped(key: &[u8], version: bool) -> Vec<u8> {
        let version = if version { value(0xa0, &[2, 1, 2]) } else { Vec::new() };
        let fields = [value(2, &[1]), value(0x30, &[]), value(0x30, &[]), value(0x30, &[]), value(0x30, &[])];
        let signed = [version, fields.concat(), value(0x30, key), value(0xa3, &[0; 300])].concat();
        value(0x30, &[value(0x30, &signed), value(0x30, &[]), value(3, &[0; 64])].concat())
    }

    #[test]
    fn the_key_is_found_behind_the_fields_before_it() {
        for version in [true, false] {
            let certificate = shaped(b"key", version);
            assert_eq!(public_key(&certificate), Some(&value(0x30, b"key")[..]));
            for end in 0..certificate.len() {
                assert_eq!(public_key(&certificate[..end]), None, "cut at {end}");
            }
        }
        assert_eq!(public_key(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
        assert_eq!(public_key(&[0x30, 0x80]), None);
    }
}
