//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use directory::SentCopy;

use crate::Password;
use crate::config::{parse_cpus, parse_host};
use crate::delegates::{DelegateArgs, sent_copy};
use crate::dkim::DkimCommand;
use crate::forward::ForwardArgs;
use crate::limits::{TOP_INTERVAL_S_MAX, TOP_INTERVAL_S_MIN};
use crate::mailqueue::{QueueArgs, TraceArgs};
use crate::postfix::PostfixArgs;
use crate::publish::DnsArgs;
use crate::reporting::ReportsArgs;
use crate::sendmail::SendmailArgs;
use crate::tune::TuneArgs;

/// The configuration unless another is named.
pub(crate) const CONFIG_FILE: &str = "/etc/angarium/angarium.toml";

/// A mail, calendar and collaboration server: fast, and never losing a letter.
#[derive(Debug, Parser)]
#[command(name = "angarium", version, about, max_term_width = 100)]
pub struct Cli {
    /// Print JSON on standard output, for programs.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// The configuration file.
    #[arg(long, global = true, value_name = "FILE", default_value = CONFIG_FILE)]
    pub(crate) config: PathBuf,
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve on loopback with sample accounts and mail; nothing to configure.
    Demo(DemoArgs),
    /// Write a configuration file and make the store.
    Init(InitArgs),
    /// Serve as configured, until SIGTERM.
    Serve(ServeArgs),
    /// Accounts: add, remove, set, show, list, and who may send under their addresses.
    #[command(subcommand)]
    Account(AccountCommand),
    /// Domains to take mail for: add, remove, set, show, list, and their keys and records.
    #[command(subcommand)]
    Domain(DomainCommand),
    /// Addresses that stand for others: set, remove, list.
    #[command(subcommand)]
    Alias(AliasCommand),
    /// Put messages from an mbox file, a Maildir or .eml files into an account.
    Import(ImportArgs),
    /// Write a mailbox of an account to an mbox file or a Maildir.
    Export(ExportArgs),
    /// Verify a store while no server has it open.
    Check(CheckArgs),
    /// The configuration file.
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Watch what each shard of a running server does.
    Top(TopArgs),
    /// The last operations of a running server that were slow, and where their time went.
    Slow(SlowArgs),
    /// Mail that waits for other systems: list, hold, release, retry, bounce, remove.
    Queue(QueueArgs),
    /// What became of a message, hop by hop.
    Trace(TraceArgs),
    /// Reports about mail: of others, list, show, summary; our own, send.
    Reports(ReportsArgs),
    /// Send one message from standard input, as programs do with sendmail: -t, -f SENDER, -i, recipients.
    Sendmail(SendmailArgs),
    /// Mail-flow rules: try them on a message.
    #[command(subcommand)]
    Rules(RulesCommand),
    /// Look at this machine and say what to set on it, and why.
    Tune(TuneArgs),
}

#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// Keep the data here, and start again on it later.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
    /// Shards; default: one per core.
    #[arg(long, value_name = "N")]
    pub(crate) shards: Option<u16>,
    /// Cores to use, such as 0-3,6.
    #[arg(long, value_name = "LIST", value_parser = cpus)]
    pub(crate) cpus: Option<String>,
    /// Add accounts u000, u001, ... for load tools.
    #[arg(long, value_name = "N", requires = "password")]
    pub(crate) accounts: Option<u32>,
    /// Send all mail for other domains there; without it such mail is refused.
    #[arg(long, value_name = "HOST:PORT", value_parser = smarthost)]
    pub(crate) smarthost: Option<String>,
    /// The password of the added accounts, also of those that an earlier start has added.
    #[arg(long, value_name = "PASSWORD")]
    pub(crate) password: Option<Password>,
}

#[derive(Debug, Args)]
pub(crate) struct InitArgs {
    /// The server's name in DNS.
    #[arg(long)]
    pub(crate) hostname: String,
    /// The first domain to take mail for.
    #[arg(long)]
    pub(crate) domain: String,
    /// Where the store goes.
    #[arg(long, value_name = "DIR", default_value = "/var/lib/angarium")]
    pub(crate) data: PathBuf,
    /// Partitions of the store, fixed from now on.
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u16).range(16..=1024))]
    pub(crate) partitions: u16,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Shards; default: as configured, or one per core.
    #[arg(long, value_name = "N")]
    pub(crate) shards: Option<u16>,
    /// Cores to use, such as 0-3,6.
    #[arg(long, value_name = "LIST", value_parser = cpus)]
    pub(crate) cpus: Option<String>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum AccountCommand {
    /// Make an account with its usual mailboxes.
    Add {
        /// Its address, which is also its login name.
        address: String,
        /// For people.
        #[arg(long, default_value = "")]
        name: String,
        #[command(flatten)]
        password: PasswordArgs,
        /// Bytes it may hold; 0 for no limit.
        #[arg(long, value_name = "BYTES")]
        quota: Option<u64>,
    },
    /// Remove an account.
    Remove {
        /// Its address.
        address: String,
    },
    /// Change an account.
    Set {
        /// Its address.
        address: String,
        #[command(flatten)]
        password: PasswordArgs,
        /// For people.
        #[arg(long)]
        name: Option<String>,
        /// Bytes it may hold; 0 for no limit.
        #[arg(long, value_name = "BYTES")]
        quota: Option<u64>,
        /// Whether it may log in and receive mail.
        #[arg(long)]
        enabled: Option<bool>,
        /// What is also put into its Sent mailbox: none, own (what it sends), delegates (what others send under its
        /// addresses) or all.
        #[arg(long, value_name = "WHAT", value_parser = sent_copy)]
        sent_copy: Option<SentCopy>,
    },
    /// Say who may send as an account or alias, or on behalf of it; with the address alone: who may.
    Delegate(DelegateArgs),
    /// Send an account's mail on to another address, here or elsewhere.
    Forward(ForwardArgs),
    /// An account and what it holds.
    Show {
        /// Its address.
        address: String,
    },
    /// All accounts.
    List,
}

#[derive(Debug, Args)]
pub(crate) struct PasswordArgs {
    /// Read the password from the first line of a file; - is standard input.
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// The password itself; other users of this machine can see it while the command runs.
    #[arg(long, value_name = "PASSWORD", conflicts_with = "password_file")]
    pub(crate) password: Option<Password>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum DomainCommand {
    /// Take mail for a domain.
    Add {
        /// The domain.
        name: String,
    },
    /// Take no more mail for a domain that nothing uses.
    Remove {
        /// The domain.
        name: String,
    },
    /// Say who gets mail to addresses of a domain that nobody has.
    Set {
        /// The domain.
        name: String,
        /// An account or an alias of this server.
        #[arg(long, value_name = "ADDRESS", required_unless_present = "no_catch_all")]
        catch_all: Option<String>,
        /// Nobody: such mail is refused.
        #[arg(long, conflicts_with = "catch_all")]
        no_catch_all: bool,
    },
    /// A domain and its catch-all address.
    Show {
        /// The domain.
        name: String,
    },
    /// All domains.
    List,
    /// The keys that sign a domain's mail: add, list, state, remove.
    #[command(subcommand)]
    Dkim(DkimCommand),
    /// Every record to publish for a domain, and whether it is.
    Dns(DnsArgs),
}

#[derive(Debug, Subcommand)]
pub(crate) enum AliasCommand {
    /// Make or replace an alias.
    Set {
        /// The address that is replaced.
        address: String,
        /// What it stands for.
        #[arg(required = true)]
        targets: Vec<String>,
    },
    /// Remove an alias.
    Remove {
        /// Its address.
        address: String,
    },
    /// All aliases.
    List,
}

/// Forms of mail on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One file, messages after `From ` lines (RFC 4155), `>From ` unquoted.
    Mbox,
    /// A folder with cur, new and tmp.
    Maildir,
    /// One file a message, or a folder of them.
    Eml,
}

#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The account's address.
    pub(crate) account: String,
    /// The file or folder.
    pub(crate) source: PathBuf,
    /// The mailbox to put them into, made if it is not there.
    #[arg(long, default_value = "INBOX")]
    pub(crate) mailbox: String,
    /// What the source is; default: what it looks like.
    #[arg(long)]
    pub(crate) format: Option<Format>,
    /// Begin again, even if this source was imported before.
    #[arg(long)]
    pub(crate) again: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// The account's address.
    pub(crate) account: String,
    /// The file (mbox) or new folder (Maildir) to write.
    pub(crate) target: PathBuf,
    /// The mailbox to write.
    #[arg(long, default_value = "INBOX")]
    pub(crate) mailbox: String,
    /// The form to write.
    #[arg(long, default_value = "mbox")]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// The store; default: as configured.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct TopArgs {
    /// Seconds between two looks.
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    pub(crate) interval: f64,
    /// End after so many intervals.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// The store whose server is asked; default: as configured.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(crate) struct SlowArgs {
    /// Of this shard alone.
    #[arg(long, value_name = "N")]
    pub(crate) shard: Option<u16>,
    /// The store whose server is asked; default: as configured.
    #[arg(long, value_name = "DIR")]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum RulesCommand {
    /// Say for each rule whether it holds for a message, and what would be done. Changes nothing.
    Test(RulesTestArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RulesTestArgs {
    /// The message, a file as other programs save it (.eml).
    pub(crate) message: PathBuf,
    /// The file with the rules; default: the configuration.
    #[arg(long, value_name = "FILE")]
    pub(crate) rules: Option<PathBuf>,
    /// The sender; default: the first address of From. Empty for none.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) from: Option<String>,
    /// A recipient, as often as there are any; default: those of To and Cc.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) to: Vec<String>,
    /// The sender has logged in as this account.
    #[arg(long, value_name = "ADDRESS")]
    pub(crate) account: Option<String>,
    /// A domain of the organisation, where the rules do not name them.
    #[arg(long, value_name = "DOMAIN")]
    pub(crate) inside: Vec<String>,
    /// Who belongs to a group: ann@example.org=board. Nobody else does.
    #[arg(long, value_name = "ADDRESS=GROUP", value_parser = member)]
    pub(crate) member: Vec<(String, String)>,
    /// The junk score that the message has so far.
    #[arg(long, value_name = "SCORE", default_value_t = 0, allow_negative_numbers = true)]
    pub(crate) junk_score: i32,
    /// The moment, such as 2026-12-01T08:00:00Z; default: now.
    #[arg(long, value_name = "MOMENT", value_parser = moment)]
    pub(crate) at: Option<base::Timestamp>,
    /// Write the message as it would go on into this new file.
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ConfigCommand {
    /// Check the file without doing anything.
    Check,
    /// Print the configuration that does what a Postfix does, and name what has no counterpart.
    FromPostfix(PostfixArgs),
}

/// A list of cores, checked where it is given.
fn cpus(list: &str) -> Result<String, String> {
    parse_cpus(list).map(|_| list.to_owned())
}

/// A host with its port, checked where it is given.
fn smarthost(text: &str) -> Result<String, String> {
    match parse_host(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("HOST:PORT, such as 127.0.0.1:2525".to_owned()),
    }
}

/// An address and its group.
pub(crate) fn member(text: &str) -> Result<(String, String), String> {
    let (address, group) = text.split_once('=').ok_or("ADDRESS=GROUP")?;
    Ok((address.to_lowercase(), group.to_owned()))
}

/// A moment with its zone.
pub(crate) fn moment(text: &str) -> Result<base::Timestamp, String> {
    policy::parse_moment(text)
        .ok_or_else(|| "a moment with its zone, such as 2026-12-01T08:00:00Z".to_owned())
}

/// Seconds, checked where they are given.
fn interval(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok().filter(|s| (TOP_INTERVAL_S_MIN..=TOP_INTERVAL_S_MAX).contains(s));
    seconds.ok_or_else(|| format!("from {TOP_INTERVAL_S_MIN} to {TOP_INTERVAL_S_MAX} seconds"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn top_shows_at_least_one_interval() {
        let read = |count: &str| Cli::try_parse_from(["angarium", "top", "--count", count]);
        assert!(read("1").is_ok());
        assert!(read("0").is_err());
    }
}
