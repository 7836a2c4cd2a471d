//! Bounds and fixed choices of the composition.

use std::time::Duration;

use base::PartitionId;

/// The directory is account 0 of this partition.
pub const DIRECTORY_PARTITION: PartitionId = PartitionId(0);

/// How long a verified password is taken without being hashed again, in milliseconds. A changed
/// password ends it at once, for its credential's fingerprint differs.
pub const VERIFIED_TTL_MS: u32 = 15 * 60 * 1000;

/// Logins of one shard that wait until others have been looked at (`auth::Throttle::begin`); one more is
/// asked to come again.
pub(crate) const LOGINS_WAITING_MAX: usize = 1024;

/// Rounds of SCRAM's PBKDF2 for new passwords, and for those of names that nobody has; RFC 7677 §4
/// asks for 4096 or more.
pub const SCRAM_ITERATIONS: u32 = 10_000;

/// Accounts that one message may go to, each counted once for every recipient address that leads to it.
pub const MESSAGE_TARGETS_MAX: usize = 10_000;

/// Accounts that are looked at in one go, before others on the shard get a turn.
pub(crate) const TARGETS_PER_TURN: usize = 256;

/// Calls of one request that begin in one go.
pub(crate) const CALLS_PER_TURN: usize = 16;

/// The time that a password's hash may take before it makes its login a slow operation, in milliseconds.
pub(crate) const PASSWORD_MS_ALLOWED: u32 = 200;

/// The time that a peer may take to read an answer before that makes it a slow operation, in milliseconds.
pub(crate) const NETWORK_MS_ALLOWED: u32 = 1000;

/// The account in each partition that has what rules remember, and policies of other domains. The queue's is the one above
/// it, no person's has this number.
pub(crate) const REMEMBERED_ACCOUNT: u64 = u64::MAX - 1;

/// How often what was learned is written down: a crash loses no more than that.
pub(crate) const REMEMBER_EVERY: Duration = Duration::from_secs(5);

/// Entries of what is remembered that are read, or written, in one go.
pub(crate) const REMEMBERED_AT_ONCE: usize = 1000;

/// How often is looked for messages that no moderator has decided about in time.
pub(crate) const MODERATION_LOOK: Duration = Duration::from_secs(10);

/// The largest message that moderators are sent whole, in bytes; of a larger one they see the header.
pub(crate) const MODERATED_BYTES_MAX: usize = 10 * 1024 * 1024;

/// For how long others keep the MTA-STS policy of a domain of ours, in seconds: a week, long enough to count and short
/// enough to mend.
pub(crate) const POLICY_MAX_AGE_S: u32 = 7 * 24 * 60 * 60;

/// Characters of another system's reply that are kept.
pub(crate) const REPLY_CHARS_MAX: usize = 1000;

/// Times that a notice is tried to be stored before its entry goes on without: an hour of them.
pub(crate) const NOTICE_TRIES_MAX: usize = 720;

/// Entries that are given out in one go, before others on the shard get a turn.
pub(crate) const ATTEMPTS_PER_TURN: usize = 32;

/// Addresses that one attempt connects to, all hosts together.
pub(crate) const CONNECT_ATTEMPTS_MAX: usize = 16;

/// A message that is converted on the shard, in bytes: about a millisecond. A larger one is converted beside it.
pub(crate) const CONVERTED_AT_ONCE_BYTES_MAX: usize = 256 * 1024;

/// A local part that names a recipient too, in bytes: RFC 5321 §4.5.3.1.1 promises 64, and nearly all take this.
pub(crate) const VERP_LOCAL_PART_BYTES_MAX: usize = 255;

/// Recipients of one message that a host is given at once when it does not say how many it takes (RFC 5321
/// §4.5.3.1.8 asks for 100).
pub(crate) const RECIPIENTS_AT_ONCE_MAX: usize = 100;

/// The longest pause between two looks at whether a destination is back.
pub(crate) const DESTINATION_PAUSE_MAX: Duration = Duration::from_hours(1);

/// Bytes that the sealed forms of one message may have together, but for the first.
pub(crate) const SEALED_BYTES_MAX: usize = 128 << 20;

/// The pause before the store is tried again that would not take what became of a message.
pub(crate) const STORE_PAUSE: Duration = Duration::from_secs(5);

/// How long an attempt sleeps that waits for its source's turn, before it looks whether the server is being stopped.
pub(crate) const TURN_LOOK: Duration = Duration::from_millis(500);

/// Bytes that a message takes in memory beside its content and its recipients: envelope, places in maps.
pub(crate) const FRESH_MESSAGE_BYTES: usize = 1024;

/// Bytes that each of its recipients takes.
pub(crate) const FRESH_RECIPIENT_BYTES: usize = 160;

/// Destinations that metrics tell of, for each shard: those for which most has happened.
pub(crate) const DESTINATIONS_SHOWN_MAX: usize = 200;

/// Ways that a shard remembers by their numbers.
pub(crate) const WAYS_KNOWN_MAX: usize = 100_000;

/// Times that rules may ask for more before they are given up: each time they learn something, so they end by themselves.
pub(crate) const POLICY_ROUNDS_MAX: usize = 64;

/// Reports about a day are sent within so many seconds after it.
pub(crate) const REPORT_DELAY_MAX_S: u64 = 4 * 60 * 60;

/// The pause before reports that could not be sent are tried again; each one after it is twice as long.
pub(crate) const REPORT_RETRY: Duration = Duration::from_hours(1);

/// The longest time for one address of who takes a report by HTTPS, until it can be talked to; TLS has as long once more.
pub(crate) const REPORT_CONNECT: Duration = Duration::from_secs(10);

/// The longest time for a report that is posted, all addresses of its host together.
pub(crate) const REPORT_POST: Duration = Duration::from_mins(1);

/// The longest time for all who are to have one domain's report so, together.
pub(crate) const REPORT_POSTS: Duration = Duration::from_mins(2);

/// The largest answer to it, in bytes.
pub(crate) const REPORT_ANSWER_BYTES_MAX: usize = 256 * 1024;

/// The pause between two looks at everything that waits for a destination that is down.
pub(crate) const LOOK_OVER_PAUSE: Duration = Duration::from_mins(10);

/// Entries that are looked at in one go, before others on the shard get a turn.
pub(crate) const ENTRIES_PER_TURN: usize = 256;

/// A destination's schedule is put in order when an operator has changed more than one in so many of its entries.
pub(crate) const ORDER_SHARE: usize = 16;

/// From domains whose keys a shard keeps ready to sign; an RSA key takes some 6 KiB.
pub(crate) const SIGNING_DOMAINS_MAX: usize = 4096;

/// Recipients of a message with those that rules have added.
pub(crate) const FLOW_RECIPIENTS_MAX: usize = 2000;

/// From this junk score on a message goes into Junk.
pub(crate) const JUNK_SCORE_MIN: i32 = 5;

/// How long a connection to a filter is kept for the next message.
pub(crate) const FILTER_IDLE: Duration = Duration::from_secs(30);

/// Addresses of a filter's host that are tried.
pub(crate) const FILTER_ADDRESSES_MAX: usize = 8;

/// The longest time for a milter's answer to one command, in milliseconds.
pub(crate) const FILTER_COMMAND_MS_MAX: i64 = 30_000;

/// The time that SPF, DKIM, ARC and DMARC of one message may take together (RFC 7208 §4.6.4 asks for 20 s).
pub(crate) const AUTHENTICATION_TIME_MAX: Duration = Duration::from_secs(20);

/// Addresses in From and in Sender of a submitted message, each of which is looked up.
pub(crate) const FROM_ADDRESSES_MAX: usize = 32;

/// What was counted for reports is written so often: a crash loses as much.
pub(crate) const COUNTS_PERIOD: Duration = Duration::from_hours(1);

/// The pause between two looks at whether it is time for that.
pub(crate) const COUNTS_LOOK: Duration = Duration::from_mins(1);

/// The pause before a shard that ends looks again whether its counts are written.
pub(crate) const COUNTS_FINISH_PAUSE: Duration = Duration::from_millis(10);

/// Days for which counts are kept whose report cannot be sent.
pub(crate) const COUNTS_KEPT_DAYS: u64 = 4;

/// Reports about days that ended while the server did not run are sent within so many seconds of its start.
pub(crate) const REPORT_START_DELAY_MAX_S: u64 = 15 * 60;

/// Domains whose failure reports are counted, so that none gets too many.
pub(crate) const FAILURE_DOMAINS_MAX: usize = 4096;

/// Bytes of a header that a failure report gives back.
pub(crate) const FAILURE_HEADER_BYTES_MAX: usize = 32 * 1024;

/// Bytes of a TLS report that is posted to us, as it comes.
pub(crate) const POSTED_BYTES_MAX: usize = 1024 * 1024;

/// Content of posted reports that is coming in at the same time, in bytes, for each shard.
pub(crate) const POSTS_BYTES_MAX: usize = 16 * 1024 * 1024;

/// The pause before a posted report that waits for its turn to be read looks again, and how often it does.
pub(crate) const POST_LOOK: Duration = Duration::from_millis(20);
pub(crate) const POST_LOOKS_MAX: usize = 100;

/// Networks whose posted reports are counted, so that none gets too many in.
pub(crate) const POSTING_NETWORKS_MAX: usize = 16_384;

/// Combinations of kind, domain and account whose complaints are counted apart.
pub(crate) const COMPLAINT_LABELS_MAX: usize = 1000;
