//! Who can read the files with secrets.

use std::{
    env, fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::Finding;
use crate::env_file;

/// The right of everybody to read a file, and to enter a folder.
const ALL_READ: u32 = 0o004;
const ALL_ENTER: u32 = 0o001;

/// `folder`: where `.env` is; `secrets`: the names of settings that are secret.
pub(crate) fn look(folder: &Path, secrets: &[String]) -> Vec<Finding> {
    let mut files = Vec::new();
    let env = folder.join(env_file::NAME);
    // Without a secret in it anybody may read it.
    let holds_secrets = env_file::read(&env).unwrap_or_default();
    if holds_secrets.iter().any(|(name, value)| secrets.contains(name) && !value.is_empty()) {
        files.push(env);
    }
    for name in secrets {
        files.extend(env::var_os(format!("{name}_FILE")).filter(|path| !path.is_empty()).map(PathBuf::from));
    }
    let found: Vec<Finding> = files.iter().filter_map(|file| of_file(file)).collect();
    if found.is_empty() && !files.is_empty() {
        return vec![Finding::good("files", "nobody else can read the secrets")];
    }
    found
}

fn of_file(file: &Path) -> Option<Finding> {
    let shown = file.display();
    match open_to_all(file) {
        Ok(false) => None,
        Ok(true) => Some(Finding::warn(
            "files",
            format!("everybody on this machine can read {shown}"),
            format!("chmod 600 {shown}"),
        )),
        // The services say by themselves that they cannot read it, or it is in a container only.
        Err(error) => Some(Finding::note("files", format!("{shown} cannot be looked at: {error}"))),
    }
}

/// A file that all may read is closed all the same when a folder above it is.
fn open_to_all(file: &Path) -> io::Result<bool> {
    let file = fs::canonicalize(file)?;
    if fs::metadata(&file)?.mode() & ALL_READ == 0 {
        return Ok(false);
    }
    for folder in file.ancestors().skip(1) {
        if fs::metadata(folder)?.mode() & ALL_ENTER == 0 {
            return Ok(false);
        }
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::doctor::Verdict;

    fn chmod(path: &Path, mode: u32) {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    #[test]
    fn a_file_that_all_can_read_is_named_unless_its_folder_is_closed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, env) = (folder.path(), folder.path().join(".env"));
        let secrets = ["DOCTOR_TEST_TOKEN".to_owned()];
        fs::write(&env, "DOCTOR_TEST_TOKEN=\n").unwrap();
        chmod(path, 0o755);
        chmod(&env, 0o644);
        assert_eq!(look(path, &secrets), [], "there is no secret in it");
        fs::write(&env, "DOCTOR_TEST_TOKEN=hunter2\n").unwrap();
        let open = look(path, &secrets);
        assert_eq!(open[0].verdict, Verdict::Warn);
        assert!(open[0].mend.starts_with("chmod 600 /"), "{open:?}");
        chmod(path, 0o700);
        assert_eq!(look(path, &secrets)[0].verdict, Verdict::Good);
        chmod(path, 0o755);
        chmod(&env, 0o600);
        assert_eq!(look(path, &secrets)[0].verdict, Verdict::Good);
    }
}
