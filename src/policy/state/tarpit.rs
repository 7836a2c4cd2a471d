//! Answers that come later the more a client does wrong.

/// `[policy.tarpit]`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tarpit {
    /// So many refused commands of a connection cost nothing.
    pub after: u32,
    /// Each one more delays every answer by so many milliseconds more.
    pub step_ms: u32,
    /// But by no more than so many.
    pub most_ms: u32,
}

impl Default for Tarpit {
    fn default() -> Self {
        Self { after: 5, step_ms: 1000, most_ms: 10_000 }
    }
}

impl Tarpit {
    /// How long the next answer waits, in milliseconds, after so many refused commands.
    pub fn delay_ms(&self, errors: u32) -> u32 {
        errors.saturating_sub(self.after).saturating_mul(self.step_ms).min(self.most_ms)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_up_to_a_bound() {
        let tarpit = Tarpit::default();
        for (errors, ms) in [(0, 0), (5, 0), (6, 1000), (14, 9000), (15, 10_000), (u32::MAX, 10_000)] {
            assert_eq!(tarpit.delay_ms(errors), ms);
        }
    }
}
