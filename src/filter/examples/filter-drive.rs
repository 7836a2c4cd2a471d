//! Plays one message through one filter, over blocking sockets, and says as JSON what came of it. Black-box tests use it
//! against real filters; so may an operator who wants to know what a filter makes of a message.
//!
//! ```text
//! filter-drive milter|rspamd|clamd|clamd-ping|clamd-version|hook WHERE [NAME=VALUE]... < message
//! ```
//!
//! WHERE is `inet:HOST:PORT` or `unix:PATH`, or an `http://` address. Names: `client`, `client_name`, `helo`, `user`, `from`,
//! `rcpt` (again and again), `own_bytes`, `repeat` (messages on one connection), `reuse` (`always`, `after-continue`), `share` (`size`, `header`, `all`),
//! `settings`, `stage` (of a hook), `out` (a file for the changed message), and `{macro}`.

use std::error::Error;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base::Timestamp;
use filter::{
    Clamd, ClamdConfig, ClientAddress, Content, Event, Exchange, Facts, Hook, HookConfig, HookShare,
    HookStage, HttpConfig, Milter, MilterConfig, Next, OnVirus, Outcome, Reuse, Rspamd, RspamdConfig,
    RspamdRequest, Url, Verdict, apply,
};
use serde_json::{Value, json};

type Anything = Box<dyn Error>;

/// Longest time to connect, or to write.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

trait Socket: Read + Write {
    fn set_timeout(&self, timeout: Duration) -> std::io::Result<()>;
}

impl Socket for TcpStream {
    fn set_timeout(&self, timeout: Duration) -> std::io::Result<()> {
        self.set_read_timeout(Some(timeout))
    }
}

impl Socket for UnixStream {
    fn set_timeout(&self, timeout: Duration) -> std::io::Result<()> {
        self.set_read_timeout(Some(timeout))
    }
}

fn connect(place: &str) -> Result<Box<dyn Socket>, Anything> {
    if let Some(path) = place.strip_prefix("unix:") {
        return Ok(Box::new(UnixStream::connect(path)?));
    }
    let stream = TcpStream::connect(place.strip_prefix("inet:").unwrap_or(place))?;
    stream.set_write_timeout(Some(CONNECT_TIMEOUT))?;
    stream.set_nodelay(true)?;
    Ok(Box::new(stream))
}

#[expect(clippy::disallowed_methods, reason = "a program of its own, which has the clock")]
fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// All that a driver does, for every kind of filter.
fn drive<E: Exchange>(exchange: &mut E, socket: &mut dyn Socket) -> Result<E::Answer, Anything> {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let next = exchange.next(now());
        let output = std::mem::take(exchange.output());
        if socket.write_all(&output).is_err() {
            exchange.ended();
        }
        match next {
            Next::Write => {}
            Next::Answer(answer) => return Ok(answer),
            Next::Failed(failure) => return Err(failure.to_string().into()),
            Next::Read => {
                let left = exchange.deadline().since(now()).max(Duration::from_millis(1));
                socket.set_timeout(left)?;
                match socket.read(&mut buffer) {
                    Ok(0) => exchange.ended(),
                    Ok(count) => exchange.input(&buffer[..count]),
                    Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                    Err(_) => exchange.ended(),
                }
            }
        }
    }
}

struct Options {
    place: String,
    named: Vec<(String, String)>,
    content: Content,
    data: Arc<Vec<u8>>,
    own_bytes: usize,
}

impl Options {
    fn get(&self, name: &str) -> Option<&str> {
        self.named.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn all(&self, name: &str) -> Vec<String> {
        self.named.iter().filter(|(known, _)| known == name).map(|(_, value)| value.clone()).collect()
    }

    fn client(&self) -> Result<Option<IpAddr>, Anything> {
        Ok(self.get("client").map(str::parse).transpose()?)
    }

    fn facts(&self) -> Result<Facts, Anything> {
        let text = |name: &str| self.get(name).map(str::to_owned);
        Ok(Facts {
            client_address: self.client()?,
            client_name: text("client_name"),
            helo: text("helo"),
            user: text("user"),
            sender: text("from"),
            recipients: self.all("rcpt"),
            queue_id: Some("0123456789abcdef".to_owned()),
            server_name: Some("mx.example.org".to_owned()),
            ..Facts::default()
        })
    }
}

/// The outcome for a person or a test.
fn shown(outcome: &Outcome) -> Value {
    let (verdict, reply) = match &outcome.verdict {
        Verdict::Continue => ("continue".to_owned(), None),
        Verdict::Accept => ("accept".to_owned(), None),
        Verdict::Reject(reply) => ("reject".to_owned(), Some(reply)),
        Verdict::TempFail(reply) => ("tempfail".to_owned(), Some(reply)),
        Verdict::Greylist(reply) => ("greylist".to_owned(), Some(reply)),
        Verdict::Discard => ("discard".to_owned(), None),
        Verdict::Quarantine(reason) => (format!("quarantine: {reason}"), None),
        Verdict::Junk { score } => (format!("junk: {score}"), None),
        Verdict::Points(points) => (format!("points: {points}"), None),
    };
    let reply = reply
        .map(|reply| json!({"code": reply.code(), "enhanced": reply.enhanced(), "lines": reply.lines()}));
    let changes: Vec<String> = outcome.modifications.iter().map(|change| format!("{change:?}")).collect();
    json!({"verdict": verdict, "reply": reply, "changes": changes})
}

fn milter(options: &Options, socket: &mut dyn Socket) -> Result<Vec<(&'static str, Outcome)>, Anything> {
    let reuse = match options.get("reuse") {
        Some("always") => Reuse::Always,
        Some("after-continue") => Reuse::AfterContinue,
        _ => Reuse::Never,
    };
    let mut milter = Milter::new(MilterConfig { reuse, ..MilterConfig::default() });
    let repeat: usize = options.get("repeat").unwrap_or("1").parse()?;
    let mut outcomes = Vec::new();
    for round in 0..repeat {
        for (name, value) in options.named.iter().filter(|(name, _)| name.starts_with('{')) {
            milter.set_macro(name, value.as_bytes());
        }
        for (name, value) in [("j", "mx.example.org"), ("{daemon_name}", "mx"), ("i", "0123456789abcdef")] {
            milter.set_macro(name, value.as_bytes());
        }
        outcomes = session(options, &mut milter, socket)?;
        if round + 1 < repeat && !milter.release() {
            return Err("the connection cannot be used again".into());
        }
    }
    milter.quit();
    socket.write_all(milter.output())?;
    Ok(outcomes)
}

/// One SMTP session with one message; ends at the first refusal.
fn session(
    options: &Options,
    milter: &mut Milter,
    socket: &mut dyn Socket,
) -> Result<Vec<(&'static str, Outcome)>, Anything> {
    let from = options.client()?.map_or(ClientAddress::Unknown, |address| ClientAddress::Ip(address, 4321));
    let path = |address: &str| format!("<{address}>");
    let name = options.get("client_name").unwrap_or("localhost").to_owned();
    let mut events = vec![
        ("connect", Event::Connect { name, from }),
        ("helo", Event::Helo(options.get("helo").unwrap_or("localhost").to_owned())),
        ("mail", Event::Mail { path: path(options.get("from").unwrap_or_default()), parameters: Vec::new() }),
    ];
    for recipient in options.all("rcpt") {
        events.push(("rcpt", Event::Rcpt { path: path(&recipient), parameters: Vec::new() }));
    }
    events.push(("data", Event::Data));
    events.push(("message", Event::Message(options.content.clone())));
    let mut outcomes = Vec::new();
    for (stage, event) in events {
        milter.ask(event);
        let outcome = drive(milter, socket)?;
        let is_over = !outcome.verdict.lets_through();
        outcomes.push((stage, outcome));
        if is_over {
            milter.abort();
            break;
        }
    }
    Ok(outcomes)
}

fn http_config() -> HttpConfig {
    HttpConfig::default()
}

fn rspamd(options: &Options) -> Result<(Outcome, Value), Anything> {
    let url = Url::parse(&options.place).map_err(|error| error.to_string())?;
    let place = format!("{}:{}", url.host(), url.port());
    let mut socket = connect(&place)?;
    let config = RspamdConfig { url, http: http_config(), password: None };
    let settings = options.get("settings").map(str::to_owned);
    let request = RspamdRequest { facts: options.facts()?, settings, ..RspamdRequest::default() };
    let repeat: usize = options.get("repeat").unwrap_or("1").parse()?;
    let mut last = None;
    for _ in 0..repeat {
        let mut rspamd = Rspamd::new(&config, &request, options.content.clone());
        let answer = drive(&mut rspamd, socket.as_mut())?;
        let symbols: Vec<_> = answer.symbols.iter().map(|symbol| symbol.name.clone()).collect();
        let more = json!({"action": answer.action, "score": answer.score, "required": answer.required_score,
            "symbols": symbols, "is_reusable": rspamd.is_reusable()});
        last = Some((answer.outcome, more));
        if !rspamd.is_reusable() {
            socket = connect(&place)?;
        }
    }
    last.ok_or_else(|| "nothing was asked".into())
}

fn hook(options: &Options) -> Result<Outcome, Anything> {
    let url = Url::parse(&options.place).map_err(|error| error.to_string())?;
    let mut socket = connect(&format!("{}:{}", url.host(), url.port()))?;
    let share = match options.get("share") {
        Some("size") => HookShare::Size,
        Some("all") => HookShare::All,
        _ => HookShare::Header,
    };
    let stage = match options.get("stage") {
        Some("connect") => HookStage::Connect,
        Some("helo") => HookStage::Helo,
        Some("mail") => HookStage::Mail,
        Some("rcpt") => HookStage::Rcpt,
        _ => HookStage::Data,
    };
    let config = HookConfig { url, http: http_config(), fields: Vec::new(), share };
    let message = (stage == HookStage::Data).then_some(&options.content);
    drive(&mut Hook::new(&config, stage, &options.facts()?, message), socket.as_mut())
}

fn run(kind: &str, options: &Options) -> Result<Value, Anything> {
    let mut stages = Vec::new();
    let mut more = Value::Null;
    let outcome = match kind {
        "milter" => {
            let mut outcomes = milter(options, connect(&options.place)?.as_mut())?;
            stages =
                outcomes.iter().map(|(stage, outcome)| json!([stage, shown(outcome)["verdict"]])).collect();
            outcomes.pop().ok_or("nothing was asked")?.1
        }
        "rspamd" => {
            let (outcome, assessment) = rspamd(options)?;
            more = assessment;
            outcome
        }
        "hook" => hook(options)?,
        _ => {
            let config = ClamdConfig::default();
            let mut clamd = match kind {
                "clamd-ping" => Clamd::ping(config),
                "clamd-version" => Clamd::version(config),
                "clamd" => Clamd::scan(config, options.content.clone()),
                _ => return Err(format!("no filter is named {kind}").into()),
            };
            let answer = drive(&mut clamd, connect(&options.place)?.as_mut())?;
            more = json!(format!("{answer:?}"));
            answer.outcome(OnVirus::Reject)
        }
    };
    if let Some(path) = options.get("out") {
        std::fs::write(path, apply(&options.data, options.own_bytes, &outcome.modifications))?;
    }
    Ok(json!({"outcome": shown(&outcome), "stages": stages, "more": more}))
}

fn main() -> Result<(), Anything> {
    let mut arguments = std::env::args().skip(1);
    let (kind, place) = arguments.next().zip(arguments.next()).ok_or("say which filter, and where it is")?;
    let mut named = Vec::new();
    for argument in arguments {
        let (name, value) = argument.split_once('=').ok_or_else(|| format!("{argument}: say NAME=VALUE"))?;
        named.push((name.to_owned(), value.to_owned()));
    }
    let mut data = Vec::new();
    std::io::stdin().read_to_end(&mut data)?;
    let data = Arc::new(data);
    let own_bytes =
        named.iter().find(|(name, _)| name == "own_bytes").map_or(Ok(0), |(_, value)| value.parse())?;
    let content = Content::new(data.clone(), own_bytes);
    let options = Options { place, named, content, data, own_bytes };
    match run(&kind, &options) {
        Ok(said) => println!("{said}"),
        Err(failure) => println!("{}", json!({"failure": failure.to_string()})),
    }
    Ok(())
}
