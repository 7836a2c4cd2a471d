//! `[submission]`: what users may say of themselves.

use serde::Deserialize;
use shard::FromCheck;

/// `[submission]`
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Submission {
    /// What follows when a message names somebody in From as whom its sender may not send: `enforce`, `sender` or `any`.
    pub from: AtFrom,
}

/// What follows from a From that is not the account's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AtFrom {
    /// A refusal.
    #[default]
    Enforce,
    /// A Sender field with the account's address.
    Sender,
    /// Nothing.
    Any,
}

impl Submission {
    /// In the form the services need.
    pub(super) const fn check(&self) -> FromCheck {
        match self.from {
            AtFrom::Enforce => FromCheck::Enforce,
            AtFrom::Sender => FromCheck::Sender,
            AtFrom::Any => FromCheck::Any,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Config;
    use super::*;

    #[test]
    fn the_words_reach_the_services() {
        let from = |text: &str| {
            Config::parse(Path::new("a.toml"), text).map(|config| config.settings().inbound.from)
        };
        assert_eq!(from(""), Ok(FromCheck::Enforce));
        for (word, check) in
            [("enforce", FromCheck::Enforce), ("sender", FromCheck::Sender), ("any", FromCheck::Any)]
        {
            assert_eq!(from(&format!("[submission]\nfrom = \"{word}\"\n")), Ok(check));
        }
        assert_eq!(from("[submission]\n\nfrom = \"all\"\n").map_err(|error| error.line), Err(3));
    }
}
