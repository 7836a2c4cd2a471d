//! TLS as a client: one configuration for all destinations, whose handshake asks for nothing but that
//! the other end has the key of its certificate. What that certificate must prove is looked at when the
//! handshake is done, before a byte of ours goes: so it is looked at for resumed sessions too, against
//! the records and dates of now, and sessions can be resumed whatever is demanded.

use std::path::Path;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{
    Resumption, UnbufferedClientConnection, verify_server_cert_signed_by_trust_anchor, verify_server_name,
};
use rustls::crypto::{
    WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature_with_raw_key,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, SubjectPublicKeyInfoDer, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use transport::dane::{Satisfied, satisfied};
use transport::{Demand, Fault, Identity, Proof};

use super::TlsError;
use crate::clock;
use crate::limits::CLIENT_SESSIONS_MAX;

/// The public authorities that are trusted. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Authorities(Arc<RootCertStore>);

impl Authorities {
    /// Those of the system; `SSL_CERT_FILE` and `SSL_CERT_DIR` name others. What cannot be read is
    /// left out.
    pub fn of_system() -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Self(Arc::new(roots))
    }

    /// Those of a PEM file.
    pub fn from_file(path: &Path) -> Result<Self, TlsError> {
        let certificates = CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| super::certificates::from_pem(path, &error))?;
        let mut roots = RootCertStore::empty();
        let (taken, _) = roots.add_parsable_certificates(certificates);
        if taken == 0 {
            return Err(TlsError::Pem { path: path.to_owned(), problem: "holds no certificate" });
        }
        Ok(Self(Arc::new(roots)))
    }

    /// How many there are. Without any, nobody can prove a name.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// Begins TLS on connections to other servers and remembers sessions by their names, up to a bound.
/// One for each shard; cheap to clone.
#[derive(Clone, Debug)]
pub struct TlsConnector {
    config: Arc<ClientConfig>,
    /// The same, which remembers no session.
    forgetful: Arc<ClientConfig>,
    authorities: Authorities,
    algorithms: WebPkiSupportedAlgorithms,
}

impl TlsConnector {
    /// TLS 1.2 and 1.3 (RFC 9325 §3.1.1).
    pub fn new(authorities: Authorities) -> Result<Self, TlsError> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let algorithms = provider.signature_verification_algorithms;
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(TlsError::Certificate)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(HasKey(algorithms)))
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        let forgetful = Arc::new(config.clone());
        config.resumption = Resumption::in_memory_sessions(CLIENT_SESSIONS_MAX);
        Ok(Self { config: Arc::new(config), forgetful, authorities, algorithms })
    }

    /// For names that strangers choose: each session is a new one, and takes no place of others.
    #[must_use]
    pub fn without_memory(self) -> Self {
        Self { config: Arc::clone(&self.forgetful), ..self }
    }

    /// `without_name` stands for a server that has no host name.
    pub(super) fn begin(
        &self,
        server_name: &str,
        without_name: std::net::IpAddr,
    ) -> Result<UnbufferedClientConnection, Error> {
        let name = ServerName::try_from(server_name.to_owned()).unwrap_or(ServerName::from(without_name));
        UnbufferedClientConnection::new(Arc::clone(&self.config), name)
    }

    /// Whether the chain, the server's own certificate first, proves what is demanded.
    pub(super) fn prove(&self, demand: &Demand, chain: &[CertificateDer<'_>]) -> Result<Proof, Fault> {
        match &demand.identity {
            Identity::Anyone => Ok(Proof::Nothing),
            Identity::Authority { names } => {
                self.is_issued(chain, &self.authorities.0, names)?;
                Ok(Proof::Authority)
            }
            Identity::Dane { records, names } => {
                let bytes: Vec<&[u8]> = chain.iter().map(AsRef::as_ref).collect();
                match satisfied(records, &bytes).ok_or(Fault::TlsaInvalid)? {
                    Satisfied::EndEntity => {}
                    Satisfied::Anchors(anchors) => {
                        let mut roots = RootCertStore::empty();
                        roots.add_parsable_certificates(anchors.into_iter().map(CertificateDer::from));
                        self.is_issued(chain, &roots, names)?;
                    }
                }
                Ok(Proof::Dane)
            }
        }
    }

    /// Issued, in the end, by one of `roots`, in date, and for one of the names.
    fn is_issued(
        &self,
        chain: &[CertificateDer<'_>],
        roots: &RootCertStore,
        names: &[String],
    ) -> Result<(), Fault> {
        let (own, others) = chain.split_first().ok_or(Fault::ValidationFailure)?;
        let own = ParsedCertificate::try_from(own).map_err(|error| fault(&error))?;
        let now = UnixTime::since_unix_epoch(clock::now().since(base::Timestamp::default()));
        verify_server_cert_signed_by_trust_anchor(&own, roots, others, now, self.algorithms.all)
            .map_err(|error| fault(&error))?;
        let is_named = names.iter().any(|name| {
            ServerName::try_from(name.as_str()).is_ok_and(|name| verify_server_name(&own, &name).is_ok())
        });
        if is_named { Ok(()) } else { Err(Fault::CertificateHostMismatch) }
    }
}

fn fault(error: &Error) -> Fault {
    let Error::InvalidCertificate(error) = error else { return Fault::ValidationFailure };
    match error {
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => Fault::CertificateExpired,
        CertificateError::UnknownIssuer => Fault::CertificateNotTrusted,
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Fault::CertificateHostMismatch
        }
        _ => Fault::ValidationFailure,
    }
}

/// Checks that the other end has the key of its certificate, and nothing else about it.
#[derive(Debug)]
struct HasKey(WebPkiSupportedAlgorithms);

impl ServerCertVerifier for HasKey {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.0)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        // By its key alone: mail servers have certificates of old forms, which DANE allows.
        let key = transport::public_key(cert)
            .ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))
            .map(SubjectPublicKeyInfoDer::from)?;
        verify_tls13_signature_with_raw_key(message, &key, dss, &self.0)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.supported_schemes()
    }
}
