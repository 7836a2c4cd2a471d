//! Channel bindings: what ties a SCRAM exchange to the TLS connection it runs on.

use aws_lc_rs::digest::{self, Algorithm, SHA256, SHA384, SHA512};
use rustls::SupportedCipherSuite;
use rustls::crypto::tls13::{HkdfExpander, OkmBlock};

const LENGTH: u16 = 32;

/// `tls-exporter` (RFC 9266 §4.2) for TLS 1.3, where it needs no further condition: the exporter of
/// RFC 8446 §7.5 with this label, an empty context and 32 bytes.
pub(super) fn exporter(suite: SupportedCipherSuite, secret: &[u8]) -> Option<Vec<u8>> {
    let SupportedCipherSuite::Tls13(suite) = suite else { return None };
    let empty = suite.common.hash_provider.hash(&[]);
    let secret = suite.hkdf_provider.expander_for_okm(&OkmBlock::new(secret));
    let mut derived = vec![0; secret.hash_len()];
    expand_label(secret.as_ref(), b"EXPORTER-Channel-Binding", empty.as_ref(), &mut derived)?;
    let derived = suite.hkdf_provider.expander_for_okm(&OkmBlock::new(&derived));
    let mut binding = vec![0; usize::from(LENGTH)];
    expand_label(derived.as_ref(), b"exporter", empty.as_ref(), &mut binding)?;
    Some(binding)
}

/// HKDF-Expand-Label (RFC 8446 §7.1).
fn expand_label(secret: &dyn HkdfExpander, label: &[u8], context: &[u8], output: &mut [u8]) -> Option<()> {
    let length = u16::try_from(output.len()).ok()?.to_be_bytes();
    let prefix = b"tls13 ";
    let label_length = [u8::try_from(prefix.len() + label.len()).ok()?];
    let context_length = [u8::try_from(context.len()).ok()?];
    secret.expand_slice(&[&length, &label_length, prefix, label, &context_length, context], output).ok()
}

/// `tls-server-end-point` (RFC 5929 §4.1): the certificate's hash, with the hash function of its own
/// signature, but SHA-256 for MD5 and SHA-1. `None` where that is undefined, as with Ed25519.
pub(super) fn end_point(certificate: &[u8]) -> Option<Vec<u8>> {
    let algorithm = signature_hash(certificate)?;
    Some(digest::digest(algorithm, certificate).as_ref().to_vec())
}

/// Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { OID, .. }, .. }
/// (RFC 5280 §4.1).
fn signature_hash(certificate: &[u8]) -> Option<&'static Algorithm> {
    const SEQUENCE: u8 = 0x30;
    const OID: u8 = 0x06;
    // RFC 4055 §5 and RFC 5758 §3.2: 1.2.840.113549.1.1.N and 1.2.840.10045.4.3.N.
    const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01];
    const ECDSA: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03];
    let (whole, _) = take_value(certificate, SEQUENCE)?;
    let (_signed, rest) = take_value(whole, SEQUENCE)?;
    let (algorithm, _) = take_value(rest, SEQUENCE)?;
    let (oid, _) = take_value(algorithm, OID)?;
    let (last, family) = oid.split_last()?;
    match (family, last) {
        // MD5 and SHA-1 with RSA, then the real ones.
        (RSA, 4 | 5 | 11) | (ECDSA, 2) => Some(&SHA256),
        (RSA, 12) | (ECDSA, 3) => Some(&SHA384),
        (RSA, 13) | (ECDSA, 4) => Some(&SHA512),
        _ => None,
    }
}

/// A DER value of this tag, and what follows it.
fn take_value(der: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (found, rest) = der.split_first()?;
    let (first, rest) = rest.split_first()?;
    let (length, rest) = match usize::from(*first) {
        short @ 0..0x80 => (short, rest),
        long => {
            let (bytes, rest) = rest.split_at_checked(long & 0x7f)?;
            if bytes.len() > 4 {
                return None;
            }
            (bytes.iter().fold(0, |length, byte| length << 8 | usize::from(*byte)), rest)
        }
    };
    (*found == tag).then(|| rest.split_at_checked(length))?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_point_binding_uses_the_hash_of_the_signature() {
        for (algorithm, hash) in [
            (&rcgen::PKCS_ECDSA_P256_SHA256, Some(&SHA256)),
            (&rcgen::PKCS_ECDSA_P384_SHA384, Some(&SHA384)),
            (&rcgen::PKCS_ED25519, None),
        ] {
            let key = rcgen::KeyPair::generate_for(algorithm).unwrap();
            let parameters = rcgen::CertificateParams::new(vec!["mail.example".to_owned()]).unwrap();
            let certificate = parameters.self_signed(&key).unwrap();
            let expected = hash.map(|hash| digest::digest(hash, certificate.der()).as_ref().to_vec());
            assert_eq!(end_point(certificate.der()), expected);
        }
        assert_eq!(end_point(b"no certificate"), None);
        assert_eq!(end_point(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]), None);
    }
}
