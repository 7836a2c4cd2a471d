//! Commands that change what is stored, each with how to know that it was acknowledged and that it is done.

use account::Flags;
use smtp::Mode;

use super::{Client, Rig, address, login, mailbox_name};

/// How many crashes are tried of one moment: each keeps another part of what was not flushed.
pub(crate) const CRASHES: usize = 4;

/// A connection of some protocol.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Smtp(Mode),
    Imap,
    Pop3,
}

/// A command that changes what is stored, and how to know that it was acknowledged and done.
pub(crate) struct Deed {
    pub(crate) name: &'static str,
    pub(crate) kind: Kind,
    prepare: fn(&Rig),
    before: Vec<String>,
    pub(crate) command: String,
    /// None of these may be said before the change is durable.
    pub(crate) acknowledgements: &'static [&'static str],
    pub(crate) refusal: &'static str,
    /// Transactions, that is, partitions concerned.
    pub(crate) frames: usize,
    pub(crate) is_done: Box<dyn Fn(&Rig) -> bool>,
}

impl Deed {
    fn new(name: &'static str, kind: Kind, before: &[&str], command: &str) -> Self {
        let (acknowledgements, refusal): (&[&str], _) = match kind {
            Kind::Smtp(_) => (&["250 2.0.0"], "45"),
            Kind::Imap => (&["a9 OK"], "a9 NO"),
            Kind::Pop3 => (&["+OK"], "-ERR"),
        };
        Self {
            name,
            kind,
            prepare: |_| {},
            before: before.iter().map(|line| (*line).to_owned()).collect(),
            command: command.to_owned(),
            acknowledgements,
            refusal,
            frames: 1,
            is_done: Box::new(|_| false),
        }
    }

    /// A command of ann's, logged in, and with her inbox selected.
    fn imap(name: &'static str, command: &str) -> Self {
        let login = login("ann");
        Self::new(name, Kind::Imap, &[&login, "a1 SELECT INBOX"], &format!("a9 {command}\r\n"))
    }

    fn prepared(mut self, prepare: fn(&Rig)) -> Self {
        self.prepare = prepare;
        self
    }

    fn telling(mut self, acknowledgements: &'static [&'static str]) -> Self {
        self.acknowledgements = acknowledgements;
        self
    }

    fn in_frames(mut self, frames: usize) -> Self {
        self.frames = frames;
        self
    }

    fn until(mut self, is_done: impl Fn(&Rig) -> bool + 'static) -> Self {
        self.is_done = Box::new(is_done);
        self
    }

    /// A rig and a connection where only the command is left to be said.
    pub(crate) fn begin(&self) -> (Rig, Client) {
        let rig = Rig::new();
        (self.prepare)(&rig);
        let client = self.connect(&rig);
        rig.settle();
        assert!(!(self.is_done)(&rig), "{}: it is done before it is begun", self.name);
        (rig, client)
    }

    pub(crate) fn connect(&self, rig: &Rig) -> Client {
        let mut client = match self.kind {
            Kind::Smtp(mode) => rig.smtp(mode),
            Kind::Imap => rig.imap(),
            Kind::Pop3 => rig.pop3(),
        };
        rig.talk(&mut client, &self.before);
        client
    }

    pub(crate) fn is_acknowledged(&self, said: &str) -> bool {
        self.acknowledgements.iter().any(|words| said.contains(words))
    }

    pub(crate) fn assert_survives(&self, disk: &storage_engine::Simulated) {
        for _ in 0..CRASHES {
            let rig = Rig::open(disk.crash());
            assert!((self.is_done)(&rig), "{}: acknowledged, and gone after a crash", self.name);
        }
    }
}

pub(crate) fn message(text: &str) -> String {
    format!("From: <x@example.net>\r\nSubject: {text}\r\n\r\n{text}\r\n")
}

fn has_messages(names: Vec<&'static str>, count: usize) -> impl Fn(&Rig) -> bool {
    move |rig| names.iter().all(|name| rig.messages(name, "INBOX", |_| true) == count)
}

fn two_messages(rig: &Rig) {
    rig.put("ann", "INBOX", Flags::NONE);
    rig.put("ann", "INBOX", Flags::DELETED);
}

fn a_folder(rig: &Rig) {
    rig.wait(rig.account("ann").create_mailbox(&mailbox_name("Old"), None, base::Timestamp::from_s(0)))
        .expect("it is new");
}

fn deliveries() -> Vec<Deed> {
    let (apart, beside) = Rig::new().apart_and_together();
    let everybody: Vec<&str> = apart.iter().copied().chain([beside]).collect();
    let rcpt = |names: &[&str]| -> Vec<String> {
        names.iter().map(|name| format!("RCPT TO:<{}>", address(name))).collect()
    };
    let envelope = |hello: &str, names: &[&str]| {
        let mut lines = vec![format!("{hello} client.example.net"), "MAIL FROM:<x@example.net>".to_owned()];
        lines.extend(rcpt(names));
        lines
    };
    let content = format!("{}.\r\n", message("one"));
    let mut deeds = Vec::new();
    let ways = [("EHLO", Mode::Mx, "SMTP"), ("LHLO", Mode::Lmtp, "LMTP")];
    let groups =
        [vec![apart[0]], vec![apart[0], beside], apart.clone(), everybody.clone(), vec![apart[0], apart[1]]];
    for ((hello, mode, name), names) in
        ways.iter().flat_map(|way| groups.iter().map(move |group| (way, group)))
    {
        let mut deed = Deed::new(name, Kind::Smtp(*mode), &[], &content);
        deed.before = envelope(hello, names);
        deed.before.push("DATA".to_owned());
        let frames = names.iter().filter(|name| **name != beside).count();
        deeds.push(deed.in_frames(frames).until(has_messages(names.clone(), 1)));
    }
    let bdat = message("chunk");
    let mut chunk =
        Deed::new("BDAT", Kind::Smtp(Mode::Mx), &[], &format!("BDAT {} LAST\r\n{bdat}", bdat.len()));
    chunk.before = envelope("EHLO", &everybody);
    deeds.push(chunk.in_frames(apart.len()).until(has_messages(everybody, 1)));
    // Two messages of one connection that came in one read with all their commands.
    let half = |text: &str| {
        let lines = [vec!["MAIL FROM:<x@example.net>".to_owned()], rcpt(&["ann"])].concat().join("\r\n");
        let body = message(text);
        format!("{lines}\r\nBDAT {} LAST\r\n{body}", body.len())
    };
    let both = format!("{}{}QUIT\r\n", half("first"), half("second"));
    let pipelined = Deed::new("pipelined", Kind::Smtp(Mode::Mx), &["EHLO x"], &both);
    deeds.push(pipelined.in_frames(2).until(has_messages(vec!["ann"], 2)));
    deeds
}

pub(crate) fn changes() -> Vec<Deed> {
    let append = message("appended");
    let flagged = |rig: &Rig| rig.messages("ann", "INBOX", |flags| flags.has(Flags::FLAGGED)) == 2;
    let seen = |rig: &Rig| rig.messages("ann", "INBOX", |flags| flags.has(Flags::SEEN)) == 1;
    let one_left = |rig: &Rig| rig.messages("ann", "INBOX", |_| true) == 1;
    let archived = |rig: &Rig| rig.messages("ann", "Archive", |_| true) >= 2;
    let is_there =
        |name: &'static str| move |rig: &Rig| rig.account("ann").mailbox(&mailbox_name(name)).is_ok();
    let is_subscribed = |name: &'static str| {
        move |rig: &Rig| rig.account("ann").subscriptions().contains(&mailbox_name(name))
    };
    vec![
        Deed::imap("APPEND", &format!("APPEND INBOX (\\Flagged) {{{}+}}\r\n{append}", append.len()))
            .telling(&["a9 OK", "APPENDUID", "EXISTS"])
            .until(|rig| rig.messages("ann", "INBOX", |flags| flags.has(Flags::FLAGGED)) > 0),
        Deed::imap("STORE", "STORE 1:* +FLAGS (\\Flagged)")
            .prepared(two_messages)
            .telling(&["a9 OK", "FETCH"])
            .until(flagged),
        Deed::imap("UID STORE", "UID STORE 1:* +FLAGS.SILENT (\\Flagged new)")
            .prepared(two_messages)
            .until(flagged),
        Deed::imap("EXPUNGE", "EXPUNGE")
            .prepared(two_messages)
            .telling(&["a9 OK", "EXPUNGE"])
            .until(one_left),
        Deed::imap("UID EXPUNGE", "UID EXPUNGE 1:9")
            .prepared(two_messages)
            .telling(&["a9 OK", "EXPUNGE"])
            .until(one_left),
        Deed::imap("CLOSE", "CLOSE").prepared(two_messages).until(one_left),
        Deed::imap("COPY", "COPY 1:2 Archive")
            .prepared(two_messages)
            .telling(&["a9 OK", "COPYUID"])
            .until(archived),
        Deed::imap("MOVE", "MOVE 1:2 Archive")
            .prepared(two_messages)
            .telling(&["a9 OK", "COPYUID", "EXPUNGE"])
            .until(archived),
        Deed::imap("CREATE", "CREATE New/Inner").until(is_there("New/Inner")),
        Deed::imap("RENAME", "RENAME Old New").prepared(a_folder).until(is_there("New")),
        Deed::imap("DELETE", "DELETE Old").prepared(a_folder).until(move |rig| !is_there("Old")(rig)),
        Deed::imap("SUBSCRIBE", "SUBSCRIBE Old").prepared(a_folder).until(is_subscribed("Old")),
        Deed::imap("UNSUBSCRIBE", "UNSUBSCRIBE Sent").until(move |rig| !is_subscribed("Sent")(rig)),
        Deed::imap("FETCH BODY[]", "FETCH 1 BODY[]")
            .prepared(two_messages)
            .telling(&["a9 OK", "\\Seen"])
            .until(seen),
        Deed::new("QUIT", Kind::Pop3, &["USER ann", "PASS secret", "DELE 2"], "QUIT\r\n")
            .prepared(two_messages)
            .until(one_left),
    ]
}

pub(crate) fn deeds() -> Vec<Deed> {
    deliveries().into_iter().chain(changes()).collect()
}
