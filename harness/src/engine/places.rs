//! How much goes on at once, and who is next.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

/// A number of places. Of those that wait for one, who comes first in the plan gets the next: verdicts come sooner than
/// if all walks went on by turns.
#[derive(Debug)]
pub(crate) struct Places(Mutex<Queue>);

#[derive(Debug)]
struct Queue {
    free: usize,
    /// By order, then by arrival.
    waiting: BTreeMap<(usize, usize), oneshot::Sender<()>>,
    arrived: usize,
}

/// A place, until it is dropped.
#[derive(Debug)]
pub(crate) struct Place<'a>(&'a Places);

impl Places {
    pub(crate) fn new(free: usize) -> Self {
        Self(Mutex::new(Queue { free, waiting: BTreeMap::new(), arrived: 0 }))
    }

    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place; the lowest `order` is served first.
    pub(crate) async fn take(&self, order: usize) -> Place<'_> {
        let turn = {
            let mut queue = self.queue();
            if queue.free > 0 {
                queue.free -= 1;
                None
            } else {
                let (call, turn) = oneshot::channel();
                queue.arrived += 1;
                let key = (order, queue.arrived);
                queue.waiting.insert(key, call);
                Some(turn)
            }
        };
        if let Some(turn) = turn {
            // The other end is in the queue until it calls.
            let _ = turn.await;
        }
        Place(self)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut queue = self.0.queue();
        while let Some((_, call)) = queue.waiting.pop_first() {
            // Whoever gave up waiting does not hear it.
            if call.send(()).is_ok() {
                return;
            }
        }
        queue.free += 1;
    }
}

#[cfg(test)]
mod tests {
    use futures::{FutureExt as _, poll};

    use super::*;

    #[tokio::test]
    async fn the_next_place_is_for_who_comes_first_in_the_plan() {
        let places = Places::new(1);
        let held = places.take(7).now_or_never().expect("a place is free");
        let (mut late, mut early) = (Box::pin(places.take(9)), Box::pin(places.take(8)));
        assert!(poll!(&mut late).is_pending() && poll!(&mut early).is_pending());
        drop(held);
        assert!(poll!(&mut late).is_pending());
        drop(early.now_or_never().expect("it is first in the plan"));
        assert!(late.now_or_never().is_some());
    }

    #[tokio::test]
    async fn who_gave_up_is_passed_over() {
        let places = Places::new(1);
        let held = places.take(1).now_or_never().expect("a place is free");
        let mut gone = Box::pin(places.take(2));
        let mut patient = Box::pin(places.take(3));
        assert!(poll!(&mut gone).is_pending() && poll!(&mut patient).is_pending());
        drop(gone);
        drop(held);
        assert!(patient.now_or_never().is_some());
    }
}
