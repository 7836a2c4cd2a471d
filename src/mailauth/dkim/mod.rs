//! DKIM (RFC 6376, with RFC 8301 and 8463): who answers for a message.

mod sign;
mod signature;
mod verify;

use crate::key::Algorithm;
use crate::trouble::Trouble;

pub use sign::{DomainKey, KeyState, SignError, SignOptions, Signer};
pub use verify::verify;

pub(crate) use sign::{finish_field, sign_field, signed_names};
pub(crate) use signature::{
    Kind, Signature, Signed, domain_and_selector, fold_base64, instance, required_base64,
};
pub(crate) use verify::{Bodies, Claim, Keys};

/// What verifying a signature came to (RFC 8601 §2.7.1). A message without any has no outcomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DkimResult {
    /// The signature is right.
    Pass,
    /// It is wrong.
    Fail,
    /// It was not looked at.
    Policy,
    /// It cannot be understood.
    Neutral,
    /// No key came; a later check may pass.
    TempError,
    /// It can never pass.
    PermError,
}

impl DkimResult {
    /// The word of RFC 8601 §2.7.1.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Policy => "policy",
            Self::Neutral => "neutral",
            Self::TempError => "temperror",
            Self::PermError => "permerror",
        }
    }
}

impl From<Trouble> for DkimResult {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::BodyChanged | Trouble::SignatureWrong => Self::Fail,
            Trouble::NoAnswer => Self::TempError,
            Trouble::TooMany | Trouble::TooLarge | Trouble::WeakAlgorithm | Trouble::KeyTooShort => {
                Self::Policy
            }
            Trouble::SignatureSyntax | Trouble::Version | Trouble::UnknownAlgorithm => Self::Neutral,
            Trouble::Domain
            | Trouble::FromNotSigned
            | Trouble::Expired
            | Trouble::InTheFuture
            | Trouble::NoKey
            | Trouble::KeySyntax
            | Trouble::KeyRevoked
            | Trouble::KeyUnsuitable
            | Trouble::BodyTooShort
            | Trouble::ChainStructure
            | Trouble::ChainFailed => Self::PermError,
        }
    }
}

/// What became of one signature.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Dkim {
    /// The result.
    pub result: DkimResult,
    /// What was wrong, unless it passed.
    pub trouble: Option<Trouble>,
    /// `d=` in lower case, empty when it could not be read.
    pub domain: String,
    /// `i=`, the agent or user; `@` and the domain when it is not given.
    pub identity: String,
    /// `s=`.
    pub selector: String,
    /// `a=`, if it is one that we know.
    pub algorithm: Option<Algorithm>,
    /// The first characters of `b=`, to tell signatures apart (RFC 6008).
    pub mark: String,
    /// Bits of the key; 0 when none was found.
    pub key_bits: u16,
    /// The domain only tries out: a failure means nothing (`t=y`).
    pub is_testing: bool,
    /// `l=` left some of the body unsigned.
    pub has_unsigned_body: bool,
}
