//! `angarium domain dkim`: the keys that sign a domain's mail. They are made on the server and never leave it; what is
//! shown is what is to be published.

use std::path::Path;
use std::rc::Rc;

use base::{Secret, Timestamp};
use clap::{Subcommand, ValueEnum};
use directory::{Directory, DkimAlgorithm, DkimKey, DkimState};
use mailauth::{Algorithm, PrivateKey};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shard::Shard;

use crate::people::refused;
use crate::{Config, Exit, Failure, Host, Request, print};

#[derive(Debug, Subcommand)]
pub(crate) enum DkimCommand {
    /// Make a key. It waits until it is published and made active.
    Add {
        /// The domain.
        domain: String,
        /// Its name within the domain; default: the algorithm and the date.
        #[arg(long)]
        selector: Option<String>,
        /// How it signs.
        #[arg(long, default_value = "rsa")]
        algorithm: AlgorithmName,
        /// Let it sign at once: only where it is published already, or mail may fail until it is.
        #[arg(long)]
        active: bool,
    },
    /// The keys of a domain.
    List {
        /// The domain.
        domain: String,
    },
    /// Say whether a key signs.
    State {
        /// The domain.
        domain: String,
        /// The key's name.
        selector: String,
        /// What it does from now on.
        state: StateName,
    },
    /// Forget a key that does not sign.
    Remove {
        /// The domain.
        domain: String,
        /// The key's name.
        selector: String,
    },
}

/// Algorithms by the names of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum AlgorithmName {
    /// RSA with 2048 bits, which everybody can verify.
    Rsa,
    /// Ed25519, small and fast; beside an RSA key, for not everybody knows it.
    Ed25519,
}

/// States by the names of the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum StateName {
    /// It is to be published, and does not sign.
    Waiting,
    /// It signs.
    Active,
    /// It signs no more, and stays published for mail that is on its way.
    Retiring,
}

/// What is asked about keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DkimRequest {
    /// Makes a key.
    Add {
        /// The domain.
        domain: String,
        /// Its name; `None` is made of algorithm and date.
        selector: Option<String>,
        /// How it signs.
        algorithm: DkimAlgorithm,
        /// Whether it signs at once.
        is_active: bool,
    },
    /// The keys of a domain.
    List {
        /// The domain.
        domain: String,
    },
    /// Says whether a key signs.
    State {
        /// The domain.
        domain: String,
        /// The key's name.
        selector: String,
        /// Whether it signs.
        state: DkimState,
    },
    /// Forgets a key.
    Remove {
        /// The domain.
        domain: String,
        /// The key's name.
        selector: String,
    },
}

impl DkimRequest {
    /// Whether it changes the directory.
    pub(crate) const fn is_change(&self) -> bool {
        !matches!(self, Self::List { .. })
    }
}

/// `angarium domain dkim`.
pub(crate) fn dkim(
    command: DkimCommand,
    file: &Path,
    host: &dyn Host,
    is_json: bool,
) -> Result<Exit, Failure> {
    let ask = match command {
        DkimCommand::Add { domain, selector, algorithm, active } => DkimRequest::Add {
            domain,
            selector: selector.map(|selector| selector.to_ascii_lowercase()),
            algorithm: match algorithm {
                AlgorithmName::Rsa => DkimAlgorithm::Rsa,
                AlgorithmName::Ed25519 => DkimAlgorithm::Ed25519,
            },
            is_active: active,
        },
        DkimCommand::List { domain } => DkimRequest::List { domain },
        DkimCommand::State { domain, selector, state } => DkimRequest::State {
            domain,
            selector,
            state: match state {
                StateName::Waiting => DkimState::Waiting,
                StateName::Active => DkimState::Active,
                StateName::Retiring => DkimState::Retiring,
            },
        },
        DkimCommand::Remove { domain, selector } => DkimRequest::Remove { domain, selector },
    };
    let is_list = !ask.is_change();
    let mut answer = host.control(&Config::read(file)?)?.call(&Request::Dkim { ask }, &[])?.json;
    if !is_json && is_list {
        // Too long for a table; `domain dns` shows it as a zone has it.
        answer.as_array_mut().into_iter().flatten().filter_map(Value::as_object_mut).for_each(|key| {
            key.remove("record");
        });
    }
    print::answer(&answer, is_json);
    Ok(Exit::Done)
}

/// Executes a request on the shard that owns the directory.
pub(crate) async fn execute(
    shard: &Rc<Shard>,
    directory: &Directory,
    ask: DkimRequest,
) -> Result<Value, Failure> {
    match ask {
        DkimRequest::Add { domain, selector, algorithm, is_active } => {
            let name = ours(directory, &domain)?;
            let created = shard.world.now();
            let selector = selector.unwrap_or_else(|| selector_of(algorithm, created));
            let state = if is_active { DkimState::Active } else { DkimState::Waiting };
            let der = generate(shard, algorithm).await?;
            let key = DkimKey { selector, algorithm, state, der, created };
            let about = about(&name, &key);
            directory.add_dkim_key(&name, key).await.map_err(|error| refused(&error))?;
            Ok(about)
        }
        DkimRequest::List { domain } => {
            let name = ours(directory, &domain)?;
            Ok(directory.dkim_keys(&name).iter().map(|key| about(&name, key)).collect())
        }
        DkimRequest::State { domain, selector, state } => {
            let name = ours(directory, &domain)?;
            directory
                .set_dkim_state(&name, &selector, state)
                .await
                .map_err(|error| unknown(&name, &selector, &error))?;
            Ok(json!({ "domain": name, "selector": selector, "state": state }))
        }
        DkimRequest::Remove { domain, selector } => {
            let name = ours(directory, &domain)?;
            let is_active = |key: &DkimKey| {
                key.selector.eq_ignore_ascii_case(&selector) && key.state == DkimState::Active
            };
            if directory.dkim_keys(&name).iter().any(is_active) {
                return Err(Failure::new(
                    Exit::Data,
                    format!(
                        "{selector} signs: `angarium domain dkim state {name} {selector} retiring` first, and remove it \
                         when no mail that it signed is on its way any more, in a week or so"
                    ),
                ));
            }
            let removed = directory.remove_dkim_key(&name, &selector).await;
            removed.map_err(|error| unknown(&name, &selector, &error))?;
            Ok(json!({ "removed": selector }))
        }
    }
}

/// The domain as the directory spells it.
fn ours(directory: &Directory, name: &str) -> Result<String, Failure> {
    let words = || format!("{name} is no domain of ours; `angarium domain list` shows those there are");
    directory.domain(name).map(|domain| domain.name).ok_or_else(|| Failure::new(Exit::NotFound, words()))
}

fn unknown(domain: &str, selector: &str, error: &directory::Error) -> Failure {
    if *error != directory::Error::NotFound {
        return refused(error);
    }
    let words =
        format!("{domain} has no key {selector}; `angarium domain dkim list {domain}` shows those there are");
    Failure::new(Exit::NotFound, words)
}

/// Such as `rsa20261124`.
fn selector_of(algorithm: DkimAlgorithm, now: Timestamp) -> String {
    let (year, month, day, ..) = now.civil_utc();
    let word = match algorithm {
        DkimAlgorithm::Rsa => "rsa",
        DkimAlgorithm::Ed25519 => "ed",
    };
    format!("{word}{year:04}{month:02}{day:02}")
}

/// A new key. RSA's takes long to find.
async fn generate(shard: &Shard, algorithm: DkimAlgorithm) -> Result<Secret<Vec<u8>>, Failure> {
    let algorithm = match algorithm {
        DkimAlgorithm::Rsa => Algorithm::RsaSha256,
        DkimAlgorithm::Ed25519 => Algorithm::Ed25519Sha256,
    };
    let work = move || PrivateKey::generate(algorithm).and_then(|key| key.to_der());
    let made = shard.off_shard(work).await;
    let made =
        made.map_err(|_| Failure::new(Exit::Unavailable, "the server is too busy to make a key; try again"))?;
    made.map_err(|_| Failure::new(Exit::Internal, "no key could be made"))
}

/// What may be seen of a key.
fn about(domain: &str, key: &DkimKey) -> Value {
    let record = PrivateKey::from_der(key.der.reveal()).and_then(|private| private.record());
    json!({
        "domain": domain,
        "selector": key.selector,
        "algorithm": key.algorithm,
        "state": key.state,
        "created_s": key.created.as_s(),
        "record": record.ok(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_selector_tells_algorithm_and_date() {
        let now = Timestamp::from_civil_utc(2026, 3, 7, 12, 0, 0);
        assert_eq!(selector_of(DkimAlgorithm::Rsa, now), "rsa20260307");
        assert_eq!(selector_of(DkimAlgorithm::Ed25519, now), "ed20260307");
    }
}
