//! Many connections that bring messages at the same time.

use smtp::Mode;

use super::deed::Kind;
use super::{Client, NAMES, Rig, TURNS_MAX, address, login};

/// A connection that brings one message after another, each with a token of its own.
struct Bringer {
    client: Client,
    kind: Kind,
    number: usize,
    sent: usize,
    /// The message on its way: its token, and who gets it.
    under_way: Option<(String, Vec<&'static str>)>,
}

/// Acknowledged: the token, who has it, and the count of events when the acknowledgement left.
pub(crate) type Acknowledged = (String, Vec<&'static str>, usize);

impl Bringer {
    fn new(rig: &Rig, kind: Kind, number: usize) -> Self {
        let (mut client, before) = match kind {
            Kind::Smtp(Mode::Lmtp) => (rig.smtp(Mode::Lmtp), "LHLO x".to_owned()),
            Kind::Smtp(mode) => (rig.smtp(mode), "EHLO x".to_owned()),
            Kind::Imap | Kind::Pop3 => (rig.imap(), login(NAMES[number % NAMES.len()])),
        };
        rig.talk(&mut client, &[before]);
        Self { client, kind, number, sent: 0, under_way: None }
    }

    /// Sends the next message if none is under way; gives the one whose acknowledgement was heard.
    fn go_on(&mut self, messages: usize) -> Option<(String, Vec<&'static str>)> {
        self.client.poll();
        let Some((_, names)) = &self.under_way else {
            if self.sent < messages {
                self.send();
            }
            return None;
        };
        let said = self.client.said();
        let is_heard = match self.kind {
            Kind::Smtp(Mode::Lmtp) => said.matches("250 2.0.0").count() == names.len(),
            Kind::Smtp(_) => said.contains("250 2.0.0"),
            Kind::Imap | Kind::Pop3 => said.contains("a9 OK"),
        };
        if !is_heard {
            assert!(!said.contains(" NO ") && !said.contains("451"), "{said}");
            return None;
        }
        self.client.take();
        self.under_way.take()
    }

    fn send(&mut self) {
        let token = format!("token-{}-{}-", self.number, self.sent);
        let at = |step: usize| NAMES[(self.number + self.sent * step) % NAMES.len()];
        // Some are larger than a batch's buffer, and all together need several segments.
        let filling = "0123456789abcde\r\n".repeat([1, 40, 300, 1200][(self.number + self.sent) % 4]);
        let text = format!("Subject: {token}\r\n\r\n{filling}");
        let names = match self.kind {
            Kind::Smtp(_) => vec![at(1), NAMES[(self.number + self.sent + 1) % NAMES.len()]],
            Kind::Imap | Kind::Pop3 => vec![NAMES[self.number % NAMES.len()]],
        };
        let command = match self.kind {
            Kind::Smtp(_) => {
                let rcpt: Vec<_> =
                    names.iter().map(|name| format!("RCPT TO:<{}>\r\n", address(name))).collect();
                let rcpt = rcpt.concat();
                format!("MAIL FROM:<>\r\n{rcpt}BDAT {} LAST\r\n{text}", text.len())
            }
            Kind::Imap | Kind::Pop3 => format!("a9 APPEND INBOX {{{}+}}\r\n{text}\r\n", text.len()),
        };
        self.client.send(command.as_bytes());
        self.client.poll();
        self.sent += 1;
        self.under_way = Some((token, names));
    }
}

/// Many connections at the same time, several batches in flight, several segments.
pub(crate) fn rush(rig: &Rig, messages: usize, look: &mut dyn FnMut(&str)) -> Vec<Acknowledged> {
    let kinds = [Kind::Smtp(Mode::Mx), Kind::Smtp(Mode::Lmtp), Kind::Imap, Kind::Smtp(Mode::Mx), Kind::Imap];
    let mut bringers: Vec<Bringer> =
        kinds.iter().enumerate().map(|(number, kind)| Bringer::new(rig, *kind, number)).collect();
    let mut acknowledged = Vec::new();
    for _ in 0..TURNS_MAX {
        for bringer in &mut bringers {
            if let Some((token, names)) = bringer.go_on(messages) {
                look(&token);
                acknowledged.push((token, names, rig.disk.event_count()));
            }
        }
        if acknowledged.len() == messages * kinds.len() {
            return acknowledged;
        }
        rig.engine.turn();
    }
    panic!("not everything was acknowledged");
}
