//! Where a forward proxy was asked to connect to.

use anyhow::bail;

use crate::{Live, PATIENCE, stage::log::Stream};

/// A forward proxy, as a companion.
#[derive(Clone, Debug)]
pub struct ForwardProxy {
    pub(crate) live: Live,
    pub(crate) host: String,
}

impl ForwardProxy {
    /// The addresses (`peer.test:8448`) of all connections that it was asked for since the walk began, oldest first. Those
    /// that were asked for before the call are there: the call waits for its own request in the log.
    pub async fn connections(&self) -> anyhow::Result<Vec<String>> {
        let marker = self.live.unique("/settle-");
        self.live.anonymous().at(&format!("{}:8888", self.host))?.get(&marker).await?;
        let log = self.live.log(&self.host)?;
        if !log.wait_for(&marker, PATIENCE).await {
            bail!("the log of `{}` did not show a request within {} s", self.host, PATIENCE.as_secs());
        }
        let lines = log.lines(Stream::Out);
        let addresses = lines.iter().filter_map(|line| line.split_once(": CONNECT ")?.1.split(' ').next());
        Ok(addresses.map(str::to_owned).collect())
    }
}
