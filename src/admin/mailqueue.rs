//! `angarium queue` and `angarium trace`: what waits for other systems, what became of it, and what an operator does
//! about it. Every shard has a part of the queue, so every shard is asked.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use base::ShardId;
use clap::{Args, Subcommand};
use queue::{Destination, Envelope, Progress, SUSPENDED_MAX, Trace, TraceFilter};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shard::Shard;
use shard::relay::control::{self, Deed, Lane, Listed, Select};

use crate::failures::gone;
use crate::limits::QUEUE_LIST_MAX;
use crate::slow::config_of;
use crate::{Exit, Failure, Host, Request, print, reporting};

#[derive(Debug, Args)]
pub(crate) struct QueueArgs {
    #[command(subcommand)]
    pub(crate) command: QueueCommand,
    /// The store whose server is asked; default: as configured.
    #[arg(long, value_name = "DIR", global = true)]
    pub(crate) data: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum QueueCommand {
    /// What waits, message by message.
    List {
        /// Of these alone.
        #[command(flatten)]
        which: Which,
        /// At most so many.
        #[arg(long, default_value_t = 100)]
        limit: usize,
    },
    /// The destinations that something waits for.
    Destinations,
    /// Do not try messages until they are released.
    Hold(Which),
    /// Try held messages again.
    Release(Which),
    /// Try messages now.
    Retry(Which),
    /// Give messages up, and tell their senders.
    Bounce {
        /// These.
        #[command(flatten)]
        which: Which,
        /// What the senders are told.
        #[arg(long, default_value = "returned by the administrator")]
        reason: String,
    },
    /// Take messages out of the queue, and tell nobody.
    Remove(Which),
    /// Send messages by another route, now.
    Reroute {
        /// These.
        #[command(flatten)]
        which: Which,
        /// The name of an [[outbound.route]] of the configuration.
        #[arg(long, value_name = "NAME", required_unless_present = "no_route")]
        route: Option<String>,
        /// The way of their addresses, whatever a rule or an operator has said before.
        #[arg(long, conflicts_with = "route")]
        no_route: bool,
    },
    /// Stop sending to a destination until it is resumed.
    Suspend {
        /// A domain, or a smarthost as HOST:PORT.
        destination: String,
    },
    /// How connections were protected today, as the reports to the domains will say it (RFC 8460).
    Tls,
    /// Go on sending to a destination, at once.
    Resume {
        /// A domain, or a smarthost as HOST:PORT.
        destination: String,
    },
}

/// Which messages: none of them is meant by saying nothing.
#[derive(Debug, Clone, Args)]
#[group(multiple = false)]
pub(crate) struct Which {
    /// The message with this id, as it stands in its Received field.
    id: Option<String>,
    /// Those for a domain, or for a smarthost as HOST:PORT.
    #[arg(long, value_name = "NAME")]
    destination: Option<String>,
    /// All of them.
    #[arg(long)]
    all: bool,
}

#[derive(Debug, Args)]
pub(crate) struct TraceArgs {
    /// A message's id, a Message-ID, or an address.
    what: String,
    /// At most so many.
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// The store whose server is asked; default: as configured.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// What is asked about the queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum QueueRequest {
    /// Entries.
    List {
        /// Which.
        which: Named,
        /// How many at most.
        limit: usize,
    },
    /// Destinations.
    Destinations,
    /// Do something to entries.
    Act {
        /// To which.
        which: Named,
        /// What.
        deed: Act,
    },
    /// Stop a destination, or let it go on.
    Suspend {
        /// Its name.
        destination: String,
        /// Stop.
        is_suspended: bool,
    },
    /// How connections were protected.
    Tls,
    /// What became of messages.
    Trace {
        /// An id, a Message-ID, or an address.
        what: String,
        /// How many at most.
        limit: usize,
    },
}

/// Entries, named.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Named {
    /// All of them.
    All,
    /// Of the message with this id, 16 hexadecimal digits.
    Id(String),
    /// With this destination.
    Destination(String),
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Act {
    /// See [`Deed::Hold`].
    Hold,
    /// See [`Deed::Release`].
    Release,
    /// See [`Deed::Retry`].
    Retry,
    /// See [`Deed::Bounce`].
    Bounce(String),
    /// See [`Deed::Remove`].
    Remove,
    /// See [`Deed::Reroute`].
    Reroute(Option<String>),
}

/// `angarium queue`.
pub(crate) fn queue(args: QueueArgs, file: &Path, host: &dyn Host, is_json: bool) -> Result<Exit, Failure> {
    let act = |which: Which, deed| Ok::<_, Failure>(QueueRequest::Act { which: which.required()?, deed });
    let request = match args.command {
        QueueCommand::List { which, limit } => {
            QueueRequest::List { which: which.named()?.unwrap_or(Named::All), limit }
        }
        QueueCommand::Destinations => QueueRequest::Destinations,
        QueueCommand::Hold(which) => act(which, Act::Hold)?,
        QueueCommand::Release(which) => act(which, Act::Release)?,
        QueueCommand::Retry(which) => act(which, Act::Retry)?,
        QueueCommand::Bounce { which, reason } => act(which, Act::Bounce(reason))?,
        QueueCommand::Remove(which) => act(which, Act::Remove)?,
        QueueCommand::Reroute { which, route, .. } => act(which, Act::Reroute(route))?,
        QueueCommand::Tls => QueueRequest::Tls,
        QueueCommand::Suspend { destination } => QueueRequest::Suspend { destination, is_suspended: true },
        QueueCommand::Resume { destination } => QueueRequest::Suspend { destination, is_suspended: false },
    };
    ask(request, args.data.as_deref(), file, host, is_json)
}

/// `angarium trace`.
pub(crate) fn trace(args: TraceArgs, file: &Path, host: &dyn Host, is_json: bool) -> Result<Exit, Failure> {
    let request = QueueRequest::Trace { what: args.what, limit: args.limit };
    if is_json {
        return ask(request, args.data.as_deref(), file, host, true);
    }
    let config = config_of(args.data.as_deref(), file)?;
    let found = host.control(&config)?.call(&Request::Queue { ask: request }, &[])?.json;
    let stories = found.as_array().map_or(&[][..], Vec::as_slice);
    if stories.is_empty() {
        print::text("nothing is known of it");
        return Ok(Exit::NotFound);
    }
    for story in stories {
        print::text(&told(story));
    }
    Ok(Exit::Done)
}

fn ask(
    request: QueueRequest,
    data: Option<&Path>,
    file: &Path,
    host: &dyn Host,
    is_json: bool,
) -> Result<Exit, Failure> {
    let config = config_of(data, file)?;
    let answer = host.control(&config)?.call(&Request::Queue { ask: request }, &[])?.json;
    print::answer(&answer, is_json);
    Ok(Exit::Done)
}

impl Which {
    fn named(self) -> Result<Option<Named>, Failure> {
        Ok(match self {
            Self { id: Some(id), .. } => {
                parse_id(&id)?;
                Some(Named::Id(id))
            }
            Self { destination: Some(name), .. } => Some(Named::Destination(name)),
            Self { all: true, .. } => Some(Named::All),
            _ => None,
        })
    }

    fn required(self) -> Result<Named, Failure> {
        let none = || Failure::new(Exit::Usage, "say which messages: an id, --destination NAME, or --all");
        self.named()?.ok_or_else(none)
    }
}

fn parse_id(text: &str) -> Result<u64, Failure> {
    let wrong =
        || Failure::new(Exit::Usage, format!("{text:?} is no message id: those are 16 hexadecimal digits"));
    u64::from_str_radix(text, 16).ok().filter(|_| text.len() == 16).ok_or_else(wrong)
}

/// Carries a request out on every shard.
pub(crate) async fn execute(shard: &Rc<Shard>, request: QueueRequest) -> Result<Value, Failure> {
    match request {
        QueueRequest::List { which, limit } => list(shard, &select(which)?, limit.min(QUEUE_LIST_MAX)).await,
        QueueRequest::Destinations => destinations(shard).await,
        QueueRequest::Act { which, deed } => {
            if let Act::Reroute(Some(name)) = &deed
                && !shard.settings().outbound.routes.iter().any(|route| route.name == *name)
            {
                let message =
                    format!("there is no [[outbound.route]] of the name {name:?} in the configuration");
                return Err(Failure::new(Exit::NotFound, message));
            }
            act(shard, &select(which)?, &deed_of(deed)).await
        }
        QueueRequest::Suspend { destination, is_suspended } => {
            let done = control::suspend(shard, &destination, is_suspended).await;
            if done == Err(queue::Error::TooLarge) {
                let message =
                    format!("no destination has so long a name, or {SUSPENDED_MAX} are suspended already");
                return Err(Failure::new(Exit::Unavailable, message));
            }
            answered(Ok::<_, ()>(done))?;
            Ok(json!({ "destination": destination, "suspended": is_suspended }))
        }
        QueueRequest::Tls => reporting::tls(shard).await,
        QueueRequest::Trace { what, limit } => {
            stories(shard, &filter(&what), limit.min(QUEUE_LIST_MAX)).await
        }
    }
}

fn select(which: Named) -> Result<Select, Failure> {
    Ok(match which {
        Named::All => Select::All,
        Named::Id(id) => Select::Id(parse_id(&id)?),
        Named::Destination(name) => Select::Destination(name),
    })
}

fn deed_of(act: Act) -> Deed {
    match act {
        Act::Hold => Deed::Hold,
        Act::Release => Deed::Release,
        Act::Retry => Deed::Retry,
        Act::Bounce(reason) => Deed::Bounce(one_line(&reason)),
        Act::Remove => Deed::Remove,
        Act::Reroute(route) => Deed::Reroute(route),
    }
}

/// It becomes part of a reply.
fn one_line(text: &str) -> String {
    text.chars().map(|char| if char.is_control() { ' ' } else { char }).collect()
}

fn filter(what: &str) -> TraceFilter {
    if let Ok(id) = parse_id(what) {
        return TraceFilter::Id(id);
    }
    // An address has no brackets.
    if what.trim_start().starts_with('<') {
        TraceFilter::MessageId(what.to_owned())
    } else {
        TraceFilter::Address(what.to_owned())
    }
}

async fn list(shard: &Rc<Shard>, select: &Select, limit: usize) -> Result<Value, Failure> {
    let mut all = Vec::new();
    for id in 0..shard.router.shards() {
        let (select, left) = (select.clone(), limit.saturating_sub(all.len()));
        let work = move |there: Rc<Shard>| async move { control::list(&there, &select, left).await };
        let (listed, _) = answered(shard.router.on(ShardId(id), work).await)?;
        all.extend(listed);
    }
    all.sort_by_key(|listed| listed.entry.due);
    Ok(all.iter().map(listed_json).collect())
}

async fn destinations(shard: &Rc<Shard>) -> Result<Value, Failure> {
    let mut all = Vec::new();
    for id in 0..shard.router.shards() {
        let work = async |there: Rc<Shard>| control::lanes(&there);
        let lanes = shard.router.on(ShardId(id), work).await.map_err(|_| gone())?;
        all.extend(lanes.into_iter().map(|lane| (id, lane)));
    }
    all.sort_by_key(|(_, lane)| std::cmp::Reverse(lane.view.waiting));
    Ok(all.iter().map(|(id, lane)| lane_json(*id, lane)).collect())
}

async fn act(shard: &Rc<Shard>, select: &Select, deed: &Deed) -> Result<Value, Failure> {
    let mut count = 0;
    for id in 0..shard.router.shards() {
        let (select, deed) = (select.clone(), deed.clone());
        let work = move |there: Rc<Shard>| async move { control::act(&there, &select, &deed).await };
        count += answered(shard.router.on(ShardId(id), work).await)?;
    }
    if count == 0 && matches!(select, Select::Id(_)) {
        return Err(Failure::new(Exit::NotFound, "no such message waits, or there is nothing to do for it"));
    }
    Ok(json!({ "entries": count }))
}

async fn stories(shard: &Rc<Shard>, filter: &TraceFilter, limit: usize) -> Result<Value, Failure> {
    let mut all = Vec::new();
    for id in 0..shard.router.shards() {
        let filter = filter.clone();
        let work = move |there: Rc<Shard>| async move { control::trace(&there, &filter, limit).await };
        all.extend(answered(shard.router.on(ShardId(id), work).await)?);
    }
    if let (true, TraceFilter::Address(what)) = (all.is_empty(), filter) {
        // People leave the brackets out.
        return Box::pin(stories(shard, &TraceFilter::MessageId(format!("<{what}>")), limit)).await;
    }
    all.sort_by_key(|trace| std::cmp::Reverse(trace.envelope.received));
    all.truncate(limit);
    Ok(all.iter().map(trace_json).collect())
}

fn answered<T, G>(answer: Result<Result<T, queue::Error>, G>) -> Result<T, Failure> {
    match answer {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Failure::new(
            Exit::Unavailable,
            format!("the queue cannot be read or changed now: {error:?}"),
        )),
        Err(_) => Err(gone()),
    }
}

fn listed_json(listed: &Listed) -> Value {
    let Listed { entry, envelope, progress } = listed;
    json!({
        "id": id_text(entry.id),
        "sender": envelope.sender.as_deref().unwrap_or("<>"),
        "recipients": waiting(entry.group, envelope, progress),
        "bytes": entry.size,
        "queued_s": entry.queued.as_s(),
        "due_s": entry.due.as_s(),
        "expires_s": entry.expires.as_s(),
        "attempts": entry.attempts,
        "held": entry.is_held,
        "moderators": envelope.moderation.as_ref().filter(|_| entry.is_held && entry.is_moderated).map(|it| &it.by),
        "last_reply": progress.attempts.last().map(|attempt| attempt.reply.as_str()),
    })
}

fn waiting(group: Destination, envelope: &Envelope, progress: &Progress) -> Vec<String> {
    let all = (0..).zip(&envelope.recipients).filter(|(_, recipient)| recipient.group == group);
    all.filter(|(at, _)| !progress.is_done(*at)).map(|(_, recipient)| recipient.address.clone()).collect()
}

fn lane_json(shard: u16, lane: &Lane) -> Value {
    let view = &lane.view;
    json!({
        "destination": lane.name.clone().unwrap_or_else(|| view.destination.to_string()),
        "shard": shard,
        "waiting": view.waiting,
        "out": view.out,
        "window": view.window,
        "failures": view.failures,
        "next_try_s": (view.failures > 0).then(|| view.blocked_until.as_s()),
        "suspended": view.is_suspended,
        "suspended_s": lane.suspended_since.map(base::Timestamp::as_s),
    })
}

fn trace_json(trace: &Trace) -> Value {
    let envelope = &trace.envelope;
    let address =
        |at: &u32| envelope.recipients.get(*at as usize).map(|recipient| recipient.address.as_str());
    let attempts = trace.progress.attempts.iter().map(|attempt| {
        json!({
            "at_ms": attempt.at.as_ms(),
            "action": attempt.action.name(),
            "recipients": attempt.recipients.iter().filter_map(address).collect::<Vec<_>>(),
            "host": attempt.host,
            "tls": attempt.tls,
            "reply": attempt.reply,
        })
    });
    let own = envelope.recipients.iter().filter(|recipient| recipient.group == trace.group);
    json!({
        "id": id_text(envelope.id),
        "message_id": envelope.origin.message_id,
        "sender": envelope.sender.as_deref().unwrap_or("<>"),
        "recipients": own.map(|recipient| recipient.address.as_str()).collect::<Vec<_>>(),
        "received_ms": envelope.received.as_ms(),
        "peer": envelope.origin.peer,
        "helo": envelope.origin.helo,
        "account": envelope.origin.account,
        "bytes": trace.size,
        "ended_ms": trace.ended.map(base::Timestamp::as_ms),
        "attempts": attempts.collect::<Vec<_>>(),
    })
}

fn id_text(id: u64) -> String {
    format!("{id:016x}")
}

/// A story for people.
fn told(story: &Value) -> String {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| {
        value.as_array().map_or_else(String::new, |all| all.iter().map(text).collect::<Vec<_>>().join(", "))
    };
    let mut lines = vec![format!(
        "{}  {} -> {}  {} bytes  {}",
        text(&story["id"]),
        text(&story["sender"]),
        list(&story["recipients"]),
        story["bytes"],
        text(&story["message_id"])
    )];
    let from = format!("received from {} [{}]", text(&story["helo"]), text(&story["peer"]));
    lines.push(format!("  {}  {from}", moment(&story["received_ms"])));
    for attempt in story["attempts"].as_array().map_or(&[][..], Vec::as_slice) {
        let (host, tls) = (text(&attempt["host"]), text(&attempt["tls"]));
        let by = if host.is_empty() { String::new() } else { format!(" by {host}") };
        let under = if tls.is_empty() { String::new() } else { format!(" ({tls})") };
        lines.push(format!(
            "  {}  {} {}{by}{under}: {}",
            moment(&attempt["at_ms"]),
            text(&attempt["action"]),
            list(&attempt["recipients"]),
            text(&attempt["reply"])
        ));
    }
    if story["ended_ms"].is_null() {
        lines.push("  it waits".to_owned());
    }
    lines.join("\n")
}

fn moment(ms: &Value) -> String {
    let at = base::Timestamp::from_ms(ms.as_i64().unwrap_or(0));
    let (year, month, day, hour, minute, second) = at.civil_utc();
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}
