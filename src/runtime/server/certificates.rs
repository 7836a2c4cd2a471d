//! The configured certificates, read at the start and again at each reload.

use std::sync::Arc;

use admin::{Config, Exit, Failure};

use crate::tls::{Authorities, Certificate, Certificates, TlsError};

/// The default certificate and those with names of their own.
type Set = (Certificate, Named);
/// Certificates with the names they serve.
type Named = Vec<(String, Certificate)>;

/// Reads what is configured, or the certificate we made for ourselves.
pub(super) fn read(config: &Config) -> Result<Arc<Certificates>, Failure> {
    let (default, named) = load(config)?;
    Ok(Certificates::new(default, named))
}

/// Puts the files' present content in force; on failure the old ones stay.
pub(super) fn reload(config: &Config, certificates: &Certificates) -> Result<(), Failure> {
    let (default, named) = load(config)?;
    certificates.replace(default, named);
    Ok(())
}

/// The configured certificates alone: the default, if there is any, and the names.
pub(super) fn configured(config: &Config) -> Result<(Option<Certificate>, Named), Failure> {
    let mut default = None;
    let mut named = Vec::new();
    for entry in &config.tls.certificates {
        let certificate =
            Certificate::from_files(&entry.certificate, &entry.key).map_err(|error| failed(&error))?;
        named.extend(entry.names.iter().map(|name| (name.to_ascii_lowercase(), certificate.clone())));
        default.get_or_insert(certificate);
    }
    Ok((default, named))
}

/// The authorities for other servers' certificates, if they are not to be the system's.
pub(super) fn authorities(config: &Config) -> Result<Option<Authorities>, Failure> {
    let file = Some(&config.tls.authorities).filter(|file| !file.as_os_str().is_empty());
    file.map(|file| Authorities::from_file(file).map_err(|error| failed(&error))).transpose()
}

fn failed(error: &TlsError) -> Failure {
    Failure::new(Exit::Config, format!("TLS: {error}"))
}

fn load(config: &Config) -> Result<Set, Failure> {
    let (default, named) = configured(config)?;
    let default = if let Some(certificate) = default {
        certificate
    } else {
        let names = [config.server.hostname.clone(), "localhost".to_owned(), "127.0.0.1".to_owned()];
        Certificate::self_signed(&config.server.data.join("tls"), &names).map_err(|error| failed(&error))?
    };
    Ok((default, named))
}
