//! Values that never print.

use core::fmt;

/// A password or key: `Debug` prints stars in every build and there is no `Display`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct Secret<T>(T);

impl<T> Secret<T> {
    /// Wraps a value so that it cannot be printed by accident.
    pub const fn new(value: T) -> Self {
        Self(value)
    }

    /// The value itself: each call is a place to look at in a review.
    pub const fn reveal(&self) -> &T {
        &self.0
    }

    /// The value itself, by move.
    pub fn into_inner(self) -> T {
        self.0
    }
}

impl<T> fmt::Debug for Secret<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}
