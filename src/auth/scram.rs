//! SCRAM's messages and what is computed over them (RFC 5802 §3, §7).

mod keys;
mod message;

pub(crate) use keys::{derive, hmac, is_equal, sha256};
pub(crate) use message::{ClientFinal, ClientFirst};

use base::Secret;
use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::{Failure, Identity, ScramCredential, ScramHash};

/// The client has named itself; its keys are asked for.
pub(crate) struct Asked {
    pub(crate) hash: ScramHash,
    pub(crate) first: ClientFirst,
    /// The channel binding's data; empty without one.
    pub(crate) binding: Secret<Vec<u8>>,
}

/// The challenge is out; the proof is awaited.
pub(crate) struct Waiting {
    asked: Asked,
    credential: ScramCredential,
    nonce: String,
    server_first: String,
}

/// The challenge: `r=nonce,s=salt,i=iterations`.
pub(crate) fn server_first(asked: Asked, credential: ScramCredential, nonce: &str) -> (Vec<u8>, Waiting) {
    let nonce = format!("{}{nonce}", asked.first.nonce);
    let salt = STANDARD.encode(&credential.keys.salt);
    let server_first = format!("r={nonce},s={salt},i={}", credential.keys.iterations);
    let challenge = server_first.clone().into_bytes();
    (challenge, Waiting { asked, credential, nonce, server_first })
}

impl Waiting {
    pub(crate) fn authzid(&self) -> &str {
        &self.asked.first.authzid
    }

    /// The server's last message and who the client is, if its proof is right.
    pub(crate) fn verify(&self, client: &[u8]) -> Result<(Vec<u8>, Identity), Failure> {
        let message = ClientFinal::parse(client)?;
        let Asked { hash, first, binding } = &self.asked;
        let keys = &self.credential.keys;
        let expected = [first.gs2_header.as_bytes(), binding.reveal()].concat();
        let is_bound = is_equal(&message.binding, &expected);
        let is_same_nonce = is_equal(message.nonce.as_bytes(), self.nonce.as_bytes());

        let auth_message = format!("{},{},{}", first.bare, self.server_first, message.without_proof);
        let signature = hmac(*hash, &keys.stored_key, auth_message.as_bytes());
        let client_key: Vec<u8> = signature.iter().zip(&message.proof).map(|(a, b)| a ^ b).collect();
        let is_proved = message.proof.len() == signature.len()
            && is_equal(&keys::digest(*hash, &client_key), &keys.stored_key);

        // All is computed before anything is said, so that an unknown name costs what a known does.
        match &self.credential.identity {
            Some(identity) if is_bound && is_same_nonce && is_proved => {
                let server = hmac(*hash, &keys.server_key, auth_message.as_bytes());
                Ok((format!("v={}", STANDARD.encode(server)).into_bytes(), identity.clone()))
            }
            _ => Err(Failure::Denied),
        }
    }
}
