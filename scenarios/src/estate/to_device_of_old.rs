//! Messages to a device that has not asked for them yet, on databases that do not keep how far such have come.

use super::prelude::*;

pub(super) fn part() -> Part {
    // Whatever waits is lost at any restart of 1.0.0 to 1.5.1 (upstream: PR 6363), which every walk there would show: it is
    // looked for on the last of them, and not where a port is in question.
    super::to_device::waiting(Part::new("to-device messages of old").since("1.4.1").until("1.6.0").is_not_ported())
}
