//! Certificates: read from PEM files or made for ourselves, found by name, exchanged while running.

use std::collections::HashMap;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair, KeyUsagePurpose,
};
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::CertifiedKey;

use super::{TlsError, bindings};
use crate::clock;
use crate::limits::SELF_SIGNED_DAYS;

/// A certificate chain with its private key.
#[derive(Clone, Debug)]
pub struct Certificate {
    key: Arc<CertifiedKey>,
    end_point: Option<Arc<[u8]>>,
}

impl Certificate {
    /// Reads a chain (the server's own certificate first) and its key from PEM files. They may be
    /// the same file.
    pub fn from_files(chain: &Path, key: &Path) -> Result<Self, TlsError> {
        let certificates = CertificateDer::pem_file_iter(chain)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| from_pem(chain, &error))?;
        if certificates.is_empty() {
            return Err(TlsError::Pem { path: chain.to_owned(), problem: "holds no certificate" });
        }
        let key = PrivateKeyDer::from_pem_file(key).map_err(|error| from_pem(key, &error))?;
        Self::from_der(certificates, &key)
    }

    /// The certificate kept in `folder`, made there if there is none: ECDSA P-256, for these names
    /// (host names or addresses; at least one). Clients have to be told to trust it.
    pub fn self_signed(folder: &Path, names: &[String]) -> Result<Self, TlsError> {
        let (chain, key) = (folder.join("self-signed.pem"), folder.join("self-signed.key"));
        if !(chain.exists() && key.exists()) {
            let (certificate, pair) = make(names).map_err(|error| TlsError::SelfSigned(error.to_string()))?;
            write_new(&key, pair.serialize_pem().as_bytes(), 0o600)?;
            write_new(&chain, certificate.pem().as_bytes(), 0o644)?;
        }
        Self::from_files(&chain, &key)
    }

    fn from_der(chain: Vec<CertificateDer<'static>>, key: &PrivateKeyDer<'_>) -> Result<Self, TlsError> {
        let end_point = chain.first().and_then(|own| bindings::end_point(own)).map(Arc::from);
        let key = any_supported_type(key).map_err(TlsError::Certificate)?;
        let key = CertifiedKey::new(chain, key);
        key.keys_match().map_err(TlsError::Certificate)?;
        Ok(Self { key: Arc::new(key), end_point })
    }

    pub(super) fn key(&self) -> Arc<CertifiedKey> {
        Arc::clone(&self.key)
    }

    pub(super) fn end_point(&self) -> Option<Arc<[u8]>> {
        self.end_point.clone()
    }

    /// The chain in DER, the server's own certificate first: for fingerprints and DANE records.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.key.cert
    }
}

fn make(names: &[String]) -> Result<(rcgen::Certificate, KeyPair), rcgen::Error> {
    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)?;
    let mut parameters = CertificateParams::new(names)?;
    parameters.distinguished_name = DistinguishedName::new();
    let subject = names.first().map_or("localhost", String::as_str);
    parameters.distinguished_name.push(DnType::CommonName, subject);
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // An hour back, for clients whose clock is behind ours.
    let start = clock::now() - Duration::from_hours(1);
    let (year, month, day, ..) = start.civil_utc();
    parameters.not_before = rcgen::date_time_ymd(year as i32, month as u8, day as u8);
    let end = start + Duration::from_hours(24 * SELF_SIGNED_DAYS);
    let (year, month, day, ..) = end.civil_utc();
    parameters.not_after = rcgen::date_time_ymd(year as i32, month as u8, day as u8);
    Ok((parameters.self_signed(&key)?, key))
}

/// Writes a file that others see whole or not at all, with these permissions from its first byte on.
fn write_new(path: &Path, bytes: &[u8], mode: u32) -> Result<(), TlsError> {
    let failed = |error: io::Error| TlsError::File { path: path.to_owned(), kind: error.kind() };
    let draft = path.with_extension("new");
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&draft).map_err(failed)?;
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&draft, path).map_err(failed)
}

pub(super) fn from_pem(path: &Path, error: &PemError) -> TlsError {
    let problem = match error {
        PemError::Io(error) => return TlsError::File { path: path.to_owned(), kind: error.kind() },
        PemError::NoItemsFound => "holds no such section (a certificate, or an unencrypted private key)",
        _ => "is not in PEM format",
    };
    TlsError::Pem { path: path.to_owned(), problem }
}

#[derive(Debug)]
struct Set {
    /// By lower-case host name; `*.example.org` stands under that name.
    names: HashMap<String, Certificate>,
    default: Certificate,
}

/// Which certificate goes to which name. It can be exchanged while connections run: those that
/// handshake later get the new ones.
#[derive(Debug)]
pub struct Certificates(RwLock<Arc<Set>>);

impl Certificates {
    /// `default` goes to clients that ask for no name or for one that is not in `names`.
    pub fn new(default: Certificate, names: Vec<(String, Certificate)>) -> Arc<Self> {
        Arc::new(Self(RwLock::new(Arc::new(set(default, names)))))
    }

    /// Exchanges all of them.
    pub fn replace(&self, default: Certificate, names: Vec<(String, Certificate)>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(set(default, names));
    }

    pub(crate) fn find(&self, name: Option<&str>) -> Certificate {
        let set = Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner));
        let found = name.and_then(|name| {
            let name = name.to_ascii_lowercase();
            // A wildcard covers one label (RFC 9525 §6.3).
            let wildcard = || name.split_once('.').map(|(_, rest)| format!("*.{rest}"));
            set.names.get(&name).or_else(|| set.names.get(&wildcard()?))
        });
        found.unwrap_or(&set.default).clone()
    }
}

fn set(default: Certificate, names: Vec<(String, Certificate)>) -> Set {
    let names = names.into_iter().map(|(name, certificate)| (name.to_ascii_lowercase(), certificate));
    Set { names: names.collect(), default }
}
