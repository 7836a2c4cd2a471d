//! Text that grows.

use std::fmt::{Arguments, Write};

/// Appends formatted text without making a string of it first.
pub(crate) fn put(out: &mut String, text: Arguments<'_>) {
    out.write_fmt(text).expect("a String takes whatever comes");
}
