//! The one place where clocks are read.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use base::Timestamp;

/// The time of day. It may jump when somebody sets the clock.
#[allow(clippy::disallowed_methods)]
pub fn now() -> Timestamp {
    // Before 1970 the clock is wrong anyway, and 1970 says so as well as any other answer.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_ms(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The clock that never jumps: for measuring how long something takes.
#[allow(clippy::disallowed_methods)]
pub fn instant() -> Instant {
    Instant::now()
}
