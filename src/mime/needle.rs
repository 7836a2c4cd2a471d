//! The string that a SEARCH looks for, prepared once and looked for often.
//!
//! Case is removed by simple folding, one character for one, in the spirit of RFC 5051 without its
//! decomposition. Looking takes linear time and, for any usual needle, allocates nothing.

use alloc::string::String;
use alloc::vec::Vec;

use memchr::memmem::Finder;

use crate::limits::SEARCH_CHUNK_BYTES;

/// A string to look for without regard to case.
#[derive(Clone, Debug)]
pub struct Needle {
    finder: Finder<'static>,
    length: usize,
    is_ascii: bool,
}

impl Needle {
    /// Prepares a search. An empty needle is in everything.
    pub fn new(text: &str) -> Self {
        let is_ascii = text.is_ascii();
        let folded: String = text.chars().map(fold_char).collect();
        Self { finder: Finder::new(folded.as_bytes()).into_owned(), length: folded.len(), is_ascii }
    }

    /// Whether the needle is all ASCII, so that [`Needle::matches_bytes_ascii`] finds it.
    pub fn is_ascii(&self) -> bool {
        self.is_ascii
    }

    /// Whether the needle is empty: it then asks for presence alone (RFC 9051 §6.4.4, HEADER).
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// Whether `text` contains the needle. For an ASCII needle only ASCII letters are folded.
    pub fn matches_text(&self, text: &str) -> bool {
        if self.is_ascii {
            return self.matches_bytes_ascii(text.as_bytes());
        }
        let mut folded = Vec::with_capacity(text.len().min(SEARCH_CHUNK_BYTES.max(4 * self.length)) + 4);
        let full = folded.capacity() - 4;
        let mut utf8 = [0; 4];
        for character in text.chars() {
            folded.extend_from_slice(fold_char(character).encode_utf8(&mut utf8).as_bytes());
            if folded.len() >= full {
                if self.finder.find(&folded).is_some() {
                    return true;
                }
                // The needle may begin in this chunk and end in the next.
                folded.drain(..(folded.len() + 1).saturating_sub(self.length));
            }
        }
        self.finder.find(&folded).is_some()
    }

    /// Whether `bytes`, in any charset that keeps ASCII, contain the needle. A needle with
    /// other characters is not found this way.
    pub fn matches_bytes_ascii(&self, bytes: &[u8]) -> bool {
        if !self.is_ascii {
            return false;
        }
        if self.length * 4 <= SEARCH_CHUNK_BYTES {
            return self.find_in_chunks(bytes, &mut [0; SEARCH_CHUNK_BYTES]);
        }
        let mut chunk: Vec<u8> = core::iter::repeat_n(0, self.length * 4).collect();
        self.find_in_chunks(bytes, &mut chunk)
    }

    /// Folds and searches one chunk after another, each beginning with the end of the last.
    fn find_in_chunks(&self, bytes: &[u8], chunk: &mut [u8]) -> bool {
        let mut rest = bytes;
        while rest.len() >= self.length {
            let taken = rest.len().min(chunk.len());
            let (Some(source), Some(folded)) = (rest.get(..taken), chunk.get_mut(..taken)) else { break };
            folded.copy_from_slice(source);
            folded.make_ascii_lowercase();
            if self.finder.find(folded).is_some() {
                return true;
            }
            if taken == rest.len() {
                break;
            }
            rest = rest.get(taken + 1 - self.length.max(1)..).unwrap_or_default();
        }
        false
    }
}

/// One character without its case, if that is one character. Upper case first, so that forms with one
/// capital (σ and ς, both Σ) become one.
fn fold_char(character: char) -> char {
    if character.is_ascii() {
        return character.to_ascii_lowercase();
    }
    let upper = single(character.to_uppercase(), character);
    single(upper.to_lowercase(), upper)
}

fn single(mut cased: impl Iterator<Item = char>, or: char) -> char {
    match (cased.next(), cased.next()) {
        (Some(one), None) => one,
        _ => or,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn case_does_not_count() {
        for (needle, text, is_in) in [
            ("", "", true),
            ("", "x", true),
            ("Hello", "say hELLO!", true),
            ("hello", "hell", false),
            ("ÄRGER", "kein Ärger", true),
            ("straße", "STRAßE", true),
            ("ΟΔΟΣ", "οδος και οδός", true),
            ("привет", "ПРИВЕТ", true),
            ("é", "E", false),
            ("你好", "说你好吗", true),
            ("k", "\u{212a}", false),
        ] {
            assert_eq!(Needle::new(needle).matches_text(text), is_in, "{needle} in {text}");
        }
        assert!(Needle::new("abc").matches_bytes_ascii(b"\xff\xfeABC\x80"));
        assert!(!Needle::new("ä").matches_bytes_ascii("ä".as_bytes()));
    }

    #[test]
    fn a_needle_is_found_at_every_place_of_a_long_text() {
        for needle in ["needle", "nädel"] {
            let prepared = Needle::new(needle);
            for before in (0..SEARCH_CHUNK_BYTES * 2 + 20).step_by(7).chain(4085..4100) {
                let text = format!("{}{}{}", "x".repeat(before), needle.to_uppercase(), "y".repeat(9));
                assert!(prepared.matches_text(&text), "{needle} at {before}");
            }
            assert!(!prepared.matches_text(&"needl-nädl".repeat(2000)));
        }
        for needle in ["a".repeat(3 * SEARCH_CHUNK_BYTES), "ä".repeat(3 * SEARCH_CHUNK_BYTES)] {
            assert!(Needle::new(&needle).matches_text(&format!("b{}", needle.to_uppercase())));
            assert!(!Needle::new(&needle).matches_text(needle.trim_end_matches(['a', 'ä'])));
        }
    }
}
