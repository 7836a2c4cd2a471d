//! Why the directory was not changed.

use std::fmt;

use crate::AddressError;

/// Why a change was refused. Nothing of it was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Error {
    /// The name is taken, by an account, an alias or a domain.
    Exists,
    /// There is no such account, alias, domain or target.
    NotFound,
    /// The address's domain is not one of ours.
    UnknownDomain,
    /// The domain still has accounts or aliases.
    InUse,
    /// It is no address, or no domain name.
    Invalid(AddressError),
    /// It is no selector of a key.
    Selector,
    /// The alias would lead back to itself, or through too many others.
    AliasLoop,
    /// More than a limit of [`crate::limits`] allows, or nothing where something is needed.
    Limit {
        /// What there is too much or nothing of, with its unit.
        what: &'static str,
        /// How much of it there may be; at least 1 is needed.
        max: usize,
    },
    /// The store did not take it.
    Store(storage_engine::Error),
}

impl From<AddressError> for Error {
    fn from(error: AddressError) -> Self {
        Self::Invalid(error)
    }
}

impl From<storage_engine::Error> for Error {
    fn from(error: storage_engine::Error) -> Self {
        Self::Store(error)
    }
}

/// What is wrong and what helps.
impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exists => {
                f.write_str("the name is taken already; choose another or change the one there is")
            }
            Self::NotFound => f.write_str("there is no such name; look at the list, or create it first"),
            Self::UnknownDomain => f.write_str("the domain is not one of ours; add the domain first"),
            Self::InUse => f.write_str("the domain still has accounts or aliases; remove or move them first"),
            Self::Invalid(error) => write!(f, "{error}; correct it and try again"),
            Self::Selector => {
                f.write_str("a selector is made of lower-case letters, digits, hyphens and dots")
            }
            Self::AliasLoop => f.write_str(
                "the alias leads back to itself or through too many others; give it accounts as targets",
            ),
            Self::Limit { what, max } => write!(f, "{what}: from 1 to {max} are possible"),
            Self::Store(error) => write!(f, "the store did not take the change: {error}"),
        }
    }
}

impl std::error::Error for Error {}
