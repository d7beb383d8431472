//! What a container prints, line by line, in memory and as evidence.

use std::{
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::bail;
use futures::future::BoxFuture;
use testcontainers::core::logs::{LogFrame, consumer::LogConsumer};
use tokio::sync::watch;

/// How long the rest of a log may take to arrive.
const END_LIMIT: Duration = Duration::from_secs(60);

/// Where a line was printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stream {
    Out,
    Err,
}

/// The lines of one container. Cheap to clone; all clones see the same lines.
#[derive(Clone, Debug)]
pub(crate) struct Log {
    lines: Arc<Mutex<Vec<(Stream, String)>>>,
    /// Where standard output and standard error are written as evidence.
    evidence: Arc<[PathBuf; 2]>,
    /// The number of frames seen, and whether the stream has ended.
    progress: watch::Receiver<(usize, bool)>,
}

/// The end that Docker's log stream feeds. Its drop is the end of the stream.
pub(crate) struct Feed {
    lines: Arc<Mutex<Vec<(Stream, String)>>>,
    parts: Mutex<[Vec<u8>; 2]>,
    files: Mutex<[File; 2]>,
    progress: watch::Sender<(usize, bool)>,
}

impl Log {
    /// A log that is also written to `<stem>.out.log` and `<stem>.err.log`.
    pub(crate) fn create(directory: &Path, stem: &str) -> std::io::Result<(Self, Feed)> {
        let evidence = ["out", "err"].map(|stream| directory.join(format!("{stem}.{stream}.log")));
        let files = Mutex::new([File::create(&evidence[0])?, File::create(&evidence[1])?]);
        let lines = Arc::new(Mutex::new(Vec::new()));
        let (sender, progress) = watch::channel((0, false));
        let log = Self { lines: Arc::clone(&lines), evidence: Arc::new(evidence), progress };
        Ok((log, Feed { lines, parts: Mutex::new([Vec::new(), Vec::new()]), files, progress: sender }))
    }

    /// One that has ended, with these lines on standard output.
    #[cfg(test)]
    pub(crate) fn of(lines: &[&str]) -> Self {
        let lines = lines.iter().map(|line| (Stream::Out, (*line).to_owned())).collect();
        Self { lines: Arc::new(Mutex::new(lines)), evidence: Arc::default(), progress: watch::channel((1, true)).1 }
    }

    /// How often something was printed so far.
    pub(crate) fn frames(&self) -> usize {
        self.progress.borrow().0
    }

    /// The lines of one stream so far.
    pub(crate) fn lines(&self, stream: Stream) -> Vec<String> {
        lock(&self.lines).iter().filter(|(of, _)| *of == stream).map(|(_, line)| line.clone()).collect()
    }

    /// Everything printed so far: standard output, then standard error, where the reason of an end is. One after the other, since
    /// lines that two streams bring at once come in any order, and would part what belongs together.
    pub(crate) fn text(&self) -> String {
        [Stream::Out, Stream::Err].map(|stream| self.lines(stream)).concat().join("\n")
    }

    /// Waits until a line contains `text`, or the stream ends, or the time is up. Says whether the line came.
    pub(crate) async fn wait_for(&self, text: &str, limit: Duration) -> bool {
        let mut progress = self.progress.clone();
        let seen = async {
            let mut from = 0;
            loop {
                let ended = progress.borrow_and_update().1;
                {
                    let lines = lock(&self.lines);
                    if lines[from..].iter().any(|(_, line)| line.contains(text)) {
                        return true;
                    }
                    from = lines.len();
                }
                if ended || progress.changed().await.is_err() {
                    return false;
                }
            }
        };
        tokio::time::timeout(limit, seen).await.unwrap_or(false)
    }

    /// Waits until the container has printed its last; an error when that does not come from Docker.
    pub(crate) async fn ended(&self) -> anyhow::Result<()> {
        let mut progress = self.progress.clone();
        match tokio::time::timeout(END_LIMIT, progress.wait_for(|(_, ended)| *ended)).await {
            // An error means that the feed is gone, which is the end too.
            Ok(_) => Ok(()),
            Err(_) => bail!("Docker did not end the log of a container within {} s of its end", END_LIMIT.as_secs()),
        }
    }

    /// Takes what an ended container has printed in all, on standard output and on standard error, where it is more than came.
    pub(crate) fn complete(&self, whole: [&str; 2]) {
        for ((stream, text), file) in [Stream::Out, Stream::Err].into_iter().zip(whole).zip(self.evidence.iter()) {
            let all = text.lines().map(str::trim_end);
            let mut lines = lock(&self.lines);
            let come = lines.iter().filter(|(of, _)| *of == stream).map(|(_, line)| line.as_str());
            if come.clone().eq(all.clone()) || come.count() > all.clone().count() {
                continue;
            }
            lines.retain(|(of, _)| *of != stream);
            lines.extend(all.map(|line| (stream, line.to_owned())));
            drop(lines);
            // Evidence that cannot be written must not change a verdict.
            let _ = fs::write(file, text);
        }
    }
}

impl LogConsumer for Feed {
    fn accept<'a>(&'a self, record: &'a LogFrame) -> BoxFuture<'a, ()> {
        let (stream, index, bytes) = match record {
            LogFrame::StdOut(bytes) => (Stream::Out, 0, bytes),
            LogFrame::StdErr(bytes) => (Stream::Err, 1, bytes),
        };
        // Evidence that cannot be written must not change a verdict; the run notices a full disk elsewhere.
        let _ = lock(&self.files)[index].write_all(bytes);
        let mut parts = lock(&self.parts);
        parts[index].extend_from_slice(bytes);
        let mut lines = lock(&self.lines);
        while let Some(end) = parts[index].iter().position(|&byte| byte == b'\n') {
            let line: Vec<u8> = parts[index].drain(..=end).collect();
            lines.push((stream, String::from_utf8_lossy(&line).trim_end().to_owned()));
        }
        drop((parts, lines));
        self.progress.send_modify(|(frames, _)| *frames += 1);
        Box::pin(std::future::ready(()))
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        let parts = std::mem::take(&mut *lock(&self.parts));
        let mut lines = lock(&self.lines);
        for (part, stream) in parts.into_iter().zip([Stream::Out, Stream::Err]) {
            if !part.is_empty() {
                lines.push((stream, String::from_utf8_lossy(&part).trim_end().to_owned()));
            }
        }
        drop(lines);
        self.progress.send_modify(|(_, ended)| *ended = true);
    }
}

/// A panic elsewhere must not hide what was printed.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn last_lines_that_did_not_come_are_added() {
        let directory = tempfile::tempdir().unwrap();
        let (log, feed) = Log::create(directory.path(), "main").unwrap();
        futures::executor::block_on(feed.accept(&LogFrame::StdErr("Error in configuration:\n".into())));
        futures::executor::block_on(feed.accept(&LogFrame::StdOut("INFO\n".into())));
        drop(feed);
        log.complete(["INFO\n", "Error in configuration:\n  a removed setting\n"]);
        insta::assert_snapshot!(log.text(), @"
        INFO
        Error in configuration:
          a removed setting
        ");
        let evidence = fs::read_to_string(directory.path().join("main.err.log")).unwrap();
        assert_eq!(evidence, "Error in configuration:\n  a removed setting\n");
    }

    #[test]
    fn what_two_streams_print_at_once_is_not_mixed() {
        let directory = tempfile::tempdir().unwrap();
        let (log, feed) = Log::create(directory.path(), "main").unwrap();
        for frame in [
            LogFrame::StdErr("Error during initialisation:\n".into()),
            LogFrame::StdOut("ERROR - Exception during startup\n".into()),
            LogFrame::StdErr("    Synapse requires PostgreSQL 11 or above.\n".into()),
            LogFrame::StdOut("RuntimeError\n".into()),
        ] {
            futures::executor::block_on(feed.accept(&frame));
        }
        insta::assert_snapshot!(log.text(), @"
        ERROR - Exception during startup
        RuntimeError
        Error during initialisation:
            Synapse requires PostgreSQL 11 or above.
        ");
    }
}
