//! `angarium account forward`: where an account's mail goes on to.

use base::AccountId;
use clap::Args;
use directory::{Directory, Forwarding};
use serde_json::Value;

use crate::people::{account_json, parse, refused};
use crate::{Failure, Request};

#[derive(Debug, Args)]
pub(crate) struct ForwardArgs {
    /// The account's address.
    address: String,
    /// Where its mail goes on to, here or elsewhere.
    #[arg(long, value_name = "ADDRESS", required_unless_present = "off")]
    to: Option<String>,
    /// The account gets it as well.
    #[arg(long, requires = "to")]
    keep_copy: bool,
    /// Nowhere: the account gets its mail itself.
    #[arg(long, conflicts_with = "to")]
    off: bool,
}

impl ForwardArgs {
    pub(crate) fn request(self) -> Request {
        Request::AccountForward { address: self.address, to: self.to, keeps_copy: self.keep_copy }
    }
}

/// Changes where an account's mail goes on to.
pub(crate) async fn execute(
    directory: &Directory,
    id: AccountId,
    to: Option<&str>,
    keeps_copy: bool,
) -> Result<Value, Failure> {
    let to = to.map(parse).transpose()?;
    let forward = to.map(|to| Forwarding { to, keeps_copy });
    let entry = directory.set_forward(id, forward).await.map_err(|error| refused(&error))?;
    Ok(account_json(&entry))
}
