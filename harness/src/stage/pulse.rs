//! Does a process still do anything? One that neither prints nor computes for long enough hangs; one on a starved machine
//! does a little of both.

use std::time::{Duration, Instant};

/// A process without a sign of life for so long hangs.
pub(crate) const HANG: Duration = Duration::from_secs(90);
/// How often it is looked at.
pub(crate) const LOOK: Duration = Duration::from_secs(5);
/// CPU seconds that say nothing: a process that waits for ever has a timer now and then. One that waits for its turn among
/// fifty others still gets more than that.
const IDLE: f64 = 0.1;

/// The last sign of life.
#[derive(Debug)]
pub(crate) struct Pulse {
    since: Instant,
    printed: usize,
    cpu: f64,
}

impl Pulse {
    pub(crate) fn new(now: Instant) -> Self {
        Self { since: now, printed: 0, cpu: 0.0 }
    }

    /// Takes a look: how much it has printed and computed in all. Has there been nothing more for too long?
    pub(crate) fn is_lost(&mut self, now: Instant, printed: usize, cpu: f64) -> bool {
        if printed != self.printed || cpu - self.cpu > IDLE {
            *self = Self { since: now, printed, cpu };
        }
        now - self.since >= HANG
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_does_nothing_more_is_lost_in_the_end() {
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        let mut pulse = Pulse::new(begun);
        // Its timers go on.
        assert!(!pulse.is_lost(after(5), 10, 2.0));
        assert!(!pulse.is_lost(after(94), 10, 2.05));
        assert!(pulse.is_lost(after(95), 10, 2.06));
    }

    #[test]
    fn a_starved_process_that_still_prints_or_computes_is_not() {
        let begun = Instant::now();
        let after = |seconds| begun + Duration::from_secs(seconds);
        let mut pulse = Pulse::new(begun);
        assert!(!pulse.is_lost(after(5), 10, 2.0));
        assert!(!pulse.is_lost(after(90), 11, 2.0));
        assert!(!pulse.is_lost(after(170), 11, 2.2));
        assert!(!pulse.is_lost(after(250), 11, 2.25));
        assert!(pulse.is_lost(after(260), 11, 2.25));
    }
}
