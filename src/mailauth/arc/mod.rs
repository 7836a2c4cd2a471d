//! ARC (RFC 8617): what those who handled a message before us say they saw.

mod seal;
mod verify;

use crate::trouble::Trouble;

pub use seal::{SealError, Sealer};
pub use verify::verify;

/// The state of a message's chain (RFC 8617 §4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ArcResult {
    /// There is no chain.
    None,
    /// Every seal is right, and the last one's message too.
    Pass,
    /// Something is wrong; it stays wrong.
    Fail,
    /// A key could not be fetched. RFC 8617 has no word for it; a later check may pass.
    TempError,
}

impl ArcResult {
    /// The word of RFC 8617 §10.1, with `temperror` as in RFC 8601.
    pub const fn word(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::TempError => "temperror",
        }
    }
}

/// What was found out about a chain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arc {
    /// The chain's state.
    pub result: ArcResult,
    /// What was wrong, unless there is none or it passed.
    pub trouble: Option<Trouble>,
    /// The sealers from the first on, as far as their fields could be read: `d=` of each seal.
    pub sealers: Vec<String>,
    /// What the last sealer's `ARC-Authentication-Results` says, without its instance. Worth something only
    /// when the chain passed and the sealer is trusted.
    pub results: String,
}

impl Arc {
    const NONE: Self =
        Self { result: ArcResult::None, trouble: None, sealers: Vec::new(), results: String::new() };
}
