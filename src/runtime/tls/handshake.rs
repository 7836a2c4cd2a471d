//! What a handshake tells besides its keys. rustls hands it to callbacks of the configuration,
//! which is shared by all connections; a handshake runs on one thread and within one call, so the
//! thread can hold its findings meanwhile.

use std::cell::RefCell;
use std::sync::Arc;

use base::Secret;
use rustls::KeyLog;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use super::Certificates;

/// The findings of one connection's handshake.
#[derive(Debug, Default)]
pub(super) struct Findings {
    /// The name the client asked for.
    pub(super) server_name: Option<String>,
    /// `tls-server-end-point` of the certificate that was sent, where it is defined.
    pub(super) end_point: Option<Arc<[u8]>>,
    /// TLS 1.3's exporter secret (RFC 8446 §7.5).
    pub(super) exporter: Option<Secret<Vec<u8>>>,
}

thread_local! {
    static CURRENT: RefCell<Option<Findings>> = const { RefCell::new(None) };
}

/// Runs a step of a handshake and adds what it tells to `findings`.
pub(super) fn observe<R>(findings: &mut Findings, step: impl FnOnce() -> R) -> R {
    CURRENT.set(Some(std::mem::take(findings)));
    let result = step();
    *findings = CURRENT.take().unwrap_or_default();
    result
}

fn note(take: impl FnOnce(&mut Findings)) {
    CURRENT.with_borrow_mut(|current| current.as_mut().map(take));
}

/// Finds the certificate for a client, and notes which it was.
#[derive(Debug)]
pub(super) struct Resolver(pub(super) Arc<Certificates>);

impl ResolvesServerCert for Resolver {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let name = hello.server_name();
        let certificate = self.0.find(name);
        note(|findings| {
            findings.server_name = name.map(str::to_owned);
            findings.end_point = certificate.end_point();
        });
        Some(certificate.key())
    }
}

/// Takes the exporter secret, which rustls's unbuffered connections give out in no other way. It
/// stays in the connection, behind [`Secret`], until the channel binding is made of it.
#[derive(Debug)]
pub(super) struct ExporterTap;

const EXPORTER: &str = "EXPORTER_SECRET";

impl KeyLog for ExporterTap {
    fn will_log(&self, label: &str) -> bool {
        label == EXPORTER
    }

    fn log(&self, label: &str, _client_random: &[u8], secret: &[u8]) {
        if label == EXPORTER {
            note(|findings| findings.exporter = Some(Secret::new(secret.to_vec())));
        }
    }
}
