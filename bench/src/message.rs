//! Messages to send: header fields unlike each other's, and text that compresses like text.

use std::io::Write as _;

use crate::clock;

/// Makes messages of one size.
pub(crate) struct Messages {
    size: usize,
    /// Lines of words, longer than a message.
    text: Vec<u8>,
    /// Tells this run and thread from others.
    run: u64,
    serial: u64,
}

const WORDS: [&str; 24] = [
    "road", "rider", "stage", "letter", "seal", "horse", "river", "bridge", "night", "gate", "tablet",
    "scribe", "market", "grain", "the", "of", "and", "to", "which", "under", "before", "carried", "kept",
    "nine",
];

impl Messages {
    /// Messages of exactly `size` bytes.
    pub(crate) fn new(size: usize, thread: usize) -> Self {
        let run = clock::unix_ms() * 1000 + thread as u64;
        let mut random = base::Random::new(run);
        let mut text = Vec::with_capacity(2 * size + 128);
        while text.len() < 2 * size + 128 {
            let start = text.len();
            while text.len() - start < 66 {
                text.extend_from_slice(WORDS[random.below(WORDS.len() as u64) as usize].as_bytes());
                text.push(b' ');
            }
            text.extend_from_slice(b"\r\n");
        }
        Self { size, text, run, serial: 0 }
    }

    /// Appends the next message, to `recipient`.
    pub(crate) fn write(&mut self, recipient: &str, out: &mut Vec<u8>) {
        let start = out.len();
        self.serial += 1;
        let (run, serial) = (self.run, self.serial);
        write!(
            out,
            "From: Load <load@example.org>\r\nTo: <{recipient}>\r\nSubject: {serial} of run {run}\r\n\
             Date: Mon, 02 Mar 2026 09:00:00 +0000\r\nMessage-ID: <{serial}.{run}@load.example.org>\r\n\
             MIME-Version: 1.0\r\nContent-Type: text/plain; charset=us-ascii\r\n\r\n"
        )
        .expect("memory takes everything");
        let rest = self.size.saturating_sub(out.len() - start + 2);
        // Begins elsewhere each time, so that bodies differ too.
        let from = (serial as usize * 31) % self.size.max(1);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_have_their_size_and_clean_lines_and_differ() {
        let mut messages = Messages::new(600, 0);
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
}
