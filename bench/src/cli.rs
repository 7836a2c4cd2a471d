//! The command line.

mod commands;

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use serde_json::Value;

use crate::limits::{MESSAGE_BYTES_MIN, OPENING_MAX};
use crate::load::{Plan, QuickAck, Target};
use crate::message::Size;
use crate::report::{ReportArgs, Tags};
use crate::server::Server;
use crate::socket;
use crate::wrong::Wrong;
pub(crate) use commands::*;

/// Puts load on a mail server, checks its answers, and says what it costs.
#[derive(Debug, Parser)]
#[command(name = "angarium-bench", version, about, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    common: Common,
    /// What to do to the server.
    #[command(subcommand)]
    pub(crate) verb: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    #[command(flatten)]
    Load(Command),
    /// Read results and show them beside each other: tables, Markdown, a page with plots.
    Report(ReportArgs),
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
    /// Submission port, with STARTTLS where the server offers it.
    #[arg(long, global = true, default_value_t = 2587)]
    submission: u16,
    /// Submission port under TLS.
    #[arg(long, global = true, default_value_t = 2465)]
    submissions: u16,
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
    /// IMAP, POP3 and submission connections use TLS from the first byte on.
    #[arg(long, global = true)]
    tls: bool,
    /// Addresses that receive and log in; {} or %d stands for the user's number, %03d for three digits of it.
    #[arg(long, global = true, visible_alias = "user-pattern", default_value = "u%03d@demo.example.org")]
    user: String,
    /// The part of the addresses after the @, where the users' login names have none.
    #[arg(long, global = true)]
    domain: Option<String>,
    /// How many users, numbered from 0.
    #[arg(long, global = true, default_value_t = 64)]
    users: usize,
    /// Their password.
    #[arg(long, global = true, default_value = "benchmark")]
    password: String,
    /// What the names of mailboxes begin with on this server, such as INBOX. with its dot.
    #[arg(long, global = true, default_value = "", value_name = "PREFIX")]
    mailbox_prefix: String,
    /// Connections at the same time.
    #[arg(long, global = true, short = 'c', default_value_t = 1)]
    connections: usize,
    /// Seconds after which no operation begins [default: 3; the sink goes on until SIGTERM].
    #[arg(long, global = true, short = 'd')]
    duration: Option<f64>,
    /// End after so many operations, however long they take.
    #[arg(long, global = true, short = 'n')]
    count: Option<u64>,
    /// Open loop: so many operations a second at intended times. Else each connection goes on at once.
    #[arg(long, global = true, short = 'r')]
    rate: Option<f64>,
    /// Bytes of a message or write; K stands for 1024.
    ///
    /// `mixed` is for deliveries: of 100 messages 30 have 2K, 30 4K, 15 8K, 10 16K, 10 64K, 4 256K and one 1024K,
    /// 31.6K each on average, in an order that is the same in every run.
    #[arg(long, global = true, short = 's', default_value = "4K", value_parser = Size::read)]
    size: Size,
    /// A process of the server, which stands for all its descendants; may be given several times.
    #[arg(long, global = true)]
    pid: Vec<u32>,
    /// A control group (v2) with all of the server in it, as a folder below /sys/fs/cgroup: read instead of --pid.
    #[arg(long, global = true, value_name = "FOLDER", conflicts_with = "pid")]
    cgroup: Option<PathBuf>,
    /// A block device, such as vda: what is written to it is counted between two calls of sync. Else the one that
    /// --data-folder is on, if there is one.
    #[arg(long, global = true, value_name = "NAME")]
    device: Option<String>,
    /// Cores for the load threads, such as 0,2-3: one thread each. Else one thread anywhere.
    #[arg(long, global = true, value_name = "LIST", value_parser = cpus)]
    cpus: Option<Cpus>,
    /// Source addresses on loopback; default: one for each 100 connections. 0: the system's choice.
    #[arg(long, global = true)]
    sources: Option<usize>,
    /// Acknowledge every segment at once. A server that leaves Nagle's algorithm on and answers in several writes
    /// waits 40 ms for that otherwise, as it does with any client.
    #[arg(long, global = true)]
    quick_ack: bool,
    /// Connections that are opened at a time before operations begin. For a server that listens with a short queue:
    /// what does not fit into it waits for seconds.
    #[arg(long, global = true, value_name = "COUNT", default_value_t = OPENING_MAX)]
    opening: usize,
    /// Print one line of JSON instead of a table.
    #[arg(long, global = true)]
    json: bool,
    /// Goes into the result: what was measured, such as a commit.
    #[arg(long, global = true, default_value = "")]
    label: String,
    /// Write the whole latency distribution here.
    #[arg(long, global = true, value_name = "FILE")]
    histogram: Option<PathBuf>,
    #[command(flatten)]
    tags: Tags,
}

/// A list of cores.
#[derive(Clone, Debug)]
struct Cpus(Vec<usize>);

/// The command line, checked and resolved.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) host: IpAddr,
    pub(crate) smtp: Target,
    pub(crate) submission: Target,
    pub(crate) lmtp: Target,
    pub(crate) imap: Target,
    pub(crate) pop3: Target,
    user: String,
    domain: Option<String>,
    mailbox_prefix: String,
    pub(crate) users: usize,
    pub(crate) password: String,
    pub(crate) connections: usize,
    pub(crate) duration: Duration,
    /// `duration`, if it was asked for.
    pub(crate) own_duration: Option<Duration>,
    pub(crate) count: Option<u64>,
    pub(crate) rate: Option<f64>,
    /// Whether the times of `rate` are random.
    pub(crate) is_random: bool,
    pub(crate) size: Size,
    pub(crate) is_tls: bool,
    pub(crate) server: Server,
    pub(crate) cpus: Vec<usize>,
    pub(crate) sources: Option<usize>,
    pub(crate) quick_ack: QuickAck,
    pub(crate) opening: usize,
    pub(crate) is_json: bool,
    pub(crate) label: String,
    pub(crate) histogram: Option<PathBuf>,
    pub(crate) tags: Tags,
}

impl Cli {
    /// Resolves the host, reads the demo's file, and checks what can be checked.
    pub(crate) fn options(&self) -> Result<Options, Wrong> {
        let common = &self.common;
        if common.connections == 0 || common.users == 0 || common.opening == 0 {
            return Err(Wrong::Usage("--connections, --users and --opening begin at 1".into()));
        }
        let is_span = |value: f64| value.is_finite() && value > 0.0;
        if !common.duration.is_none_or(is_span) || !common.rate.is_none_or(is_span) {
            return Err(Wrong::Usage("--duration and --rate are above 0".into()));
        }
        let host = socket::resolve(&common.host)?;
        let demo = Demo::read(common.demo.as_ref())?;
        let to = |name: &str, port: u16, is_tls: bool| Target {
            address: SocketAddr::new(host, demo.port(name).unwrap_or(port)),
            is_tls,
        };
        let either = |plain: (&str, u16), tls: (&str, u16)| {
            let (name, port) = if common.tls { tls } else { plain };
            to(name, port, common.tls)
        };
        let roots = if common.pid.is_empty() { demo.pid().into_iter().collect() } else { common.pid.clone() };
        let server = Server::new(
            roots,
            common.cgroup.clone(),
            common.device.clone(),
            common.tags.data_folder.as_deref(),
        )?;
        Ok(Options {
            host,
            smtp: to("smtp", common.smtp, false),
            submission: either(("submission", common.submission), ("submissions", common.submissions)),
            lmtp: to("lmtp", common.lmtp, false),
            imap: either(("imap", common.imap), ("imaps", common.imaps)),
            pop3: either(("pop3", common.pop3), ("pop3s", common.pop3s)),
            user: common.user.clone(),
            domain: common.domain.clone(),
            mailbox_prefix: common.mailbox_prefix.clone(),
            users: common.users,
            password: common.password.clone(),
            connections: common.connections,
            // Of the two ends a count goes first.
            duration: Duration::from_secs_f64(if common.count.is_some() {
                86_400.0
            } else {
                common.duration.unwrap_or(3.0)
            }),
            own_duration: common.duration.map(Duration::from_secs_f64),
            count: common.count,
            rate: common.rate,
            is_random: false,
            size: common.size,
            is_tls: common.tls,
            server,
            cpus: common.cpus.clone().map_or_else(Vec::new, |cpus| cpus.0),
            sources: common.sources,
            quick_ack: if common.quick_ack { QuickAck::On } else { QuickAck::Off },
            opening: common.opening,
            is_json: common.json,
            label: common.label.clone(),
            histogram: common.histogram.clone(),
            tags: common.tags.clone(),
        })
    }
}

impl Options {
    /// The login name of a user.
    pub(crate) fn user(&self, number: usize) -> String {
        let number = number % self.users;
        let digits = number.to_string();
        self.user.replace("%03d", &format!("{number:03}")).replace("%d", &digits).replace("{}", &digits)
    }

    /// The address of a user.
    pub(crate) fn address(&self, number: usize) -> String {
        match &self.domain {
            None => self.user(number),
            Some(domain) => format!("{}@{domain}", self.user(number)),
        }
    }

    /// A mailbox of the load tool's own, as this server names it.
    pub(crate) fn mailbox(&self, name: &str) -> String {
        format!("{}{name}", self.mailbox_prefix)
    }

    /// The bytes of each message, where a scenario needs them to be the same.
    pub(crate) fn fixed_size(&self) -> Result<usize, Wrong> {
        match self.size {
            Size::Fixed(bytes) if bytes >= MESSAGE_BYTES_MIN => Ok(bytes),
            Size::Fixed(_) => {
                Err(Wrong::Usage(format!("a message has at least {MESSAGE_BYTES_MIN} bytes: --size")))
            }
            Size::Mixed => Err(Wrong::Usage("--size mixed is for deliveries".into())),
        }
    }

    /// The plan of thread `number` of `threads`. Their counts add up to the whole; they differ by one at most.
    pub(crate) fn plan(&self, number: usize, threads: usize) -> Plan {
        let (number, threads) = (number as u64, threads as u64);
        let share = |count: u64| (number + 1) * count / threads - number * count / threads;
        Plan {
            count: self.count.map(share),
            duration: self.duration,
            rate: self.rate.map(|rate| rate / threads as f64),
            is_random: self.is_random,
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
    fn cores_are_read() {
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
        let named = ["bench", "login", "--user-pattern", "user{}", "--domain", "example.org"];
        let named = Cli::try_parse_from(named).map(|cli| cli.options()).expect("valid");
        let named = named.expect("loopback needs no look-up");
        assert_eq!((named.user(7), named.address(7)), ("user7".into(), "user7@example.org".into()));
        let many = Options { count: Some(10), ..options };
        assert_eq!((0..3).filter_map(|number| many.plan(number, 3).count).sum::<u64>(), 10);
        let none = Cli::try_parse_from(["bench", "-c", "0", "login"]).expect("clap takes it");
        assert!(none.options().is_err());
    }
}
