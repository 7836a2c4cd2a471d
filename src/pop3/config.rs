//! What a session is told before it starts.

use alloc::string::String;

use base::Secret;

use crate::limits::{LOGIN_ATTEMPTS_MAX, Limits};

/// A listener's settings, shared by its connections.
#[derive(Clone, Debug)]
pub struct Config {
    /// Our name in the greeting.
    pub hostname: String,
    /// What may be said without TLS.
    pub auth: auth::Policy,
    /// Whether STLS is there (RFC 2595 §4); of no meaning once a connection is under TLS.
    pub starttls: bool,
    /// Bounds.
    pub limits: Limits,
}

impl Config {
    /// Usual settings: STLS offered, passwords under TLS only.
    pub fn new(hostname: &str) -> Self {
        Self {
            hostname: hostname.into(),
            auth: auth::Policy { allow_plaintext_without_tls: false },
            starttls: true,
            limits: Limits::default(),
        }
    }
}

/// Chance for one connection, drawn outside. It never comes from a fixed seed in service.
#[derive(Clone, Debug)]
pub struct Entropy {
    /// One fresh nonce for each try to log in, from the system's generator.
    pub nonces: Secret<[[u8; 18]; LOGIN_ATTEMPTS_MAX]>,
}
