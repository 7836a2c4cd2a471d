//! System flags and keywords (RFC 9051 §2.3.2).

/// The system flags of a message, as a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Flags(u16);

impl Flags {
    /// No flag.
    pub const NONE: Self = Self(0);
    /// `\Seen`
    pub const SEEN: Self = Self(1);
    /// `\Answered`
    pub const ANSWERED: Self = Self(2);
    /// `\Flagged`
    pub const FLAGGED: Self = Self(4);
    /// `\Deleted`
    pub const DELETED: Self = Self(8);
    /// `\Draft`
    pub const DRAFT: Self = Self(16);

    /// Each flag with the name all protocols know it by, in the order we list them.
    pub const NAMED: [(Self, &'static str); 5] = [
        (Self::ANSWERED, "\\Answered"),
        (Self::FLAGGED, "\\Flagged"),
        (Self::DELETED, "\\Deleted"),
        (Self::SEEN, "\\Seen"),
        (Self::DRAFT, "\\Draft"),
    ];

    pub(crate) const fn from_bits(bits: u16) -> Self {
        Self(bits & 31)
    }

    pub(crate) const fn bits(self) -> u16 {
        self.0
    }

    /// Both sets together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// This set without the flags of `other`.
    #[must_use]
    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// Whether all flags of `other` are in this set.
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Whether no flag is in this set.
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// The keywords of a message as bits; bit `i` is the `i`th name of [`crate::Account::keywords`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Keywords(pub u64);

impl Keywords {
    /// No keyword.
    pub const NONE: Self = Self(0);

    /// The places in the account's table of names, ascending.
    pub fn indexes(self) -> impl Iterator<Item = usize> {
        (0..64).filter(move |i| self.0 >> i & 1 == 1)
    }

    /// Whether the keyword at `index` is set.
    pub const fn has(self, index: usize) -> bool {
        index < 64 && self.0 >> index & 1 == 1
    }
}

/// How STORE changes flags (RFC 9051 §6.4.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FlagMode {
    /// `FLAGS`: these and no others.
    Replace,
    /// `+FLAGS`
    Add,
    /// `-FLAGS`
    Remove,
}

/// A change of flags and keywords.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlagChange {
    /// Replace, add or remove.
    pub mode: FlagMode,
    /// The system flags named.
    pub flags: Flags,
    /// The keywords named; compared without regard to case, kept as first written.
    pub keywords: Vec<String>,
}

impl FlagChange {
    /// A message's flags after the change. `named` are this change's keywords as bits.
    pub(crate) fn apply(&self, flags: Flags, keywords: Keywords, named: Keywords) -> (Flags, Keywords) {
        match self.mode {
            FlagMode::Replace => (self.flags, named),
            FlagMode::Add => (flags.with(self.flags), Keywords(keywords.0 | named.0)),
            FlagMode::Remove => (flags.without(self.flags), Keywords(keywords.0 & !named.0)),
        }
    }
}
