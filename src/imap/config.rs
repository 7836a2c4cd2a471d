//! What an operator decides, and what a connection is given.

use alloc::string::String;

use crate::limits::Limits;

/// The same for all connections of a listener.
#[derive(Clone, Debug)]
pub struct Config {
    /// The server's name, for the greeting.
    pub hostname: String,
    /// Which mechanisms there are when.
    pub auth: auth::Policy,
    /// Whether STARTTLS is offered on connections that are not under TLS from their start.
    pub starttls: bool,
    /// The bounds.
    pub limits: Limits,
}

impl Config {
    /// STARTTLS offered, passwords never in clear, and the bounds that hold by default.
    pub fn new(hostname: &str) -> Self {
        Self {
            hostname: hostname.into(),
            auth: auth::Policy { allow_plaintext_without_tls: false },
            starttls: true,
            limits: Limits::default(),
        }
    }
}
