//! Password hashes. Both functions take tens of milliseconds by design: the blocking pool's work, never
//! a shard's.

use std::borrow::Cow;
use std::num::NonZeroU32;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use base::Secret;
use directory::Credential;

use crate::limits::{ARGON2_MEMORY_KIB, ARGON2_PASSES, SCRAM_ITERATIONS_MIN};
use crate::scram::{derive, hmac};
use crate::{ScramCredential, ScramHash};

/// Bytes of a SCRAM salt.
const SALT_BYTES: usize = 16;

/// Makes the credential of a password: Argon2id (RFC 9106) and both SCRAM keys. `salt` is fresh
/// randomness; fewer rounds than [`SCRAM_ITERATIONS_MIN`] are raised to it.
pub fn hash_password(password: &Secret<String>, salt: [u8; 16], scram_iterations: u32) -> Credential {
    let prepared = prepare(password.reveal());
    let argon2id: PasswordHash = argon2()
        .hash_password_with_salt(prepared.as_bytes(), &salt)
        .expect("the parameters are constants and a password's length is bounded far below Argon2's");
    let rounds = scram_iterations.max(SCRAM_ITERATIONS_MIN);
    let rounds = NonZeroU32::new(rounds).expect("the least number of rounds is not 0");
    let keys = |hash| derive(hash, &prepared, scram_salt(&salt, hash, b""), rounds);
    Credential {
        argon2id: argon2id.to_string(),
        scram_sha256: keys(ScramHash::Sha256),
        scram_sha1: keys(ScramHash::Sha1),
    }
}

/// Whether it is the credential's password. A hash that cannot be read matches nothing.
pub fn verify_password(credential: &Credential, password: &Secret<String>) -> bool {
    let Ok(hash) = PasswordHash::new(&credential.argon2id) else { return false };
    argon2().verify_password(prepare(password.reveal()).as_bytes(), &hash).is_ok()
}

/// Takes the time of [`verify_password`] and matches nothing: for names that nobody has, so that the
/// time does not tell which they are.
pub fn verify_absent(password: &Secret<String>) {
    let mut hash = [0; 32];
    argon2()
        .hash_password_into(prepare(password.reveal()).as_bytes(), &[0; 16], &mut hash)
        .expect("the parameters are constants and a password's length is bounded far below Argon2's");
    std::hint::black_box(hash);
}

impl ScramCredential {
    /// Keys for a name that nobody has: the same salt each time, and no password opens them, so that
    /// a stranger cannot tell the name from a real one. `server_secret` must outlive restarts, or the
    /// salts change with them; `iterations` is what real credentials have.
    pub fn fabricate(
        server_secret: &Secret<[u8; 32]>,
        username: &str,
        hash: ScramHash,
        iterations: u32,
    ) -> Self {
        let secret = server_secret.reveal();
        // Case is folded as the look-up of a real name would.
        let name = username.to_lowercase();
        let key = |label: &str| hmac(hash, secret, format!("{label}\0{name}").as_bytes());
        let keys = directory::ScramKeys {
            salt: scram_salt(secret, hash, name.as_bytes()),
            iterations: iterations.max(SCRAM_ITERATIONS_MIN),
            stored_key: key("stored"),
            server_key: key("server"),
        };
        Self { keys, identity: None }
    }
}

/// Each hash has a salt of its own, made from the one that was given.
fn scram_salt(salt: &[u8], hash: ScramHash, context: &[u8]) -> Vec<u8> {
    let label: &[u8] = match hash {
        ScramHash::Sha1 => b"SCRAM-SHA-1\0",
        ScramHash::Sha256 => b"SCRAM-SHA-256\0",
    };
    let mut made = hmac(ScramHash::Sha256, salt, &[label, context].concat());
    made.truncate(SALT_BYTES);
    made
}

/// SASLprep (RFC 4013, now RFC 8265). A password that it refuses (an emoji is newer than its tables) is
/// taken as it is, both when it is set and when it is checked.
fn prepare(password: &str) -> Cow<'_, str> {
    stringprep::saslprep(password).unwrap_or(Cow::Borrowed(password))
}

fn argon2() -> Argon2<'static> {
    let params = Params::new(ARGON2_MEMORY_KIB, ARGON2_PASSES, 1, None);
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params.expect("the parameters are constants"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret(text: &str) -> Secret<String> {
        Secret::new(text.to_owned())
    }

    #[test]
    fn a_password_opens_its_own_credential_only() {
        let credential = hash_password(&secret("pencil \u{1f511}"), [7; 16], 1);
        assert!(credential.argon2id.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"));
        assert!(verify_password(&credential, &secret("pencil \u{1f511}")));
        assert!(!verify_password(&credential, &secret("pencil")));
        assert!(!verify_password(&credential, &secret("")));
        assert_eq!(credential.scram_sha1.iterations, SCRAM_ITERATIONS_MIN);
        assert_ne!(credential.scram_sha1.salt, credential.scram_sha256.salt);
        assert_eq!(format!("{credential:?}"), "Credential(***)");
        let broken = Credential { argon2id: "$1$x".to_owned(), ..credential };
        assert!(!verify_password(&broken, &secret("pencil")));
    }

    #[test]
    fn a_password_has_one_form() {
        // RFC 4013 §3 (now RFC 8265): a soft hyphen maps to nothing, a feminine ordinal to `a`.
        let credential = hash_password(&secret("I\u{ad}X\u{aa}"), [7; 16], 4_096);
        assert!(verify_password(&credential, &secret("IXa")));
    }

    #[test]
    fn a_name_nobody_has_looks_the_same_each_time() {
        let fake = |secret: u8, name, hash| {
            ScramCredential::fabricate(&Secret::new([secret; 32]), name, hash, 10_000)
        };
        let once = fake(1, "nobody@example.org", ScramHash::Sha256);
        assert_eq!(once, fake(1, "Nobody@Example.org", ScramHash::Sha256));
        assert_eq!((once.identity.is_none(), once.keys.salt.len()), (true, 16));
        assert_eq!((once.keys.stored_key.len(), once.keys.server_key.len()), (32, 32));
        assert_ne!(once.keys.salt, fake(1, "noone@example.org", ScramHash::Sha256).keys.salt);
        assert_ne!(once.keys.salt, fake(2, "nobody@example.org", ScramHash::Sha256).keys.salt);
        assert_ne!(once.keys.salt, fake(1, "nobody@example.org", ScramHash::Sha1).keys.salt);
    }
}
