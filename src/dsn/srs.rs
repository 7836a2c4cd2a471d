//! The sender rewriting scheme: forwarded mail leaves with a return path of ours that holds the true one, so that
//! SPF passes and bounces find their way back. A keyed hash keeps strangers from sending mail through it.
//!
//! ```text
//! ann@example.org forwarded by a.example   SRS0=HHHH=TT=example.org=ann@a.example
//! ... and that forwarded by b.example      SRS1=HHHH=a.example==HHHH=TT=example.org=ann@b.example
//! ```
//!
//! With HMAC-SHA1 the addresses are those of Mail::SRS, libsrs2 and PostSRSd, so servers that share a secret read
//! each other's.

use aws_lc_rs::{constant_time, hmac};
use base::{Secret, Timestamp};
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;

use crate::address::{is_dot_atom, split_mailbox};
use crate::limits::{ADDRESS_BYTES_MAX, LOCAL_PART_BYTES_MAX};

/// The hash behind the HMAC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SrsHash {
    /// What other implementations use.
    #[default]
    Sha1,
    /// For ourselves alone.
    Sha256,
}

/// How addresses are rewritten.
#[derive(Clone, Debug)]
pub struct SrsConfig {
    /// The domain of the addresses that are made.
    pub domain: String,
    /// The first signs, all of them verify: put a new one in front to rotate. At least one.
    pub secrets: Vec<Secret<Vec<u8>>>,
    /// The hash.
    pub hash: SrsHash,
    /// Signs of the hash that stand in an address, 4 to 27; fewer are not accepted.
    pub hash_chars: usize,
    /// The sign behind `SRS0` and `SRS1`: `=`, `+` or `-`. All are read.
    pub separator: char,
    /// How long a bounce may take, in days; under 1024, after which the date begins anew.
    pub age_days_max: u16,
    /// A longer local part is not made, in bytes. RFC 5321 §4.5.3.1.1 promises 64; most servers take up to 255.
    pub local_part_bytes_max: usize,
}

impl SrsConfig {
    /// The usual: HMAC-SHA1, 4 signs, `=`, 21 days, 64 bytes.
    pub fn new(domain: String, secrets: Vec<Secret<Vec<u8>>>) -> Self {
        Self {
            domain,
            secrets,
            hash: SrsHash::Sha1,
            hash_chars: HASH_CHARS_MIN,
            separator: '=',
            age_days_max: 21,
            local_part_bytes_max: LOCAL_PART_BYTES_MAX,
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SrsConfigError {
    /// No secret, or an empty one.
    Secret,
    /// The domain is none.
    Domain,
    /// `hash_chars` is out of its bounds.
    HashChars,
    /// The separator is another sign.
    Separator,
    /// `age_days_max` is 0 or as long as the date's cycle.
    Age,
}

/// Why an address cannot be rewritten, or not be read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SrsError {
    /// The sender is no address without quotes at a named domain.
    Sender,
    /// The result would be longer than allowed.
    TooLong,
    /// No address of this scheme in our domain: an ordinary recipient.
    NotSrs,
    /// It begins like one and lacks something.
    Malformed,
    /// The hash is wrong: forged, or made with a secret that is gone.
    Hash,
    /// Made too long ago, or dated in the future.
    Expired,
}

/// A rewriter with its keys.
#[derive(Debug)]
pub struct Srs {
    config: SrsConfig,
    keys: Vec<hmac::Key>,
}

const HASH_CHARS_MIN: usize = 4;

/// Base64 of SHA-1 without padding; SHA-256 has more and is cut all the same.
const HASH_CHARS_MAX: usize = 27;

/// The date's digits, in which case does not matter (RFC 4648 §6).
const BASE32: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

const DAY_S: i64 = 86_400;

/// Days until the two digits of the date begin anew.
const DAYS_CYCLE: i64 = 1024;

impl Srs {
    /// A rewriter, if the configuration makes sense.
    pub fn new(config: SrsConfig) -> Result<Self, SrsConfigError> {
        if config.secrets.is_empty() || config.secrets.iter().any(|secret| secret.reveal().is_empty()) {
            return Err(SrsConfigError::Secret);
        }
        if !is_host(&config.domain) {
            return Err(SrsConfigError::Domain);
        }
        if !(HASH_CHARS_MIN..=HASH_CHARS_MAX).contains(&config.hash_chars) {
            return Err(SrsConfigError::HashChars);
        }
        if !is_separator(config.separator) {
            return Err(SrsConfigError::Separator);
        }
        if !(1..DAYS_CYCLE).contains(&i64::from(config.age_days_max)) {
            return Err(SrsConfigError::Age);
        }
        let algorithm = match config.hash {
            SrsHash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            SrsHash::Sha256 => hmac::HMAC_SHA256,
        };
        let keys = config.secrets.iter().map(|secret| hmac::Key::new(algorithm, secret.reveal())).collect();
        Ok(Self { config, keys })
    }

    /// The return path for mail from `sender` that we forward. Mail of our own domain keeps its sender. The null
    /// sender is not for here: it stays null.
    pub fn forward(&self, sender: &str, now: Timestamp) -> Result<String, SrsError> {
        let (local, host) = split_mailbox(sender).ok_or(SrsError::Sender)?;
        if !is_dot_atom(local) || !is_host(host) {
            return Err(SrsError::Sender);
        }
        if host.eq_ignore_ascii_case(&self.config.domain) {
            return Ok(sender.to_owned());
        }
        let made = match tagged(local) {
            Some((Tag::First, rest)) => self.again(host, rest),
            // The hash of the forwarder before us is dropped: only its own server can verify it.
            Some((Tag::Again, rest)) => match rest.get(1..).map(|rest| rest.splitn(3, '=')) {
                Some(mut parts) => match (parts.next(), parts.next(), parts.next()) {
                    (Some(_), Some(first), Some(rest)) if is_host(first) => self.again(first, rest),
                    _ => self.first(local, host, now),
                },
                None => self.first(local, host, now),
            },
            None => self.first(local, host, now),
        };
        let is_too_long = made.len() > self.config.local_part_bytes_max
            || made.len() + 1 + self.config.domain.len() > ADDRESS_BYTES_MAX;
        if is_too_long { Err(SrsError::TooLong) } else { Ok(format!("{made}@{}", self.config.domain)) }
    }

    /// The address that a bounce to `address` goes on to: the sender, or the first forwarder's address of him.
    pub fn reverse(&self, address: &str, now: Timestamp) -> Result<String, SrsError> {
        let (local, domain) = split_mailbox(address).ok_or(SrsError::NotSrs)?;
        if !domain.eq_ignore_ascii_case(&self.config.domain) {
            return Err(SrsError::NotSrs);
        }
        let (tag, rest) = tagged(local).ok_or(SrsError::NotSrs)?;
        let rest = rest.get(1..).unwrap_or_default();
        let found = match tag {
            Tag::First => {
                let [hash, date, host, user] = fields(rest).ok_or(SrsError::Malformed)?;
                self.verify(hash, &[date, host, user])?;
                self.check_date(date, now)?;
                (user.to_owned(), host)
            }
            Tag::Again => {
                let [hash, host, user] = fields(rest).ok_or(SrsError::Malformed)?;
                self.verify(hash, &[host, user])?;
                (format!("SRS0{user}"), host)
            }
        };
        let (user, host) = found;
        if is_dot_atom(&user) && is_host(host) {
            Ok(format!("{user}@{host}"))
        } else {
            Err(SrsError::Malformed)
        }
    }

    fn first(&self, local: &str, host: &str, now: Timestamp) -> String {
        let date = date(now);
        format!("SRS0{}{}={date}={host}={local}", self.config.separator, self.sign(&[&date, host, local]))
    }

    /// `rest` begins with the separator that the first forwarder chose.
    fn again(&self, first: &str, rest: &str) -> String {
        format!("SRS1{}{}={first}={rest}", self.config.separator, self.sign(&[first, rest]))
    }

    fn sign(&self, data: &[&str]) -> String {
        let key = self.keys.first().expect("the configuration was checked to have one");
        let mut hash = whole_hash(key, data);
        hash.truncate(self.config.hash_chars);
        hash
    }

    /// Without regard to case, since servers on the way change it in local parts though they must not.
    fn verify(&self, hash: &str, data: &[&str]) -> Result<(), SrsError> {
        if !(self.config.hash_chars..=HASH_CHARS_MAX).contains(&hash.len()) {
            return Err(SrsError::Hash);
        }
        let hash = hash.to_ascii_lowercase();
        let is_right = self.keys.iter().any(|key| {
            let expected = whole_hash(key, data).to_ascii_lowercase();
            let expected = expected.as_bytes().get(..hash.len()).unwrap_or_default();
            constant_time::verify_slices_are_equal(expected, hash.as_bytes()).is_ok()
        });
        if is_right { Ok(()) } else { Err(SrsError::Hash) }
    }

    fn check_date(&self, date: &str, now: Timestamp) -> Result<(), SrsError> {
        let digit = |byte: u8| BASE32.iter().position(|known| *known == byte.to_ascii_uppercase());
        let [high, low] = date.as_bytes() else { return Err(SrsError::Malformed) };
        let (high, low) = digit(*high).zip(digit(*low)).ok_or(SrsError::Malformed)?;
        let made = i64::try_from(high * BASE32.len() + low).expect("two digits");
        let age = (day(now) - made).rem_euclid(DAYS_CYCLE);
        if age <= i64::from(self.config.age_days_max) { Ok(()) } else { Err(SrsError::Expired) }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Tag {
    /// `SRS0`: made of a sender.
    First,
    /// `SRS1`: made of an `SRS0` or `SRS1` of somebody else.
    Again,
}

/// The tag of a local part, and what follows it, separator included.
fn tagged(local: &str) -> Option<(Tag, &str)> {
    let (tag, rest) = local.split_at_checked(4)?;
    let tag = match tag {
        tag if tag.eq_ignore_ascii_case("SRS0") => Tag::First,
        tag if tag.eq_ignore_ascii_case("SRS1") => Tag::Again,
        _ => return None,
    };
    if rest.starts_with(is_separator) { Some((tag, rest)) } else { None }
}

/// Exactly `N` fields, of which the last may hold the sign between them.
fn fields<const N: usize>(text: &str) -> Option<[&str; N]> {
    text.splitn(N, '=').collect::<Vec<_>>().try_into().ok().filter(|fields: &[&str; N]| !fields.contains(&""))
}

fn whole_hash(key: &hmac::Key, data: &[&str]) -> String {
    let mut context = hmac::Context::with_key(key);
    for part in data {
        context.update(part.to_ascii_lowercase().as_bytes());
    }
    let mut hash = STANDARD_NO_PAD.encode(context.sign());
    hash.truncate(HASH_CHARS_MAX);
    hash
}

/// The day of the date's cycle.
fn day(now: Timestamp) -> i64 {
    now.as_s().div_euclid(DAY_S).rem_euclid(DAYS_CYCLE)
}

fn date(now: Timestamp) -> String {
    let day = usize::try_from(day(now)).unwrap_or(0);
    let digit = |value: usize| BASE32.get(value % BASE32.len()).copied().map_or('A', char::from);
    [digit(day / BASE32.len()), digit(day)].iter().collect()
}

fn is_separator(sign: char) -> bool {
    matches!(sign, '=' | '+' | '-')
}

/// A named domain. It cannot hold the sign between fields.
fn is_host(text: &str) -> bool {
    is_dot_atom(text) && !text.contains('=')
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::from_s(1_795_521_600);

    fn days(count: i64) -> Timestamp {
        Timestamp::from_s(NOW.as_s() + count * DAY_S)
    }

    fn config(secrets: &[&str]) -> SrsConfig {
        let secrets = secrets.iter().map(|secret| Secret::new(secret.as_bytes().to_vec())).collect();
        SrsConfig::new("a.example".into(), secrets)
    }

    fn srs(secrets: &[&str]) -> Srs {
        Srs::new(config(secrets)).unwrap()
    }

    #[test]
    fn a_bounce_finds_its_way_back() {
        let srs = srs(&["one"]);
        let path = srs.forward("Ann@Example.org", NOW).unwrap();
        assert!(path.starts_with("SRS0=") && path.ends_with("=Example.org=Ann@a.example"), "{path}");
        for address in [path.clone(), path.replace("SRS0=", "srs0+"), path.replace("a.example", "A.EXAMPLE")]
        {
            assert_eq!(srs.reverse(&address, days(21)).as_deref(), Ok("Ann@Example.org"));
        }
        assert_eq!(srs.reverse(&path.to_lowercase(), NOW).as_deref(), Ok("ann@example.org"));
        assert_eq!(srs.reverse(&path.to_uppercase(), NOW).as_deref(), Ok("ANN@EXAMPLE.ORG"));
        assert_eq!(srs.reverse(&path, days(22)), Err(SrsError::Expired));
        assert_eq!(srs.reverse(&path, days(-1)), Err(SrsError::Expired));
        assert_eq!(srs.reverse(&path, days(DAYS_CYCLE)).as_deref(), Ok("Ann@Example.org"));
        assert_eq!(srs.forward("ann@A.example", NOW).as_deref(), Ok("ann@A.example"));
    }

    #[test]
    fn known_answers() {
        // By Mail::SRS 0.31 at this moment; the last by Python's hmac module.
        let make = |config: SrsConfig, sender| {
            let srs = Srs::new(SrsConfig { domain: "forward.example".into(), ..config }).unwrap();
            srs.forward(sender, NOW).unwrap()
        };
        let known = || config(&["known answer"]);
        for (sender, path) in [
            ("ann@example.org", "SRS0=9ek7=JN=example.org=ann@forward.example"),
            ("A.b+c=d@Sub.Example.ORG", "SRS0=Qr9V=JN=Sub.Example.ORG=A.b+c=d@forward.example"),
            (
                "SRS0=aaaa=AA=example.net=ann@first.example",
                "SRS1=TF40=first.example==aaaa=AA=example.net=ann@forward.example",
            ),
            (
                "SRS1+bbbb=first.example==aaaa=AA=example.net=ann@second.example",
                "SRS1=TF40=first.example==aaaa=AA=example.net=ann@forward.example",
            ),
        ] {
            assert_eq!(make(SrsConfig { local_part_bytes_max: 200, ..known() }, sender), path);
        }
        let long = SrsConfig { hash_chars: 10, separator: '+', ..known() };
        assert_eq!(make(long, "ann@example.org"), "SRS0+9ek7XzV7qo=JN=example.org=ann@forward.example");
        let sha256 = SrsConfig { hash: SrsHash::Sha256, hash_chars: 8, ..known() };
        assert_eq!(make(sha256, "ann@example.org"), "SRS0=a7fsMdNB=JN=example.org=ann@forward.example");
    }

    #[test]
    fn a_second_forwarder_leads_back_to_the_first() {
        let first = srs(&["one"]);
        let second = Srs::new(SrsConfig { domain: "b.example".into(), ..config(&["two"]) }).unwrap();
        let third =
            Srs::new(SrsConfig { domain: "c.example".into(), separator: '+', ..config(&["three"]) }).unwrap();
        let path = first.forward("ann@example.org", NOW).unwrap();
        let again = second.forward(&path, NOW).unwrap();
        assert!(
            again.starts_with("SRS1=") && again.contains("=a.example==") && again.ends_with("@b.example")
        );
        let thrice = third.forward(&again, NOW).unwrap();
        assert!(thrice.starts_with("SRS1+") && thrice.contains("=a.example=="), "{thrice}");
        // The third forwarder's bounces go to the first at once.
        assert_eq!(third.reverse(&thrice, NOW).as_deref(), Ok(&*path));
        assert_eq!(second.reverse(&again, NOW).as_deref(), Ok(&*path));
        assert_eq!(first.reverse(&path, NOW).as_deref(), Ok("ann@example.org"));
    }

    #[test]
    fn secrets_rotate() {
        let (old, both, new) = (srs(&["old"]), srs(&["new", "old"]), srs(&["new"]));
        let path = old.forward("ann@example.org", NOW).unwrap();
        assert_eq!(both.reverse(&path, NOW).as_deref(), Ok("ann@example.org"));
        assert_eq!(new.reverse(&path, NOW), Err(SrsError::Hash));
        assert_eq!(both.forward("ann@example.org", NOW), new.forward("ann@example.org", NOW));
        let longer =
            Srs::new(SrsConfig { hash: SrsHash::Sha256, hash_chars: 8, ..config(&["old"]) }).unwrap();
        assert_eq!(longer.reverse(&path, NOW), Err(SrsError::Hash));
        let path = longer.forward("ann@example.org", NOW).unwrap();
        assert_eq!(longer.reverse(&path, NOW).as_deref(), Ok("ann@example.org"));
        assert_eq!(old.reverse(&path, NOW), Err(SrsError::Hash));
    }

    #[test]
    fn what_is_forged_or_broken_is_refused() {
        let srs = srs(&["one"]);
        let path = srs.forward("ann@example.org", NOW).unwrap();
        let (local, _) = path.split_once('@').unwrap();
        for at in 5..local.len() {
            let mut forged = local.as_bytes().to_vec();
            forged[at] = if forged[at] == b'x' { b'y' } else { b'x' };
            let forged = String::from_utf8(forged).unwrap();
            assert!(srs.reverse(&format!("{forged}@a.example"), NOW).is_err(), "{forged}");
        }
        for (address, error) in [
            ("ann@a.example", SrsError::NotSrs),
            ("SRS0@a.example", SrsError::NotSrs),
            ("SRS0=x@b.example", SrsError::NotSrs),
            ("SRS0=x@a.example", SrsError::Malformed),
            ("SRS0=aaaa=AA=example.org=@a.example", SrsError::Malformed),
            ("SRS0=a=AA=example.org=ann@a.example", SrsError::Hash),
            ("SRS0=aaaa=AA=example.org=ann@a.example", SrsError::Hash),
            ("SRS1=aaaa=b.example@a.example", SrsError::Malformed),
            ("", SrsError::NotSrs),
            ("SRSé=x@a.example", SrsError::NotSrs),
        ] {
            assert_eq!(srs.reverse(address, NOW), Err(error), "{address}");
        }
        for sender in ["", "ann", "\"a b\"@example.org", "ann@[192.0.2.1]", "a b@example.org", "ann@a=b"] {
            assert_eq!(srs.forward(sender, NOW), Err(SrsError::Sender), "{sender}");
        }
        let long = format!("{}@example.org", "x".repeat(60));
        assert_eq!(srs.forward(&long, NOW), Err(SrsError::TooLong));
        let roomy = Srs::new(SrsConfig { local_part_bytes_max: 255, ..config(&["one"]) }).unwrap();
        let path = roomy.forward(&long, NOW).unwrap();
        assert_eq!(roomy.reverse(&path, NOW), Ok(long));
        assert_eq!(roomy.forward(&format!("{}@example.org", "x".repeat(250)), NOW), Err(SrsError::TooLong));
        // An SRS1 that is none is a sender like any other.
        let path = srs.forward("SRS1=x@example.org", NOW).unwrap();
        assert_eq!(srs.reverse(&path, NOW).as_deref(), Ok("SRS1=x@example.org"));
    }

    #[test]
    fn configurations_are_checked() {
        let good = || config(&["one"]);
        for (config, error) in [
            (config(&[]), SrsConfigError::Secret),
            (config(&["one", ""]), SrsConfigError::Secret),
            (SrsConfig { domain: String::new(), ..good() }, SrsConfigError::Domain),
            (SrsConfig { hash_chars: 3, ..good() }, SrsConfigError::HashChars),
            (SrsConfig { hash_chars: 28, ..good() }, SrsConfigError::HashChars),
            (SrsConfig { separator: '#', ..good() }, SrsConfigError::Separator),
            (SrsConfig { age_days_max: 0, ..good() }, SrsConfigError::Age),
            (SrsConfig { age_days_max: 1024, ..good() }, SrsConfigError::Age),
        ] {
            assert_eq!(Srs::new(config).unwrap_err(), error);
        }
        assert!(!format!("{:?}", srs(&["one"])).contains("one"));
    }
}
