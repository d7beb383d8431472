use std::{
    fs::{self, File},
    io::{self, BufRead as _, BufReader},
    path::{Path, PathBuf},
};

use crate::{Entry, Ledger};

/// The file in a run's directory that holds its events, one JSON object a line.
pub const EVENTS: &str = "events.jsonl";
/// The file in a run's directory that holds the ledger as it was when the run started.
pub(crate) const LEDGER: &str = "ledger.json";

/// A run's stream of events, read back from disk or still in memory.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    /// The events, in order.
    pub entries: Vec<Entry>,
    /// Where the run's evidence lies, as seen from where the report will lie. Links start with it; empty for a report
    /// within the run's directory.
    pub directory: String,
    /// The ledger that was recorded with the run.
    pub ledger: Option<Ledger>,
    /// `true` when the last line is cut off, as a kill leaves it. That line is not among the entries.
    pub truncated: bool,
}

/// A recording that cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// A file cannot be read.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A directory has no recording.
    #[error("{} holds no {EVENTS}, nor does a directory below it", path.display())]
    Nothing {
        /// The directory.
        path: PathBuf,
    },
    /// A line is no event.
    #[error("{}, line {line} is not as it should be", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// The line's number, from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
}

impl Recording {
    /// Every recording at or below the directories, for a report that will lie in `report`: the shards of one whole.
    ///
    /// A run's directory is one recording. Any other is searched, because CI systems unpack each shard's files into a
    /// directory of their own; links are not followed.
    pub fn read_shards(directories: &[PathBuf], report: &Path) -> Result<Vec<Self>, RecordingError> {
        let mut found = Vec::new();
        for directory in directories {
            let before = found.len();
            search(directory, &mut found)?;
            if found.len() == before {
                return Err(RecordingError::Nothing { path: directory.clone() });
            }
        }
        // The same directory may be reached twice; its trials count once.
        found.sort();
        found.dedup();
        let report = absolute(report)?;
        let read = |directory: PathBuf| {
            let mut recording = Self::read(&directory)?;
            let way = pathdiff::diff_paths(absolute(&directory)?, &report).unwrap_or(directory);
            // Links are written with slashes on every system.
            let parts: Vec<_> = way.components().map(|part| part.as_os_str().to_string_lossy().into_owned()).collect();
            recording.directory = parts.join("/").replacen("//", "/", 1);
            Ok(recording)
        };
        found.into_iter().map(read).collect()
    }

    /// Reads a run's directory, or its file of events. Evidence is linked as seen from that directory.
    pub fn read(path: &Path) -> Result<Self, RecordingError> {
        let path = events(path);
        let mut recording = Recording { ledger: ledger_beside(&path)?, ..Recording::default() };
        recording.truncated = each(&path, |entry| recording.entries.push(entry))?;
        Ok(recording)
    }
}

/// The file of events, of a run's directory or given as such.
pub(crate) fn events(path: &Path) -> PathBuf {
    if path.is_dir() { path.join(EVENTS) } else { path.to_owned() }
}

/// The ledger that was recorded with a run.
pub(crate) fn ledger_beside(events: &Path) -> Result<Option<Ledger>, RecordingError> {
    let ledger = events.with_file_name(LEDGER);
    if ledger.exists() { read_ledger(&ledger).map(Some) } else { Ok(None) }
}

/// Gives every entry of a file of events, one after the other; says whether the last line is cut off.
pub(crate) fn each(path: &Path, mut give: impl FnMut(Entry)) -> Result<bool, RecordingError> {
    let mut lines = BufReader::new(File::open(path).map_err(|source| unreadable(path, source))?);
    let mut line = Vec::new();
    for number in 1.. {
        line.clear();
        if lines.read_until(b'\n', &mut line).map_err(|source| unreadable(path, source))? == 0 {
            break;
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice(&line) {
            Ok(entry) => give(entry),
            // Only the last line of a file can lack its end, and only an unfinished write leaves it so.
            Err(_) if !line.ends_with(b"\n") => return Ok(true),
            Err(source) => return Err(RecordingError::Malformed { path: path.to_owned(), line: number, source }),
        }
    }
    Ok(false)
}

/// Run directories at or below `directory`, in order.
fn search(directory: &Path, found: &mut Vec<PathBuf>) -> Result<(), RecordingError> {
    if directory.join(EVENTS).is_file() {
        found.push(fs::canonicalize(directory).map_err(|source| unreadable(directory, source))?);
        return Ok(());
    }
    let items = fs::read_dir(directory).and_then(Iterator::collect::<io::Result<Vec<_>>>);
    for item in items.map_err(|source| unreadable(directory, source))? {
        if item.file_type().is_ok_and(|kind| kind.is_dir()) {
            search(&item.path(), found)?;
        }
    }
    Ok(())
}

/// The path without links, also for one that is yet to be made.
fn absolute(path: &Path) -> Result<PathBuf, RecordingError> {
    fs::canonicalize(path).or_else(|_| std::path::absolute(path)).map_err(|source| unreadable(path, source))
}

fn unreadable(path: &Path, source: io::Error) -> RecordingError {
    RecordingError::Unreadable { path: path.to_owned(), source }
}

/// Reads a ledger.
pub fn read_ledger(path: &Path) -> Result<Ledger, RecordingError> {
    let text =
        fs::read_to_string(path).map_err(|source| RecordingError::Unreadable { path: path.to_owned(), source })?;
    serde_json::from_str(&text).map_err(|source| RecordingError::Malformed {
        path: path.to_owned(),
        line: source.line(),
        source,
    })
}
