//! Keys: the public ones that a domain publishes, the private ones that we sign with.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ED25519, Ed25519KeyPair, KeyPair, ParsedPublicKey, RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY,
    RSA_PKCS1_SHA256, RsaKeyPair,
};
use aws_lc_rs::{encoding::AsDer, encoding::Pkcs8V1Der};
use base::Secret;

use crate::limits::RSA_BITS_MIN;
use crate::tags::{Tags, base64, colon_list, to_base64, without_blanks};
use crate::trouble::Trouble;

/// How a signature is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 over SHA-256 (RFC 6376 §3.3).
    RsaSha256,
    /// PureEdDSA over the SHA-256 of the data (RFC 8463 §3).
    Ed25519Sha256,
}

impl Algorithm {
    /// The word of `a=`.
    pub const fn word(self) -> &'static str {
        match self {
            Self::RsaSha256 => "rsa-sha256",
            Self::Ed25519Sha256 => "ed25519-sha256",
        }
    }

    pub(crate) fn parse(word: &[u8]) -> Result<Self, Trouble> {
        match word {
            b"rsa-sha256" => Ok(Self::RsaSha256),
            b"ed25519-sha256" => Ok(Self::Ed25519Sha256),
            // RFC 8301 §3.1: it must not be verified any more.
            b"rsa-sha1" => Err(Trouble::WeakAlgorithm),
            _ => Err(Trouble::UnknownAlgorithm),
        }
    }
}

/// What a signed message is, for the `s=` of its key (RFC 6376 §3.6.1, RFC 8460 §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Service {
    /// Mail.
    Mail,
    /// A TLS report: keys for mail will do, and `l=` is not believed.
    TlsReport,
    /// A TLS report whose key must be one for TLS reports.
    OnlyTlsReport,
}

/// A key record of the name system (RFC 6376 §3.6.1).
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "the record's tags are switches")]
pub(crate) struct PublicKey {
    algorithm: Algorithm,
    key: ParsedPublicKey,
    pub(crate) bits: u16,
    /// `t=y`: the domain tries out.
    pub(crate) is_testing: bool,
    /// `t=s`: `i=` must be the domain itself.
    pub(crate) is_strict: bool,
    is_for_mail: bool,
    is_for_tls_reports: bool,
}

impl PublicKey {
    pub(crate) fn parse(record: &[u8]) -> Result<Self, Trouble> {
        let tags = Tags::parse(record).ok_or(Trouble::KeySyntax)?;
        if let Some(version) = tags.get("v")
            && (version != b"DKIM1" || tags.first() != Some(b"v"))
        {
            return Err(Trouble::KeySyntax);
        }
        let algorithm = match tags.get("k") {
            None | Some(b"rsa") => Algorithm::RsaSha256,
            Some(b"ed25519") => Algorithm::Ed25519Sha256,
            Some(_) => return Err(Trouble::UnknownAlgorithm),
        };
        if let Some(hashes) = tags.get("h")
            && !colon_list(hashes).any(|hash| hash == b"sha256")
        {
            return Err(Trouble::KeyUnsuitable);
        }
        let services = tags.get("s").unwrap_or(b"*");
        let flags = tags.get("t").unwrap_or_default();
        let data = tags.get("p").ok_or(Trouble::KeySyntax)?;
        if without_blanks(data).is_empty() {
            return Err(Trouble::KeyRevoked);
        }
        let (key, bits) = key(algorithm, &base64(data).ok_or(Trouble::KeySyntax)?)?;
        Ok(Self {
            algorithm,
            key,
            bits,
            is_testing: colon_list(flags).any(|flag| flag == b"y"),
            is_strict: colon_list(flags).any(|flag| flag == b"s"),
            is_for_mail: colon_list(services).any(|service| service == b"*" || service == b"email"),
            is_for_tls_reports: colon_list(services).any(|service| service == b"tlsrpt"),
        })
    }

    /// Whether the key may sign such messages.
    pub(crate) fn serves(&self, service: Service) -> Result<(), Trouble> {
        let may_sign = match service {
            Service::Mail => self.is_for_mail,
            Service::TlsReport => self.is_for_mail || self.is_for_tls_reports,
            Service::OnlyTlsReport => self.is_for_tls_reports,
        };
        if may_sign { Ok(()) } else { Err(Trouble::KeyUnsuitable) }
    }

    /// Whether `signature` is this key's for the data.
    pub(crate) fn verify(&self, algorithm: Algorithm, data: &[u8], signature: &[u8]) -> Result<(), Trouble> {
        if algorithm != self.algorithm {
            return Err(Trouble::KeyUnsuitable);
        }
        let verified = match algorithm {
            Algorithm::RsaSha256 => self.key.verify_sig(data, signature),
            Algorithm::Ed25519Sha256 => self.key.verify_sig(sha256(data).as_ref(), signature),
        };
        verified.map_err(|_| Trouble::SignatureWrong)
    }
}

/// A key out of the bytes of `p=`, and its bits.
fn key(algorithm: Algorithm, data: &[u8]) -> Result<(ParsedPublicKey, u16), Trouble> {
    match algorithm {
        Algorithm::RsaSha256 => {
            let bits = rsa_bits(data).ok_or(Trouble::KeySyntax)?;
            if bits < RSA_BITS_MIN {
                return Err(Trouble::KeyTooShort);
            }
            let key = ParsedPublicKey::new(&RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY, data);
            Ok((key.map_err(|_| Trouble::KeySyntax)?, bits as u16))
        }
        Algorithm::Ed25519Sha256 => {
            if data.len() != 32 {
                return Err(Trouble::KeySyntax);
            }
            let key = ParsedPublicKey::new(&ED25519, data).map_err(|_| Trouble::KeySyntax)?;
            Ok((key, 256))
        }
    }
}

fn sha256(data: &[u8]) -> aws_lc_rs::digest::Digest {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, data)
}

/// The bits of the modulus in an RSAPublicKey (RFC 8017 §A.1.1) or a SubjectPublicKeyInfo around one; both
/// are in use (RFC 6376 §3.6.1 and its erratum 3017).
fn rsa_bits(der: &[u8]) -> Option<usize> {
    const INTEGER: u8 = 2;
    const BIT_STRING: u8 = 3;
    const SEQUENCE: u8 = 0x30;
    let (body, _) = element(der, SEQUENCE)?;
    let key = if body.first() == Some(&INTEGER) {
        body
    } else {
        let (_, rest) = element(body, SEQUENCE)?;
        let (bits, _) = element(rest, BIT_STRING)?;
        element(bits.get(1..)?, SEQUENCE)?.0
    };
    let (modulus, _) = element(key, INTEGER)?;
    let zeros = modulus.iter().take_while(|byte| **byte == 0).count();
    let digits = modulus.get(zeros..)?;
    Some(digits.len() * 8 - digits.first()?.leading_zeros() as usize)
}

/// The content of a DER element with this tag at the start, and what follows it.
fn element(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (head, rest) = der.split_at_checked(2)?;
    let [found, first] = head else { return None };
    if *found != tag {
        return None;
    }
    if *first < 0x80 {
        return rest.split_at_checked(usize::from(*first));
    }
    let count = usize::from(*first & 0x7f);
    if count > 4 {
        return None;
    }
    let (bytes, rest) = rest.split_at_checked(count)?;
    let length = bytes.iter().fold(0_usize, |length, byte| (length << 8) | usize::from(*byte));
    rest.split_at_checked(length)
}

/// A key of our own.
#[derive(Debug)]
pub struct PrivateKey(Kind);

#[derive(Debug)]
enum Kind {
    Rsa(Box<RsaKeyPair>),
    Ed25519(Box<Ed25519KeyPair>),
}

/// These bytes are no private key that can sign here: PKCS #8 with RSA of 2048 to 8192 bits, or Ed25519.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadKey;

impl PrivateKey {
    /// A new key. RSA takes a second or so: not for a shard.
    pub fn generate(algorithm: Algorithm) -> Result<Self, BadKey> {
        let kind = match algorithm {
            Algorithm::RsaSha256 => {
                Kind::Rsa(Box::new(RsaKeyPair::generate(KeySize::Rsa2048).map_err(|_| BadKey)?))
            }
            Algorithm::Ed25519Sha256 => {
                Kind::Ed25519(Box::new(Ed25519KeyPair::generate().map_err(|_| BadKey)?))
            }
        };
        Ok(Self(kind))
    }

    /// A key out of PKCS #8, or for RSA also PKCS #1, in DER.
    pub fn from_der(der: &[u8]) -> Result<Self, BadKey> {
        if let Ok(key) = RsaKeyPair::from_pkcs8(der).or_else(|_| RsaKeyPair::from_der(der)) {
            return Ok(Self(Kind::Rsa(Box::new(key))));
        }
        match Ed25519KeyPair::from_pkcs8_maybe_unchecked(der) {
            Ok(key) => Ok(Self(Kind::Ed25519(Box::new(key)))),
            Err(_) => Err(BadKey),
        }
    }

    /// A key out of a PEM file: the first block counts.
    pub fn from_pem(pem: &[u8]) -> Result<Self, BadKey> {
        let text = std::str::from_utf8(pem).map_err(|_| BadKey)?;
        let mut lines = text.lines().skip_while(|line| !line.starts_with("-----BEGIN "));
        lines.next().ok_or(BadKey)?;
        let body: String = lines.take_while(|line| !line.starts_with("-----END ")).collect();
        Self::from_der(&base64(body.as_bytes()).ok_or(BadKey)?)
    }

    /// The key as PKCS #8 in DER, for keeping.
    pub fn to_der(&self) -> Result<Secret<Vec<u8>>, BadKey> {
        let der = match &self.0 {
            Kind::Rsa(key) => AsDer::<Pkcs8V1Der<'static>>::as_der(&**key),
            Kind::Ed25519(key) => AsDer::<Pkcs8V1Der<'static>>::as_der(&**key),
        };
        der.map(|der| Secret::new(der.as_ref().to_vec())).map_err(|_| BadKey)
    }

    /// What it signs with.
    pub const fn algorithm(&self) -> Algorithm {
        match self.0 {
            Kind::Rsa(_) => Algorithm::RsaSha256,
            Kind::Ed25519(_) => Algorithm::Ed25519Sha256,
        }
    }

    /// The text to publish at `SELECTOR._domainkey.DOMAIN` (RFC 6376 §3.6.1, RFC 8463 §4).
    pub fn record(&self) -> Result<String, BadKey> {
        match &self.0 {
            Kind::Rsa(key) => {
                let der = key.public_key().as_der().map_err(|_| BadKey)?;
                Ok(format!("v=DKIM1; k=rsa; p={}", to_base64(der.as_ref())))
            }
            Kind::Ed25519(key) => {
                Ok(format!("v=DKIM1; k=ed25519; p={}", to_base64(key.public_key().as_ref())))
            }
        }
    }

    /// Whether a TXT record publishes this key, and in a way that verifiers can use.
    pub fn is_published_by(&self, record: &[u8]) -> Result<(), Trouble> {
        const SAMPLE: &[u8] = b"a signature tells whether two keys belong together";
        let public = PublicKey::parse(record)?;
        public.serves(Service::Mail)?;
        let signature = self.sign(SAMPLE).map_err(|BadKey| Trouble::KeyUnsuitable)?;
        public.verify(self.algorithm(), SAMPLE, &signature)
    }

    /// The signature over the data.
    pub(crate) fn sign(&self, data: &[u8]) -> Result<Vec<u8>, BadKey> {
        match &self.0 {
            Kind::Rsa(key) => {
                let mut signature = vec![0; key.public_modulus_len()];
                key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), data, &mut signature)
                    .map_err(|_| BadKey)?;
                Ok(signature)
            }
            Kind::Ed25519(key) => Ok(key.sign(sha256(data).as_ref()).as_ref().to_vec()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_go_to_bytes_and_back() {
        for algorithm in [Algorithm::RsaSha256, Algorithm::Ed25519Sha256] {
            let key = PrivateKey::generate(algorithm).unwrap();
            let again = PrivateKey::from_der(key.to_der().unwrap().reveal()).unwrap();
            assert_eq!(again.record(), key.record());
            let public = PublicKey::parse(key.record().unwrap().as_bytes()).unwrap();
            assert_eq!(again.is_published_by(key.record().unwrap().as_bytes()), Ok(()));
            let other = PrivateKey::generate(algorithm).unwrap().record().unwrap();
            assert_eq!(again.is_published_by(other.as_bytes()), Err(Trouble::SignatureWrong));
            let signature = again.sign(b"data").unwrap();
            assert_eq!(public.verify(algorithm, b"data", &signature), Ok(()));
            assert_eq!(public.verify(algorithm, b"date", &signature), Err(Trouble::SignatureWrong));
        }
    }

    #[test]
    fn records_that_are_no_keys_say_why() {
        for (record, trouble) in [
            ("p=", Trouble::KeyRevoked),
            ("v=DKIM1", Trouble::KeySyntax),
            ("v=DKIM2; p=aaaa", Trouble::KeySyntax),
            ("p=aaaa; v=DKIM1", Trouble::KeySyntax),
            ("k=dsa; p=aaaa", Trouble::UnknownAlgorithm),
            ("h=sha1; p=aaaa", Trouble::KeyUnsuitable),
            ("p=aaaa", Trouble::KeySyntax),
            ("k=ed25519; p=aaaa", Trouble::KeySyntax),
        ] {
            assert_eq!(PublicKey::parse(record.as_bytes()).err(), Some(trouble), "{record}");
        }
    }

    #[test]
    fn keys_serve_what_they_say() {
        let record = PrivateKey::generate(Algorithm::Ed25519Sha256).unwrap().record().unwrap();
        for (services, expected) in [
            ("", [true, true, false]),
            ("; s=*", [true, true, false]),
            ("; s=tlsrpt", [false, true, true]),
            ("; s=email : tlsrpt", [true, true, true]),
            ("; s=other", [false, false, false]),
        ] {
            let key = PublicKey::parse(format!("{record}{services}").as_bytes()).unwrap();
            let all = [Service::Mail, Service::TlsReport, Service::OnlyTlsReport];
            assert_eq!(all.map(|service| key.serves(service).is_ok()), expected, "{services}");
        }
    }

    #[test]
    fn modulus_bits_are_counted() {
        // SEQUENCE { INTEGER 0x00ff01, INTEGER 3 }, made by hand.
        assert_eq!(rsa_bits(&[0x30, 8, 2, 3, 0, 0xff, 1, 2, 1, 3]), Some(16));
        assert_eq!(rsa_bits(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff, 2]), None);
        assert_eq!(rsa_bits(&[]), None);
    }
}
