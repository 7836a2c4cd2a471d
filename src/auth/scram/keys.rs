//! The functions of RFC 5802 §2.2 over both hashes, and the keys made with them (§3).

use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, digest as hashes, hmac as macs, pbkdf2};
use directory::ScramKeys;

use crate::ScramHash;

/// `H(data)`.
pub(crate) fn digest(hash: ScramHash, data: &[u8]) -> Vec<u8> {
    let algorithm = match hash {
        ScramHash::Sha1 => &hashes::SHA1_FOR_LEGACY_USE_ONLY,
        ScramHash::Sha256 => &hashes::SHA256,
    };
    hashes::digest(algorithm, data).as_ref().to_vec()
}

/// SHA-256 at its full length.
pub(crate) fn sha256(data: &[u8]) -> [u8; 32] {
    hashes::digest(&hashes::SHA256, data).as_ref().try_into().expect("SHA-256 has 32 bytes")
}

/// `HMAC(key, data)`.
pub(crate) fn hmac(hash: ScramHash, key: &[u8], data: &[u8]) -> Vec<u8> {
    let algorithm = match hash {
        ScramHash::Sha1 => macs::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
        ScramHash::Sha256 => macs::HMAC_SHA256,
    };
    macs::sign(&macs::Key::new(algorithm, key), data).as_ref().to_vec()
}

/// Compares in a time that tells nothing about where two texts of one length differ.
pub(crate) fn is_equal(a: &[u8], b: &[u8]) -> bool {
    constant_time::verify_slices_are_equal(a, b).is_ok()
}

/// The server's keys of a prepared password. Slow: `iterations` rounds.
pub(crate) fn derive(hash: ScramHash, password: &str, salt: Vec<u8>, iterations: NonZeroU32) -> ScramKeys {
    let (algorithm, bytes) = match hash {
        ScramHash::Sha1 => (pbkdf2::PBKDF2_HMAC_SHA1, 20),
        ScramHash::Sha256 => (pbkdf2::PBKDF2_HMAC_SHA256, 32),
    };
    let mut salted_password = vec![0; bytes];
    pbkdf2::derive(algorithm, iterations, &salt, password.as_bytes(), &mut salted_password);
    let client_key = hmac(hash, &salted_password, b"Client Key");
    ScramKeys {
        salt,
        iterations: iterations.get(),
        stored_key: digest(hash, &client_key),
        server_key: hmac(hash, &salted_password, b"Server Key"),
    }
}
