//! Everybody's password in tests.

use directory::{Credential, ScramKeys};

/// The password.
pub(crate) const PASSWORD: &str = "secret";
/// Its Argon2id with parameters that cost nothing.
const ARGON2ID: &str =
    "$argon2id$v=19$m=8,t=1,p=1$BwcHBwcHBwcHBwcHBwcHBw$4R1PEQPItpvkTH5juMUak3oEb8rtWEdaRzGIjigkYIU";

/// What the directory keeps of it; its SCRAM keys are nobody's.
pub(crate) fn credential() -> Credential {
    let keys = |bytes| ScramKeys {
        salt: vec![7; 16],
        iterations: 4096,
        stored_key: vec![1; bytes],
        server_key: vec![2; bytes],
    };
    Credential { argon2id: ARGON2ID.to_owned(), scram_sha256: keys(32), scram_sha1: keys(20) }
}
