//! Why a signature or a chain did not pass, in words for a comment or a log.

/// What was wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Trouble {
    /// The field is no tag list, or a tag is missing or wrong.
    SignatureSyntax,
    /// `v=` names another version.
    Version,
    /// `a=` or `k=` names something that nobody knows.
    UnknownAlgorithm,
    /// RSA with SHA-1 (RFC 8301 §3.1).
    WeakAlgorithm,
    /// `d=`, `s=` or `i=` are no names, or do not fit each other.
    Domain,
    /// `h=` does not name From (RFC 6376 §5.4).
    FromNotSigned,
    /// `x=` is over.
    Expired,
    /// `t=` is later than now, by more than clocks differ.
    InTheFuture,
    /// The name server gave no answer.
    NoAnswer,
    /// There is no key at the selector.
    NoKey,
    /// The key record is no key record.
    KeySyntax,
    /// The key was withdrawn: `p=` is empty.
    KeyRevoked,
    /// The key may not be used for this.
    KeyUnsuitable,
    /// The key has too few bits (RFC 8301 §3.2).
    KeyTooShort,
    /// The body is not the one that was signed.
    BodyChanged,
    /// `l=` is longer than the body.
    BodyTooShort,
    /// The signature does not fit header and key.
    SignatureWrong,
    /// More signatures than are looked at.
    TooMany,
    /// More bytes under signatures than are looked at.
    TooLarge,
    /// A chain whose sets are incomplete, repeated or out of order (RFC 8617 §5.2).
    ChainStructure,
    /// A chain that says of itself that it is broken.
    ChainFailed,
}

impl Trouble {
    /// Some words, without quotes, brackets or line ends.
    pub const fn words(self) -> &'static str {
        match self {
            Self::SignatureSyntax => "syntax error in signature",
            Self::Version => "unknown version",
            Self::UnknownAlgorithm => "unknown algorithm",
            Self::WeakAlgorithm => "algorithm no longer accepted",
            Self::Domain => "bad domain, selector or identity",
            Self::FromNotSigned => "From is not signed",
            Self::Expired => "signature expired",
            Self::InTheFuture => "signature from the future",
            Self::NoAnswer => "no answer for the key",
            Self::NoKey => "no key",
            Self::KeySyntax => "syntax error in key",
            Self::KeyRevoked => "key revoked",
            Self::KeyUnsuitable => "key not for this use",
            Self::KeyTooShort => "key too short",
            Self::BodyChanged => "body hash did not verify",
            Self::BodyTooShort => "body shorter than signed",
            Self::SignatureWrong => "signature did not verify",
            Self::TooMany => "too many signatures",
            Self::TooLarge => "too large to verify",
            Self::ChainStructure => "sets missing or out of order",
            Self::ChainFailed => "chain failed before",
        }
    }
}
