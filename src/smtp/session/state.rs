//! Where a connection stands. Each state owns what is true in it and nothing else; to forget is to
//! replace the state.

use alloc::boxed::Box;
use alloc::sync::Arc;

use auth::{Exchange, Identity};
use base::{Charge, Timestamp};

use crate::body::{Content, DataReader};
use crate::config::{Entropy, Mode};
use crate::envelope::{Envelope, Recipient, TransactionId};
use crate::limits::AUTH_ATTEMPTS_MAX;
use crate::reply::Refusal;

/// Where a connection stands.
pub(super) enum State {
    /// It has come, and whether it is greeted is to be asked.
    Arrived,
    /// It is to be silent for so many milliseconds before it is greeted (RFC 5321 §4.3.1).
    Quiet { wait_ms: u32 },
    /// Nothing is known of the client.
    Fresh,
    /// It has introduced itself.
    Ready(Client),
    /// Its next line is a SASL response.
    Login { client: Client, exchange: Box<Exchange> },
    /// MAIL was accepted; with BDAT, some chunks may be here.
    Mail { client: Client, transaction: Box<Transaction> },
    /// What comes is content up to the final dot.
    Data { client: Client, transaction: Box<Transaction>, reader: Box<DataReader>, began: Timestamp },
    /// What comes is a chunk.
    Chunk { client: Client, transaction: Box<Transaction>, chunk: Chunk },
    /// What comes is a chunk that nobody wants (RFC 3030 §2); then it is refused.
    Skip { resume: Box<State>, bytes_left: u64, refusal: Refusal, began: Timestamp },
    /// All of the content is here.
    Complete { client: Client, transaction: Box<Transaction>, content: Content },
    /// A request is out.
    Waiting(Wait),
    /// STARTTLS was accepted.
    Handshake,
    /// The last words were said.
    Closing,
}

/// What a reply is for.
pub(super) enum Wait {
    Greeting,
    Login {
        client: Client,
        exchange: Box<Exchange>,
    },
    Recipient {
        client: Client,
        transaction: Box<Transaction>,
        recipient: Recipient,
    },
    /// Somebody has logged in; whoever counts failures is told.
    LoggedIn {
        client: Client,
    },
    /// A URL is being looked at.
    Url(Box<UrlWait>),
    /// The message is with its handler; `charge` covers its content until it is stored.
    Delivery {
        client: Client,
        id: TransactionId,
        recipients: usize,
        charge: Charge,
    },
}

/// A message whose next piece is behind a URL.
pub(super) struct UrlWait {
    pub(super) client: Client,
    pub(super) transaction: Box<Transaction>,
    /// What there is of it.
    pub(super) content: Content,
    pub(super) is_last: bool,
    /// When the first piece of the message came.
    pub(super) began: Timestamp,
}

/// Who is there.
#[derive(Clone)]
pub(super) struct Client {
    pub(super) helo: Arc<str>,
    /// It said EHLO or LHLO.
    pub(super) is_extended: bool,
    pub(super) identity: Option<Identity>,
}

/// What MAIL began.
pub(super) struct Transaction {
    pub(super) envelope: Envelope,
    pub(super) size_bytes: Option<u64>,
    /// The chunks so far (RFC 3030 §2), once there was one, and when the first came.
    pub(super) chunks: Option<(Content, Timestamp)>,
}

/// A chunk on its way.
pub(super) struct Chunk {
    pub(super) content: Content,
    pub(super) bytes: u64,
    pub(super) bytes_left: u64,
    pub(super) is_last: bool,
    /// When the first chunk of the message came.
    pub(super) began: Timestamp,
}

/// What a connection has done so far, against its limits.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) bad_commands: u32,
    pub(super) bad_recipients: u32,
    pub(super) idle_commands: u32,
    pub(super) transactions: u32,
    pub(super) logins: usize,
    /// When the current minute began, and the messages in it.
    pub(super) minute: Option<(Timestamp, u32)>,
}

impl Counts {
    /// The nonce for one more try at AUTH, or `None` when the tries are used up.
    pub(super) fn next_nonce(&mut self, entropy: &Entropy) -> Option<[u8; 18]> {
        debug_assert!(self.logins <= AUTH_ATTEMPTS_MAX);
        let nonce = entropy.nonces.reveal().get(self.logins).copied();
        self.logins += usize::from(nonce.is_some());
        nonce
    }

    /// Counts a message; false when the minute has had its share.
    pub(super) fn has_turn(&mut self, now: Timestamp, per_minute_max: u32) -> bool {
        const MINUTE_MS: u128 = 60_000;
        let (began, count) = match self.minute {
            Some((began, count)) if now >= began && now.since(began).as_millis() < MINUTE_MS => {
                (began, count)
            }
            _ => (now, 0),
        };
        self.minute = Some((began, count.saturating_add(1)));
        count < per_minute_max
    }
}

impl State {
    /// For people who look at a session.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Arrived => "arrived",
            Self::Quiet { .. } => "quiet",
            Self::Fresh => "fresh",
            Self::Ready(_) => "ready",
            Self::Login { .. } => "login",
            Self::Mail { .. } => "mail",
            Self::Data { .. } => "data",
            Self::Chunk { .. } => "chunk",
            Self::Skip { .. } => "skip",
            Self::Complete { .. } => "complete",
            Self::Waiting(_) => "waiting",
            Self::Handshake => "handshake",
            Self::Closing => "closing",
        }
    }

    /// The client, where it is known and nothing is out.
    pub(super) fn client(&self) -> Option<&Client> {
        match self {
            Self::Ready(client)
            | Self::Login { client, .. }
            | Self::Mail { client, .. }
            | Self::Data { client, .. }
            | Self::Chunk { client, .. }
            | Self::Complete { client, .. }
            | Self::Waiting(
                Wait::Login { client, .. }
                | Wait::LoggedIn { client }
                | Wait::Recipient { client, .. }
                | Wait::Delivery { client, .. },
            ) => Some(client),
            Self::Waiting(Wait::Url(wait)) => Some(&wait.client),
            Self::Skip { resume, .. } => resume.client(),
            Self::Arrived
            | Self::Quiet { .. }
            | Self::Fresh
            | Self::Waiting(Wait::Greeting)
            | Self::Handshake
            | Self::Closing => None,
        }
    }

    /// Whether the session itself has the next move: no time-out, no ending.
    pub(super) fn is_busy(&self) -> bool {
        matches!(
            self,
            Self::Arrived | Self::Waiting(_) | Self::Complete { .. } | Self::Handshake | Self::Closing
        )
    }

    /// Whether what comes is content.
    pub(super) fn is_content(&self) -> bool {
        matches!(self, Self::Data { .. } | Self::Chunk { .. } | Self::Skip { .. })
    }

    /// When the content that is on its way began.
    pub(super) fn content_began(&self) -> Option<Timestamp> {
        match self {
            Self::Data { began, .. } | Self::Skip { began, .. } => Some(*began),
            Self::Chunk { chunk, .. } => Some(chunk.began),
            Self::Mail { transaction, .. } => transaction.chunks.as_ref().map(|(_, began)| *began),
            _ => None,
        }
    }

    /// Memory held for content, in bytes.
    pub(super) fn content_bytes(&self) -> usize {
        match self {
            Self::Data { reader, .. } => reader.content().buffered_bytes(),
            Self::Chunk { chunk, .. } => chunk.content.buffered_bytes(),
            Self::Complete { content, .. } => content.buffered_bytes(),
            Self::Waiting(Wait::Url(wait)) => wait.content.buffered_bytes(),
            Self::Mail { transaction, .. } => {
                transaction.chunks.as_ref().map_or(0, |(content, _)| content.buffered_bytes())
            }
            Self::Skip { resume, .. } => resume.content_bytes(),
            _ => 0,
        }
    }
}

impl Transaction {
    /// The envelope's protocol answers once a recipient (RFC 2033 §4.2).
    pub(super) fn replies(&self) -> usize {
        match self.envelope.mode {
            Mode::Lmtp => self.envelope.recipients.len(),
            Mode::Mx | Mode::Submission => 1,
        }
    }
}
