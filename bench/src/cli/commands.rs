//! The scenarios and what each can be told.

use std::net::SocketAddr;
use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Deliver messages by SMTP; done when every mailbox holds what it was sent.
    SmtpDeliver(DeliverArgs),
    /// Deliver messages by LMTP; done when every mailbox holds what it was sent.
    LmtpDeliver(DeliverArgs),
    /// Send messages through the server to a sink of this tool's own: in, durable queue, out.
    ///
    /// The server must relay mail for any domain from here to the address of `--sink`, as `angarium demo --smarthost
    /// 127.0.0.1:2600` does. The run goes on until the last message has arrived. Every recipient of every message
    /// acknowledged must arrive once; every 16th message is compared byte for byte. `arrived_per_second` counts until
    /// the last arrival; `queued_*` is from the 250 to the arrival, 0 where that came first; `through_*` is from the
    /// intended start to the arrival.
    SmtpRelay(RelayArgs),
    /// Be a server that takes every message and keeps none: the other end of relay tests.
    SmtpSink(SinkArgs),
    /// Log in, select, fetch what is new, idle, store, log out, with pauses to think.
    ///
    /// Each operation is one session on a connection of its own: LOGIN, SELECT, FETCH of the newest `--new`
    /// messages (UID FLAGS ENVELOPE), IDLE for one pause and DONE, STORE that sets or clears \Seen on the newest
    /// message, LOGOUT. Between two steps the client thinks for `--think` milliseconds, evenly spread from
    /// half to one and a half times that. The latency of a session is what the server took, without the
    /// pauses; each step is reported too.
    ImapSession(SessionArgs),
    /// APPEND messages to a mailbox of each connection's own user.
    ImapAppend(AppendArgs),
    /// FETCH 1:* of one mailbox, which is filled first if need be.
    ImapList(ListArgs),
    /// FETCH BODY[] of one message drawn by chance; every byte is checked.
    ImapBody(MailboxArgs),
    /// SEARCH one mailbox, which is filled first if need be; the result is checked.
    ImapSearch(SearchArgs),
    /// STORE one flag of one message.
    ImapStore(MailboxArgs),
    /// Connect, LOGIN, SELECT, LOGOUT.
    Login,
    /// From a delivery's 250 to the EXISTS that an idling connection is sent.
    IdleNotify(NotifyArgs),
    /// Open logged-in connections and print the server's memory for each.
    IdleConnections(IdleArgs),
    /// RETR by POP3 from each connection's own user, whose INBOX is filled first if need be.
    Pop3Retr(MailboxArgs),
    /// A provider's day in small: deliveries, submissions, IMAP, POP3 and webmail sessions arrive at times
    /// of their own.
    ///
    /// The arrival model goes into the result in full. A user's day is 40 deliveries from other servers, 8
    /// submissions, 12 IMAP sessions that stay in IDLE, 60 short sessions as webmail has them, and 24 polls by
    /// POP3. `--population` such days, made faster by `--speedup`, arrive as a Poisson process of that mean rate
    /// (or of `--rate`); what comes next is drawn by these weights, and by which of the accounts. Sizes are those
    /// of `--size mixed`. Each arrival needs one of `--connections`; those that find none count as late.
    MixedDay(MixedArgs),
    /// Start the server by a command, and time it until it serves.
    StartUp(StartArgs),
    /// Load the server, kill -9, start it again: time until it serves, and whether it holds all it acknowledged.
    Recovery(StartArgs),
    /// Send bytes to an echo server and await them: what the network costs.
    Echo(EchoArgs),
    /// Direct write and fdatasync on a file: what the disk can do at best.
    RawWrite(RawArgs),
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct DeliverArgs {
    /// Recipients of each message.
    #[arg(long, default_value_t = 1)]
    pub(crate) recipients: usize,
    #[command(flatten)]
    pub(crate) counting: Counting,
    /// Go under TLS by STARTTLS.
    #[arg(long)]
    pub(crate) starttls: bool,
    /// Log in, and send as one of the users: to the submission port, or with --tls to the one under TLS.
    #[arg(long)]
    pub(crate) submit: bool,
}

/// Whether and how mailboxes are counted after a delivery.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Counting {
    /// Do not count the mailboxes by IMAP before and after.
    #[arg(long, conflicts_with = "until_held")]
    pub(crate) uncounted: bool,
    /// The rate counts until the last mailbox holds its last message (`held_per_second`), for servers that queue:
    /// the wait has no end as long as the count grows.
    #[arg(long)]
    pub(crate) until_held: bool,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct RelayArgs {
    /// Where the sink listens: what the server's smarthost is.
    #[arg(long, default_value = "127.0.0.1:2600", value_name = "ADDRESS")]
    pub(crate) sink: SocketAddr,
    /// Threads of the sink, each with a ring of its own.
    #[arg(long, default_value_t = 1, value_name = "COUNT")]
    pub(crate) sink_threads: usize,
    /// The sink does not offer CHUNKING (BDAT).
    #[arg(long)]
    pub(crate) no_chunking: bool,
    /// Recipients of each message.
    #[arg(long, default_value_t = 1)]
    pub(crate) recipients: usize,
    /// Domains that they are in by turns.
    #[arg(long, default_value_t = 1)]
    pub(crate) domains: usize,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct SinkArgs {
    /// Where to listen; port 0 is the machine's choice. The address taken is the first line printed.
    #[arg(long, default_value = "127.0.0.1:2600")]
    pub(crate) listen: SocketAddr,
    /// Speak LMTP: LHLO, and one reply a recipient.
    #[arg(long = "as-lmtp")]
    pub(crate) is_lmtp: bool,
    /// Threads, each with a ring of its own.
    #[arg(long, default_value_t = 1)]
    pub(crate) threads: usize,
    /// Offer CHUNKING and take BDAT.
    #[arg(long)]
    pub(crate) chunking: bool,
    /// Hold back the reply to every Nth message.
    #[arg(long, value_name = "N", requires = "delay")]
    pub(crate) delay_every: Option<u64>,
    /// By so many milliseconds.
    #[arg(long, value_name = "MS", requires = "delay_every")]
    pub(crate) delay: Option<u64>,
    /// Refuse every Nth message with 451.
    #[arg(long, value_name = "N")]
    pub(crate) reject_every: Option<u64>,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct SessionArgs {
    #[command(flatten)]
    pub(crate) mailbox: MailboxArgs,
    /// The mean pause between two steps, in milliseconds; 0: none.
    #[arg(long, default_value_t = 100, value_name = "MS")]
    pub(crate) think: u64,
    /// How many messages count as new.
    #[arg(long, default_value_t = 5)]
    pub(crate) new: u32,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct MailboxArgs {
    /// Messages in each mailbox.
    #[arg(long, default_value_t = 50)]
    pub(crate) messages: u32,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct AppendArgs {
    /// Messages that the mailbox holds beforehand; 0: append to INBOX as it is.
    #[arg(long, default_value_t = 0)]
    pub(crate) messages: u32,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    pub(crate) mailbox: MailboxArgs,
    /// What to list.
    #[arg(long, value_enum, default_value = "flags")]
    pub(crate) items: Items,
}

/// What is asked for of each message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Items {
    /// (UID FLAGS)
    Flags,
    /// (UID ENVELOPE)
    Envelope,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct SearchArgs {
    #[command(flatten)]
    pub(crate) mailbox: MailboxArgs,
    /// What to look for.
    #[arg(long, value_enum, default_value = "rare")]
    pub(crate) key: Key,
}

/// What is searched for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Key {
    /// TEXT, a word in the bodies of five messages.
    Rare,
    /// TEXT, a word in the body of every second message.
    Common,
    /// SUBJECT, a word in the subjects of five messages.
    Subject,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct NotifyArgs {
    /// Which protocol delivers.
    #[arg(long, value_enum, default_value = "lmtp")]
    pub(crate) via: Via,
}

/// Which protocol carries the messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Via {
    Smtp,
    Lmtp,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct IdleArgs {
    /// Stop after SELECT instead of going into IDLE.
    #[arg(long)]
    pub(crate) selected: bool,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct MixedArgs {
    /// Mailbox users whose day it is. They share the accounts of --users.
    #[arg(long, default_value_t = 10_000)]
    pub(crate) population: u32,
    /// How many times faster than a day the day goes by.
    #[arg(long, default_value_t = 10.0)]
    pub(crate) speedup: f64,
    /// Seconds that an IMAP session stays in IDLE.
    #[arg(long, default_value_t = 1.0, value_name = "SECONDS")]
    pub(crate) idle: f64,
    /// No polls by POP3, for servers without it.
    #[arg(long)]
    pub(crate) no_pop3: bool,
    /// No submissions, for servers without a port for them.
    #[arg(long)]
    pub(crate) no_submission: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct StartArgs {
    /// The command that serves in the foreground, for a shell; it is started in a process group of its own.
    #[arg(long, value_name = "COMMAND")]
    pub(crate) serve_command: String,
    /// How many times.
    #[arg(long, default_value_t = 5)]
    pub(crate) runs: u32,
    /// Messages that the store shall hold beforehand, spread over the users; what is missing is appended.
    #[arg(long, default_value_t = 0)]
    pub(crate) messages: u32,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct EchoArgs {
    /// The echo server's port.
    #[arg(long, default_value_t = 2007)]
    pub(crate) port: u16,
    /// Measure the generator itself, against a thread of its own that echoes on a bare ring.
    #[arg(long)]
    pub(crate) self_check: bool,
    /// The core of that thread. On the one that --cpus names for the load, each would have half of it.
    #[arg(long, value_name = "CORE", requires = "self_check")]
    pub(crate) echo_cpu: Option<usize>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RawArgs {
    /// The folder to write in: on the disk in question.
    #[arg(long, default_value = ".")]
    pub(crate) folder: PathBuf,
}
