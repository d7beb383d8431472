use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use crate::EVENTS;

/// How many runs' directories are kept unless told otherwise.
pub const KEPT_RUNS: usize = 10;

/// A run that ended this lately is never removed: where each trial is a process of its own, and so a run of its own, a
/// dozen trials later nobody has yet looked at the first.
const FRESH: Duration = Duration::from_secs(60 * 60);

/// Makes the directory of a new run below `root`, points `root/latest` to it, and removes older runs there, so that
/// `kept` remain, the new one included.
///
/// Only directories that hold a recording are ever removed, none that ended within the last hour, and none whose
/// [`Reporter`](crate::Reporter) is still at work, in this process or another. What cannot be removed stays.
pub fn create_run_directory(root: &Path, run: &str, kept: usize) -> io::Result<PathBuf> {
    let directory = root.join(run);
    fs::create_dir_all(&directory)?;
    point_latest(root, run)?;

    let mut older: Vec<(SystemTime, PathBuf)> = fs::read_dir(root)?
        .filter_map(Result::ok)
        .filter(|item| item.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|item| item.path())
        .filter(|path| *path != directory)
        .filter_map(|path| Some((fs::metadata(path.join(EVENTS)).ok()?.modified().ok()?, path)))
        .collect();
    older.sort();
    let surplus = (older.len() + 1).saturating_sub(kept.max(1));
    for (modified, path) in older.into_iter().take(surplus) {
        let is_fresh = modified.elapsed().is_ok_and(|age| age < FRESH);
        if !is_fresh && is_over(&path) {
            // Another run may be at the same, and a container may have left files that are not ours.
            let _ = fs::remove_dir_all(&path);
        }
    }
    Ok(directory)
}

/// A reporter at work holds a lock on its recording, which ends with its process at the latest.
fn is_over(run: &Path) -> bool {
    File::open(run.join(EVENTS)).is_ok_and(|file| file.try_lock_shared().is_ok())
}

pub(crate) fn lock(recording: &File) -> io::Result<()> {
    recording.lock()
}

/// Replaces the link in one step, so that two runs that start at once do not trip over each other.
#[cfg(unix)]
fn point_latest(root: &Path, run: &str) -> io::Result<()> {
    let latest = root.join("latest");
    if fs::symlink_metadata(&latest).is_ok_and(|metadata| !metadata.is_symlink()) {
        return Ok(());
    }
    let new = root.join(format!(".latest-{run}"));
    std::os::unix::fs::symlink(run, &new).or_else(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Ok(()),
        _ => Err(error),
    })?;
    fs::rename(&new, &latest)
}

/// Links need a privilege here; the newest directory must do.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "the same signature as where it can fail")]
fn point_latest(_root: &Path, _run: &str) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(root: &Path, name: &str, kept: usize) -> PathBuf {
        let directory = create_run_directory(root, name, kept).unwrap();
        let record = File::create(directory.join(EVENTS)).unwrap();
        record.set_modified(SystemTime::now() - 2 * FRESH).unwrap();
        directory
    }

    fn runs(root: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(root)
            .unwrap()
            .map(|item| item.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "latest")
            .collect();
        names.sort();
        names
    }

    #[test]
    fn the_oldest_finished_runs_go() {
        let root = tempfile::tempdir().unwrap();
        for name in ["a", "b", "c"] {
            run(root.path(), name, 2);
        }
        assert_eq!(runs(root.path()), ["b", "c"]);
        #[cfg(unix)]
        assert_eq!(fs::read_link(root.path().join("latest")).unwrap(), Path::new("c"));
    }

    #[test]
    fn a_fresh_run_stays() {
        let root = tempfile::tempdir().unwrap();
        let first = run(root.path(), "a", 1);
        fs::write(first.join(EVENTS), "").unwrap();
        run(root.path(), "b", 1);
        assert_eq!(runs(root.path()), ["a", "b"]);
    }

    #[test]
    fn a_run_at_work_and_a_directory_of_something_else_stay() {
        let root = tempfile::tempdir().unwrap();
        fs::create_dir(root.path().join("notes")).unwrap();
        let first = run(root.path(), "a", 1);
        let at_work = File::open(first.join(EVENTS)).unwrap();
        lock(&at_work).unwrap();
        run(root.path(), "b", 1);
        assert_eq!(runs(root.path()), ["a", "b", "notes"]);
        drop(at_work);
        run(root.path(), "c", 1);
        assert_eq!(runs(root.path()), ["c", "notes"]);
    }
}
