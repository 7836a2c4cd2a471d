//! The test before the greeting: a mail server waits for it (RFC 5321 §3.1), much of what sends junk
//! does not. The waiting itself is done by whoever drives the connection.

/// `[policy.pregreet]`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PreGreet {
    /// How long to wait before the greeting, in milliseconds; 0 is not at all.
    pub wait_ms: u32,
}

/// What to do with a client that has not been greeted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PreGreetStep {
    /// Wait for its bytes, for so many milliseconds at most, then ask again.
    Wait(u32),
    /// Greet it: it was silent.
    Greet,
    /// It spoke first: set [`crate::Facts::is_early_talker`] and let the rules of stage connect decide.
    EarlyTalker,
    /// It has gone.
    Gone,
}

/// What a client has done while it was waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heard {
    /// Nothing yet.
    Silence,
    /// Bytes.
    Bytes,
    /// The end of the connection.
    End,
}

impl PreGreet {
    /// The next step, `waited_ms` after the client connected. What it said is kept as input: a client
    /// that rules let in is served.
    pub fn step(&self, waited_ms: u32, heard: Heard) -> PreGreetStep {
        match heard {
            Heard::End => PreGreetStep::Gone,
            Heard::Bytes => PreGreetStep::EarlyTalker,
            Heard::Silence if waited_ms >= self.wait_ms => PreGreetStep::Greet,
            Heard::Silence => PreGreetStep::Wait(self.wait_ms - waited_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_waits_is_greeted() {
        let test = PreGreet { wait_ms: 6000 };
        assert_eq!(test.step(0, Heard::Silence), PreGreetStep::Wait(6000));
        assert_eq!(test.step(5999, Heard::Silence), PreGreetStep::Wait(1));
        assert_eq!(test.step(6000, Heard::Silence), PreGreetStep::Greet);
        assert_eq!(test.step(10, Heard::Bytes), PreGreetStep::EarlyTalker);
        assert_eq!(test.step(10, Heard::End), PreGreetStep::Gone);
        assert_eq!(PreGreet { wait_ms: 0 }.step(0, Heard::Silence), PreGreetStep::Greet);
    }
}
