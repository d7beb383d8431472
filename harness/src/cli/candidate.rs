//! What `--qualify` names: a release of the table, one that PyPI has, or an image under a number.

use images::{Of, Override, Release, ReleaseTable, Store, Version, Wanted};

use super::{Candidate, Cli, ERRORED, Stop, usage};

impl Cli {
    /// The candidate, if there is one. Its image becomes one of those that were given; a release that the table lacks
    /// becomes one of the further ones, with what its own code says of its schema.
    pub(super) fn candidate(&mut self, table: &ReleaseTable) -> Result<Option<Candidate>, Stop> {
        let Some(what) = self.qualify.clone() else { return Ok(None) };
        let (version, image) = self.named(&what)?;
        let against = self.predecessor(&version, table)?;
        if let Some(reference) = image {
            self.images.overrides.push(Override { of: Of::One(Wanted::homeserver(version.clone())), reference });
        }
        if table.get(&version).is_none() {
            let release = self.look_up(&version, table)?;
            self.images.further.push(release);
        }
        Ok(Some(Candidate { version, against }))
    }

    /// Its number, and its image if it is one.
    fn named(&self, what: &str) -> Result<(Version, Option<String>), Stop> {
        match (what.parse::<Version>(), &self.number) {
            (Ok(version), None) => Ok((version, None)),
            (Ok(version), Some(_)) => Err(usage(format!("{version} is a release: `--as` gives an image its number"))),
            (Err(_), Some(number)) => Ok((number.clone(), Some(what.to_owned()))),
            (Err(_), None) => {
                Err(usage(format!("`{what}` is no release; if it is an image, say its number: `--as 1.164.0rc1`")))
            }
        }
    }

    fn predecessor(&self, version: &Version, table: &ReleaseTable) -> Result<Version, Stop> {
        let Some(against) = &self.against else {
            let before = table.before(version).map(|release| release.version.clone());
            return before.ok_or_else(|| usage(format!("there is no release before {version}")));
        };
        if table.get(against).is_none() {
            return Err(usage(format!("there is no release {against} to hold {version} against")));
        }
        if against >= version {
            return Err(usage(format!("{against} is no older than {version}")));
        }
        Ok(against.clone())
    }

    /// Its upgrade notes, or why there are none: an image does not hold them, and PyPI may not answer.
    pub(super) fn announcements(&self, candidate: &Candidate) -> Result<Result<String, String>, Stop> {
        if let Some(file) = &self.upgrade_notes {
            let text = std::fs::read_to_string(file);
            return text.map(Ok).map_err(|error| usage(format!("cannot read {}: {error}", file.display())));
        }
        if self.images.given_for(&Wanted::homeserver(candidate.version.clone())).is_some() {
            return Ok(Err("an image does not hold them; `--upgrade-notes` names the file".to_owned()));
        }
        let found = runtime()?.block_on(images::maintain::source(&candidate.version, "docs/upgrade.md"));
        Ok(found.map_err(|error| error.to_string()))
    }

    /// What an unknown number is: as PyPI has it, or, of an image, as its code says.
    fn look_up(&self, version: &Version, table: &ReleaseTable) -> Result<Release, Stop> {
        runtime()?.block_on(async {
            let errored = |error: &dyn std::fmt::Display| Stop { code: ERRORED, message: error.to_string() };
            let wanted = Wanted::homeserver(version.clone());
            if self.images.given_for(&wanted).is_none() {
                let found = images::maintain::published(version).await.map_err(|error| errored(&error))?;
                return found.ok_or_else(|| {
                    usage(format!(
                        "neither the release table nor PyPI has {version}; of an image, say `--as {version}`"
                    ))
                });
            }
            let mut release = like(version, table)?;
            // Its image is no other for what is not known of it yet.
            let options = images::Options { further: vec![release.clone()], ..self.images.clone() };
            let store = Store::open(options, |_| {}).await.map_err(|error| errored(&error))?;
            let image = store.obtain(&wanted).await.map_err(|error| errored(&error))?;
            // Of an image whose code says nothing, the trials will say what is wrong with it.
            match store.schema(&image).await {
                Ok((schema, compatible)) => {
                    (release.schema_version, release.compat_version) = (Some(schema), Some(compatible));
                }
                Err(images::Error::Override { .. }) => {}
                Err(error) => return Err(errored(&error)),
            }
            Ok(release)
        })
    }
}

fn runtime() -> Result<tokio::runtime::Runtime, Stop> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Stop { code: ERRORED, message: format!("no runtime: {error}") })
}

/// A release of this number, as far as it is like the newest that is known.
fn like(version: &Version, table: &ReleaseTable) -> Result<Release, Stop> {
    let newest = table.newest_stable().ok_or_else(|| usage("the release table has no release"))?;
    Ok(Release {
        version: version.clone(),
        schema_version: None,
        compat_version: None,
        rolls_back_to: None,
        ..newest.clone()
    })
}
