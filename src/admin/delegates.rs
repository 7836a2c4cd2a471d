//! `angarium account delegate`: who may send as an account or alias, or on behalf of it.

use clap::Args;
use directory::{Directory, EmailAddress, SendRight, SentCopy};
use serde_json::{Value, json};

use crate::people::{parse, refused};
use crate::{Exit, Failure, Request};

#[derive(Debug, Args)]
pub(crate) struct DelegateArgs {
    /// The address of an account or alias.
    address: String,
    /// An account, or an alias for all its members, that may send as it.
    #[arg(long, value_name = "WHO", conflicts_with_all = ["on_behalf", "remove"])]
    send_as: Option<String>,
    /// One that may send with this address in From and their own in Sender.
    #[arg(long, value_name = "WHO", conflicts_with = "remove")]
    on_behalf: Option<String>,
    /// One that may do neither any more.
    #[arg(long, value_name = "WHO")]
    remove: Option<String>,
}

impl DelegateArgs {
    pub(crate) fn request(self) -> Request {
        let Self { address, send_as, on_behalf, remove } = self;
        let (who, right) = match (send_as, on_behalf, remove) {
            (Some(who), ..) => (who, Some(SendRight::SendAs)),
            (None, Some(who), _) => (who, Some(SendRight::OnBehalf)),
            (None, None, Some(who)) => (who, None),
            (None, None, None) => return Request::AccountDelegates { address },
        };
        Request::AccountDelegate { address, who, right }
    }
}

/// Which sent mail is copied, by its names on the command line.
pub(crate) fn sent_copy(name: &str) -> Result<SentCopy, String> {
    serde_json::from_value(json!(name)).map_err(|_| "none, own, delegates or all".to_owned())
}

/// Answers a request about delegates.
pub(crate) async fn execute(directory: &Directory, request: Request) -> Result<Value, Failure> {
    match request {
        Request::AccountDelegates { address } => list(directory, &parse(&address)?),
        Request::AccountDelegate { address, who, right } => {
            let (address, who) = (parse(&address)?, parse(&who)?);
            for named in [&address, &who] {
                if directory.account_by_address(named).is_none() && directory.alias(named).is_none() {
                    let words = format!("{named} is neither an account nor an alias here");
                    return Err(Failure::new(Exit::NotFound, words));
                }
            }
            let changed = directory.set_delegate(&address, &who, right).await;
            changed.map_err(|error| match (&error, right) {
                (directory::Error::NotFound, None) => {
                    Failure::new(Exit::NotFound, format!("{who} has no such right over {address}"))
                }
                _ => refused(&error),
            })?;
            list(directory, &address)
        }
        _ => unreachable!("`people` sends only what is about delegates"),
    }
}

fn list(directory: &Directory, address: &EmailAddress) -> Result<Value, Failure> {
    let delegates = directory.delegates(address).map_err(|error| match error {
        directory::Error::NotFound => {
            Failure::new(Exit::NotFound, format!("{address} is neither an account nor an alias here"))
        }
        other => refused(&other),
    })?;
    let rows =
        delegates.iter().map(|delegate| json!({ "who": delegate.who.to_string(), "right": delegate.right }));
    Ok(json!({ "address": address.to_string(), "delegates": rows.collect::<Vec<_>>() }))
}
