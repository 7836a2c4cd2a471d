//! Variable envelope return paths: a sender's address for each recipient, so that a bounce says by where it
//! goes whom it is about, whatever it says inside.
//!
//! `owner@lists.example` and `bob@example.net` make `owner+bob=example.net@lists.example`.

use crate::address::{is_dot_atom, split_mailbox};
use crate::limits::{ADDRESS_BYTES_MAX, LOCAL_PART_BYTES_MAX};

/// The two characters that divide such an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verp {
    start: char,
    at: char,
    local_part_bytes_max: usize,
}

impl Default for Verp {
    /// `+` and `=`, and local parts of at most 64 bytes.
    fn default() -> Self {
        Self { start: '+', at: '=', local_part_bytes_max: LOCAL_PART_BYTES_MAX }
    }
}

impl From<base::VerpSigns> for Verp {
    fn from(signs: base::VerpSigns) -> Self {
        Self { start: signs.start(), at: signs.at(), ..Self::default() }
    }
}

impl Verp {
    /// Other delimiters: `start` between sender and recipient, `at` in the place of the recipient's `@`. Both are
    /// signs that an address may hold without quotes (RFC 5322 §3.2.3 `atext`), differ, and are neither letters
    /// nor digits; `at` is no hyphen or underscore, which domains have. `None` for other signs.
    pub fn new(start: char, at: char) -> Option<Self> {
        let is_sign = |sign: char| "!#$%&'*+-/=?^_`{|}~".contains(sign);
        let is_good = is_sign(start) && is_sign(at) && start != at && !matches!(at, '-' | '_');
        is_good.then_some(Self { start, at, ..Self::default() })
    }

    /// Makes longer local parts too, in bytes. RFC 5321 §4.5.3.1.1 promises 64; most servers take up to 255.
    #[must_use]
    pub fn with_local_part_bytes_max(self, local_part_bytes_max: usize) -> Self {
        Self { local_part_bytes_max, ..self }
    }

    /// The return path for mail from `sender` to `recipient`. It is the plain `sender` when the other could not be
    /// read back or is too long: the bounce then comes without knowing for whom.
    pub fn encode(self, sender: &str, recipient: &str) -> String {
        self.try_encode(sender, recipient).unwrap_or_else(|| sender.to_owned())
    }

    /// The sender and the recipient of a return path; `None` for an address that is none.
    pub fn decode(self, address: &str) -> Option<(String, String)> {
        let (local, sender_domain) = split_mailbox(address)?;
        let (sender, recipient) = local.split_once(self.start)?;
        let (recipient, domain) = recipient.rsplit_once(self.at)?;
        let is_whole = is_dot_atom(sender) && is_dot_atom(recipient) && is_domain(domain);
        is_whole.then(|| (format!("{sender}@{sender_domain}"), format!("{recipient}@{domain}")))
    }

    fn try_encode(self, sender: &str, recipient: &str) -> Option<String> {
        let (sender_local, sender_domain) = split_mailbox(sender)?;
        let (local, domain) = split_mailbox(recipient)?;
        // The first `start` ends the sender and the last `at` begins the domain, so neither may hold its own.
        let can_be_read_back = is_dot_atom(sender_local)
            && is_dot_atom(local)
            && is_domain(domain)
            && !sender_local.contains(self.start)
            && !domain.contains(self.at);
        let made = format!("{sender_local}{}{local}{}{domain}", self.start, self.at);
        let fits = made.len() <= self.local_part_bytes_max
            && made.len() + 1 + sender_domain.len() <= ADDRESS_BYTES_MAX;
        (can_be_read_back && fits).then(|| format!("{made}@{sender_domain}"))
    }
}

/// A name as it may stand in a local part: an address literal may not.
fn is_domain(text: &str) -> bool {
    is_dot_atom(text) && !text.contains(['=', '+'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_usual_form() {
        let verp = Verp::default();
        let path = verp.encode("owner@lists.example", "bob@example.net");
        assert_eq!(path, "owner+bob=example.net@lists.example");
        assert_eq!(verp.decode(&path), Some(("owner@lists.example".into(), "bob@example.net".into())));
        let verp = Verp::new('-', '=').unwrap();
        assert_eq!(base::VerpSigns::parse("-=").map(Verp::from), Some(verp));
        let path = verp.encode("owner@lists.example", "b-o+b=x@example.net");
        assert_eq!(path, "owner-b-o+b=x=example.net@lists.example");
    }

    #[test]
    fn what_cannot_be_read_back_or_is_too_long_stays_plain() {
        let verp = Verp::default();
        let long = format!("{}@example.net", "b".repeat(60));
        for recipient in
            ["\"b b\"@example.net", "bob@[192.0.2.1]", "bob", "@example.net", "b@", &long, "b@a=b"]
        {
            assert_eq!(verp.encode("owner@lists.example", recipient), "owner@lists.example", "{recipient}");
        }
        assert_eq!(verp.encode("owner+x@lists.example", "bob@example.net"), "owner+x@lists.example");
        assert_eq!(verp.encode("", "bob@example.net"), "");
        let path = verp.with_local_part_bytes_max(255).encode("owner@lists.example", &long);
        assert_eq!(verp.decode(&path), Some(("owner@lists.example".into(), long)));
        for address in
            ["owner@lists.example", "owner+bob@lists.example", "+b=c@d", "a+=c@d", "a+b=@d", "a+b=c", ""]
        {
            assert_eq!(verp.decode(address), None, "{address}");
        }
        for (start, at) in
            [('a', '='), ('=', '='), ('+', '@'), ('.', '='), ('+', '-'), ('+', ' '), ('é', '=')]
        {
            assert_eq!(Verp::new(start, at), None, "{start}{at}");
        }
    }

    #[test]
    fn every_return_path_leads_back() {
        let mut random = base::Random::new(11);
        let word = |random: &mut base::Random| -> String {
            (0..=random.below(12)).map(|_| b"ab.+=-_x9!"[random.below(10) as usize] as char).collect()
        };
        let (mut made, signs) = (0, [('+', '='), ('-', '='), ('=', '#'), ('_', '!')]);
        for _ in 0..20_000 {
            let (start, at) = signs[random.below(4) as usize];
            let verp = Verp::new(start, at).unwrap();
            let sender = format!("{}@lists.example", word(&mut random));
            let recipient = format!("{}@{}.example", word(&mut random), word(&mut random));
            let path = verp.encode(&sender, &recipient);
            if path != sender {
                assert_eq!(verp.decode(&path), Some((sender, recipient)), "{path}");
                made += 1;
            }
        }
        assert!(made > 1000, "only {made} were made");
    }
}
