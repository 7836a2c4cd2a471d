//! One IMAP connection's client: setup commands one by one, then whatever the scenario says.

use std::collections::VecDeque;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::responses::Responses;
use crate::wrong::Wrong;

/// A connection.
pub(crate) struct Imap {
    responses: Responses,
    /// What to do before the connection is ready.
    setup: VecDeque<Step>,
    /// The step under way.
    current: Option<Step>,
    /// The response that AUTHENTICATE waits to be asked for.
    credentials: Option<String>,
    tag: u32,
    state: State,
    /// What the server has told so far.
    pub(crate) facts: Facts,
}

/// One thing to do before a connection is ready.
#[derive(Clone)]
pub(crate) enum Step {
    Command(String),
    /// By LOGIN, or by AUTHENTICATE PLAIN where the server says LOGINDISABLED.
    LogIn {
        name: String,
        password: String,
    },
}

impl From<String> for Step {
    fn from(command: String) -> Self {
        Self::Command(command)
    }
}

impl From<&str> for Step {
    fn from(command: &str) -> Self {
        Self::Command(command.into())
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Greeting,
    Setup,
    Ready,
    Leaving,
}

/// See [`Imap::facts`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one for each capability that matters here")]
pub(crate) struct Facts {
    /// Messages in the selected mailbox.
    pub(crate) exists: Option<u32>,
    /// Messages in the mailbox that STATUS was asked for last.
    pub(crate) status_messages: Option<u32>,
    /// LOGINDISABLED (RFC 9051 §6.2.3).
    is_login_disabled: bool,
    /// SASL-IR (RFC 4959): AUTHENTICATE takes its first response at once.
    has_sasl_ir: bool,
    /// LITERAL+ (RFC 7888): literals need no leave.
    pub(crate) has_literal_plus: bool,
    /// MULTIAPPEND (RFC 3502).
    pub(crate) has_multiappend: bool,
    /// UIDPLUS (RFC 4315): APPEND names the UIDs.
    pub(crate) has_uidplus: bool,
}

/// Something that the server said and the scenario should see.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Event<'a> {
    /// All setup commands are done.
    Prepared,
    /// An untagged response, from its `*` on.
    Untagged(&'a [u8]),
    /// A continuation request (RFC 9051 §7.6).
    Continue,
    /// The end of a command. `NO` and `BAD` are not ok.
    Tagged { is_ok: bool, text: &'a [u8] },
    /// The end of LOGOUT.
    LoggedOut,
}

enum Class {
    Untagged,
    Continue,
    Tagged { is_ok: bool },
}

impl Imap {
    /// Awaits the greeting, then runs `setup`. Of these CREATE alone may be refused (it exists already).
    pub(crate) fn new(setup: impl IntoIterator<Item = Step>) -> Self {
        Self {
            responses: Responses::default(),
            setup: setup.into_iter().collect(),
            current: None,
            credentials: None,
            tag: 0,
            state: State::Greeting,
            facts: Facts::default(),
        }
    }

    pub(crate) fn input(&mut self, bytes: &[u8]) {
        self.responses.input(bytes);
    }

    /// Appends a command, tag and CRLF included.
    pub(crate) fn command(&mut self, output: &mut Vec<u8>, command: &str) {
        self.begin(output, command);
        output.extend_from_slice(b"\r\n");
    }

    /// Appends a command's tag and first words; literals and CRLF are the caller's.
    pub(crate) fn begin(&mut self, output: &mut Vec<u8>, command: &str) {
        self.tag += 1;
        output.extend_from_slice(format!("t{} {command}", self.tag).as_bytes());
    }

    /// Says LOGOUT, as the last command; after this BYE is welcome.
    pub(crate) fn log_out(&mut self, output: &mut Vec<u8>) {
        self.state = State::Leaving;
        self.command(output, "LOGOUT");
    }

    /// The next thing the scenario should see.
    pub(crate) fn next(&mut self, output: &mut Vec<u8>) -> Result<Option<Event<'_>>, Wrong> {
        loop {
            let Some(range) = self.responses.take()? else { return Ok(None) };
            let line = self.responses.bytes(range.clone());
            let class = classify(line)?;
            if matches!(class, Class::Untagged) {
                self.facts.untagged(line);
                if line.starts_with(b"* BYE") && self.state != State::Leaving {
                    return Err(Wrong::answer("no BYE", line));
                }
            }
            match (self.state, class) {
                (State::Greeting, _) => {
                    if !line.starts_with(b"* OK") {
                        return Err(Wrong::answer("a greeting", line));
                    }
                    self.facts.capabilities(line);
                    self.state = State::Setup;
                }
                (State::Setup, Class::Tagged { is_ok }) => {
                    self.facts.capabilities(line);
                    self.check_setup(is_ok, range)?;
                }
                (State::Setup, Class::Continue) => {
                    let Some(credentials) = self.credentials.take() else {
                        return Err(Wrong::answer("no continuation request", line));
                    };
                    output.extend_from_slice(credentials.as_bytes());
                    continue;
                }
                (State::Setup, Class::Untagged) => continue,
                (_, Class::Untagged) => return Ok(Some(Event::Untagged(self.responses.bytes(range)))),
                (_, Class::Continue) => return Ok(Some(Event::Continue)),
                (State::Leaving, Class::Tagged { is_ok: true }) if self.is_last(line) => {
                    return Ok(Some(Event::LoggedOut));
                }
                (_, Class::Tagged { is_ok }) => {
                    return Ok(Some(Event::Tagged { is_ok, text: self.responses.bytes(range) }));
                }
            }
            self.current = self.setup.pop_front();
            match self.current.take() {
                None => {
                    self.state = State::Ready;
                    return Ok(Some(Event::Prepared));
                }
                Some(step) => {
                    match &step {
                        Step::Command(command) => self.command(output, command),
                        Step::LogIn { name, password } => self.log_in(output, name, password),
                    }
                    self.current = Some(step);
                }
            }
        }
    }

    /// Whether a tagged response is to the command said last.
    fn is_last(&self, line: &[u8]) -> bool {
        line.starts_with(format!("t{} ", self.tag).as_bytes())
    }

    fn log_in(&mut self, output: &mut Vec<u8>, name: &str, password: &str) {
        if !self.facts.is_login_disabled {
            return self.command(output, &format!("LOGIN {} {}", quoted(name), quoted(password)));
        }
        // RFC 4616 §2: authorization identity (none), name, password.
        let response = STANDARD.encode(format!("\0{name}\0{password}"));
        if self.facts.has_sasl_ir {
            return self.command(output, &format!("AUTHENTICATE PLAIN {response}"));
        }
        self.credentials = Some(format!("{response}\r\n"));
        self.command(output, "AUTHENTICATE PLAIN");
    }

    fn check_setup(&self, is_ok: bool, range: std::ops::Range<usize>) -> Result<(), Wrong> {
        let word = match &self.current {
            Some(Step::Command(command)) => command.split(' ').next().unwrap_or_default(),
            Some(Step::LogIn { .. }) => "the login",
            None => "nothing",
        };
        if is_ok || word == "CREATE" {
            return Ok(());
        }
        Err(Wrong::answer(&format!("OK to {word}"), self.responses.bytes(range)))
    }
}

impl Facts {
    fn untagged(&mut self, line: &[u8]) {
        if let Some(number) = line.strip_suffix(b" EXISTS") {
            self.exists = parse(number.get(2..)).or(self.exists);
        } else if line.starts_with(b"* CAPABILITY ") {
            self.capabilities(line);
        } else if line.starts_with(b"* STATUS ") {
            let at = memchr::memmem::rfind(line, b"(MESSAGES ").map(|at| at + 10);
            let digits = at.and_then(|at| line.get(at..)).and_then(|rest| rest.strip_suffix(b")"));
            self.status_messages = parse(digits);
        }
    }
}

impl Facts {
    /// What CAPABILITY lists, as a response or as a code in one (RFC 9051 §7.1); nothing where it is not there.
    fn capabilities(&mut self, line: &[u8]) {
        let Some(at) = memchr::memmem::find(line, b"CAPABILITY ") else { return };
        let list =
            line.get(at..).and_then(|rest| rest.split(|byte| *byte == b']').next()).unwrap_or_default();
        let has = |names: &[&[u8]]| list.split(|byte| *byte == b' ').any(|word| names.contains(&word));
        self.is_login_disabled = has(&[b"LOGINDISABLED"]);
        self.has_sasl_ir = has(&[b"SASL-IR", b"IMAP4rev2"]);
        self.has_literal_plus = has(&[b"LITERAL+"]);
        self.has_uidplus = has(&[b"UIDPLUS", b"IMAP4rev2"]);
        self.has_multiappend = has(&[b"MULTIAPPEND"]);
    }
}

fn parse(digits: Option<&[u8]>) -> Option<u32> {
    std::str::from_utf8(digits?).ok()?.parse().ok()
}

fn classify(line: &[u8]) -> Result<Class, Wrong> {
    if line.starts_with(b"* ") {
        return Ok(Class::Untagged);
    }
    if line.starts_with(b"+") {
        return Ok(Class::Continue);
    }
    let mut words = line.splitn(3, |byte| *byte == b' ');
    match (words.next(), words.next()) {
        (Some(tag), Some(word)) if tag.starts_with(b"t") => match word {
            b"OK" => Ok(Class::Tagged { is_ok: true }),
            b"NO" | b"BAD" => Ok(Class::Tagged { is_ok: false }),
            _ => Err(Wrong::answer("OK, NO or BAD", line)),
        },
        _ => Err(Wrong::answer("an IMAP response", line)),
    }
}

/// A quoted string (RFC 9051 §4.3).
pub(crate) fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(name: &str, password: &str) -> Step {
        Step::LogIn { name: name.into(), password: password.into() }
    }

    #[test]
    fn where_login_is_disabled_the_mechanism_is_plain() {
        for (greeting, said) in [
            (
                "* OK [CAPABILITY IMAP4rev1 LOGINDISABLED SASL-IR] hi\r\n",
                "t1 AUTHENTICATE PLAIN AGEAYg==\r\n",
            ),
            (
                "* OK [CAPABILITY IMAP4rev1 LOGINDISABLED AUTH=PLAIN] hi\r\n+ \r\n",
                "t1 AUTHENTICATE PLAIN\r\nAGEAYg==\r\n",
            ),
            ("* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] hi\r\n", "t1 LOGIN \"a\" \"b\"\r\n"),
        ] {
            let mut imap = Imap::new([step("a", "b")]);
            let mut output = Vec::new();
            imap.input(greeting.as_bytes());
            imap.input(b"t1 OK [CAPABILITY IMAP4rev1 UIDPLUS MULTIAPPEND] in\r\n");
            assert_eq!(imap.next(&mut output).expect("a login"), Some(Event::Prepared));
            assert_eq!(String::from_utf8_lossy(&output), said);
            assert!(imap.facts.has_uidplus && imap.facts.has_multiappend && !imap.facts.has_literal_plus);
        }
    }

    #[test]
    fn setup_runs_one_by_one_and_a_mailbox_may_exist() {
        let mut imap = Imap::new([step("a", "b"), "CREATE x".into()]);
        let mut output = Vec::new();
        imap.input(b"* OK hi\r\n");
        assert_eq!(imap.next(&mut output).expect("a greeting"), None);
        imap.input(b"* CAPABILITY IMAP4rev1 LITERAL+\r\nt1 OK in\r\n");
        assert_eq!(imap.next(&mut output).expect("a login"), None);
        imap.input(b"t2 NO exists\r\n* 3 EXISTS\r\n+ idling\r\nt3 NO\r\n");
        assert_eq!(imap.next(&mut output).expect("done"), Some(Event::Prepared));
        assert_eq!(imap.next(&mut output).expect("news"), Some(Event::Untagged(b"* 3 EXISTS")));
        assert_eq!(imap.next(&mut output).expect("leave"), Some(Event::Continue));
        let refused = Event::Tagged { is_ok: false, text: b"t3 NO" };
        assert_eq!(imap.next(&mut output).expect("an answer"), Some(refused));
        assert_eq!(output, b"t1 LOGIN \"a\" \"b\"\r\nt2 CREATE x\r\n");
        assert_eq!((imap.facts.exists, imap.facts.has_literal_plus), (Some(3), true));
    }

    #[test]
    fn a_refused_login_or_a_sudden_bye_is_wrong() {
        let mut imap = Imap::new([step("a", "secret")]);
        let mut output = Vec::new();
        imap.input(b"* OK hi\r\nt1 NO no\r\n");
        let wrong = imap.next(&mut output).expect_err("refused");
        assert!(!wrong.to_string().contains("secret"), "{wrong}");
        let mut imap = Imap::new([]);
        imap.input(b"* OK hi\r\n* BYE\r\n");
        assert_eq!(imap.next(&mut output).expect("ready"), Some(Event::Prepared));
        assert!(imap.next(&mut output).is_err());
    }

    #[test]
    fn the_end_of_idle_is_not_the_end_of_logout() {
        let mut imap = Imap::new([]);
        let mut output = Vec::new();
        imap.input(b"* OK hi\r\n");
        assert_eq!(imap.next(&mut output).expect("ready"), Some(Event::Prepared));
        imap.command(&mut output, "IDLE");
        imap.log_out(&mut output);
        imap.input(b"t1 OK idled\r\n* BYE\r\nt2 OK bye\r\n");
        let idled = Event::Tagged { is_ok: true, text: b"t1 OK idled" };
        assert_eq!(imap.next(&mut output).expect("idled"), Some(idled));
        assert_eq!(imap.next(&mut output).expect("welcome"), Some(Event::Untagged(b"* BYE")));
        assert_eq!(imap.next(&mut output).expect("out"), Some(Event::LoggedOut));
    }

    #[test]
    fn status_counts_and_quotes_are_kept() {
        let mut facts = Facts::default();
        facts.untagged(b"* STATUS \"a (MESSAGES b\" (MESSAGES 12)");
        assert_eq!(facts.status_messages, Some(12));
        assert_eq!(quoted("a\"b\\"), "\"a\\\"b\\\\\"");
    }
}
