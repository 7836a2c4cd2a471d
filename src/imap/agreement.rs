//! Clients that believe what they are told, and nothing else, agree with the account after a NOOP,
//! whatever they and others did to the mailbox (RFC 9051 §5.2, RFC 7162 §3.2).

use account::{Flags, MailboxName};
use base::Random;
use sim::World;

use crate::tests::Hand;

/// A client and what it believes the mailbox to hold.
struct Client {
    hand: Hand,
    has_qresync: bool,
    /// By sequence number: UID and flags, as far as they have been told.
    believed: Vec<(Option<u32>, Option<String>)>,
}

impl Client {
    fn new(world: &World, has_qresync: bool) -> Self {
        let mut client = Self { hand: Hand::of(world.clone()), has_qresync, believed: Vec::new() };
        if has_qresync {
            client.say("ENABLE QRESYNC");
        }
        client.say("SELECT INBOX");
        client
    }

    /// Does a command, learns from the answer, and asks for what is still unknown.
    fn say(&mut self, command: &str) {
        self.learn(command);
        if let Some(first) = self.believed.iter().position(|message| message.0.is_none()) {
            self.learn(&format!("FETCH {}:* (UID FLAGS)", first + 1));
        }
    }

    fn learn(&mut self, command: &str) {
        let (said, is_over) = self.hand.say(&format!("t {command}\r\n"));
        assert!(!is_over && said.ends_with("\r\n"), "{command}: {said}");
        let by_number = ["FETCH", "STORE", "SEARCH"].iter().any(|name| command.starts_with(name));
        for line in said.lines() {
            let words: Vec<&str> = line.splitn(4, ' ').collect();
            match words.as_slice() {
                ["t", status, ..] => assert_ne!(*status, "BAD", "{command}: {line}"),
                ["*", count, "EXISTS"] => self.exists(count.parse().expect("a number")),
                ["*", number, "EXPUNGE"] => {
                    assert!(!by_number && !self.has_qresync, "{command}: {line}");
                    self.believed.remove(number.parse::<usize>().expect("a number") - 1);
                }
                ["*", "VANISHED", set] => {
                    assert!(!by_number && self.has_qresync, "{command}: {line}");
                    self.vanished(set);
                }
                ["*", number, "FETCH", data] => self.fetched(number.parse().expect("a number"), data),
                _ => {}
            }
        }
    }

    /// Leaves the mailbox while the others go on, and catches up with what it kept (RFC 7162 §3.2.5).
    fn return_after(&mut self, others: impl FnOnce()) {
        self.say("NOOP");
        let status = self.hand.say("t STATUS INBOX (UIDVALIDITY HIGHESTMODSEQ)\r\n").0;
        let value = |name: &str| -> u64 {
            let (_, rest) = status.split_once(name).expect("it was asked for");
            rest.chars()
                .skip(1)
                .take_while(char::is_ascii_digit)
                .collect::<String>()
                .parse()
                .expect("a number")
        };
        let known = format!("({} {})", value("UIDVALIDITY"), value("HIGHESTMODSEQ"));
        self.say("UNSELECT");
        others();
        let said = self.hand.say(&format!("t SELECT INBOX (QRESYNC {known})\r\n")).0;
        let lines = || said.lines().map(|line| line.splitn(4, ' ').collect::<Vec<_>>());
        for line in lines() {
            if let ["*", "VANISHED", "(EARLIER)", set] = line.as_slice() {
                self.vanished(set);
            }
        }
        for line in lines() {
            match line.as_slice() {
                ["*", count, "EXISTS"] => self.exists(count.parse().expect("a number")),
                ["*", number, "FETCH", data] => self.fetched(number.parse().expect("a number"), data),
                _ => {}
            }
        }
        assert!(self.believed.iter().all(|message| message.0.is_some()), "what is new is told: {said}");
    }

    fn exists(&mut self, count: usize) {
        assert!(count >= self.believed.len(), "EXISTS never takes messages away");
        self.believed.resize(count, (None, None));
    }

    fn vanished(&mut self, set: &str) {
        for range in set.split(',') {
            let (first, last) = range.split_once(':').unwrap_or((range, range));
            let range = first.parse().expect("a UID")..=last.parse::<u32>().expect("a UID");
            self.believed.retain(|(uid, _)| !range.contains(&uid.expect("known by now")));
        }
    }

    fn fetched(&mut self, number: usize, data: &str) {
        let message = &mut self.believed[number - 1];
        if let Some((_, rest)) = data.split_once("UID ") {
            let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
            let uid = digits.parse().expect("a UID");
            assert!(message.0.is_none_or(|known| known == uid), "a sequence number moved: {data}");
            message.0 = Some(uid);
        }
        if let Some((_, rest)) = data.split_once("FLAGS (") {
            message.1 = rest.split_once(')').map(|(flags, _)| flags.to_owned());
        }
    }

    /// What the client does itself with `.SILENT`: it is not told.
    fn add_silently(&mut self, number: usize, flag: Flags) {
        let Some((_, Some(flags))) = self.believed.get_mut(number - 1) else { return };
        let named = |(has, name): &(Flags, &str)| flags.split(' ').any(|have| have == *name).then_some(*has);
        let all = Flags::NAMED.iter().filter_map(named).fold(flag, Flags::with);
        *flags = spelled(all);
    }
}

fn spelled(flags: Flags) -> String {
    let names = Flags::NAMED.iter().filter(|(flag, _)| flags.has(*flag)).map(|(_, name)| *name);
    names.collect::<Vec<_>>().join(" ")
}

/// Something that a client does.
fn act(client: &mut Client, random: &mut Random) {
    let count = client.believed.len() as u64;
    let number = random.below(count) as usize + 1;
    let flag = Flags::NAMED[random.below(5) as usize];
    match random.below(if count == 0 { 3 } else { 12 }) {
        0 => client.say("APPEND INBOX {1+}\r\nx"),
        1 => client.say("APPEND INBOX (\\Deleted) {1+}\r\nx {1+}\r\ny"),
        2 => client.say("EXPUNGE"),
        3 => client.say(&format!("STORE {number} +FLAGS ({})", flag.1)),
        4 => client.say(&format!("STORE {number}:* FLAGS ({} \\Deleted)", flag.1)),
        5 => client.say(&format!("STORE 1:{number} -FLAGS ({})", flag.1)),
        6 => {
            client.say(&format!("STORE {number} +FLAGS.SILENT ({})", flag.1));
            client.add_silently(number, flag.0);
        }
        7 => client.say(&format!("FETCH {number} (FLAGS)")),
        8 => client.say(&format!("UID FETCH {number}:* (FLAGS)")),
        9 => client.say("SEARCH UNSEEN"),
        10 => client.say(&format!("MOVE {number} Archive")),
        _ => client.say(&format!("UID EXPUNGE {number}:*")),
    }
}

fn rounds() -> u64 {
    std::env::var("FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok()).unwrap_or(40)
}

/// The messages of ann's INBOX as a client that knows all would believe.
fn held(world: &World) -> Vec<(Option<u32>, Option<String>)> {
    let account = world.account("ann");
    let inbox = account.mailbox(&MailboxName::inbox()).expect("every account has one").id;
    let mut held = Vec::new();
    account.for_each(inbox, |message| held.push((Some(message.uid.0), Some(spelled(message.flags)))));
    held
}

#[test]
fn a_client_that_returns_agrees_with_the_account() {
    for seed in 1..=rounds() {
        let mut random = Random::new(seed);
        let world = World::new();
        let mut other = Client::new(&world, false);
        let mut client = Client::new(&world, true);
        for _ in 0..6 {
            act(&mut client, &mut random);
            client.return_after(|| (0..random.below(12)).for_each(|_| act(&mut other, &mut random)));
            assert_eq!(client.believed, held(&world), "seed {seed}");
        }
    }
}

#[test]
fn clients_agree_with_the_account() {
    for seed in 1..=rounds() {
        let mut random = Random::new(seed);
        let world = World::new();
        let mut clients = [false, true, false].map(|has_qresync| Client::new(&world, has_qresync));
        for _ in 0..60 {
            act(&mut clients[random.below(3) as usize], &mut random);
            if !random.one_in(8) {
                continue;
            }
            let held = held(&world);
            for client in &mut clients {
                client.say("NOOP");
                assert_eq!(client.believed, held, "seed {seed}");
            }
        }
    }
}
