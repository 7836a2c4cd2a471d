//! The client's two messages (RFC 5802 §7): bytes to values, no state.

use base::{ChannelBinding, Secret};
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::Failure;
use crate::limits::{CLIENT_NONCE_BYTES_MAX, USERNAME_BYTES_MAX};

/// client-first-message = gs2-header client-first-message-bare
pub(crate) struct ClientFirst {
    /// As it came: the client repeats it in its last message.
    pub(crate) gs2_header: String,
    flag: BindingFlag,
    pub(crate) authzid: String,
    pub(crate) bare: String,
    pub(crate) username: String,
    pub(crate) nonce: String,
}

/// gs2-cbind-flag = ("p=" cb-name) / "n" / "y"
#[derive(Debug, PartialEq, Eq)]
enum BindingFlag {
    /// The client cannot bind.
    No,
    /// It could, and thinks that we cannot.
    ServerCannot,
    /// It binds with the binding of this name.
    Bound(String),
}

impl ClientFirst {
    pub(crate) fn parse(client: &[u8]) -> Result<Self, Failure> {
        let text = std::str::from_utf8(client).map_err(|_| Failure::Malformed)?;
        let (flag, rest) = text.split_once(',').ok_or(Failure::Malformed)?;
        let (authzid, bare) = rest.split_once(',').ok_or(Failure::Malformed)?;
        let header_bytes = flag.len() + authzid.len() + 2;
        let gs2_header = text.get(..header_bytes).ok_or(Failure::Malformed)?.to_owned();
        let authzid = match authzid {
            "" => String::new(),
            named => unescape(value(named, 'a')?)?,
        };

        let mut parts = bare.split(',');
        // A message with `m=` in front asks for an extension that has to be understood, and none is
        // (RFC 5802 §5.1): it fails here since it is no `n=`.
        let username = unescape(value(parts.next().unwrap_or_default(), 'n')?)?;
        let nonce = value(parts.next().unwrap_or_default(), 'r')?.to_owned();
        if nonce.len() > CLIENT_NONCE_BYTES_MAX {
            return Err(Failure::TooLong);
        }
        if nonce.is_empty() || !nonce.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(Failure::Malformed);
        }
        are_extensions(parts)?;
        Ok(Self { gs2_header, flag: parse_flag(flag)?, authzid, bare: bare.to_owned(), username, nonce })
    }

    /// The channel binding's data to expect, or why the client's wish does not fit the mechanism.
    pub(crate) fn binding(&self, is_plus: bool, ours: &[ChannelBinding]) -> Result<Secret<Vec<u8>>, Failure> {
        match &self.flag {
            BindingFlag::Bound(name) if is_plus => {
                let named = ours.iter().find(|binding| binding.name == name);
                named.map(|binding| binding.data.clone()).ok_or(Failure::Denied)
            }
            BindingFlag::No if !is_plus => Ok(Secret::default()),
            // The client saw no -PLUS although we announce it: somebody took it out (RFC 5802 §6).
            BindingFlag::ServerCannot if !is_plus && ours.is_empty() => Ok(Secret::default()),
            BindingFlag::Bound(_) | BindingFlag::No | BindingFlag::ServerCannot => Err(Failure::Denied),
        }
    }
}

/// client-final-message = client-final-message-without-proof "," proof
pub(crate) struct ClientFinal<'a> {
    pub(crate) without_proof: &'a str,
    /// The GS2 header and the channel binding's data, decoded.
    pub(crate) binding: Vec<u8>,
    pub(crate) nonce: &'a str,
    pub(crate) proof: Vec<u8>,
}

impl<'a> ClientFinal<'a> {
    pub(crate) fn parse(client: &'a [u8]) -> Result<Self, Failure> {
        let text = std::str::from_utf8(client).map_err(|_| Failure::Malformed)?;
        let (without_proof, proof) = text.rsplit_once(',').ok_or(Failure::Malformed)?;
        let mut parts = without_proof.split(',');
        let binding = decode(value(parts.next().unwrap_or_default(), 'c')?)?;
        let nonce = value(parts.next().unwrap_or_default(), 'r')?;
        are_extensions(parts)?;
        Ok(Self { without_proof, binding, nonce, proof: decode(value(proof, 'p')?)? })
    }
}

fn parse_flag(flag: &str) -> Result<BindingFlag, Failure> {
    match flag {
        "n" => Ok(BindingFlag::No),
        "y" => Ok(BindingFlag::ServerCannot),
        named => {
            let name = value(named, 'p')?;
            // cb-name = 1*(ALPHA / DIGIT / "." / "-") (RFC 5056 §7).
            let is_name = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-');
            if name.is_empty() || !name.bytes().all(is_name) {
                return Err(Failure::Malformed);
            }
            Ok(BindingFlag::Bound(name.to_owned()))
        }
    }
}

/// The value of `attribute=value`.
fn value(part: &str, attribute: char) -> Result<&str, Failure> {
    part.strip_prefix(attribute).and_then(|rest| rest.strip_prefix('=')).ok_or(Failure::Malformed)
}

/// Extensions that need not be understood: `ALPHA=value`, ignored.
fn are_extensions<'a>(mut parts: impl Iterator<Item = &'a str>) -> Result<(), Failure> {
    let is_extension = |part: &str| {
        let named = part.split_once('=');
        named.is_some_and(|(name, value)| {
            name.len() == 1 && name.bytes().all(|b| b.is_ascii_alphabetic()) && !value.is_empty()
        })
    };
    if parts.all(is_extension) { Ok(()) } else { Err(Failure::Malformed) }
}

/// saslname: `,` is written `=2C` and `=` is written `=3D`; no other `=` is allowed.
fn unescape(name: &str) -> Result<String, Failure> {
    if name.len() > USERNAME_BYTES_MAX {
        return Err(Failure::TooLong);
    }
    let mut parts = name.split('=');
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (c, rest) = match (part.strip_prefix("2C"), part.strip_prefix("3D")) {
            (Some(rest), _) => (',', rest),
            (_, Some(rest)) => ('=', rest),
            (None, None) => return Err(Failure::Malformed),
        };
        text.push(c);
        text.push_str(rest);
    }
    if text.is_empty() { Err(Failure::Malformed) } else { Ok(text) }
}

fn decode(base64: &str) -> Result<Vec<u8>, Failure> {
    STANDARD.decode(base64).map_err(|_| Failure::Malformed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_message_is_taken_apart() {
        let first = ClientFirst::parse(b"p=tls-exporter,a=bob=2Cx,n=a=3Db=2C,r=no!nce,x=1").ok().unwrap();
        assert_eq!(first.gs2_header, "p=tls-exporter,a=bob=2Cx,");
        assert_eq!(first.flag, BindingFlag::Bound("tls-exporter".to_owned()));
        assert_eq!((first.authzid.as_str(), first.username.as_str()), ("bob,x", "a=b,"));
        assert_eq!((first.bare.as_str(), first.nonce.as_str()), ("n=a=3Db=2C,r=no!nce,x=1", "no!nce"));
    }

    #[test]
    fn what_the_grammar_does_not_allow_is_refused() {
        let nonce = format!("n,,n=u,r={}", "x".repeat(CLIENT_NONCE_BYTES_MAX + 1));
        let name = format!("n,,n={},r=x", "u".repeat(USERNAME_BYTES_MAX + 1));
        for (message, failure) in [
            ("", Failure::Malformed),
            ("n", Failure::Malformed),
            ("n,,", Failure::Malformed),
            ("n,n=u,r=x", Failure::Malformed),
            ("q,,n=u,r=x", Failure::Malformed),
            ("p=,,n=u,r=x", Failure::Malformed),
            ("p=a b,,n=u,r=x", Failure::Malformed),
            ("n,,m=ext,n=u,r=x", Failure::Malformed),
            ("n,,n=,r=x", Failure::Malformed),
            ("n,,n=u=2c,r=x", Failure::Malformed),
            ("n,,n=u=,r=x", Failure::Malformed),
            ("n,,n=u", Failure::Malformed),
            ("n,,n=u,r=", Failure::Malformed),
            ("n,,n=u,r=a b", Failure::Malformed),
            ("n,,r=x,n=u", Failure::Malformed),
            ("n,,n=u,r=x,", Failure::Malformed),
            ("n,,n=u,r=x,xy=1", Failure::Malformed),
            ("n,a=,n=u,r=x", Failure::Malformed),
            (&nonce, Failure::TooLong),
            (&name, Failure::TooLong),
        ] {
            assert_eq!(ClientFirst::parse(message.as_bytes()).err(), Some(failure), "{message}");
        }
        for message in ["", "c=biws", "c=biws,r=x", "c=biws,p=AA==", "r=x,c=biws,p=AA==", "c=!,r=x,p=AA=="] {
            assert!(ClientFinal::parse(message.as_bytes()).is_err(), "{message}");
        }
        assert!(ClientFinal::parse(b"c=biws,r=x,p=AA==").is_ok());
        assert!(ClientFinal::parse(b"c=biws,r=x,e=1,p=AA==").is_ok());
        assert!(ClientFinal::parse(b"c=biws,r=x,p=AA==,e=1").is_err());
    }
}
