//! A password on its way from the command line to the shard that hashes it.

use base::Secret;
use serde::{Deserialize, Serialize};

/// A password. It prints as stars and is in clear on the control socket alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Password(Secret<String>);

impl Password {
    /// The password itself.
    pub const fn reveal(&self) -> &String {
        self.0.reveal()
    }

    /// In the form that the hash functions take.
    pub(crate) const fn secret(&self) -> &Secret<String> {
        &self.0
    }
}

impl From<String> for Password {
    fn from(text: String) -> Self {
        Self(Secret::new(text))
    }
}

impl From<Password> for String {
    fn from(password: Password) -> Self {
        password.0.into_inner()
    }
}
