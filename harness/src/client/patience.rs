//! Waiting for what a homeserver does after it answered.

use std::time::Duration;

use tokio::time::Instant;

/// How long what is under way may take: ample on a machine that is busy with other things, and spent in full only for what
/// never comes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// How long a task may take that newer releases schedule, a purge or a deletion: one that comes while the scheduler looks for
/// others is begun when it looks next, a minute later.
pub const SCHEDULED: Duration = Duration::from_secs(150);

/// Looks until what is seen is `done`, within [`PATIENCE`]; gives the last look in any case, for a comparison to show.
pub async fn eventually<T, Fut>(look: impl Fn() -> Fut, done: impl Fn(&T) -> bool) -> anyhow::Result<T>
where
    Fut: Future<Output = anyhow::Result<T>>,
{
    within(PATIENCE, look, done).await
}

/// As [`eventually`], for what is rightly never seen: `limit` is how long that takes to be believed.
pub async fn within<T, Fut>(limit: Duration, look: impl Fn() -> Fut, done: impl Fn(&T) -> bool) -> anyhow::Result<T>
where
    Fut: Future<Output = anyhow::Result<T>>,
{
    let begun = Instant::now();
    loop {
        let seen = look().await?;
        if done(&seen) || begun.elapsed() > limit {
            return Ok(seen);
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// What is seen after so many looks, and how long that took.
    async fn seen(at: usize) -> (usize, Duration) {
        let (looks, begun) = (AtomicUsize::new(0), Instant::now());
        let seen = eventually(async || Ok(looks.fetch_add(1, Ordering::Relaxed)), |seen| *seen == at).await;
        (seen.unwrap_or_else(|error| panic!("{error}")), begun.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn it_waits_no_longer_than_it_must_and_gives_the_last_look() {
        assert_eq!(seen(0).await, (0, Duration::ZERO));
        assert_eq!(seen(3).await, (3, Duration::from_millis(150)));
        let (last, took) = seen(usize::MAX).await;
        assert!(last > 1000 && took > PATIENCE, "{last} {took:?}");
    }
}
