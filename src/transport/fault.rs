//! What can be wrong with the protection of a hop, in the words of reports.

use serde::{Deserialize, Serialize};

/// Why a hop was not protected as it should have been: the result types of RFC 8460 §4.3.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// The host does not offer TLS.
    StarttlsNotSupported,
    /// The certificate has another name.
    CertificateHostMismatch,
    /// The certificate is not in date.
    CertificateExpired,
    /// No authority that is trusted stands behind the certificate.
    CertificateNotTrusted,
    /// Anything else that went wrong in TLS.
    ValidationFailure,
    /// TLSA records that cannot be used, or that the certificate does not satisfy.
    TlsaInvalid,
    /// Answers that contradict their signatures.
    DnssecInvalid,
    /// DANE was demanded and the host has no records.
    DaneRequired,
    /// The MTA-STS policy could not be fetched.
    StsPolicyFetchError,
    /// The MTA-STS policy cannot be read.
    StsPolicyInvalid,
    /// The certificate of the policy's web server is not right.
    StsWebpkiInvalid,
    /// One that another reporter has and this list has not.
    #[serde(other)]
    Other,
}

impl Fault {
    /// The word of the registry.
    pub const fn word(self) -> &'static str {
        match self {
            Self::StarttlsNotSupported => "starttls-not-supported",
            Self::CertificateHostMismatch => "certificate-host-mismatch",
            Self::CertificateExpired => "certificate-expired",
            Self::CertificateNotTrusted => "certificate-not-trusted",
            Self::ValidationFailure => "validation-failure",
            Self::TlsaInvalid => "tlsa-invalid",
            Self::DnssecInvalid => "dnssec-invalid",
            Self::DaneRequired => "dane-required",
            Self::StsPolicyFetchError => "sts-policy-fetch-error",
            Self::StsPolicyInvalid => "sts-policy-invalid",
            Self::StsWebpkiInvalid => "sts-webpki-invalid",
            Self::Other => "other",
        }
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_the_same_in_reports_and_in_logs() {
        let all = [
            Fault::StarttlsNotSupported,
            Fault::CertificateHostMismatch,
            Fault::CertificateExpired,
            Fault::CertificateNotTrusted,
            Fault::ValidationFailure,
            Fault::TlsaInvalid,
            Fault::DnssecInvalid,
            Fault::DaneRequired,
            Fault::StsPolicyFetchError,
            Fault::StsPolicyInvalid,
            Fault::StsWebpkiInvalid,
            Fault::Other,
        ];
        for fault in all {
            assert_eq!(serde_json::to_string(&fault).unwrap(), format!("\"{fault}\""));
        }
        assert_eq!(serde_json::from_str::<Fault>("\"new-word\"").unwrap(), Fault::Other);
    }
}
