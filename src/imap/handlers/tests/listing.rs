//! Answers from stored summaries are the answers that parsing gives, whatever is stored and whatever
//! became of it.

use super::*;
use base::Random;
use sim::samples;

const ITEMS: [&str; 9] = [
    "ENVELOPE",
    "BODYSTRUCTURE",
    "(UID ENVELOPE)",
    "ALL",
    "(BODYSTRUCTURE FLAGS ENVELOPE RFC822.SIZE)",
    "FULL",
    "(ENVELOPE BODY.PEEK[HEADER.FIELDS (SUBJECT)])",
    "(ENVELOPE BODY.PEEK[1])",
    "(ENVELOPE) (CHANGEDSINCE 3)",
];

fn mutated(random: &mut Random) -> Vec<u8> {
    let (_, sample) = samples::ALL[random.below(samples::ALL.len() as u64) as usize];
    let mut message = sample.to_vec();
    for _ in 0..random.below(6) {
        let at = random.below(message.len() as u64) as usize;
        message[at] = random.next_u64() as u8;
    }
    message
}

fn summarised(data: &[u8]) -> Content {
    Content { summary: crate::summarize(data), data: data.to_vec().into() }
}

#[test]
fn a_mailbox_of_all_kinds_is_told_as_if_it_had_no_summaries() {
    for seed in 1..40 {
        let mut random = Random::new(seed);
        let (mut plain, mut stored) = (Fixture::new(&[]), Fixture::new(&[]));
        let large = [samples::PLAIN, &b"x".repeat(9_000)].concat();
        for index in 0..60 {
            let data = if index % 20 == 7 { large.clone() } else { mutated(&mut random) };
            plain.append(&data, Flags::NONE);
            // Old messages have none, those of a later version another one.
            let mut content = summarised(&data);
            match random.below(5) {
                0 => content.summary.clear(),
                1 => content.summary[0] += 1,
                2 => content.summary.truncate(7),
                _ => {}
            }
            stored.put(content, Flags::NONE);
        }
        for fixture in [&mut plain, &mut stored] {
            fixture.say("SELECT INBOX");
        }
        for items in ITEMS {
            for set in ["1:*", "5,9:30", "60"] {
                let command = alloc::format!("FETCH {set} {items}");
                assert_eq!(stored.bytes(&command), plain.bytes(&command), "{command}, seed {seed}");
            }
        }
    }
}

#[test]
fn a_copy_is_told_from_the_summary_of_what_it_is_a_copy_of() {
    let mut ann = Fixture::new(&[]);
    ann.put(summarised(samples::NESTED), Flags::NONE);
    ann.say("SELECT INBOX");
    ann.say("COPY 1 INBOX");
    ann.say("STORE 2 +FLAGS (\\Flagged)");
    let said = ann.say("FETCH 1:* (ENVELOPE BODYSTRUCTURE)");
    let (first, second) = said.split_once("* 2 FETCH ").unwrap();
    assert_eq!(first.strip_prefix("* 1 FETCH "), second.strip_suffix("t OK fetched\r\n"));
    // What is read for it does not grow with the message.
    let before = ann.world.engine.stats().bytes_read;
    ann.say("FETCH 1:* (ENVELOPE BODYSTRUCTURE)");
    let read = ann.world.engine.stats().bytes_read - before;
    let summary = crate::summarize(samples::NESTED).len() as u64;
    // With its checksum.
    assert!((summary..=summary + 8).contains(&read), "{read} for {summary}");
}

#[test]
fn a_rotten_summary_is_not_believed() {
    let log = |world: &World| {
        let files = world.disk.files();
        files.into_iter().find(|file| file.starts_with("journal-00/0")).expect("a segment")
    };
    let mut ann = Fixture::new(&[]);
    for (_, message) in samples::ALL {
        ann.put(summarised(message), Flags::NONE);
    }
    ann.say("SELECT INBOX");
    let want: Vec<Vec<u8>> =
        ITEMS.iter().map(|items| ann.bytes(&alloc::format!("FETCH 1:* {items}"))).collect();
    let file = log(&ann.world);
    let bytes = ann.world.disk.bytes(&file).unwrap();
    let mut random = Random::new(9);
    for _ in 0..200 {
        let (_, message) = samples::ALL[random.below(samples::ALL.len() as u64) as usize];
        let summary = crate::summarize(message);
        let start = memchr::memmem::find(&bytes, &summary).expect("it is in the log");
        let at = start as u64 + random.below(summary.len() as u64);
        let bit = random.below(8) as u8;
        assert!(ann.world.disk.flip_bit(&file, at, bit));
        for (items, want) in ITEMS.iter().zip(&want) {
            assert_eq!(&ann.bytes(&alloc::format!("FETCH 1:* {items}")), want, "{items}, bit {bit} of {at}");
        }
        ann.world.disk.flip_bit(&file, at, bit);
    }
}

#[test]
fn a_long_listing_gives_others_their_turn_and_stays_within_its_memory() {
    let mut ann = Fixture::new(&[]);
    let content = summarised(samples::ATTACHMENT);
    for _ in 0..25 {
        let messages = (0..200).map(|_| NewMessage {
            content: content.clone(),
            flags: Flags::NONE,
            keywords: Vec::new(),
            received: ann.now,
        });
        ready(ann.account.append(ann.inbox(), messages.collect(), ann.now)).unwrap();
    }
    ann.say("SELECT INBOX");
    let said = ann.bytes("FETCH 1:* (UID ENVELOPE)");
    assert!(said.ends_with(b"t OK fetched\r\n"));
    assert_eq!(memchr::memchr_iter(b'\n', &said).count(), 5_001);
    assert!(ann.turns >= said.len() / (80 * 1024), "{}", ann.turns);
}

/// A peer; it notes how much had been read from the store when the first of an answer came.
struct First<F> {
    bytes_read: F,
    read: Option<u64>,
}

impl<F: Fn() -> u64> base::Drain for First<F> {
    fn poll_drain(
        &mut self,
        _: &mut core::task::Context<'_>,
        bytes: &mut Vec<u8>,
    ) -> Poll<Result<(), base::Closed>> {
        self.read.get_or_insert_with(&self.bytes_read);
        bytes.clear();
        Poll::Ready(Ok(()))
    }
}

#[test]
fn long_summaries_are_read_a_few_at_a_time() {
    const COUNT: usize = 400;
    let mut ann = Fixture::new(&[]);
    let to = "\r\n Somebody <somebody@example.org>,".repeat(100);
    let content = summarised(alloc::format!("To: {to}\r\n\r\nx\r\n").as_bytes());
    assert!(content.summary.len() > 3_000);
    for _ in 0..COUNT {
        ann.put(content.clone(), Flags::NONE);
    }
    ann.say("SELECT INBOX");
    let engine = ann.world.engine.clone();
    let bytes = || engine.stats().bytes_read;
    let before = bytes();
    let mut peer = First { bytes_read: bytes, read: None };
    let mut out = Out::new(Vec::new(), &mut peer);
    ann.say_to("FETCH 1:* (ENVELOPE)", &mut out);
    ready(out.flush()).unwrap();
    let read = peer.read.expect("much was said") - before;
    let middle = bytes();
    assert!(ann.bytes("FETCH 1:* (ENVELOPE)").len() > COUNT * 3_000);
    // Bytes between neighbours are read too, so what is counted is messages.
    let messages = read * COUNT as u64 / (bytes() - middle);
    let most = u64::from(crate::limits::READ_AHEAD_BYTES) / content.summary.len() as u64;
    assert!(messages > 0 && messages <= most + 1, "{messages}, {most}");
}
