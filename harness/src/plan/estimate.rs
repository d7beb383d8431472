//! What a run will take, told before it begins: measured on two cores, so that an operator knows whether to wait.

use std::{fmt, time::Duration};

use super::Plan;
use crate::estate::Size;

/// How many seconds one core is busy with a leg of a scenario: a start, its facts, its stop.
const LEG: usize = 4;
/// With a leg whose estate has all parts.
const RICH_LEG: usize = 50;
/// With an image that is built here.
const IMAGE: usize = 8;
/// The layer of an image, in megabytes.
const LAYER: usize = 35;
/// Below this nobody wants to know.
const SHORT: Duration = Duration::from_secs(180);

/// About how long, and how much space.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Estimate {
    legs: usize,
    images: usize,
    takes: Duration,
}

impl Estimate {
    /// Of a plan for which so many images are not on this machine yet, on so many cores.
    pub(crate) fn of(plan: &Plan, images: usize, cores: usize) -> Self {
        let (mut legs, mut work) = (0, IMAGE * images);
        for walk in &plan.walks {
            let leg = if walk.estate == Some(Size::Rich) { RICH_LEG } else { LEG };
            legs += walk.legs.len();
            work += leg * walk.legs.len();
        }
        let takes = Duration::from_secs(u64::try_from(work / cores.max(1)).unwrap_or(u64::MAX));
        Self { legs, images, takes }
    }

    pub(crate) fn is_long(&self) -> bool {
        self.takes > SHORT
    }
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { legs, images, takes } = self;
        // More exact than to five minutes it is not.
        let minutes = takes.as_secs().div_ceil(300) * 5;
        write!(f, "this takes about {minutes} min: {legs} legs")?;
        match images {
            0 => Ok(()),
            _ => write!(f, ", and {images} images to be had first, some {} MB", images * LAYER),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_as_a_person_would_say_it() {
        let estimate = |seconds, images| Estimate { legs: 1248, images, takes: Duration::from_secs(seconds) };
        assert_eq!(
            estimate(2460, 161).to_string(),
            "this takes about 45 min: 1248 legs, and 161 images to be had first, some 5635 MB"
        );
        assert_eq!(estimate(300, 0).to_string(), "this takes about 5 min: 1248 legs");
        assert!(estimate(181, 0).is_long() && !estimate(60, 0).is_long());
    }
}
