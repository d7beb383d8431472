//! What an image is built of, and the hash that tells whether one is still what its recipe says.

use std::{
    collections::BTreeMap,
    env, fs,
    path::{Path, PathBuf},
};

use sha2::{Digest as _, Sha256};

use crate::{Error, options::Host};

/// Everything that decides what a built image holds. How this machine reaches the world (mirrors, certificates) and the
/// Debian base's origin are left out on purpose: they do not change what the image is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Recipe {
    /// `repository:tag` of the image.
    pub(crate) reference: String,
    /// The stage of the Dockerfile; empty for the last.
    pub(crate) target: &'static str,
    /// The build context.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    /// Build arguments that change the result.
    pub(crate) arguments: BTreeMap<String, String>,
}

impl Recipe {
    /// A recipe of the files in a directory of this crate.
    pub(crate) fn read(directory: &str, reference: String, target: &'static str) -> Result<Self, Error> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(directory);
        let mut files = BTreeMap::new();
        read_into(&root, &root, &mut files)?;
        Ok(Self { reference, target, files, arguments: BTreeMap::new() })
    }

    pub(crate) fn with_file(mut self, name: &str, text: String) -> Self {
        self.files.insert(name.to_owned(), text.into_bytes());
        self
    }

    pub(crate) fn with_argument(mut self, name: &str, value: impl Into<String>) -> Self {
        self.arguments.insert(name.to_owned(), value.into());
        self
    }

    /// The hash of the inputs.
    pub(crate) fn key(&self) -> String {
        let mut hash = Sha256::new();
        let mut add = |bytes: &[u8]| {
            // With its length before each part, no two lists of parts give the same bytes.
            hash.update(bytes.len().to_le_bytes());
            hash.update(bytes);
        };
        add(self.target.as_bytes());
        for (name, content) in &self.files {
            add(name.as_bytes());
            add(content);
        }
        add(b"arguments");
        for (name, value) in &self.arguments {
            add(name.as_bytes());
            add(value.as_bytes());
        }
        hex::encode(hash.finalize())
    }

    /// The build context as a tar archive, with what a build must know of this machine under `host/`.
    pub(crate) fn context(&self, host: &Host) -> Result<Vec<u8>, Error> {
        let mut archive = tar::Builder::new(Vec::new());
        let environment = host.environment();
        let given = [("host/ca.pem", host.certificates.as_slice()), ("host/env", environment.as_bytes())];
        let files = self.files.iter().map(|(name, content)| (name.as_str(), content.as_slice()));
        for (name, content) in files.chain(given) {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            // The layer cache keys on modes too: git knows only whether a file is executable, and so do we.
            header.set_mode(if content.starts_with(b"#!") { 0o755 } else { 0o644 });
            header.set_mtime(0);
            archive.append_data(&mut header, name, content).map_err(Error::file("archive", name))?;
        }
        archive.into_inner().map_err(Error::file("archive", "build context"))
    }
}

fn read_into(root: &Path, directory: &Path, files: &mut BTreeMap<String, Vec<u8>>) -> Result<(), Error> {
    for entry in fs::read_dir(directory).map_err(Error::file("read", directory))? {
        let path = entry.map_err(Error::file("read", directory))?.path();
        if path.is_dir() {
            read_into(root, &path, files)?;
        } else {
            let name = path.strip_prefix(root).unwrap_or(&path).to_string_lossy().into_owned();
            files.insert(name, fs::read(&path).map_err(Error::file("read", &path))?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe() -> Recipe {
        Recipe {
            reference: "a:1".to_owned(),
            target: "release",
            files: BTreeMap::from([("Dockerfile".to_owned(), b"FROM x".to_vec())]),
            arguments: BTreeMap::new(),
        }
    }

    #[test]
    fn the_key_changes_with_every_input() {
        let variants = [
            recipe(),
            Recipe { target: "runtime", ..recipe() },
            recipe().with_file("Dockerfile", "FROM y".to_owned()),
            recipe().with_file("more", String::new()),
            recipe().with_argument("UV", "1"),
            recipe().with_argument("UV", "2"),
        ];
        let keys: std::collections::BTreeSet<_> = variants.iter().map(Recipe::key).collect();
        assert_eq!(keys.len(), variants.len());
    }

    #[test]
    fn the_key_is_the_same_on_every_machine() {
        let renamed = Recipe { reference: "b:2".to_owned(), ..recipe() };
        assert_eq!(renamed.key(), recipe().key());
        insta::assert_snapshot!(recipe().key(), @"1c4b2448a023b9371b700a8ea71d7973738eeafd139e6c6e0b7d3ed85d8c4b78");
    }
}
