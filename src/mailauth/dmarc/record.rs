//! Policy records (RFC 9989 §4.7, §4.8).

use crate::limits::{DMARC_REPORT_ADDRESSES_MAX, TAG_LIST_BYTES_MAX, TAGS_MAX};

/// What to do with a message that fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Policy {
    /// Nothing.
    None,
    /// Treat it as suspicious.
    Quarantine,
    /// Do not take it.
    Reject,
}

impl Policy {
    /// The word of `p=`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Quarantine => "quarantine",
            Self::Reject => "reject",
        }
    }

    pub(crate) fn parse(word: &str) -> Option<Self> {
        [Self::None, Self::Quarantine, Self::Reject]
            .into_iter()
            .find(|policy| policy.word().eq_ignore_ascii_case(word))
    }

    /// One step milder, which is what a test means (RFC 9989 §4.7, `t`).
    pub(super) const fn milder(self) -> Self {
        match self {
            Self::Reject => Self::Quarantine,
            Self::Quarantine | Self::None => Self::None,
        }
    }
}

/// The record is no list of tags.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// `psd=`: whether the domain is a public suffix.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) enum Suffix {
    Yes,
    No,
    #[default]
    Unknown,
}

/// Where reports go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ReportAddress {
    /// The address.
    pub address: String,
    /// The largest message that is taken there, in bytes (RFC 7489 §6.2; RFC 9990 has no such limit any more).
    pub bytes_max: Option<u64>,
}

/// A policy record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "the record's tags are switches")]
pub struct Record {
    /// `p=`, if it is there and one of the three.
    pub policy: Option<Policy>,
    /// `sp=`: for subdomains.
    pub subdomains: Option<Policy>,
    /// `np=`: for subdomains that do not exist.
    pub missing: Option<Policy>,
    /// `adkim=s`: DKIM's domain must be the author's exactly.
    pub is_dkim_strict: bool,
    /// `aspf=s`: SPF's domain must be the author's exactly.
    pub is_spf_strict: bool,
    /// `t=y`, or `pct=0` of RFC 7489, which it replaces.
    pub is_test: bool,
    /// `rua=`: addresses for aggregate reports.
    pub aggregate_to: Vec<ReportAddress>,
    /// `ruf=`: addresses for failure reports.
    pub failures_to: Vec<ReportAddress>,
    /// `fo=`, as it was given; `0` when it was not.
    pub failure_options: String,
    pub(super) suffix: Suffix,
    /// `sp=` or `np=` is there and not one of the three.
    pub(super) has_bad_policy: bool,
}

/// Whether a TXT record is a DMARC record: `v=DMARC1` comes first.
pub(super) fn is_dmarc(text: &[u8]) -> bool {
    let Some(rest) = text.trim_ascii_start().strip_prefix(b"v") else { return false };
    let Some(rest) = rest.trim_ascii_start().strip_prefix(b"=") else { return false };
    let Some(rest) = rest.trim_ascii_start().strip_prefix(b"DMARC1") else { return false };
    matches!(rest.trim_ascii_start().first(), None | Some(b';'))
}

impl Record {
    /// Reads a TXT record; nothing when it is not about DMARC.
    pub fn read(text: &[u8]) -> Option<Result<Self, Malformed>> {
        is_dmarc(text).then(|| Self::parse(text))
    }

    /// Reads a record for which [`is_dmarc`] holds. Unknown tags are ignored, the first of equals counts.
    pub(super) fn parse(text: &[u8]) -> Result<Self, Malformed> {
        let text = std::str::from_utf8(text)
            .ok()
            .filter(|text| text.len() <= TAG_LIST_BYTES_MAX)
            .ok_or(Malformed)?;
        let mut record = Self { failure_options: "0".to_owned(), ..Self::default() };
        let mut seen: Vec<String> = Vec::new();
        for spec in text.split(';').map(str::trim).filter(|spec| !spec.is_empty()) {
            let (name, value) = spec.split_once('=').ok_or(Malformed)?;
            let name = name.trim().to_ascii_lowercase();
            if seen.contains(&name) {
                continue;
            }
            record.set(&name, value.trim());
            seen.push(name);
            if seen.len() > TAGS_MAX {
                return Err(Malformed);
            }
        }
        Ok(record)
    }

    fn set(&mut self, name: &str, value: &str) {
        match name {
            "p" => self.policy = Policy::parse(value),
            "sp" => {
                self.subdomains = Policy::parse(value);
                self.has_bad_policy |= self.subdomains.is_none();
            }
            "np" => {
                self.missing = Policy::parse(value);
                self.has_bad_policy |= self.missing.is_none();
            }
            "adkim" => self.is_dkim_strict = value.eq_ignore_ascii_case("s"),
            "aspf" => self.is_spf_strict = value.eq_ignore_ascii_case("s"),
            "t" => self.is_test |= value.eq_ignore_ascii_case("y"),
            // RFC 9989 has no sampling any more; its `t=y` says what `pct=0` said.
            "pct" => self.is_test |= value == "0",
            "psd" => {
                self.suffix = match value.to_ascii_lowercase().as_str() {
                    "y" => Suffix::Yes,
                    "n" => Suffix::No,
                    _ => Suffix::Unknown,
                };
            }
            "rua" => self.aggregate_to = mail_addresses(value),
            "ruf" => self.failures_to = mail_addresses(value),
            "fo" => value.clone_into(&mut self.failure_options),
            _ => {}
        }
    }
}

/// The addresses of `mailto:` URIs with the limit behind `!`; other schemes are dropped.
fn mail_addresses(value: &str) -> Vec<ReportAddress> {
    let uris = value.split(',').map(str::trim);
    let addresses = uris.filter_map(|uri| {
        let (scheme, rest) = uri.split_once(':')?;
        let address = rest.split(['!', '?']).next()?;
        let (local, domain) = address.rsplit_once('@')?;
        let is_address = scheme.eq_ignore_ascii_case("mailto")
            && !local.is_empty()
            && crate::name::normal(domain).is_some()
            && address.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'<' | b'>'));
        let bytes_max = rest.split_once('!').and_then(|(_, size)| size_of(size));
        is_address.then(|| ReportAddress { address: address.to_owned(), bytes_max })
    });
    addresses.take(DMARC_REPORT_ADDRESSES_MAX).collect()
}

/// `1*DIGIT [ "k" / "m" / "g" / "t" ]`, in bytes; what cannot be read is no limit.
fn size_of(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match text.get(digits.len()..)?.to_ascii_lowercase().as_str() {
        "" => 0,
        "k" => 10,
        "m" => 20,
        "g" => 30,
        "t" => 40,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(1 << unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_told_from_other_text() {
        for (text, expected) in [
            ("v=DMARC1; p=none", true),
            ("v = DMARC1 ;p=none", true),
            ("v=DMARC1", true),
            ("v=DMARC12; p=none", false),
            ("v=dmarc1; p=none", false),
            ("p=none; v=DMARC1", false),
            ("v=spf1", false),
        ] {
            assert_eq!(is_dmarc(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn tags_are_read() {
        let text = b"v=DMARC1; p=Reject; sp=quarantine; np=junk; adkim=s; t=y; psd=n; x=1; \
            rua=mailto:a@b.example!10m, https://c.example, mailto:d@e.example; p=none;";
        let record = Record::parse(text).unwrap();
        assert_eq!(record.policy, Some(Policy::Reject));
        assert_eq!((record.subdomains, record.missing), (Some(Policy::Quarantine), None));
        assert!(record.has_bad_policy && record.is_dkim_strict && !record.is_spf_strict && record.is_test);
        let to = |address: &str, bytes_max| ReportAddress { address: address.to_owned(), bytes_max };
        assert_eq!(record.aggregate_to, [to("a@b.example", Some(10 << 20)), to("d@e.example", None)]);
        assert_eq!(
            (size_of("7"), size_of("2K"), size_of("x"), size_of("1mm")),
            (Some(7), Some(2048), None, None)
        );
        assert_eq!(Record::parse(b"v=DMARC1; p=none; reject"), Err(Malformed));
        assert!(Record::parse(b"v=DMARC1; p=none; pct=0").unwrap().is_test);
        assert!(!Record::parse(b"v=DMARC1; p=none; pct=50").unwrap().is_test);
    }
}
