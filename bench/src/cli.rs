//! The command line.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::Value;

use crate::limits::MESSAGE_BYTES_MIN;
use crate::load::{Plan, Target};
use crate::socket;
use crate::wrong::Wrong;

/// Puts load on a mail server, checks its answers, and says what it costs.
#[derive(Debug, Parser)]
#[command(name = "angarium-bench", version, about, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    common: Common,
    /// What to do to the server.
    #[command(subcommand)]
    pub(crate) scenario: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Deliver messages by SMTP; done when every mailbox holds them.
    SmtpDeliver(DeliverArgs),
    /// Deliver messages by LMTP; done when every mailbox holds them.
    LmtpDeliver(DeliverArgs),
    /// APPEND messages to each connection's own user.
    ImapAppend,
    /// FETCH 1:* of one mailbox, which is filled first if need be.
    ImapList(ListArgs),
    /// STORE one flag of one message.
    ImapStore(MailboxArgs),
    /// Connect, LOGIN, SELECT, LOGOUT.
    Login,
    /// From a delivery's 250 to the EXISTS that an idling connection is sent.
    IdleNotify,
    /// Open logged-in connections and print the server's memory for each.
    IdleConnections(IdleArgs),
    /// RETR by POP3 from each connection's own user, whose INBOX is filled first if need be.
    Pop3Retr(MailboxArgs),
    /// Direct write and fdatasync on a file: what the disk can do at best.
    RawWrite(RawArgs),
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct DeliverArgs {
    /// Recipients of each message.
    #[arg(long, default_value_t = 1)]
    pub(crate) recipients: usize,
    /// Do not count the mailboxes by IMAP before and after.
    #[arg(long)]
    pub(crate) uncounted: bool,
}

#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct MailboxArgs {
    /// Messages in each mailbox.
    #[arg(long, default_value_t = 50)]
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
pub(crate) struct IdleArgs {
    /// Stop after SELECT instead of going into IDLE.
    #[arg(long)]
    pub(crate) selected: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RawArgs {
    /// The folder to write in: on the disk in question.
    #[arg(long, default_value = ".")]
    pub(crate) folder: PathBuf,
}

#[derive(Debug, Args)]
struct Common {
    /// The server.
    #[arg(long, global = true, default_value = "127.0.0.1")]
    host: String,
    /// Take ports and process id from what `angarium demo --json` printed into this file.
    #[arg(long, global = true, value_name = "FILE")]
    demo: Option<PathBuf>,
    /// SMTP port.
    #[arg(long, global = true, default_value_t = 2525)]
    smtp: u16,
    /// LMTP port.
    #[arg(long, global = true, default_value_t = 2424)]
    lmtp: u16,
    /// IMAP port.
    #[arg(long, global = true, default_value_t = 2143)]
    imap: u16,
    /// IMAP port under TLS.
    #[arg(long, global = true, default_value_t = 2993)]
    imaps: u16,
    /// POP3 port.
    #[arg(long, global = true, default_value_t = 2110)]
    pop3: u16,
    /// POP3 port under TLS.
    #[arg(long, global = true, default_value_t = 2995)]
    pop3s: u16,
    /// IMAP and POP3 connections use TLS from the first byte on.
    #[arg(long, global = true)]
    tls: bool,
    /// Addresses that receive and log in; %03d stands for the user's number.
    #[arg(long, global = true, default_value = "u%03d@demo.example.org")]
    user: String,
    /// How many users, numbered from 0.
    #[arg(long, global = true, default_value_t = 64)]
    users: usize,
    /// Their password.
    #[arg(long, global = true, default_value = "benchmark")]
    password: String,
    /// Connections at the same time.
    #[arg(long, global = true, short = 'c', default_value_t = 1)]
    connections: usize,
    /// Seconds after which no operation begins.
    #[arg(long, global = true, short = 'd', default_value_t = 3.0)]
    duration: f64,
    /// End after so many operations, however long they take.
    #[arg(long, global = true, short = 'n')]
    count: Option<u64>,
    /// Open loop: so many operations a second at intended times. Else each connection goes on at once.
    #[arg(long, global = true, short = 'r')]
    rate: Option<f64>,
    /// Bytes of a message or write; K stands for 1024.
    #[arg(long, global = true, short = 's', default_value = "4K", value_parser = size)]
    size: usize,
    /// A process of the server; may be given several times.
    #[arg(long, global = true)]
    pid: Vec<u32>,
    /// Cores for the load threads, such as 0,2-3: one thread each. Else one thread anywhere.
    #[arg(long, global = true, value_name = "LIST", value_parser = cpus)]
    cpus: Option<Cpus>,
    /// Source addresses on loopback; default: one for each 100 connections. 0: the system's choice.
    #[arg(long, global = true)]
    sources: Option<usize>,
    /// Print one line of JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
    /// Goes into the result: what was measured, such as a commit.
    #[arg(long, global = true, default_value = "")]
    label: String,
    /// Write the whole latency distribution here.
    #[arg(long, global = true, value_name = "FILE")]
    histogram: Option<PathBuf>,
}

/// A list of cores.
#[derive(Clone, Debug)]
struct Cpus(Vec<usize>);

/// The command line, checked and resolved.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) host: IpAddr,
    pub(crate) smtp: Target,
    pub(crate) lmtp: Target,
    pub(crate) imap: Target,
    pub(crate) pop3: Target,
    user: String,
    pub(crate) users: usize,
    pub(crate) password: String,
    pub(crate) connections: usize,
    pub(crate) duration: Duration,
    pub(crate) count: Option<u64>,
    pub(crate) rate: Option<f64>,
    pub(crate) size: usize,
    pub(crate) is_tls: bool,
    pub(crate) pids: Vec<u32>,
    pub(crate) cpus: Vec<usize>,
    pub(crate) sources: Option<usize>,
    pub(crate) is_json: bool,
    pub(crate) label: String,
    pub(crate) histogram: Option<PathBuf>,
}

impl Cli {
    /// Resolves the host, reads the demo's file, and checks what can be checked.
    pub(crate) fn options(&self) -> Result<Options, Wrong> {
        let common = &self.common;
        if common.connections == 0 || common.users == 0 {
            return Err(Wrong::Usage("--connections and --users begin at 1".into()));
        }
        if common.size < MESSAGE_BYTES_MIN {
            return Err(Wrong::Usage(format!("--size begins at {MESSAGE_BYTES_MIN}")));
        }
        let is_span = |value: f64| value.is_finite() && value > 0.0;
        if !is_span(common.duration) || !common.rate.is_none_or(is_span) {
            return Err(Wrong::Usage("--duration and --rate are above 0".into()));
        }
        let host = socket::resolve(&common.host)?;
        let demo = Demo::read(common.demo.as_ref())?;
        let to = |name: &str, port: u16, is_tls: bool| Target {
            address: SocketAddr::new(host, demo.port(name).unwrap_or(port)),
            is_tls,
        };
        let (imap, pop3) = if common.tls {
            (to("imaps", common.imaps, true), to("pop3s", common.pop3s, true))
        } else {
            (to("imap", common.imap, false), to("pop3", common.pop3, false))
        };
        Ok(Options {
            host,
            smtp: to("smtp", common.smtp, false),
            lmtp: to("lmtp", common.lmtp, false),
            imap,
            pop3,
            user: common.user.clone(),
            users: common.users,
            password: common.password.clone(),
            connections: common.connections,
            // Of the two ends a count goes first.
            duration: Duration::from_secs_f64(if common.count.is_some() {
                86_400.0
            } else {
                common.duration
            }),
            count: common.count,
            rate: common.rate,
            size: common.size,
            is_tls: common.tls,
            pids: if common.pid.is_empty() { demo.pid().into_iter().collect() } else { common.pid.clone() },
            cpus: common.cpus.clone().map_or_else(Vec::new, |cpus| cpus.0),
            sources: common.sources,
            is_json: common.json,
            label: common.label.clone(),
            histogram: common.histogram.clone(),
        })
    }
}

impl Options {
    /// The address and login name of a user.
    pub(crate) fn user(&self, number: usize) -> String {
        let number = number % self.users;
        self.user.replace("%03d", &format!("{number:03}"))
    }

    /// The plan of thread `number` of `threads`. Their counts add up to the whole; they differ by one at most.
    pub(crate) fn plan(&self, number: usize, threads: usize) -> Plan {
        let (number, threads) = (number as u64, threads as u64);
        let share = |count: u64| (number + 1) * count / threads - number * count / threads;
        Plan {
            count: self.count.map(share),
            duration: self.duration,
            rate: self.rate.map(|rate| rate / threads as f64),
        }
    }
}

/// What `angarium demo --json` prints.
struct Demo(Value);

impl Demo {
    fn read(file: Option<&PathBuf>) -> Result<Self, Wrong> {
        let Some(file) = file else { return Ok(Self(Value::Null)) };
        let text = std::fs::read_to_string(file).map_err(|error| Wrong::io(file.display(), &error))?;
        let line = text.lines().next().unwrap_or_default();
        let value = serde_json::from_str(line)
            .map_err(|error| Wrong::Usage(format!("{}: {error}", file.display())))?;
        Ok(Self(value))
    }

    fn port(&self, name: &str) -> Option<u16> {
        self.0["ports"][name].as_u64().and_then(|port| u16::try_from(port).ok())
    }

    fn pid(&self) -> Option<u32> {
        self.0["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())
    }
}

fn size(text: &str) -> Result<usize, String> {
    let (digits, unit) = match text.strip_suffix(['K', 'k']) {
        Some(digits) => (digits, 1024),
        None => (text, 1),
    };
    digits.parse::<usize>().map(|count| count * unit).map_err(|error| error.to_string())
}

fn cpus(text: &str) -> Result<Cpus, String> {
    let number = |text: &str| text.parse::<usize>().map_err(|error| format!("{text:?}: {error}"));
    let mut all = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        all.extend(number(first)?..=number(last)?);
    }
    if all.is_empty() { Err("no core in it".into()) } else { Ok(Cpus(all)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_cores_are_read() {
        assert_eq!((size("64K"), size("700")), (Ok(65_536), Ok(700)));
        assert!(size("x").is_err());
        assert_eq!(cpus("0,2-3").map(|cpus| cpus.0), Ok(vec![0, 2, 3]));
        assert!(cpus("a").is_err() && cpus("3-1").is_err());
    }

    #[test]
    fn options_stand_before_or_after_the_scenario() {
        let cli =
            Cli::try_parse_from(["bench", "-c", "4", "login", "--users", "2", "--json"]).expect("valid");
        let options = cli.options().expect("loopback needs no look-up");
        assert_eq!((options.connections, options.users, options.is_json), (4, 2, true));
        assert_eq!(options.user(3), "u001@demo.example.org");
        let many = Options { count: Some(10), ..options };
        assert_eq!((0..3).filter_map(|number| many.plan(number, 3).count).sum::<u64>(), 10);
        let none = Cli::try_parse_from(["bench", "-c", "0", "login"]).expect("clap takes it");
        assert!(none.options().is_err());
    }
}
