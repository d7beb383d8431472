//! The harness's hand inside a homeserver's container: one long-lived program that answers questions line by line. A
//! command of its own for each question costs a container runtime's work and an interpreter's start.

use std::{
    collections::BTreeMap,
    fmt,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, anyhow, bail};
use base64::{Engine as _, engine::general_purpose::STANDARD as BASE64};
use bollard::container::LogOutput;
use futures::StreamExt as _;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncWrite, AsyncWriteExt as _},
    sync::{OnceCell, oneshot},
};

use crate::stage::daemon::{Conversation, Daemon, Output};

/// How long an answer may take. The slowest honest ones are commands that migrate data.
const LIMIT: Duration = Duration::from_secs(300);

/// Python that goes on as the user whom the official image runs Synapse as, for whom an upgrade can fail where root would not
/// notice. (What changes the user is another program in each image.)
pub(crate) const BECOME_SYNAPSE: &str = "
import os
os.setgroups([])
os.setgid(991)
os.setuid(991)
os.environ['HOME'] = '/'
";

/// Each line is a question: its number, a function, its argument. Each is answered by a thread of its own, so that a slow
/// one holds up no other. Releases up to 0.33.6 run on Python 2.
const PROGRAM: &str = r#"
import base64, binascii, json, os, sqlite3, subprocess, sys, threading

blob = bytes if sys.version_info[0] > 2 else buffer
turn = threading.Lock()

def plain(value):
    return binascii.hexlify(value).decode() if isinstance(value, blob) else value

def connect():
    return sqlite3.connect("/data/homeserver.db", timeout=30)

def rows(text):
    db = connect()
    try:
        cursor = db.execute(text)
        names = [column[0] for column in cursor.description or []]
        found = [dict(zip(names, map(plain, row))) for row in cursor]
        db.commit()
        return found
    finally:
        db.close()

def script(text):
    db = connect()
    try:
        db.executescript(text)
        db.commit()
    finally:
        db.close()

def run(command):
    try:
        child = subprocess.Popen(
            command, stdin=open(os.devnull), stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
    except OSError as error:
        return [127, "", base64.b64encode(str(error).encode("utf-8")).decode()]
    streams = [base64.b64encode(stream).decode() for stream in child.communicate()]
    # As a shell has it.
    status = child.returncode if child.returncode >= 0 else 128 - child.returncode
    return [status] + streams

def cpu(_):
    # Its own and that of the commands it ran.
    return sum(os.times()[:4])

def answer(line):
    number, function, argument = json.loads(line)
    try:
        said = {"ok": globals()[function](argument)}
    except sqlite3.Error as error:
        said = {"sql": str(error)}
    except Exception as error:
        said = {"failed": repr(error)}
    with turn:
        print(json.dumps([number, said]))
        sys.stdout.flush()

for line in iter(sys.stdin.readline, ""):
    thread = threading.Thread(target=answer, args=(line,))
    thread.daemon = True
    thread.start()
"#;

/// Begun when it is first asked something.
#[derive(Debug)]
pub(crate) struct Assistant {
    daemon: Daemon,
    container: String,
    session: OnceCell<Session>,
}

struct Session {
    input: tokio::sync::Mutex<Pin<Box<dyn AsyncWrite + Send>>>,
    waiting: Arc<Mutex<Waiting>>,
}

/// Who waits for which answer.
#[derive(Debug, Default)]
struct Waiting {
    asked: u64,
    answers: BTreeMap<u64, oneshot::Sender<Value>>,
    /// Why there are no more answers.
    ended: Option<String>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

impl Assistant {
    pub(crate) fn new(daemon: Daemon, container: &str) -> Self {
        Self { daemon, container: container.to_owned(), session: OnceCell::new() }
    }

    /// The rows of one query on the SQLite file; the inner error is SQLite's own message.
    pub(crate) async fn rows(&self, query: &str) -> anyhow::Result<Result<Vec<crate::database::Row>, String>> {
        match self.ask("rows", json!(query)).await? {
            Ok(rows) => Ok(Ok(serde_json::from_value(rows).context("unreadable rows")?)),
            Err(error) => Ok(Err(error)),
        }
    }

    /// Runs statements on the SQLite file, as the `sqlite3` shell would run a script.
    pub(crate) async fn script(&self, text: &str) -> anyhow::Result<Result<(), String>> {
        Ok(self.ask("script", json!(text)).await?.map(drop))
    }

    /// Runs a command where the homeserver runs.
    pub(crate) async fn run(&self, command: &[&str]) -> anyhow::Result<Output> {
        let said = self.ask("run", json!(command)).await?.map_err(anyhow::Error::msg)?;
        let (status, stdout, stderr): (i64, String, String) =
            serde_json::from_value(said).context("an unreadable end of a command")?;
        let text = |encoded: String| -> anyhow::Result<String> {
            Ok(String::from_utf8_lossy(&BASE64.decode(encoded)?).into_owned())
        };
        Ok(Output { status, stdout: text(stdout)?, stderr: text(stderr)? })
    }

    /// Puts an archive's files into a directory of its container.
    pub(crate) async fn upload(&self, directory: &str, archive: Vec<u8>) -> anyhow::Result<()> {
        self.daemon.upload(&self.container, directory, archive).await
    }

    /// CPU seconds of all that runs in its container; `None` once that has ended.
    pub(crate) async fn all_cpu_seconds(&self) -> anyhow::Result<Option<f64>> {
        self.daemon.cpu_seconds(&self.container).await
    }

    /// CPU seconds that it took from its container, the commands that it ran included.
    pub(crate) async fn cpu_seconds(&self) -> anyhow::Result<f64> {
        if self.session.get().is_none() {
            return Ok(0.0);
        }
        let said = self.ask("cpu", Value::Null).await?.map_err(anyhow::Error::msg)?;
        said.as_f64().context("seconds")
    }

    /// Asks; the inner error is SQLite's.
    async fn ask(&self, function: &str, argument: Value) -> anyhow::Result<Result<Value, String>> {
        let session = self
            .session
            .get_or_try_init(|| async {
                // As the homeserver, which could not write to what root has made.
                let program = [BECOME_SYNAPSE, PROGRAM].concat();
                let conversation = self.daemon.converse(&self.container, &["python", "-c", &program]).await?;
                Ok::<_, anyhow::Error>(Session::begin(conversation))
            })
            .await?;
        session.ask(function, argument, LIMIT).await
    }
}

impl Session {
    fn begin(conversation: Conversation) -> Self {
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        tokio::spawn(listen(conversation.output, Arc::clone(&waiting)));
        Self { input: tokio::sync::Mutex::new(conversation.input), waiting }
    }

    async fn ask(&self, function: &str, argument: Value, limit: Duration) -> anyhow::Result<Result<Value, String>> {
        let what = format!("`{function}` {}", brief(&argument));
        let (sender, answer) = oneshot::channel();
        let number = {
            let mut waiting = lock(&self.waiting);
            if let Some(reason) = &waiting.ended {
                bail!("nobody in the homeserver's container is left to answer {what}: {reason}");
            }
            waiting.asked += 1;
            let number = waiting.asked;
            waiting.answers.insert(number, sender);
            number
        };
        let line = format!("{}\n", json!([number, function, argument]));
        let exchange = async {
            let mut input = self.input.lock().await;
            input.write_all(line.as_bytes()).await?;
            input.flush().await?;
            drop(input);
            Ok::<_, std::io::Error>(answer.await)
        };
        let outcome = tokio::time::timeout(limit, exchange).await;
        let mut waiting = lock(&self.waiting);
        waiting.answers.remove(&number);
        match outcome {
            Err(_) => bail!("{what} was not answered within {} s, inside the homeserver's container", limit.as_secs()),
            Ok(Err(error)) => Err(anyhow!(error).context(format!("{what} could not be asked"))),
            Ok(Ok(Err(_))) => {
                let reason = waiting.ended.clone().unwrap_or_default();
                bail!("the homeserver's container ended before it answered {what}: {reason}")
            }
            Ok(Ok(Ok(said))) => match (said.get("ok"), said["sql"].as_str()) {
                (Some(value), _) => Ok(Ok(value.clone())),
                (None, Some(error)) => Ok(Err(error.to_owned())),
                (None, None) => bail!("{what} failed inside the homeserver's container: {}", said["failed"]),
            },
        }
    }
}

/// Hands answers to who waits for them, until there are no more.
async fn listen(mut output: crate::stage::daemon::Said, waiting: Arc<Mutex<Waiting>>) {
    let (mut unread, mut complaint) = (Vec::new(), Vec::new());
    let mut reason = None;
    while let Some(part) = output.next().await {
        match part {
            Ok(LogOutput::StdErr { message }) => complaint.extend_from_slice(&message),
            Ok(LogOutput::StdOut { message } | LogOutput::Console { message }) => {
                unread.extend_from_slice(&message);
                while let Some(end) = unread.iter().position(|&byte| byte == b'\n') {
                    let line: Vec<u8> = unread.drain(..=end).collect();
                    match serde_json::from_slice::<(u64, Value)>(&line) {
                        // Who asked may have given up.
                        Ok((number, said)) => drop(lock(&waiting).answers.remove(&number).map(|to| to.send(said))),
                        Err(_) => complaint.extend_from_slice(&line),
                    }
                }
            }
            Ok(LogOutput::StdIn { .. }) => {}
            Err(error) => {
                reason = Some(crate::stage::daemon::explain(error).to_string());
                break;
            }
        }
    }
    let mut waiting = lock(&waiting);
    let complaint = String::from_utf8_lossy(&complaint).trim().to_owned();
    waiting.ended = Some(reason.unwrap_or(if complaint.is_empty() { "it has ended".to_owned() } else { complaint }));
    waiting.answers.clear();
}

/// Enough of a question to know it by.
fn brief(argument: &Value) -> String {
    let text = argument.to_string();
    match text.char_indices().nth(200) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// A panic elsewhere must not hide answers.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures::stream;

    use super::*;

    /// A session with somebody who has said this, and then goes on as `rest` does.
    fn session(said: &[&str], goes_on: bool) -> Session {
        let said: Vec<_> =
            said.iter().map(|part| Ok(LogOutput::StdOut { message: part.as_bytes().to_vec().into() })).collect();
        let said = stream::iter(said);
        let rest: crate::stage::daemon::Said =
            if goes_on { Box::pin(said.chain(stream::pending())) } else { Box::pin(said) };
        Session::begin(Conversation { input: Box::pin(tokio::io::sink()), output: rest })
    }

    #[tokio::test]
    async fn answers_find_who_asked_though_they_come_in_pieces() {
        let session = session(&["[2, {\"sql\": \"no such", " table\"}]\n[1, {\"ok\": [1]}]", "\n"], true);
        let (first, second) =
            tokio::join!(session.ask("rows", json!("a"), LIMIT), session.ask("rows", json!("b"), LIMIT));
        assert_eq!(first.unwrap(), Ok(json!([1])));
        assert_eq!(second.unwrap(), Err("no such table".to_owned()));
    }

    #[tokio::test]
    async fn a_question_that_is_never_answered_has_an_end_and_says_which() {
        let session = session(&[], true);
        let error = session.ask("rows", json!("SELECT 1"), Duration::from_millis(20)).await.unwrap_err();
        assert!(error.to_string().contains("SELECT 1") && error.to_string().contains("not answered"), "{error}");
        assert!(lock(&session.waiting).answers.is_empty());
    }

    #[tokio::test]
    async fn who_asks_a_program_that_ended_is_told() {
        let session = session(&["no such module\n"], false);
        let error = session.ask("rows", json!("SELECT 1"), LIMIT).await.unwrap_err();
        assert!(error.to_string().contains("no such module"), "{error}");
    }
}
