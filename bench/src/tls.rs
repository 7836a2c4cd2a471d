//! TLS on a connection. Signatures are verified, as they cost time on both sides; who signed the
//! certificate is not, as servers under test have certificates of their own making.

use std::io::{Read as _, Write as _};
use std::net::IpAddr;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, ClientConnection, DigitallySignedStruct, SignatureScheme};

use crate::wrong::Wrong;

/// The client's side of TLS on one connection, in memory.
pub(crate) struct Tls(Box<ClientConnection>);

/// Common to all connections.
pub(crate) fn config() -> Arc<ClientConfig> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let verifier = Arc::new(AnyCertificate(Arc::clone(&provider)));
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("the provider has cipher suites for TLS 1.2 and 1.3")
        .dangerous()
        .with_custom_certificate_verifier(verifier)
        .with_no_client_auth();
    Arc::new(config)
}

impl Tls {
    pub(crate) fn new(config: &Arc<ClientConfig>, host: IpAddr) -> Result<Self, Wrong> {
        let mut connection = ClientConnection::new(Arc::clone(config), ServerName::from(host))
            .map_err(|error| wrong(&error))?;
        connection.set_buffer_limit(None);
        Ok(Self(Box::new(connection)))
    }

    /// Takes bytes off the wire and appends what they say to `plain`.
    pub(crate) fn receive(&mut self, mut wire: &[u8], plain: &mut Vec<u8>) -> Result<(), Wrong> {
        while !wire.is_empty() {
            self.0.read_tls(&mut wire).map_err(|error| Wrong::io("TLS", &error))?;
            let state = self.0.process_new_packets().map_err(|error| wrong(&error))?;
            let start = plain.len();
            plain.resize(start + state.plaintext_bytes_to_read(), 0);
            self.0.reader().read_exact(&mut plain[start..]).map_err(|error| Wrong::io("TLS", &error))?;
        }
        Ok(())
    }

    /// Appends to `wire` what says `plain`, and whatever TLS itself has to say.
    pub(crate) fn send(&mut self, plain: &[u8], wire: &mut Vec<u8>) -> Result<(), Wrong> {
        self.0.writer().write_all(plain).map_err(|error| Wrong::io("TLS", &error))?;
        while self.0.wants_write() {
            self.0.write_tls(wire).map_err(|error| Wrong::io("TLS", &error))?;
        }
        Ok(())
    }
}

fn wrong(error: &rustls::Error) -> Wrong {
    Wrong::Answer(format!("TLS: {error}"))
}

#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
