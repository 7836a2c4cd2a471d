//! TLS by rustls without buffers of its own (`stream`): as a server, with certificates by name
//! (`certificates`) and what SCRAM needs of a connection (`bindings`), and as a client (`client`).

mod bindings;
mod certificates;
mod client;
mod handshake;
mod stream;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::UnbufferedServerConnection;

pub use certificates::{Certificate, Certificates};
pub use client::{Authorities, TlsConnector};
pub(crate) use stream::Tls;

/// Why TLS cannot be offered. Each says what to change.
#[derive(Clone, Debug, PartialEq)]
pub enum TlsError {
    /// A file cannot be read or written.
    File {
        /// Which.
        path: PathBuf,
        /// What the system said.
        kind: io::ErrorKind,
    },
    /// A file is no PEM, or holds no certificate or no private key.
    Pem {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Certificate and key do not belong together, or are of a kind that is not supported.
    Certificate(rustls::Error),
    /// A certificate of our own cannot be made.
    SelfSigned(String),
    /// There is no certificate at all.
    None,
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, kind } => write!(f, "{}: {kind}", path.display()),
            Self::Pem { path, problem } => write!(f, "{}: {problem}", path.display()),
            Self::Certificate(error) => write!(f, "the certificate cannot be used: {error}"),
            Self::SelfSigned(problem) => write!(f, "cannot make a certificate: {problem}"),
            Self::None => f.write_str("no certificate is configured"),
        }
    }
}

impl std::error::Error for TlsError {}

/// Begins TLS on connections. Cheap to clone; one configuration for the whole process.
#[derive(Clone, Debug)]
pub struct TlsAcceptor(Arc<ServerConfig>);

impl TlsAcceptor {
    /// TLS 1.2 and 1.3 (RFC 9325 §3.1.1) with these certificates, which can be exchanged later.
    pub fn new(certificates: Arc<Certificates>) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Certificate)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(handshake::Resolver(certificates)));
        config.key_log = Arc::new(handshake::ExporterTap);
        // One ticket is enough for a client that comes back; each costs a record and work.
        config.send_tls13_tickets = 1;
        config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new().map_err(TlsError::Certificate)?;
        Ok(Self(Arc::new(config)))
    }

    pub(crate) fn begin(&self) -> Result<Tls, rustls::Error> {
        UnbufferedServerConnection::new(Arc::clone(&self.0)).map(Tls::server)
    }
}
