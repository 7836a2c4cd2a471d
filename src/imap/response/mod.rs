//! Untagged data (RFC 9051 §7), written straight into the output.

pub(crate) mod bodystructure;
pub(crate) mod envelope;
pub(crate) mod fetch;
pub(crate) mod flags;
pub(crate) mod list;
pub(crate) mod search;
pub(crate) mod section;
pub(crate) mod text;
