//! `angarium reports`: what others report about our mail, and sending what we have counted for others.
//!
//! - `forms`: reports as JSON.

mod forms;

use std::path::{Path, PathBuf};
use std::rc::Rc;

use base::{ShardId, Timestamp};
use clap::{Args, Subcommand, ValueEnum};
use reports::{Filter, Kind};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shard::reporting::control::{self, Unreadable};
use shard::{DIRECTORY_PARTITION, Shard};
use transport::report::{Collected, Day};

use self::forms::{digest_json, listed_json, report_json};
use crate::failures::gone;
use crate::limits::REPORT_LIST_MAX;
use crate::slow::config_of;
use crate::{Exit, Failure, Host, Request, print};

#[derive(Debug, Args)]
pub(crate) struct ReportsArgs {
    #[command(subcommand)]
    pub(crate) command: ReportsCommand,
    /// The store whose server is asked; default: as configured.
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum ReportsCommand {
    /// Reports that came, latest first.
    List {
        /// Of this kind alone.
        #[arg(long)]
        kind: Option<ReportKind>,
        /// About this domain alone.
        #[arg(long)]
        domain: Option<String>,
        /// About the time since then: 7d, 12h, a day such as 2026-11-01, or a moment.
        #[arg(long, value_name = "WHEN")]
        since: Option<String>,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// All that one report says.
    Show {
        /// Its number.
        id: u64,
    },
    /// What all reports about a domain say together.
    Summary {
        /// The domain.
        #[arg(long)]
        domain: String,
        /// About the time since then: 7d, 12h, a day such as 2026-11-01, or a moment.
        #[arg(long, value_name = "WHEN")]
        since: Option<String>,
    },
    /// Send what was counted for other domains now, without waiting for the day to end.
    Send,
}

/// Kinds of reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ReportKind {
    /// What others saw of a domain's mail.
    Dmarc,
    /// How others' connections to us were protected.
    Tls,
    /// Complaints, and messages that failed authentication.
    Feedback,
}

/// What is asked about reports.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReportsRequest {
    /// Reports that came.
    List {
        /// `dmarc`, `tls` or `feedback`; all of them.
        kind: Option<String>,
        /// About which domain; all of them.
        domain: Option<String>,
        /// About the time since then, in seconds since 1970.
        since_s: Option<i64>,
        /// How many at most.
        limit: usize,
    },
    /// One report.
    Show {
        /// Its number.
        id: u64,
    },
    /// All reports about a domain, added up.
    Summary {
        /// The domain.
        domain: String,
        /// About the time since then, in seconds since 1970.
        since_s: Option<i64>,
    },
    /// Send what was counted.
    Send,
}

/// `angarium reports`.
pub(crate) fn reports(
    args: ReportsArgs,
    file: &Path,
    host: &dyn Host,
    is_json: bool,
) -> Result<Exit, Failure> {
    let config = config_of(args.data.as_deref(), file)?;
    let since = |text: Option<String>| text.map(|text| since(&text, host.now())).transpose();
    let (ask, needs_server) = match args.command {
        ReportsCommand::List { kind, domain, since: from, limit } => {
            let kind = kind.map(|kind| kind.name().to_owned());
            (ReportsRequest::List { kind, domain, since_s: since(from)?, limit }, false)
        }
        ReportsCommand::Show { id } => (ReportsRequest::Show { id }, false),
        ReportsCommand::Summary { domain, since: from } => {
            (ReportsRequest::Summary { domain, since_s: since(from)? }, false)
        }
        // What is queued is sent by a server.
        ReportsCommand::Send => (ReportsRequest::Send, true),
    };
    let mut control = if needs_server { host.server(&config)? } else { host.control(&config)? };
    let answer = control.call(&Request::Reports { ask }, &[])?.json;
    print::answer(&answer, is_json);
    Ok(Exit::Done)
}

impl ReportKind {
    const fn name(self) -> &'static str {
        match self {
            Self::Dmarc => Kind::Dmarc.name(),
            Self::Tls => Kind::Tls.name(),
            Self::Feedback => Kind::Feedback.name(),
        }
    }
}

/// A time before now, a day, or a moment.
fn since(text: &str, now: Timestamp) -> Result<i64, Failure> {
    let ago = |unit: char, seconds: i64| {
        let count: i64 = text.strip_suffix(unit)?.parse().ok()?;
        Some(now.as_s().saturating_sub(count.saturating_mul(seconds)))
    };
    let moment = || policy::parse_moment(text).or_else(|| policy::parse_moment(&format!("{text}T00:00:00Z")));
    let found = ago('d', 86_400).or_else(|| ago('h', 3600)).or_else(|| moment().map(Timestamp::as_s));
    let remedy = "is no time; write such as 7d, 12h, 2026-11-01 or 2026-11-01T08:00:00Z";
    found.ok_or_else(|| Failure::new(Exit::Usage, format!("{text:?} {remedy}")))
}

/// Carries a request out on the shard that has the reports.
pub(crate) async fn execute(shard: &Rc<Shard>, request: ReportsRequest) -> Result<Value, Failure> {
    let owner = match &request {
        ReportsRequest::Send => ShardId(0),
        _ => shard.router.partition_shard(DIRECTORY_PARTITION),
    };
    let work = async move |there: Rc<Shard>| there_execute(&there, request).await;
    shard.router.on(owner, work).await.map_err(|_| gone())?
}

async fn there_execute(shard: &Rc<Shard>, request: ReportsRequest) -> Result<Value, Failure> {
    match request {
        ReportsRequest::List { kind, domain, since_s, limit } => {
            let filter =
                Filter { kind: kind.as_deref().map(kind_of).transpose()?, ..filter(domain, since_s) };
            let found =
                control::list(shard, &filter, limit.min(REPORT_LIST_MAX)).await.map_err(unreadable)?;
            Ok(found.iter().map(listed_json).collect())
        }
        ReportsRequest::Show { id } => {
            let found = control::show(shard, id).await.map_err(unreadable)?;
            let missing = || Failure::new(Exit::NotFound, format!("there is no report {id}"));
            let (summary, report) = found.ok_or_else(missing)?;
            Ok(report_json(id, &summary, &report))
        }
        ReportsRequest::Summary { domain, since_s } => {
            let filter = filter(Some(domain.clone()), since_s);
            let digest = control::digest(shard, &filter, REPORT_LIST_MAX).await.map_err(unreadable)?;
            Ok(digest_json(&domain, &digest))
        }
        ReportsRequest::Send => {
            let busy = || Failure::new(Exit::TempFail, "reports are being sent already; try again later");
            let sent = control::send(shard).await.ok_or_else(busy)?;
            Ok(json!({ "dmarc": sent.dmarc, "tls": sent.tls, "waiting": sent.waiting }))
        }
    }
}

/// The TLS reports that would go now, one for each day and domain.
pub(crate) async fn tls(shard: &Rc<Shard>) -> Result<Value, Failure> {
    let mut all = Collected::default();
    for id in 0..shard.router.shards() {
        let work = async |there: Rc<Shard>| control::tls(&there).await;
        all.add(shard.router.on(ShardId(id), work).await.map_err(|_| gone())?);
    }
    let domains: Vec<(Day, String)> = all.domains().map(|(day, domain)| (day, domain.to_owned())).collect();
    let settings = shard.settings();
    let own = &settings.reporting;
    let name = own.organization.as_ref().unwrap_or(&settings.outbound.hostname);
    let contact = own.from.as_ref().unwrap_or(&settings.mx.postmaster);
    let reports = domains.iter().filter_map(|(day, domain)| all.report(*day, domain, name, contact));
    Ok(reports.map(|report| json!(report)).collect())
}

fn filter(domain: Option<String>, since_s: Option<i64>) -> Filter {
    let domain = domain.map(|domain| base::dns::normal(&domain));
    Filter { kind: None, domain, since: since_s.map(Timestamp::from_s) }
}

fn kind_of(name: &str) -> Result<Kind, Failure> {
    let remedy = || Failure::new(Exit::Usage, format!("{name:?} is no kind of report: dmarc, tls, feedback"));
    Kind::named(name).ok_or_else(remedy)
}

fn unreadable(_: Unreadable) -> Failure {
    Failure::new(Exit::Unavailable, "the reports cannot be read now; the server's log says why")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_ago_a_day_or_a_moment() {
        let now = Timestamp::from_s(10 * 86_400);
        let read = |text: &str| since(text, now).ok();
        assert_eq!((read("7d"), read("12h")), (Some(3 * 86_400), Some(10 * 86_400 - 12 * 3600)));
        assert_eq!((read("1970-01-02"), read("1970-01-02T00:00:01Z")), (Some(86_400), Some(86_401)));
        assert_eq!((read("soon"), read("d"), read("")), (None, None, None));
    }
}
