//! Signature fields as values: `DKIM-Signature`, and ARC's two, which look much the same.

use crate::canon::Form;
use crate::key::Algorithm;
use crate::limits::{CLOCK_SKEW_S, DKIM_SIGNED_FIELDS_MAX, SIGNED_HEADER_BYTES_MAX};
use crate::message::{Field, Message};
use crate::name;
use crate::tags::{Tags, base64, colon_list, number, without_blanks};
use crate::trouble::Trouble;

/// Which field it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `DKIM-Signature`
    Dkim,
    /// `ARC-Message-Signature` (RFC 8617 §4.1.2): no `v=`, and `i=` counts.
    Arc,
}

/// What a signature signs and where its key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signature {
    pub(crate) algorithm: Algorithm,
    /// `b=`
    pub(crate) proof: Vec<u8>,
    pub(crate) domain: String,
    pub(crate) selector: String,
    pub(crate) identity: String,
    /// ARC's instance; 0 for DKIM.
    pub(crate) instance: u32,
    pub(crate) signed_at_s: Option<i64>,
    pub(crate) expires_at_s: Option<i64>,
    pub(crate) signed: Signed,
}

/// What is under the signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Signed {
    pub(crate) header_form: Form,
    pub(crate) body_form: Form,
    pub(crate) body_hash: Vec<u8>,
    pub(crate) body_length: Option<u64>,
    pub(crate) fields: Vec<Vec<u8>>,
}

impl Signature {
    /// Reads a field's value (RFC 6376 §3.5, §6.1.1).
    pub(crate) fn parse(value: &[u8], kind: Kind) -> Result<Self, Trouble> {
        let tags = Tags::parse(value).ok_or(Trouble::SignatureSyntax)?;
        if kind == Kind::Dkim && tags.get("v").ok_or(Trouble::SignatureSyntax)? != b"1" {
            return Err(Trouble::Version);
        }
        let required = |name| tags.get(name).ok_or(Trouble::SignatureSyntax);
        let algorithm = Algorithm::parse(required("a")?)?;
        let (domain, selector) = domain_and_selector(&tags)?;
        let (identity, instance) = match kind {
            Kind::Dkim => (identity(tags.get("i"), &domain)?, 0),
            Kind::Arc => (String::new(), instance(required("i")?)?),
        };
        if let Some(methods) = tags.get("q")
            && !colon_list(methods).any(|method| method == b"dns/txt")
        {
            return Err(Trouble::SignatureSyntax);
        }
        Ok(Self {
            algorithm,
            proof: required_base64(&tags, "b")?,
            domain,
            selector,
            identity,
            instance,
            signed_at_s: optional_number(&tags, "t")?,
            expires_at_s: optional_number(&tags, "x")?,
            signed: Signed::parse(&tags)?,
        })
    }

    /// Whether now is within `t=` and `x=`.
    pub(crate) fn check_time(&self, now_s: i64) -> Result<(), Trouble> {
        if let (Some(signed_at_s), Some(expires_at_s)) = (self.signed_at_s, self.expires_at_s)
            && expires_at_s <= signed_at_s
        {
            return Err(Trouble::SignatureSyntax);
        }
        if self.expires_at_s.is_some_and(|expires_at_s| expires_at_s < now_s) {
            return Err(Trouble::Expired);
        }
        if self.signed_at_s.is_some_and(|signed_at_s| signed_at_s > now_s.saturating_add(CLOCK_SKEW_S)) {
            return Err(Trouble::InTheFuture);
        }
        Ok(())
    }
}

impl Signed {
    fn parse(tags: &Tags<'_>) -> Result<Self, Trouble> {
        let (header_form, body_form) = Form::pair(tags.get("c")).ok_or(Trouble::SignatureSyntax)?;
        let names = tags.get("h").ok_or(Trouble::SignatureSyntax)?;
        let fields: Vec<Vec<u8>> = colon_list(names).map(<[u8]>::to_ascii_lowercase).collect();
        let is_list = fields.len() <= DKIM_SIGNED_FIELDS_MAX && fields.iter().all(|name| is_field_name(name));
        if !is_list {
            return Err(Trouble::SignatureSyntax);
        }
        if !fields.iter().any(|name| name == b"from") {
            return Err(Trouble::FromNotSigned);
        }
        let body_length = optional_number(tags, "l")?.map(i64::unsigned_abs);
        let body_hash = required_base64(tags, "bh")?;
        Ok(Self { header_form, body_form, body_hash, body_length, fields })
    }

    /// The bytes under the signature in `own`: the named fields, then that field itself (RFC 6376 §3.7).
    pub(crate) fn data(&self, message: &Message<'_>, own: &Field<'_>) -> Result<Vec<u8>, Trouble> {
        let mut data = Vec::with_capacity(2048);
        for field in message.signed(self.fields.iter().map(Vec::as_slice)) {
            self.header_form.header(&field, &mut data);
            if data.len() > SIGNED_HEADER_BYTES_MAX {
                return Err(Trouble::TooLarge);
            }
        }
        self.header_form.own_header(own, &mut data);
        Ok(data)
    }
}

/// `d=` and `s=` in lower case.
pub(crate) fn domain_and_selector(tags: &Tags<'_>) -> Result<(String, String), Trouble> {
    let named = |tag| {
        let value = tags.get(tag).ok_or(Trouble::SignatureSyntax)?;
        name::normal_bytes(value).filter(|name| name::is_host_like(name)).ok_or(Trouble::Domain)
    };
    let (domain, selector) = (named("d")?, named("s")?);
    // A single label signs for a whole top-level domain.
    if !domain.contains('.') {
        return Err(Trouble::Domain);
    }
    Ok((domain, selector))
}

/// `i=` must be at the domain or below it (RFC 6376 §3.5).
fn identity(value: Option<&[u8]>, domain: &str) -> Result<String, Trouble> {
    let Some(value) = value else { return Ok(format!("@{domain}")) };
    let text = without_blanks(value);
    let text = std::str::from_utf8(&text).map_err(|_| Trouble::Domain)?;
    let (_, host) = text.rsplit_once('@').ok_or(Trouble::Domain)?;
    let host = name::normal(host).ok_or(Trouble::Domain)?;
    if name::is_within(&host, domain) { Ok(text.to_owned()) } else { Err(Trouble::Domain) }
}

/// ARC's `i=`, from 1 up.
pub(crate) fn instance(value: &[u8]) -> Result<u32, Trouble> {
    let number = number(value).and_then(|number| u32::try_from(number).ok());
    number.filter(|number| *number >= 1).ok_or(Trouble::SignatureSyntax)
}

pub(crate) fn required_base64(tags: &Tags<'_>, name: &str) -> Result<Vec<u8>, Trouble> {
    let value = tags.get(name).and_then(base64).filter(|value| !value.is_empty());
    value.ok_or(Trouble::SignatureSyntax)
}

pub(crate) fn optional_number(tags: &Tags<'_>, name: &str) -> Result<Option<i64>, Trouble> {
    match tags.get(name) {
        Some(value) => number(value).map(Some).ok_or(Trouble::SignatureSyntax),
        None => Ok(None),
    }
}

fn is_field_name(name: &[u8]) -> bool {
    !name.is_empty() && name.iter().all(|byte| byte.is_ascii_graphic() && *byte != b':')
}

/// Base64 in lines that a header field may have, after `prefix` bytes on the first.
pub(crate) fn fold_base64(text: &str, prefix: usize, out: &mut String) {
    const LINE_BYTES: usize = 74;
    let mut left = LINE_BYTES.saturating_sub(prefix);
    for c in text.chars() {
        if left == 0 {
            out.push_str("\r\n ");
            left = LINE_BYTES;
        }
        out.push(c);
        left -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str =
        "v=1; a=rsa-sha256; d=Example.com; s=Sel; h=from:to; bh=YWJj; b=YWJj; i=u@a.example.com";

    #[test]
    fn a_signature_is_read() {
        let signature = Signature::parse(GOOD.as_bytes(), Kind::Dkim).unwrap();
        assert_eq!((signature.domain.as_str(), signature.selector.as_str()), ("example.com", "sel"));
        assert_eq!(signature.identity, "u@a.example.com");
        assert_eq!(signature.signed.fields, [b"from".to_vec(), b"to".to_vec()]);
    }

    #[test]
    fn what_is_wrong_is_said() {
        for (from, to, trouble) in [
            ("v=1", "v=2", Trouble::Version),
            ("v=1; ", "", Trouble::SignatureSyntax),
            ("rsa-sha256", "rsa-sha1", Trouble::WeakAlgorithm),
            ("rsa-sha256", "dsa-sha256", Trouble::UnknownAlgorithm),
            ("Example.com", "e(xample.com", Trouble::Domain),
            ("Example.com", "com", Trouble::Domain),
            ("u@a.example.com", "u@badexample.com", Trouble::Domain),
            ("h=from:to", "h=to", Trouble::FromNotSigned),
            ("h=from:to", "h=from:", Trouble::SignatureSyntax),
            ("bh=YWJj; ", "", Trouble::SignatureSyntax),
            ("b=YWJj; i", "b=; i", Trouble::SignatureSyntax),
            ("v=1", "v=1; x=a", Trouble::SignatureSyntax),
            ("v=1", "v=1; c=strict", Trouble::SignatureSyntax),
            ("v=1", "v=1; q=dns/other", Trouble::SignatureSyntax),
        ] {
            let text = GOOD.replacen(from, to, 1);
            assert_eq!(Signature::parse(text.as_bytes(), Kind::Dkim).err(), Some(trouble), "{text}");
        }
    }

    #[test]
    fn time_has_bounds() {
        let at = |tags: &str| {
            let signature = Signature::parse(format!("{GOOD}; {tags}").as_bytes(), Kind::Dkim).unwrap();
            signature.check_time(1_000_000)
        };
        assert_eq!(at("t=1000300"), Ok(()));
        assert_eq!(at("t=1000301"), Err(Trouble::InTheFuture));
        assert_eq!(at("t=5; x=1000000"), Ok(()));
        assert_eq!(at("t=5; x=999999"), Err(Trouble::Expired));
        assert_eq!(at("t=5; x=5"), Err(Trouble::SignatureSyntax));
    }
}
