//! The control protocol: what the command line asks a server. A frame is two big-endian u32
//! lengths, a JSON text, and the bytes of messages (`docs/formats/control.md`).

use std::fmt;

use directory::{SendRight, SentCopy};
use serde::{Deserialize, Serialize};

use crate::dkim::DkimRequest;
use crate::mailqueue::QueueRequest;
use crate::publish::DnsRequest;
use crate::reporting::ReportsRequest;
use crate::{Exit, Password};

/// What can be asked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "verb", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Whether a server is there.
    Ping,
    /// Adds a domain to take mail for.
    DomainAdd {
        /// Its name.
        name: String,
    },
    /// Removes a domain that nothing uses.
    DomainRemove {
        /// Its name.
        name: String,
    },
    /// Changes a domain.
    DomainSet {
        /// Its name.
        name: String,
        /// Who gets mail to addresses of it that nobody has; `None` is nobody.
        catch_all: Option<String>,
    },
    /// One domain.
    DomainShow {
        /// Its name.
        name: String,
    },
    /// Lists domains.
    DomainList,
    /// About the keys that sign a domain's mail.
    Dkim {
        /// What.
        ask: DkimRequest,
    },
    /// What a domain should publish, and what it does.
    DomainDns {
        /// Which, and what the configuration says.
        ask: DnsRequest,
    },
    /// Makes an account with its usual mailboxes.
    AccountAdd {
        /// Its address, which is also its login name.
        address: String,
        /// Its password; `None` makes an account that cannot log in yet.
        password: Option<Password>,
        /// For people.
        display_name: String,
        /// Bytes it may hold; 0 is no limit, as is `None`.
        quota_bytes: Option<u64>,
    },
    /// Makes many accounts with one password, for load tools.
    AccountAddMany {
        /// Their domain.
        domain: String,
        /// `u000`, `u001`, ... up to this many.
        count: u32,
        /// The password of all of them, those included that are there already.
        password: Password,
    },
    /// Removes an account's entry; its mail stays in the store until retention lets it go.
    AccountRemove {
        /// Its address.
        address: String,
    },
    /// Changes an account; what is `None` stays.
    AccountSet {
        /// Its address.
        address: String,
        /// A new password.
        password: Option<Password>,
        /// For people.
        display_name: Option<String>,
        /// Bytes it may hold; 0 takes the limit away.
        quota_bytes: Option<u64>,
        /// Whether it may log in and receive.
        enabled: Option<bool>,
        /// Which sent mail is also put into its Sent mailbox.
        sent_copy: Option<SentCopy>,
    },
    /// Says where an account's mail goes on to.
    AccountForward {
        /// Its address.
        address: String,
        /// Where; nowhere when it is `None`.
        to: Option<String>,
        /// The account gets it as well.
        keeps_copy: bool,
    },
    /// Says what an account, or an alias's members, may do with the address of an account or alias.
    AccountDelegate {
        /// The address.
        address: String,
        /// The account or alias that may.
        who: String,
        /// What; `None` takes it away.
        right: Option<SendRight>,
    },
    /// Who may send as an account or alias, or on behalf of it.
    AccountDelegates {
        /// Its address.
        address: String,
    },
    /// One account with what it holds.
    AccountShow {
        /// Its address.
        address: String,
    },
    /// Lists accounts.
    AccountList {
        /// The address after which to begin.
        after: Option<String>,
    },
    /// Makes or replaces an alias.
    AliasSet {
        /// The address that is replaced.
        address: String,
        /// What it stands for.
        targets: Vec<String>,
    },
    /// Removes an alias.
    AliasRemove {
        /// Its address.
        address: String,
    },
    /// Lists aliases.
    AliasList {
        /// The address after which to begin.
        after: Option<String>,
    },
    /// What all shards count.
    Metrics,
    /// The slow operations that were taken down.
    Slow {
        /// Of this shard alone.
        shard: Option<u16>,
    },
    /// About mail that waits for other systems.
    Queue {
        /// What.
        ask: QueueRequest,
    },
    /// About reports.
    Reports {
        /// What.
        ask: ReportsRequest,
    },
    /// Where an import under this name has got to.
    ImportPosition {
        /// The account's address.
        account: String,
        /// The import's name.
        source: String,
    },
    /// Puts messages into a mailbox; their bytes follow as payload, in this order.
    ImportBatch {
        /// The account's address.
        account: String,
        /// The mailbox, made if it is not there.
        mailbox: String,
        /// The import's name.
        source: String,
        /// Where the import is after these.
        position: String,
        /// The messages.
        messages: Vec<ImportMessage>,
    },
    /// Messages of a mailbox from a UID on, with their bytes as payload.
    ExportBatch {
        /// The account's address.
        account: String,
        /// The mailbox.
        mailbox: String,
        /// The first UID.
        from_uid: u32,
    },
}

/// A message without its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportMessage {
    /// Bytes of it in the payload.
    pub bytes: usize,
    /// `\Seen` and the other system flags, and keywords.
    pub flags: Vec<String>,
    /// When it was received, in seconds since 1970.
    pub received_s: i64,
}

/// The answer: JSON for people and programs, and perhaps bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Response {
    /// What was found or done.
    pub json: serde_json::Value,
    /// Bytes of messages.
    pub payload: Vec<u8>,
}

/// Why a request was not done, with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// How the command line ends.
    pub exit: Exit,
    /// For people: what is wrong and the way out.
    pub message: String,
}

impl Failure {
    /// A failure with its words.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self { exit, message: message.into() }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// The form of an answer on the wire.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "is")]
enum Wire {
    Done { answer: serde_json::Value },
    Failed { exit: u8, message: String },
}

/// Joins JSON and payload to a frame.
pub fn frame(json: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(8 + json.len() + payload.len());
    out.extend((json.len() as u32).to_be_bytes());
    out.extend((payload.len() as u32).to_be_bytes());
    out.extend(json);
    out.extend(payload);
    out
}

/// The two lengths at the front of a frame: JSON, payload.
pub fn lengths(head: [u8; 8]) -> (usize, usize) {
    let both = u64::from_be_bytes(head);
    ((both >> 32) as usize, (both & u64::from(u32::MAX)) as usize)
}

/// An answer as JSON and payload.
pub(crate) fn encode_answer(answer: Result<Response, Failure>) -> Vec<u8> {
    let (wire, payload) = match answer {
        Ok(response) => (Wire::Done { answer: response.json }, response.payload),
        Err(failure) => (Wire::Failed { exit: failure.exit as u8, message: failure.message }, Vec::new()),
    };
    let json = serde_json::to_vec(&wire).expect("an answer is made of plain values");
    frame(&json, &payload)
}

/// What [`encode_answer`] has made, on the other side.
pub fn decode_answer(json: &[u8], payload: Vec<u8>) -> Result<Response, Failure> {
    match serde_json::from_slice(json) {
        Ok(Wire::Done { answer }) => Ok(Response { json: answer, payload }),
        Ok(Wire::Failed { exit, message }) => Err(Failure::new(exit_of(exit), message)),
        Err(error) => {
            Err(Failure::new(Exit::Internal, format!("the server's answer cannot be read: {error}")))
        }
    }
}

fn exit_of(code: u8) -> Exit {
    let known = [
        Exit::Failed,
        Exit::Usage,
        Exit::Data,
        Exit::NotFound,
        Exit::Unavailable,
        Exit::Exists,
        Exit::Io,
        Exit::TempFail,
    ];
    known.into_iter().find(|exit| *exit as u8 == code).unwrap_or(Exit::Internal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_cross_the_socket_and_never_print() {
        let request = Request::AccountAdd {
            address: "ann@example.org".to_owned(),
            password: Some("pencil".to_owned().into()),
            display_name: String::new(),
            quota_bytes: None,
        };
        assert!(!format!("{request:?}").contains("pencil"));
        let json = serde_json::to_string(&request).unwrap();
        assert!(json.contains(r#""password":"pencil""#), "{json}");
        assert_eq!(serde_json::from_str::<Request>(&json).unwrap(), request);
    }
}
