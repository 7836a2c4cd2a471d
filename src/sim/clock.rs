//! A clock that stands still until it is told to move.

use std::cell::Cell;
use std::rc::Rc;

use base::Timestamp;

/// A shared handle on the time of a test: clones show the same time.
#[derive(Clone, Debug)]
pub struct Clock(Rc<Cell<Timestamp>>);

impl Clock {
    /// When every test begins: 2026-01-01T00:00:00Z.
    pub const START: Timestamp = Timestamp::from_s(1_767_225_600);

    /// A clock at [`Clock::START`].
    pub fn new() -> Self {
        Self(Rc::new(Cell::new(Self::START)))
    }

    /// The time it shows.
    pub fn now(&self) -> Timestamp {
        self.0.get()
    }

    /// Moves it to a moment, which may be in the past: clocks of real machines do that.
    pub fn set(&self, to: Timestamp) {
        self.0.set(to);
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}
