//! Every bound of an account, in one place.

/// Distinct keywords in an account: one bit each in a message's row.
pub const KEYWORDS_MAX: usize = 64;
/// Bytes of a keyword's name.
pub const KEYWORD_BYTES_MAX: usize = 100;
/// Mailboxes in an account.
pub const MAILBOXES_MAX: usize = 10_000;
/// Subscribed names of an account: one for each mailbox, and some whose mailbox is gone.
pub const SUBSCRIPTIONS_MAX: usize = MAILBOXES_MAX + 1_000;
/// Bytes of a mailbox name in UTF-8, all levels together.
pub const MAILBOX_NAME_BYTES_MAX: usize = 200;
/// Levels of a mailbox name.
pub const MAILBOX_DEPTH_MAX: usize = 32;
/// Messages that one transaction changes at most; larger requests are several transactions, each whole. A move
/// writes two rows a message, so this is a frame of 0.8 MB: it fits every segment of 1 MiB, and applying it keeps
/// a shard from its other work for a few milliseconds.
pub const ROWS_PER_TRANSACTION_MAX: usize = 4_096;
/// Rows copied out of the index at a time when a whole mailbox is walked.
pub(crate) const ROWS_PER_READ: usize = 1024;
/// Rows copied out at first where the one looked for is most likely the first.
pub(crate) const ROWS_PER_LOOK: usize = 16;
/// Bytes of a bookmark's name that count.
pub(crate) const BOOKMARK_NAME_BYTES_MAX: usize = 200;
