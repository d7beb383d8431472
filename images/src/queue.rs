//! Whose turn it is to build: of all that waits, what was asked for first. Whoever runs trials asks for images in the order in
//! which trials need them; what each is made of is built on the way, and must not wait behind what is needed much later.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use tokio::sync::oneshot;

use crate::Wanted;

/// So many may build at once.
#[derive(Clone)]
pub(crate) struct Queue(Arc<Mutex<State>>);

struct State {
    free: usize,
    /// In the order in which they were first asked for.
    asked: Vec<Wanted>,
    /// By their place there, and among equals by when they came.
    waiting: BTreeMap<(usize, usize), oneshot::Sender<Turn>>,
    came: usize,
}

/// A turn: it ends when this is dropped, and is the next one's then.
pub(crate) struct Turn(Queue);

impl Queue {
    pub(crate) fn new(at_once: usize) -> Self {
        let state = State { free: at_once, asked: Vec::new(), waiting: BTreeMap::new(), came: 0 };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Notes that this is asked for.
    pub(crate) fn ask(&self, wanted: &Wanted) {
        let mut state = self.state();
        if !state.asked.contains(wanted) {
            state.asked.push(wanted.clone());
        }
    }

    /// Waits for a turn to build something on behalf of what is `wanted`.
    pub(crate) async fn turn(&self, wanted: &Wanted) -> Turn {
        let coming = {
            let mut state = self.state();
            if state.free > 0 {
                state.free -= 1;
                return Turn(self.clone());
            }
            let place = state.asked.iter().position(|asked| asked == wanted).unwrap_or(state.asked.len());
            state.came += 1;
            let key = (place, state.came);
            let (sender, receiver) = oneshot::channel();
            state.waiting.insert(key, sender);
            receiver
        };
        coming.await.expect("whoever ends a turn hands it on")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let next = {
            let mut state = self.0.state();
            let next = state.waiting.pop_first();
            state.free += usize::from(next.is_none());
            next
        };
        if let Some((_, next)) = next {
            // Who waits no more gives it back, and so hands it on.
            drop(next.send(Turn(self.0.clone())));
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::mpsc;

    use super::*;
    use crate::Companion;

    #[tokio::test]
    async fn what_was_asked_for_first_is_first() {
        let queue = Arc::new(Queue::new(1));
        let order = [Companion::Redis, Companion::Nginx, Companion::Recorder].map(Wanted::Companion);
        for wanted in &order {
            queue.ask(wanted);
        }
        let held = queue.turn(&order[1]).await;
        let (sender, mut done) = mpsc::unbounded_channel();
        let waiting: Vec<_> = [2, 1, 0, 1]
            .map(|at| {
                let (queue, wanted, sender) = (Arc::clone(&queue), order[at].clone(), sender.clone());
                tokio::spawn(async move {
                    let _turn = queue.turn(&wanted).await;
                    let _ = sender.send(at);
                })
            })
            .into();
        tokio::task::yield_now().await;
        // Who has come last among equals waits no more.
        waiting[3].abort();
        tokio::task::yield_now().await;
        drop((held, sender));
        let mut order = Vec::new();
        while let Some(at) = done.recv().await {
            order.push(at);
        }
        assert_eq!(order, [0, 1, 2]);
        assert_eq!(queue.state().free, 1);
    }
}
