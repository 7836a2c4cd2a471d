//! The server as a child of this program: started by a command, timed until it serves, ended or killed.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::cli::Options;
use crate::clock;
use crate::limits::{CONNECT_AGAIN, END_BY_ITSELF, FIRST_LOGIN, HELD_POLL, STALL};
use crate::server;
use crate::wire::{Event, Imap, Step, quoted};
use crate::wrong::Wrong;

use super::log_in;

/// A server that runs. It is killed when this is dropped.
pub(super) struct Launched {
    child: Child,
    began: Instant,
    has_ended: bool,
}

/// How long after its start a server did what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Served {
    /// The first greeting by IMAP was read.
    pub(super) imap: Duration,
    /// The first greeting by SMTP, or LMTP where SMTP has port 0; `None` where both have.
    pub(super) smtp: Option<Duration>,
    /// A login and SELECT were answered.
    pub(super) selected: Duration,
    /// Messages in the mailbox selected.
    pub(super) exists: u32,
}

impl Launched {
    /// Starts the command in a process group of its own. It says nothing here: its output is the command's to
    /// redirect.
    pub(super) fn start(command: &str) -> Result<Self, Wrong> {
        let began = clock::now();
        let child = Command::new("sh")
            .args(["-c", command])
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| Wrong::io("sh", &error))?;
        Ok(Self { child, began, has_ended: false })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the server serves: greetings by two protocols at the same time, then a login as the first
    /// user and SELECT.
    pub(super) fn wait(&mut self, options: &Options, mailbox: &str) -> Result<Served, Wrong> {
        self.wait_as(options, 0, mailbox)
    }

    fn wait_as(&mut self, options: &Options, user: usize, mailbox: &str) -> Result<Served, Wrong> {
        let began = self.began;
        let other = [options.smtp, options.lmtp].map(|target| target.address);
        let other = other.into_iter().find(|address| address.port() != 0);
        let has_ended = AtomicBool::new(false);
        let child = &mut self.child;
        let (imap, smtp) = std::thread::scope(|scope| {
            let is_over = || has_ended.load(Ordering::Relaxed);
            let smtp = scope.spawn(move || other.map(|to| greeting(to, b"220", began, is_over)).transpose());
            let imap = greeting(options.imap.address, b"* OK", began, || {
                has_ended.store(matches!(child.try_wait(), Ok(Some(_))), Ordering::Relaxed);
                is_over()
            });
            (imap, smtp.join().expect("a panic is reported where it happens"))
        });
        let (mut stream, said, imap) = imap.map_err(|wrong| self.explain(wrong))?;
        let smtp = smtp.map_err(|wrong| self.explain(wrong))?.map(|(_, _, at)| at);
        let steps = [log_in(options, user), format!("SELECT {}", quoted(mailbox)).into()];
        let exists = converse(&mut stream, &said, steps)?;
        let selected = clock::now().saturating_duration_since(began);
        Ok(Served { imap, smtp, selected, exists })
    }

    /// As [`Launched::wait`], for a first start that is not timed: logins may be refused for a while, as long as a
    /// server is still making its accounts, of which the last user's is the last.
    pub(super) fn wait_for_accounts(&mut self, options: &Options) -> Result<(), Wrong> {
        let end = clock::now() + FIRST_LOGIN;
        loop {
            let Err(wrong) = self.wait_as(options, options.users - 1, "INBOX") else { return Ok(()) };
            if clock::now() > end || matches!(self.child.try_wait(), Ok(Some(_))) {
                return Err(wrong);
            }
            clock::pause(HELD_POLL);
        }
    }

    /// Sends SIGTERM to the group, and waits for its first process.
    pub(super) fn stop(mut self) -> Result<(), Wrong> {
        signal(-i64::from(self.pid()), libc::SIGTERM);
        let end = clock::now() + END_BY_ITSELF;
        while clock::now() < end {
            let status = self.child.try_wait().map_err(|error| Wrong::io("the server", &error))?;
            if status.is_some() {
                self.has_ended = true;
                return Ok(());
            }
            clock::pause(CONNECT_AGAIN);
        }
        Err(Wrong::World(format!("the server does not end within {} s of SIGTERM", END_BY_ITSELF.as_secs())))
    }

    /// kill -9 for every process of it, at once.
    pub(super) fn kill(mut self) -> Result<(), Wrong> {
        self.kill_all();
        self.child.wait().map(drop).map_err(|error| Wrong::io("the server", &error))
    }

    fn kill_all(&mut self) {
        // Those that left the group are found by their parents, before these are gone.
        let all = server::tree(&[self.pid()]);
        signal(-i64::from(self.pid()), libc::SIGKILL);
        for pid in all {
            signal(pid.into(), libc::SIGKILL);
        }
        self.has_ended = true;
    }

    fn explain(&mut self, wrong: Wrong) -> Wrong {
        match self.child.try_wait() {
            Ok(Some(status)) => Wrong::World(format!("the serve command ended with {status}")),
            _ => wrong,
        }
    }
}

impl Drop for Launched {
    fn drop(&mut self) {
        if !self.has_ended {
            self.kill_all();
            if let Err(error) = self.child.wait() {
                eprintln!("the server: {error}");
            }
        }
    }
}

#[allow(unsafe_code)]
fn signal(to: i64, signal: libc::c_int) {
    let Ok(to) = libc::pid_t::try_from(to) else { return };
    // SAFETY: a process or group that we started; one that has ended since is an error without effect.
    unsafe { libc::kill(to, signal) };
}

/// Connects again and again until a greeting comes: the connection, what was said, and how long after `began`.
fn greeting(
    address: SocketAddr,
    beginning: &[u8],
    began: Instant,
    mut is_over: impl FnMut() -> bool,
) -> Result<(TcpStream, Vec<u8>, Duration), Wrong> {
    loop {
        if clock::now().saturating_duration_since(began) > STALL || is_over() {
            return Err(Wrong::Answer(format!("no greeting at {address}")));
        }
        match TcpStream::connect(address).and_then(read_line) {
            Ok((stream, line)) if line.starts_with(beginning) => {
                let at = clock::now().saturating_duration_since(began);
                return Ok((stream, line, at));
            }
            Ok((_, line)) if !line.is_empty() => {
                return Err(Wrong::answer(&String::from_utf8_lossy(beginning), &line));
            }
            // Not there yet, or not ready for anybody.
            _ => clock::pause(CONNECT_AGAIN),
        }
    }
}

/// What is said up to the end of a line; nothing where the connection ends before.
fn read_line(mut stream: TcpStream) -> std::io::Result<(TcpStream, Vec<u8>)> {
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STALL))?;
    let (mut line, mut part) = (Vec::new(), [0; 512]);
    while !line.ends_with(b"\n") {
        match stream.read(&mut part)? {
            0 => return Err(ErrorKind::UnexpectedEof.into()),
            count => line.extend_from_slice(&part[..count]),
        }
    }
    Ok((stream, line))
}

/// Runs setup steps; how many messages the mailbox has that was selected.
fn converse(
    stream: &mut TcpStream,
    said: &[u8],
    steps: impl IntoIterator<Item = Step>,
) -> Result<u32, Wrong> {
    let failed = |error: std::io::Error| Wrong::io("IMAP", &error);
    let mut imap = Imap::new(steps);
    let (mut output, mut part) = (Vec::new(), [0; 4096]);
    imap.input(said);
    loop {
        if imap.next(&mut output)? == Some(Event::Prepared) {
            return imap.facts.exists.ok_or_else(|| Wrong::Answer("SELECT came without EXISTS".into()));
        }
        stream.write_all(&output).map_err(failed)?;
        output.clear();
        match stream.read(&mut part).map_err(failed)? {
            0 => return Err(Wrong::Answer("the server closed a connection in use".into())),
            count => imap.input(&part[..count]),
        }
    }
}
