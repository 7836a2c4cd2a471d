//! What filters that are asked over HTTP are told about a message's way here.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

/// The connection and the envelope. What is not known is left out of the question.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The client's address.
    pub client_address: Option<IpAddr>,
    /// The client's port.
    pub client_port: Option<u16>,
    /// The client's name by reverse look-up, if it leads back to the address.
    pub client_name: Option<String>,
    /// What it said in HELO or EHLO.
    pub helo: Option<String>,
    /// Who logged in.
    pub user: Option<String>,
    /// The reverse-path without brackets, empty for the null path; `None` before MAIL.
    pub sender: Option<String>,
    /// The forward-paths without brackets.
    pub recipients: Vec<String>,
    /// Our id for the message.
    pub queue_id: Option<String>,
    /// This server's name.
    pub server_name: Option<String>,
    /// TLS's version, as `TLSv1.3`.
    pub tls_version: Option<String>,
    /// TLS's cipher suite.
    pub tls_cipher: Option<String>,
    /// Who issued the client's certificate.
    pub tls_issuer: Option<String>,
}
