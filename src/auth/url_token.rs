//! What proves that an IMAP URL was made here (RFC 4467 §2.4.1, mechanism INTERNAL).

use base::Secret;

use crate::ScramHash;
use crate::scram::{hmac, is_equal};

/// The first byte of a token says how the rest is made; 1 is HMAC with SHA-256.
const HMAC_SHA256: u8 = 1;

/// Bytes of a token.
const TOKEN_BYTES: usize = 33;

/// The token of a URL: `rump` is the URL up to its access identifier, byte for byte (RFC 4467 §5), and `key` its
/// mailbox's access key.
pub fn url_token(key: &Secret<[u8; 32]>, rump: &[u8]) -> Vec<u8> {
    let mut token = Vec::with_capacity(TOKEN_BYTES);
    token.push(HMAC_SHA256);
    token.extend(hmac(ScramHash::Sha256, key.reveal(), rump));
    token
}

/// Whether `token` is [`url_token`]'s, in a time that tells nothing about where it differs.
pub fn is_url_token(key: &Secret<[u8; 32]>, rump: &[u8], token: &[u8]) -> bool {
    is_equal(&url_token(key, rump), token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_of_its_key_and_url_alone() {
        let (key, other) = (Secret::new([7; 32]), Secret::new([8; 32]));
        let rump = b"imap://ann@example.org/INBOX/;UID=1;URLAUTH=anonymous";
        let token = url_token(&key, rump);
        assert_eq!(token.len(), TOKEN_BYTES);
        assert!(is_url_token(&key, rump, &token));
        assert!(!is_url_token(&other, rump, &token));
        assert!(!is_url_token(&key, &rump[1..], &token));
        assert!(!is_url_token(&key, rump, &token[..32]));
        assert!(!is_url_token(&key, rump, b""));
        for at in 0..token.len() {
            let mut wrong = token.clone();
            wrong[at] ^= 1;
            assert!(!is_url_token(&key, rump, &wrong), "byte {at}");
        }
    }
}
