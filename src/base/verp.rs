//! How a list's return path names each recipient (VERP): what sessions, the queue and notices share. The addresses are made in
//! `dsn`.

/// The two signs that divide such an address: `+` and `=` in `owner+bob=example.net@lists.example`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VerpSigns {
    start: u8,
    at: u8,
}

impl Default for VerpSigns {
    /// `+=`.
    fn default() -> Self {
        Self { start: b'+', at: b'=' }
    }
}

impl VerpSigns {
    /// Two different signs: `+`, `-` or `=` behind the sender, and `+` or `=` in the place of the recipient's `@`. A hyphen
    /// there could not be told from those of a domain, and other signs have a meaning to some mail systems.
    pub fn parse(text: &str) -> Option<Self> {
        match *text.as_bytes() {
            [start @ (b'+' | b'-' | b'='), at @ (b'+' | b'=')] if start != at => Some(Self { start, at }),
            _ => None,
        }
    }

    /// The sign behind the sender.
    pub fn start(self) -> char {
        char::from(self.start)
    }

    /// The sign in the place of the `@`.
    pub fn at(self) -> char {
        char::from(self.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_signs_that_can_be_told_apart_will_do() {
        for text in ["+=", "-=", "=+", "-+"] {
            let signs = VerpSigns::parse(text).expect("they will do");
            assert_eq!(format!("{}{}", signs.start(), signs.at()), text);
        }
        for text in ["", "+", "++", "+-", "a=", "+@", "+=x", "%=", "é"] {
            assert_eq!(VerpSigns::parse(text), None, "{text}");
        }
        assert_eq!(VerpSigns::parse("+="), Some(VerpSigns::default()));
    }
}
