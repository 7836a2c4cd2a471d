//! Messages to send: header fields unlike each other's, and text that compresses like text.

use std::fmt;
use std::io::Write as _;

use crate::clock;

/// How many bytes messages have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Size {
    Fixed(usize),
    /// By [`MIXTURE`].
    Mixed,
}

/// Sizes in KiB, and how many of 100 messages have each.
const MIXTURE: [(usize, usize); 7] = [(2, 30), (4, 30), (8, 15), (16, 10), (64, 10), (256, 4), (1024, 1)];

impl Size {
    /// As on the command line: a count, with K for 1024, or `mixed`.
    pub(crate) fn read(text: &str) -> Result<Self, String> {
        if text == "mixed" {
            return Ok(Self::Mixed);
        }
        let (digits, unit) = match text.strip_suffix(['K', 'k']) {
            Some(digits) => (digits, 1024),
            None => (text, 1),
        };
        match digits.parse::<usize>() {
            Ok(0) => Err("sizes begin at 1".into()),
            Ok(count) => Ok(Self::Fixed(count * unit)),
            Err(error) => Err(error.to_string()),
        }
    }

    /// The size of a run's message `number`: neighbours in the mixture are spread over each hundred.
    fn of(self, number: u64) -> usize {
        let mut place = match self {
            Self::Fixed(bytes) => return bytes,
            // 37 and 100 have no common divisor: each hundred has all places.
            Self::Mixed => number as usize % 100 * 37 % 100,
        };
        for (kib, count) in MIXTURE {
            match place.checked_sub(count) {
                None => return kib * 1024,
                Some(rest) => place = rest,
            }
        }
        unreachable!("the counts add up to 100")
    }

    fn largest(self) -> usize {
        match self {
            Self::Fixed(bytes) => bytes,
            Self::Mixed => MIXTURE.iter().map(|(kib, _)| kib * 1024).max().unwrap_or(0),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(bytes) => bytes.fmt(f),
            Self::Mixed => f.write_str("mixed"),
        }
    }
}

impl From<Size> for serde_json::Value {
    fn from(size: Size) -> Self {
        match size {
            Size::Fixed(bytes) => bytes.into(),
            Size::Mixed => "mixed".into(),
        }
    }
}

/// Makes messages.
pub(crate) struct Messages {
    size: Size,
    /// Lines of words, longer than a message.
    text: Vec<u8>,
    /// Tells this run and thread from others.
    run: u64,
    serial: u64,
    /// The address in From. Servers let users write their own alone.
    pub(crate) author: String,
}

/// The author unless another is named.
const AUTHOR: &str = "load@example.org";

/// Words that are found in marked messages and nowhere else.
pub(crate) const RARE_WORD: &str = "quagga";
/// See [`RARE_WORD`].
pub(crate) const COMMON_WORD: &str = "ibex";
/// See [`RARE_WORD`]; in subjects.
pub(crate) const SUBJECT_WORD: &str = "okapi";

/// Which of the words for searches a message has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Marks {
    /// [`RARE_WORD`] in the body, and [`SUBJECT_WORD`] in the subject.
    pub(crate) is_rare: bool,
    /// [`COMMON_WORD`] in the body.
    pub(crate) is_common: bool,
}

const WORDS: [&str; 24] = [
    "road", "rider", "stage", "letter", "seal", "horse", "river", "bridge", "night", "gate", "tablet",
    "scribe", "market", "grain", "the", "of", "and", "to", "which", "under", "before", "carried", "kept",
    "nine",
];

impl Messages {
    /// Messages of exactly `size` bytes.
    pub(crate) fn new(size: Size, thread: usize) -> Self {
        Self::of_run(size, clock::unix_ms() * 1000 + thread as u64)
    }

    /// The messages that [`Messages::new`] made in an earlier run.
    fn of_run(size: Size, run: u64) -> Self {
        let mut random = base::Random::new(run);
        let length = 2 * size.largest() + 128;
        let mut text = Vec::with_capacity(length + 128);
        while text.len() < length {
            let start = text.len();
            while text.len() - start < 66 {
                text.extend_from_slice(WORDS[random.below(WORDS.len() as u64) as usize].as_bytes());
                text.push(b' ');
            }
            text.extend_from_slice(b"\r\n");
        }
        Self { size, text, run, serial: 0, author: AUTHOR.to_owned() }
    }

    /// The size of the next message.
    pub(crate) fn next_size(&self) -> usize {
        self.size.of(self.serial + 1)
    }

    /// Appends the next message, to `recipient`.
    pub(crate) fn write(&mut self, recipient: &str, out: &mut Vec<u8>) {
        self.write_marked(recipient, Marks::default(), out);
    }

    /// Appends the next message, with the words asked for.
    pub(crate) fn write_marked(&mut self, recipient: &str, marks: Marks, out: &mut Vec<u8>) {
        let start = out.len();
        self.serial += 1;
        let (run, serial, author) = (self.run, self.serial, &self.author);
        let size = self.size.of(serial);
        let subject = if marks.is_rare { format!("{SUBJECT_WORD} ") } else { String::new() };
        write!(
            out,
            "From: Load <{author}>\r\nTo: <{recipient}>\r\nSubject: {subject}{serial} of run {run}, {size} bytes\r\n\
             Date: Mon, 02 Mar 2026 09:00:00 +0000\r\nMessage-ID: <{serial}.{run}@load.example.org>\r\n\
             MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
        )
        .expect("memory takes everything");
        for (is_marked, word) in [(marks.is_rare, RARE_WORD), (marks.is_common, COMMON_WORD)] {
            if is_marked {
                out.extend_from_slice(word.as_bytes());
                out.extend_from_slice(b"\r\n");
            }
        }
        let rest = size.saturating_sub(out.len() - start + 2);
        // Begins elsewhere each time, so that bodies differ too.
        let from = (serial as usize * 31) % size.max(1);
        let body = &self.text[from..from + rest];
        out.extend_from_slice(body);
        if body.first() == Some(&b'\n') {
            // A cut between CR and LF.
            let at = out.len() - rest;
            out[at] = b'a';
        }
        if let Some(last) = out.last_mut().filter(|last| **last == b'\r' && rest > 0) {
            *last = b'z';
        }
        out.extend_from_slice(b"\r\n");
    }
}

/// Tells whether messages are as they were made, byte for byte, also those of earlier runs.
pub(crate) struct Originals {
    /// The runs met so far; a mailbox has few.
    runs: Vec<Messages>,
    expected: Vec<u8>,
}

impl Originals {
    pub(crate) const fn new() -> Self {
        Self { runs: Vec::new(), expected: Vec::new() }
    }

    /// Whether `message` is what was made for `recipient`. Its own subject says which it must be.
    pub(crate) fn is_true(&mut self, recipient: &str, message: &[u8]) -> bool {
        self.compare(recipient, message) == Some(true)
    }

    /// Whether `message` is one that was made, for whom it says, below the fields that a delivery puts on top.
    pub(crate) fn is_delivered(&mut self, message: &[u8]) -> bool {
        let start = memchr::memmem::find(message, b"From: Load <");
        let own = start.and_then(|start| message.get(start..)).unwrap_or_default();
        let to = memchr::memmem::find(own, b"\r\nTo: <").and_then(|at| own.get(at + 7..)).unwrap_or_default();
        let to = memchr::memchr(b'>', to).and_then(|end| to.get(..end)).unwrap_or_default();
        let to = String::from_utf8_lossy(to).into_owned();
        self.is_true(&to, own)
    }

    fn compare(&mut self, recipient: &str, message: &[u8]) -> Option<bool> {
        let start = memchr::memmem::find(message, b"\r\nSubject: ")? + 11;
        let end = start + memchr::memchr(b'\r', message.get(start..)?)?;
        let subject = std::str::from_utf8(message.get(start..end)?).ok()?;
        let (serial, rest) = subject.split_once(" of run ")?;
        let (run, size) = rest.strip_suffix(" bytes")?.split_once(", ")?;
        let (serial, run) = (serial.parse::<u64>().ok()?, run.parse().ok()?);
        // It is in the message, since one cut at the end of a line is like a shorter one otherwise. None is made longer
        // than asked for but by its header.
        let size = Size::Fixed(size.parse().ok().filter(|size| *size <= message.len())?);
        let is_known = |known: &Messages| known.run == run && known.size == size;
        let at = self.runs.iter().position(is_known).unwrap_or_else(|| {
            self.runs.push(Messages::of_run(size, run));
            self.runs.len() - 1
        });
        let made = &mut self.runs[at];
        let author = message.strip_prefix(b"From: Load <")?.split(|byte| *byte == b'>').next()?;
        std::str::from_utf8(author).ok()?.clone_into(&mut made.author);
        made.serial = serial.checked_sub(1)?;
        self.expected.clear();
        made.write(recipient, &mut self.expected);
        Some(self.expected == message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_their_size_and_clean_lines_and_differ() {
        let mut messages = Messages::new(Size::Fixed(600), 0);
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let mut message = Vec::new();
            messages.write("ann@example.org", &mut message);
            assert_eq!(message.len(), 600);
            let text = String::from_utf8(message).expect("ASCII");
            assert!(!text.replace("\r\n", "").contains(['\r', '\n']), "{text:?}");
            assert!(text.ends_with("\r\n") && !text.contains("\r\n."));
            assert!(seen.insert(text));
        }
    }

    #[test]
    fn marked_words_are_in_marked_messages_alone() {
        let mut messages = Messages::new(Size::Fixed(700), 0);
        let words = [RARE_WORD, COMMON_WORD, SUBJECT_WORD];
        for (is_rare, is_common) in [(false, false), (true, false), (false, true), (true, true)] {
            let mut message = Vec::new();
            messages.write_marked("ann@example.org", Marks { is_rare, is_common }, &mut message);
            let text = String::from_utf8(message).expect("ASCII");
            assert_eq!(text.len(), 700);
            assert_eq!(words.map(|word| text.contains(word)), [is_rare, is_common, is_rare]);
        }
    }

    #[test]
    fn one_changed_byte_is_noticed() {
        let mut messages = Messages::new(Size::Fixed(2048), 3);
        let mut originals = Originals::new();
        for _ in 0..3 {
            let mut message = Vec::new();
            messages.write("ann@example.org", &mut message);
            assert!(originals.is_true("ann@example.org", &message));
            assert!(!originals.is_true("bob@example.org", &message));
            let delivered = [b"Received: from x\r\n", message.as_slice()].concat();
            assert!(originals.is_delivered(&delivered) && originals.is_delivered(&message));
            assert!(!originals.is_delivered(&delivered[..delivered.len() - 1]));
            let line_end = memchr::memmem::rfind(&message[..2000], b"\r\n").expect("lines are short") + 2;
            assert!(!originals.is_true("ann@example.org", &message[..line_end]));
            assert!(!originals.is_true("ann@example.org", &message[..2000]));
            message[1500] ^= 1;
            assert!(!originals.is_true("ann@example.org", &message));
        }
        assert!(!originals.is_true("ann@example.org", b"nothing of ours"));
        let (mut small, mut message) = (Messages::new(Size::Fixed(100), 3), Vec::new());
        small.write("ann@example.org", &mut message);
        assert!(message.len() > 100 && originals.is_true("ann@example.org", &message));
        messages.author = "ann@example.org".to_owned();
        let mut message = Vec::new();
        messages.write("bob@example.org", &mut message);
        assert!(message.starts_with(b"From: Load <ann@example.org>\r\n") && message.len() == 2048);
        assert!(originals.is_delivered(&message));
    }

    #[test]
    fn each_hundred_of_a_mixture_is_the_same() {
        assert_eq!(MIXTURE.iter().map(|(_, count)| count).sum::<usize>(), 100);
        for hundred in 0..3 {
            let sizes: Vec<usize> = (0..100).map(|i| Size::Mixed.of(hundred * 100 + i)).collect();
            for (kib, count) in MIXTURE {
                assert_eq!(sizes.iter().filter(|size| **size == kib * 1024).count(), count);
            }
        }
        let mut messages = Messages::new(Size::Mixed, 0);
        for _ in 0..100 {
            let (mut message, size) = (Vec::new(), messages.next_size());
            messages.write("ann@example.org", &mut message);
            assert_eq!(message.len(), size);
        }
    }

    #[test]
    fn sizes_are_read() {
        assert_eq!((Size::read("64K"), Size::read("700")), (Ok(Size::Fixed(65_536)), Ok(Size::Fixed(700))));
        assert_eq!(Size::read("mixed"), Ok(Size::Mixed));
        assert!(Size::read("x").is_err() && Size::read("0").is_err());
    }
}
