//! What the project's images take on the disk, and the limit to it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    Error, Store,
    docker::{Layer, PROJECT_LABEL},
    maintain::Kept,
    store::{Inner, OURS, file_name},
};

/// Nothing that somebody asked for in this time makes room for others.
const RECENT: Duration = Duration::from_secs(3600);

impl Store {
    pub(crate) async fn kept(&self) -> Result<(Vec<Kept>, u64), Error> {
        self.inner.kept().await
    }

    pub(crate) async fn prune(&self, all: bool) -> Result<Vec<Kept>, Error> {
        let (kept, total) = self.inner.kept().await?;
        let limit = if all { 0 } else { self.inner.disk_limit() };
        let removed = self.inner.remove(kept, total, limit, all).await?;
        self.inner.docker.drop_our_cache(all).await?;
        Ok(removed)
    }
}

impl Inner {
    fn disk_limit(&self) -> u64 {
        // A limit is no figure that needs more than gigabytes and a fraction.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "far below 2^53, and not below 0")]
        let bytes = (self.options.image_disk_limit.max(0.0) * 1e9) as u64;
        bytes
    }

    /// Removes what was not asked for lately, should the images have outgrown the limit.
    pub(crate) async fn keep_within_limit(&self) -> Result<(), Error> {
        let (kept, total) = self.kept().await?;
        if total > self.disk_limit() {
            self.remove(kept, total, self.disk_limit(), false).await?;
        }
        Ok(())
    }

    /// Notes that an image was asked for.
    pub(crate) fn touch(&self, reference: &str) -> Result<(), Error> {
        let directory = self.options.image_cache.join("used");
        fs::create_dir_all(&directory).map_err(Error::file("create", &directory))?;
        let path = directory.join(file_name(reference));
        fs::write(&path, "").map_err(Error::file("write", &path))
    }

    fn touched(&self, reference: &str) -> Option<u64> {
        let metadata = fs::metadata(self.options.image_cache.join("used").join(file_name(reference))).ok()?;
        Some(metadata.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_secs())
    }

    async fn kept(&self) -> Result<(Vec<Kept>, u64), Error> {
        let images = self.docker.ours().await?;
        let in_use = self.docker.images_in_use().await?;
        let mut layers: BTreeMap<String, Vec<Layer>> = BTreeMap::new();
        let mut users: BTreeMap<Layer, usize> = BTreeMap::new();
        for image in &images {
            let of_image = self.docker.layers(&image.id).await?;
            for layer in &of_image {
                *users.entry(layer.clone()).or_default() += 1;
            }
            layers.insert(image.id.clone(), of_image);
        }
        let mut kept: Vec<_> = images
            .into_iter()
            .map(|image| {
                let of_image = &layers[&image.id];
                let references: Vec<_> = image.repo_tags.into_iter().filter(|name| name != "<none>:<none>").collect();
                let made = u64::try_from(image.created).unwrap_or(0);
                let used = references.iter().filter_map(|reference| self.touched(reference)).max().unwrap_or(made);
                // Others are built on these: removing one frees next to nothing, and costs the most to undo.
                let shared = ["base", "system", "builder", "runtime"].map(|part| format!("{OURS}/{part}:"));
                let part = |reference: &String| shared.iter().any(|prefix| reference.starts_with(prefix));
                Kept {
                    what: image.labels.get(PROJECT_LABEL).cloned().unwrap_or_default(),
                    needed: in_use.contains(&image.id) || references.iter().any(part),
                    references,
                    bytes: of_image.iter().map(|layer| layer.bytes).sum(),
                    own_bytes: of_image.iter().filter(|layer| users[*layer] == 1).map(|layer| layer.bytes).sum(),
                    used,
                    id: image.id,
                }
            })
            .collect();
        kept.sort_by(|a, b| (a.used, &a.what).cmp(&(b.used, &b.what)));
        Ok((kept, users.keys().map(|layer| layer.bytes).sum()))
    }

    /// Removes superseded images, and then the oldest until what is left is within the limit.
    async fn remove(&self, kept: Vec<Kept>, total: u64, limit: u64, all: bool) -> Result<Vec<Kept>, Error> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let recent = now.saturating_sub(RECENT).as_secs();
        let mut left = total;
        let mut removed = Vec::new();
        let in_use = self.docker.images_in_use().await?;
        // What others are built on goes last.
        let (parts, images): (Vec<_>, Vec<_>) = kept.into_iter().partition(|image| image.needed);
        for image in images.into_iter().chain(parts) {
            let superseded = image.references.is_empty();
            let expendable = if all { !in_use.contains(&image.id) } else { !image.needed && image.used < recent };
            if superseded && !in_use.contains(&image.id) || left > limit && expendable {
                // By its names, lest another name of somebody else's keeps Docker from it.
                let names: BTreeSet<_> = image.references.iter().chain(superseded.then_some(&image.id)).collect();
                for name in names {
                    self.docker.remove(name).await?;
                }
                left = left.saturating_sub(image.own_bytes);
                removed.push(image);
            }
        }
        Ok(removed)
    }
}
