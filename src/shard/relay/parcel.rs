//! What goes from the shard with the message to the shard with the connections, and back.

use std::sync::Arc;

use base::Timestamp;
use queue::{Action, Entry, Envelope};

use super::route::Route;

/// What is said of mail that was not sent because the server is being stopped.
pub(crate) const STOPPING: &str = "450 4.3.2 the server is being stopped";

/// One message for some recipients that go the same way.
#[derive(Clone, Debug)]
pub(crate) struct Parcel {
    pub(crate) route: Route,
    pub(crate) envelope: Arc<Envelope>,
    /// By their place in the envelope.
    pub(crate) recipients: Vec<u32>,
    pub(crate) content: Arc<Vec<u8>>,
    pub(crate) urgency: Urgency,
}

/// Who goes first where connections are short, whichever shard the messages lie on: the least. By priority, then by when they
/// were due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Urgency {
    rank: i8,
    due: Timestamp,
}

impl Urgency {
    /// Priorities are -9 to 9, the higher first (RFC 6710 §4).
    pub(crate) const fn new(priority: i8, due: Timestamp) -> Self {
        Self { rank: priority.saturating_neg(), due }
    }
}

impl From<&Entry> for Urgency {
    fn from(entry: &Entry) -> Self {
        Self::new(entry.priority, entry.due)
    }
}

/// What became of it.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) results: Vec<Told>,
    /// Nobody was reached at all: others with the same destination need not try now.
    pub(crate) is_down: bool,
    /// A connection ended when the other system had the message and had not answered.
    pub(crate) is_in_doubt: bool,
}

/// What some recipients were told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    pub(crate) recipients: Vec<u32>,
    pub(crate) action: Action,
    /// Name and address of the host; empty when there was none.
    pub(crate) host: String,
    /// What protected the connection; empty for nothing.
    pub(crate) tls: String,
    /// The reply, with its code in front, or words of ours in the same form.
    pub(crate) reply: String,
    /// The next system tells the sender of success itself, if that is wanted (RFC 3461 §5.2.1).
    pub(crate) passes_dsn: bool,
    /// The host takes fewer recipients at once: these go right after the others.
    pub(crate) is_for_another_round: bool,
}

impl Told {
    /// Those whom the host would not hear with the others.
    pub(crate) fn for_another_round(recipients: Vec<u32>, host: String, tls: String) -> Self {
        Self {
            recipients,
            action: Action::Delayed,
            host,
            tls,
            reply: "450 4.5.3 the host takes no more recipients at once".to_owned(),
            passes_dsn: false,
            is_for_another_round: true,
        }
    }
}

impl Report {
    /// All recipients hear the same, from us.
    pub(crate) fn all(parcel: &Parcel, action: Action, host: String, reply: String) -> Self {
        let recipients = parcel.recipients.clone();
        let told = Told {
            recipients,
            action,
            host,
            tls: String::new(),
            reply,
            passes_dsn: false,
            is_for_another_round: false,
        };
        Self { results: vec![told], is_down: false, is_in_doubt: false }
    }

    /// The destination as a whole cannot be reached.
    pub(crate) fn down(parcel: &Parcel, host: String, reply: String) -> Self {
        Self { is_down: true, ..Self::all(parcel, Action::Delayed, host, reply) }
    }
}
