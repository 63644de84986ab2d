//! What there was before: the `.env` of the folder and the secrets it points to.

use std::{
    env, fs, io,
    io::Read,
    path::{Path, PathBuf},
};

use anyhow::Context;
use secrecy::SecretString;

use super::{End, env_text::EnvText};
use crate::env_file;

/// A secret in a file is at most this long, in bytes.
const MAX_SECRET: u64 = 64 * 1024;

/// The settings that a folder holds already.
pub(super) struct Before {
    /// Where `.env` is; another file than that in the folder when it is a link.
    pub path: PathBuf,
    /// `None` when there is none yet.
    pub text: Option<EnvText>,
    folder: PathBuf,
    values: Vec<(String, String)>,
}

impl Before {
    /// Reads what there is.
    pub(super) fn read(folder: &Path) -> Result<Self, End> {
        let path = folder.join(env_file::NAME);
        // A file that cannot be understood must not be written to.
        let values =
            env_file::read(&path).map_err(|error| End::Unusable(format!("{error:#}; mend it first")))?;
        let text = match fs::read_to_string(&path) {
            Ok(text) => Some(EnvText::from(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(End::Failed(error.into())),
        };
        let path = fs::canonicalize(&path).unwrap_or(path);
        Ok(Self { path, text, folder: folder.to_path_buf(), values })
    }

    /// The value of a setting; an empty one is none.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let found = self.values.iter().find(|(known, value)| known == name && !value.is_empty());
        found.map(|(_, value)| value.as_str())
    }

    /// Where the value of a secret lies, if in a file.
    pub(super) fn file(&self, name: &str) -> Option<PathBuf> {
        self.value(&format!("{name}_FILE")).map(|path| self.folder.join(path))
    }

    /// Whether a setting has a value or a file, also where that cannot be read: a platform whose token is out of
    /// reach is not one that is off.
    pub(super) fn names(&self, name: &str) -> bool {
        self.value(name).is_some() || self.file(name).is_some()
    }

    /// A secret, from `.env` or the file that it names.
    pub(super) fn secret(&self, name: &str) -> Option<SecretString> {
        let text = match self.value(name) {
            Some(value) => value.to_owned(),
            None => read_secret(&self.file(name)?).ok()?,
        };
        Some(text).filter(|text| !text.is_empty()).map(SecretString::from)
    }

    /// A setting that may also be in the environment, such as where a platform is.
    pub(super) fn or_default(&self, name: &str, default: &str) -> String {
        let set = env::var(name).ok().filter(|value| !value.is_empty());
        set.or_else(|| self.value(name).map(str::to_owned)).unwrap_or_else(|| default.to_owned())
    }
}

/// What a file with a secret holds, without the blanks around it.
///
/// # Errors
/// When it cannot be read.
pub(super) fn read_secret(path: &Path) -> anyhow::Result<String> {
    let shown = || format!("{} cannot be read", path.display());
    let mut text = String::new();
    fs::File::open(path)
        .with_context(shown)?
        .take(MAX_SECRET)
        .read_to_string(&mut text)
        .with_context(shown)?;
    Ok(text.trim().to_owned())
}
