//! What a deployment's single processes log.

use harness::prelude::*;

/// The lines with this text in a process's log on this leg, all that were logged before the call: a request of its own,
/// which the process logs in the end, tells when it has them all.
pub(crate) async fn lines(hs: &Live, process: &str, text: &str) -> Result<Vec<String>> {
    let marker = hs.unique("settled-");
    hs.anonymous().at(process)?.get(&format!("/_matrix/client/versions?{marker}")).await?;
    let settled = eventually(|| hs.log_lines_of(process, &marker), |lines| !lines.is_empty()).await?;
    anyhow::ensure!(!settled.is_empty(), "`{process}` does not log that it was asked for {marker}");
    hs.log_lines_of(process, text).await
}

/// How often each of these processes logs that it was asked for what only this request's marker names.
pub(crate) async fn asked(hs: &Live, processes: &[&str], marker: &str) -> Result<Value> {
    let mut found = serde_json::Map::new();
    for process in processes {
        found.insert((*process).to_owned(), json!(lines(hs, process, marker).await?.len()));
    }
    Ok(Value::Object(found))
}

/// A name that a request is made with, and the first line of `structured.log` that tells of it.
pub(crate) async fn structured(hs: &Live) -> Result<(String, Option<String>)> {
    let request = hs.unique("request-");
    hs.anonymous().get(&format!("/_matrix/client/versions?{request}")).await?.ok()?;
    // A further request has come to the console then, so this one is in the file.
    hs.log_lines(&request).await?;
    let text = hs.read("/data/structured.log").await?;
    let line = text.as_str().unwrap_or_default().lines().find(|line| line.contains(&request)).map(str::to_owned);
    Ok((request, line))
}
