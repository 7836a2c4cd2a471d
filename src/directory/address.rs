//! E-mail addresses as values: parsed once, spelled one way (RFC 5321 §4.1.2, RFC 6531 §3.3).

use std::fmt;

use idna::uts46::{AsciiDenyList, DnsLength, Hyphens, Uts46};
use unicode_normalization::UnicodeNormalization;

use crate::limits::{ADDRESS_BYTES_MAX, DOMAIN_BYTES_MAX, LOCAL_BYTES_MAX};

/// What separates a user from a detail (RFC 5233 §2.1).
const DETAIL_SEPARATOR: char = '+';

/// A mailbox address. The local part is kept without quotes and in the case it was written in; the
/// domain is lower case and in its A-label form (RFC 5890 §2.3.2.1), or an address literal in
/// brackets. Two spellings of one address have the same [`EmailAddress::key`].
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EmailAddress {
    local: String,
    domain: String,
}

/// Why a text is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressError {
    /// There is no `@`, or nothing on one side of it.
    Incomplete,
    /// The local part is neither a dot-atom nor a quoted string.
    LocalPart,
    /// The domain is no host name, or IDNA does not know how to write it.
    Domain,
    /// Longer than RFC 5321 §4.5.3.1 lets it be.
    TooLong,
}

impl EmailAddress {
    /// Reads `local@domain`. The local part is a dot-atom or a quoted string, in ASCII or UTF-8;
    /// the domain is a name in A-labels or U-labels, or an address literal.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        // The last `@` separates: a quoted local part may hold others.
        let (local, domain) = text.rsplit_once('@').ok_or(AddressError::Incomplete)?;
        if local.is_empty() || domain.is_empty() {
            return Err(AddressError::Incomplete);
        }
        let local = parse_local(local)?;
        let domain = parse_domain(domain)?;
        let address = Self { local, domain };
        let spelled = address.quoted_local().len() + 1 + address.domain.len();
        // Folding can lengthen a text, and the folded form is a key of bounded length as well.
        if address.local.len() > LOCAL_BYTES_MAX || spelled.max(address.key().len()) > ADDRESS_BYTES_MAX {
            return Err(AddressError::TooLong);
        }
        Ok(address)
    }

    /// The local part, without quotes.
    pub fn local(&self) -> &str {
        &self.local
    }

    /// The domain: lower case, A-labels.
    pub fn domain(&self) -> &str {
        &self.domain
    }

    /// The form to look an address up by: the local part in Unicode's NFC and without case. We own
    /// the mailboxes, so we may say that case does not matter (RFC 5321 §2.4).
    pub fn key(&self) -> String {
        let mut key = self.folded_local();
        key.push('@');
        key.push_str(&self.domain);
        key
    }

    pub(crate) fn folded_local(&self) -> String {
        fold(&self.local)
    }

    /// The detail of `user+detail@domain` (RFC 5233 §4).
    pub fn detail(&self) -> Option<&str> {
        self.split_detail().map(|(_, detail)| detail)
    }

    /// The address without its detail; `None` when it has none.
    pub fn without_detail(&self) -> Option<Self> {
        let (user, _) = self.split_detail()?;
        Some(Self { local: user.to_owned(), domain: self.domain.clone() })
    }

    fn split_detail(&self) -> Option<(&str, &str)> {
        self.local.split_once(DETAIL_SEPARATOR).filter(|(user, _)| !user.is_empty())
    }

    /// The local part as it goes on the wire: quoted where a dot-atom cannot hold it.
    fn quoted_local(&self) -> String {
        if is_dot_atom(&self.local) {
            return self.local.clone();
        }
        let mut quoted = String::with_capacity(self.local.len() + 2);
        quoted.push('"');
        for c in self.local.chars() {
            if matches!(c, '"' | '\\') {
                quoted.push('\\');
            }
            quoted.push(c);
        }
        quoted.push('"');
        quoted
    }
}

/// The address as it is written in an envelope, without brackets.
impl fmt::Display for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.quoted_local(), self.domain)
    }
}

impl fmt::Debug for EmailAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{self}>")
    }
}

impl fmt::Display for AddressError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Incomplete => "an address is written name@domain",
            Self::LocalPart => "the part before the @ has a character that needs quotes, or a broken quote",
            Self::Domain => "the part after the @ is not a domain name",
            Self::TooLong => "the address is longer than 254 bytes, or its first part than 64",
        })
    }
}

/// A domain name in the form it is kept in: lower case, A-labels.
pub(crate) fn parse_domain_name(domain: &str) -> Result<String, AddressError> {
    let ascii = Uts46::new()
        .to_ascii(domain.as_bytes(), AsciiDenyList::STD3, Hyphens::CheckFirstLast, DnsLength::Verify)
        .map_err(|_| AddressError::Domain)?;
    if ascii.len() > DOMAIN_BYTES_MAX {
        return Err(AddressError::TooLong);
    }
    Ok(ascii.into_owned())
}

fn parse_domain(domain: &str) -> Result<String, AddressError> {
    let Some(literal) = domain.strip_prefix('[') else { return parse_domain_name(domain) };
    // address-literal = "[" ( IPv4 / "IPv6:" IPv6 / General ) "]" (RFC 5321 §4.1.3): kept as it is.
    let literal = literal.strip_suffix(']').ok_or(AddressError::Domain)?;
    let is_dtext = |c: char| matches!(c, '!'..='Z' | '^'..='~');
    if literal.is_empty() || !literal.chars().all(is_dtext) {
        return Err(AddressError::Domain);
    }
    Ok(domain.to_ascii_lowercase())
}

/// Local-part = Dot-string / Quoted-string (RFC 5321 §4.1.2), both with UTF-8 (RFC 6531 §3.3).
fn parse_local(local: &str) -> Result<String, AddressError> {
    if let Some(quoted) = local.strip_prefix('"') {
        return unquote(quoted);
    }
    if !is_dot_atom(local) {
        return Err(AddressError::LocalPart);
    }
    Ok(local.to_owned())
}

fn unquote(rest: &str) -> Result<String, AddressError> {
    let body = rest.strip_suffix('"').ok_or(AddressError::LocalPart)?;
    let mut text = String::with_capacity(body.len());
    let mut chars = body.chars();
    while let Some(c) = chars.next() {
        let c = match c {
            '"' => return Err(AddressError::LocalPart),
            '\\' => chars.next().ok_or(AddressError::LocalPart)?,
            plain => plain,
        };
        if c.is_control() {
            return Err(AddressError::LocalPart);
        }
        text.push(c);
    }
    // `""@domain` is grammar, but nobody's mailbox.
    if text.is_empty() { Err(AddressError::LocalPart) } else { Ok(text) }
}

fn is_dot_atom(text: &str) -> bool {
    text.split('.').all(|atom| !atom.is_empty() && atom.chars().all(is_atext))
}

/// atext (RFC 5322 §3.2.3), and all that is beyond ASCII but controls (RFC 6531 §3.3).
fn is_atext(c: char) -> bool {
    if c.is_ascii() {
        return c.is_ascii_alphanumeric() || "!#$%&'*+-/=?^_`{|}~".contains(c);
    }
    !c.is_control() && !c.is_whitespace()
}

fn fold(text: &str) -> String {
    if text.is_ascii() {
        return text.to_ascii_lowercase();
    }
    text.nfc().flat_map(char::to_lowercase).nfc().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<String, AddressError> {
        EmailAddress::parse(text).map(|a| a.to_string())
    }

    #[test]
    fn an_address_has_one_spelling() {
        for (text, spelled) in [
            ("Bob@Example.ORG", "Bob@example.org"),
            ("\"bob\"@example.org", "bob@example.org"),
            ("\"a b\\\"@\\\\\"@example.org", "\"a b\\\"@\\\\\"@example.org"),
            ("\"a..b\"@example.org", "\"a..b\"@example.org"),
            ("jörg@bücher.example", "jörg@xn--bcher-kva.example"),
            ("j@XN--bcher-KVA.example", "j@xn--bcher-kva.example"),
            ("root@[IPv6:2001:DB8::1]", "root@[ipv6:2001:db8::1]"),
            ("o'neil+x=y/z@a-b.example", "o'neil+x=y/z@a-b.example"),
        ] {
            assert_eq!(parse(text), Ok(spelled.to_owned()), "{text}");
            assert_eq!(parse(spelled), Ok(spelled.to_owned()), "{spelled} does not read back");
        }
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for (text, error) in [
            ("bob", AddressError::Incomplete),
            ("@example.org", AddressError::Incomplete),
            ("bob@", AddressError::Incomplete),
            (".bob@example.org", AddressError::LocalPart),
            ("b..ob@example.org", AddressError::LocalPart),
            ("b ob@example.org", AddressError::LocalPart),
            ("\"bob@example.org", AddressError::LocalPart),
            ("\"\"@example.org", AddressError::LocalPart),
            ("\"a\\\"@example.org", AddressError::LocalPart),
            ("\"a\r\n\"@example.org", AddressError::LocalPart),
            ("a@b@example.org", AddressError::LocalPart),
            ("bob@exa mple.org", AddressError::Domain),
            ("bob@example..org", AddressError::Domain),
            ("bob@-example.org", AddressError::Domain),
            ("bob@example.org.", AddressError::Domain),
            ("bob@under_score.org", AddressError::Domain),
            ("bob@[1.2.3.4", AddressError::Domain),
            ("bob@[]", AddressError::Domain),
        ] {
            assert_eq!(parse(text), Err(error), "{text}");
        }
        let long = |local: usize| format!("{}@example.org", "a".repeat(local));
        assert!(parse(&long(64)).is_ok());
        assert_eq!(parse(&long(65)), Err(AddressError::TooLong));
        let label = "d".repeat(63);
        let domain = format!("{label}.{label}.{label}.{}", "d".repeat(52));
        assert!(parse(&format!("{}@{domain}", "a".repeat(9))).is_ok());
        assert_eq!(parse(&format!("{}@{domain}", "a".repeat(10))), Err(AddressError::TooLong));
    }

    #[test]
    fn the_key_has_no_case_and_one_normal_form() {
        let key = |text| EmailAddress::parse(text).unwrap().key();
        assert_eq!(key("BoB@EXAMPLE.org"), "bob@example.org");
        assert_eq!(key("J\u{d6}RG@example.org"), key("jo\u{308}rg@example.org"));
        assert_eq!(key("\"BOB\"@example.org"), "bob@example.org");
    }

    #[test]
    fn a_detail_is_what_follows_the_first_plus() {
        let split = |text| {
            let address = EmailAddress::parse(text).unwrap();
            (address.without_detail().map(|a| a.to_string()), address.detail().map(str::to_owned))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(split("bob+a+b@example.org"), (some("bob@example.org"), some("a+b")));
        assert_eq!(split("bob+@example.org"), (some("bob@example.org"), some("")));
        assert_eq!(split("+bob@example.org"), (None, None));
        assert_eq!(split("bob@example.org"), (None, None));
    }
}
