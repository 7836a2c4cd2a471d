//! `angarium demo`: a whole server on loopback with sample accounts and mail, nothing to configure.

use std::cell::Cell;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use toml::Spanned;

use crate::cli::DemoArgs;
use crate::config::{Listeners, Server};
use crate::{Config, Control, Exit, Failure, Host, ImportMessage, Password, Request, print};

/// The demo's domain: never anybody's (RFC 2606 §3).
const DOMAIN: &str = "demo.example.org";
/// The accounts that every demo has.
const PEOPLE: [(&str, &str); 3] = [("ann", "Ann Angaros"), ("bob", "Bob Barid"), ("cleo", "Cleo Kurier")];
/// Where what the demo printed is kept, beside the store.
const FILE: &str = "demo.json";

/// How often ports are chosen.
const TRIES: u32 = 3;

/// One start of the demo's server.
enum Tried {
    /// It ended, or cannot start.
    Ended(Result<Exit, Failure>),
    /// A port that was free a moment ago was not any more.
    NotYet,
}

/// What `--json` prints, and what is kept for the next start.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DemoInfo {
    /// Loopback ports.
    pub ports: DemoPorts,
    /// Who can log in.
    pub accounts: Vec<DemoAccount>,
    /// The server's process.
    pub pid: u32,
}

/// Loopback ports by protocol.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub struct DemoPorts {
    pub smtp: u16,
    pub submission: u16,
    pub submissions: u16,
    pub lmtp: u16,
    pub imap: u16,
    pub imaps: u16,
    pub pop3: u16,
    pub pop3s: u16,
}

impl DemoPorts {
    const fn all(&self) -> [u16; 8] {
        let Self { smtp, submission, submissions, lmtp, imap, imaps, pop3, pop3s } = *self;
        [smtp, submission, submissions, lmtp, imap, imaps, pop3, pop3s]
    }
}

/// An account with its password.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct DemoAccount {
    /// The address, also the login name.
    pub address: String,
    /// The password.
    pub password: Password,
}

/// The demo about to run.
#[derive(Debug)]
pub struct Demo {
    args: DemoArgs,
    is_json: bool,
}

impl Demo {
    pub(crate) const fn new(args: DemoArgs, is_json: bool) -> Self {
        Self { args, is_json }
    }

    pub(crate) fn run(self, host: &dyn Host) -> Result<Exit, Failure> {
        let temporary = if self.args.data.is_none() { Some(Temporary::make(host)?) } else { None };
        let kept = self.args.data.as_deref();
        let folder = temporary.as_ref().map(|made| made.0.as_path()).or(kept).unwrap_or(Path::new("."));
        for _ in 1..TRIES {
            match self.serve(host, folder) {
                Tried::NotYet => {}
                Tried::Ended(ended) => return ended,
            }
        }
        match self.serve(host, folder) {
            Tried::NotYet => {
                Err(Failure::new(Exit::Unavailable, "other programs take every port that was free"))
            }
            Tried::Ended(ended) => ended,
        }
    }

    /// Between the look for a free port and listening on it another program may have taken it.
    fn serve(&self, host: &dyn Host, folder: &Path) -> Tried {
        let ports = match free_ports(host) {
            Ok(ports) => ports,
            Err(failure) => return Tried::Ended(Err(failure)),
        };
        let config = self.config(folder, ports);
        let has_started = Cell::new(false);
        let started = |control: &mut dyn Control, _: &Config| {
            has_started.set(true);
            self.started(host, control, folder, ports)
        };
        let ended = host.serve(&config, Box::new(started));
        let is_taken =
            ports.all().iter().any(|port| !matches!(host.free_port(*port), Ok(free) if free == *port));
        match ended {
            Err(failure) if failure.exit == Exit::Unavailable && is_taken && !has_started.get() => {
                Tried::NotYet
            }
            ended => Tried::Ended(ended),
        }
    }

    fn config(&self, folder: &Path, ports: DemoPorts) -> Config {
        let mut config = Config {
            server: Server {
                hostname: "localhost".to_owned(),
                data: folder.to_owned(),
                shards: self.args.shards.unwrap_or(0),
                cpus: self.args.cpus.clone().unwrap_or_default(),
                default_domain: DOMAIN.to_owned(),
                postmaster: format!("{}@{DOMAIN}", PEOPLE[0].0),
            },
            ..Config::default()
        };
        config.auth.allow_plaintext_without_tls = true;
        config.limits.connections_per_source_max = config.limits.connections_max;
        let on = |port: u16| vec![Spanned::new(0..0, format!("127.0.0.1:{port}"))];
        config.listen = Listeners {
            smtp: on(ports.smtp),
            submission: on(ports.submission),
            submissions: on(ports.submissions),
            lmtp: on(ports.lmtp),
            imap: on(ports.imap),
            imaps: on(ports.imaps),
            pop3: on(ports.pop3),
            pop3s: on(ports.pop3s),
            ..Listeners::default()
        };
        // It is for this machine alone: mail for others goes where it was told to, or is refused.
        config.outbound.enabled = self.args.smarthost.is_some();
        if let Some(smarthost) = &self.args.smarthost {
            config.outbound.smarthost = Spanned::new(0..0, smarthost.clone());
            config.outbound.relay_from = vec![Spanned::new(0..0, "127.0.0.0/8".to_owned())];
        }
        config
    }

    /// Makes what is missing, then says what there is.
    fn started(
        &self,
        host: &dyn Host,
        control: &mut dyn Control,
        folder: &Path,
        ports: DemoPorts,
    ) -> Result<(), Failure> {
        let known = read_known(&folder.join(FILE));
        let accounts = match known {
            Some(accounts) => accounts,
            None => make(host, control)?,
        };
        if let (Some(count), Some(password)) = (self.args.accounts, &self.args.password) {
            let request =
                Request::AccountAddMany { domain: DOMAIN.to_owned(), count, password: password.clone() };
            control.call(&request, &[])?;
        }
        let info = DemoInfo { ports, accounts, pid: std::process::id() };
        keep(&folder.join(FILE), &info)?;
        if self.is_json {
            print::text(&serde_json::to_string(&info).expect("plain values"));
        } else {
            print::text(&words(&info, folder, self.args.data.is_none()));
        }
        Ok(())
    }
}

/// The folder of a demo that keeps nothing: a name that nobody can guess and make before us, for its
/// owner alone, and gone with this value.
#[derive(Debug)]
struct Temporary(PathBuf);

impl Temporary {
    fn make(host: &dyn Host) -> Result<Self, Failure> {
        let folder = std::env::temp_dir().join(format!("angarium-demo-{}", letters(host)));
        // Fails when it is there already.
        DirBuilder::new()
            .mode(0o700)
            .create(&folder)
            .map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", folder.display())))?;
        Ok(Self(folder))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

/// The usual ports plus 2000 or so where they are free, others where they are not.
fn free_ports(host: &dyn Host) -> Result<DemoPorts, Failure> {
    Ok(DemoPorts {
        smtp: host.free_port(2525)?,
        submission: host.free_port(2587)?,
        submissions: host.free_port(2465)?,
        lmtp: host.free_port(2424)?,
        imap: host.free_port(2143)?,
        imaps: host.free_port(2993)?,
        pop3: host.free_port(2110)?,
        pop3s: host.free_port(2995)?,
    })
}

fn read_known(file: &Path) -> Option<Vec<DemoAccount>> {
    let text = std::fs::read(file).ok()?;
    serde_json::from_slice::<DemoInfo>(&text).ok().map(|info| info.accounts)
}

/// Kept readable by its owner alone: it has passwords in it.
fn keep(file: &PathBuf, info: &DemoInfo) -> Result<(), Failure> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let text = serde_json::to_vec(info).expect("plain values");
    let opened = std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(file);
    opened
        .and_then(|mut out| out.write_all(&text).and_then(|()| out.sync_all()))
        .map_err(|error| Failure::new(Exit::Io, format!("{}: {error}", file.display())))
}

/// The domain, the people and their first mail. Each step may have been done by a demo that was
/// ended in the middle of this; passwords are then set anew.
fn make(host: &dyn Host, control: &mut dyn Control) -> Result<Vec<DemoAccount>, Failure> {
    or_exists(control.call(&Request::DomainAdd { name: DOMAIN.to_owned() }, &[]))?;
    let mut accounts = Vec::new();
    for (local, name) in PEOPLE {
        let address = format!("{local}@{DOMAIN}");
        let password = Password::from(letters(host));
        let add = Request::AccountAdd {
            address: address.clone(),
            password: Some(password.clone()),
            display_name: name.to_owned(),
            quota_bytes: None,
        };
        if or_exists(control.call(&add, &[]))? {
            let set = Request::AccountSet {
                address: address.clone(),
                password: Some(password.clone()),
                display_name: None,
                quota_bytes: None,
                enabled: None,
                sent_copy: None,
            };
            control.call(&set, &[])?;
        }
        welcome(host, control, &address, name)?;
        accounts.push(DemoAccount { address, password });
    }
    let alias = Request::AliasSet {
        address: format!("everyone@{DOMAIN}"),
        targets: accounts.iter().map(|account| account.address.clone()).collect(),
    };
    control.call(&alias, &[])?;
    Ok(accounts)
}

/// True when it was there already.
fn or_exists(answer: Result<crate::Response, Failure>) -> Result<bool, Failure> {
    match answer {
        Ok(_) => Ok(false),
        Err(failure) if failure.exit == Exit::Exists => Ok(true),
        Err(failure) => Err(failure),
    }
}

/// Sixteen letters that nobody confuses, 80 bits.
fn letters(host: &dyn Host) -> String {
    const LETTERS: &[u8; 32] = b"abcdefghjkmnpqrstuvwxyz23456789x";
    let mut bytes = [0; 16];
    host.random(&mut bytes);
    bytes.iter().map(|byte| char::from(LETTERS[(byte % 32) as usize])).collect()
}

fn welcome(host: &dyn Host, control: &mut dyn Control, address: &str, name: &str) -> Result<(), Failure> {
    let now = host.now();
    let mut payload = Vec::new();
    let mut messages = Vec::new();
    for (i, sample) in SAMPLES.iter().enumerate() {
        let text = sample
            .replace("{address}", address)
            .replace("{name}", name)
            .replace("{domain}", DOMAIN)
            .replace("{date}", &date(now))
            .replace("{id}", &format!("{i}.{}", now.as_ms()))
            .replace('\n', "\r\n");
        messages.push(ImportMessage { bytes: text.len(), flags: Vec::new(), received_s: now.as_s() });
        payload.extend(text.into_bytes());
    }
    let request = Request::ImportBatch {
        account: address.to_owned(),
        mailbox: "INBOX".to_owned(),
        source: "demo".to_owned(),
        position: "all".to_owned(),
        messages,
    };
    let asked = Request::ImportPosition { account: address.to_owned(), source: "demo".to_owned() };
    if control.call(&asked, &[])?.json["position"].is_null() {
        control.call(&request, &payload)?;
    }
    Ok(())
}

/// RFC 5322 §3.3, in UTC.
fn date(now: base::Timestamp) -> String {
    let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"];
    let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day, hour, minute, second) = now.civil_utc();
    let (weekday, month) = (days[now.weekday_utc() as usize % 7], months[(month as usize + 11) % 12]);
    format!("{weekday}, {day:02} {month} {year} {hour:02}:{minute:02}:{second:02} +0000")
}

const SAMPLES: [&str; 3] = [
    "From: Angarium <postmaster@{domain}>\nTo: {name} <{address}>\nSubject: Welcome\nDate: {date}\nMessage-ID: <welcome.{id}@{domain}>\nMIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\n\nThis mailbox lives on your own machine. Send it something:\n\n    swaks --server 127.0.0.1:2525 --to {address} --header \"Subject: hello\"\n\nand watch it arrive in any mail program.\n",
    "From: Bob Barid <bob@{domain}>\nTo: {name} <{address}>\nSubject: =?utf-8?Q?Gr=C3=BC=C3=9Fe_aus_Susa?=\nDate: {date}\nMessage-ID: <relay.{id}@{domain}>\nMIME-Version: 1.0\nContent-Type: multipart/alternative; boundary=\"relay\"\n\n--relay\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\nDie Stra\u{df}e nach Sardes ist 2.500 Kilometer lang; ein Reiter braucht neun Tage.\n--relay\nContent-Type: text/html; charset=utf-8\nContent-Transfer-Encoding: 8bit\n\n<p>Die Stra\u{df}e nach <b>Sardes</b> ist 2.500 Kilometer lang; ein Reiter braucht neun Tage.</p>\n--relay--\n",
    "From: Cleo Kurier <cleo@{domain}>\nTo: {name} <{address}>\nSubject: The stages of the road\nDate: {date}\nMessage-ID: <stages.{id}@{domain}>\nMIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"stages\"\n\n--stages\nContent-Type: text/plain; charset=us-ascii\n\nThe list is attached.\n--stages\nContent-Type: text/csv; name=\"stages.csv\"\nContent-Disposition: attachment; filename=\"stages.csv\"\nContent-Transfer-Encoding: base64\n\nc3RhZ2UsZGF5cwpTYXJkZXMsMApHb3JkaXVtLDIKQXJiZWxhLDYKU3VzYSw5Cg==\n--stages--\n",
];

fn words(info: &DemoInfo, folder: &Path, is_temporary: bool) -> String {
    let DemoPorts { smtp, submission, submissions, lmtp, imap, imaps, pop3, pop3s } = info.ports;
    let login =
        |account: &DemoAccount| format!("    {:<24} {}\n", account.address, account.password.reveal());
    let logins: String = info.accounts.iter().map(login).collect();
    let (address, password) =
        info.accounts.first().map_or(("", ""), |account| (&account.address, account.password.reveal()));
    let data =
        if is_temporary { "and goes when the server ends; --data DIR keeps it." } else { "and stays." };
    let folder = folder.display();
    format!(
        "Angarium is serving on loopback. Log in with:

{logins}
Settings for mail programs (host 127.0.0.1, login name as above):

    IMAP   {imap} (STARTTLS)   {imaps} (TLS)
    POP3   {pop3} (STLS)       {pop3s} (TLS)
    SMTP   {submission} (STARTTLS)   {submissions} (TLS)   submission, log in
    SMTP   {smtp}   mail from elsewhere
    LMTP   {lmtp}

The certificate is self-signed; on loopback passwords are also taken without TLS.

Try:

    swaks --server 127.0.0.1:{smtp} --to {address}
    curl -s imap://127.0.0.1:{imap}/INBOX -u '{address}:{password}' -X 'FETCH 1:* (UID ENVELOPE)'

The data is in {folder} {data} Stop with Ctrl-C."
    )
}

#[cfg(test)]
mod tests;
