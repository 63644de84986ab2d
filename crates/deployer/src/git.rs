//! The only place that talks to git: the `git` program, which fetches one configured ref from one configured remote
//! into a repository of its own. Nothing that was fetched can make it run or read anything: hooks, submodules, filters,
//! links, other protocols and the settings of the machine and of people are off.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use base64::Engine as _;
use child::{Child, ChildError, Environment};
use reqwest::Url;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::{sync::Mutex, task::spawn_blocking};

use crate::release::is_commit;

/// How long a fetch may take.
const FETCH_LIMIT: Duration = Duration::from_secs(600);
/// How long it may take to throw away what nothing leads to any more.
const TIDY_LIMIT: Duration = Duration::from_secs(600);
/// How long anything else may take.
const LIMIT: Duration = Duration::from_secs(120);
/// Where the fetched ref is kept.
const FETCHED: &str = "refs/vigie/fetched";
/// The longest ref, in characters.
const REF_MAX: usize = 200;
/// A line of settings for git, for every command.
const LOCKED: &[&str] = &[
    "core.hooksPath=/dev/null",
    "core.symlinks=false",
    "core.fsmonitor=false",
    "core.attributesFile=/dev/null",
    "credential.helper=",
    "fetch.recurseSubmodules=false",
    "fetch.fsckObjects=true",
    "gc.auto=0",
    "http.followRedirects=false",
    "maintenance.auto=false",
    "protocol.allow=never",
    "protocol.https.allow=always",
    "protocol.http.allow=always",
    "protocol.ssh.allow=always",
    "submodule.recurse=false",
    "transfer.bundleURI=false",
    "transfer.credentialsInUrl=die",
];

/// From where.
#[derive(Clone, Debug)]
pub struct Remote {
    /// The URL, checked.
    pub url: String,
    /// The full name of the ref, checked.
    pub reference: String,
    /// A token for https.
    pub token: Option<SecretString>,
    /// A private key for ssh.
    pub ssh_key: Option<PathBuf>,
    /// The host keys that are believed for ssh.
    pub known_hosts: Option<PathBuf>,
}

/// A repository of this service alone, and the folders of versions beside it.
#[derive(Clone, Debug)]
pub struct Git {
    /// The data folder.
    pub folder: PathBuf,
    /// From where.
    pub remote: Remote,
    /// What git is told of the environment.
    pub environment: Environment,
    /// Held by who changes something in the folder: a deploy and a look for something new share it.
    pub busy: Arc<Mutex<()>>,
}

/// Why there is no new version.
#[derive(Debug, thiserror::Error)]
pub enum GitError {
    /// The program failed.
    #[error(transparent)]
    Child(#[from] ChildError),
    /// A folder cannot be made.
    #[error("{} cannot be made", path.display())]
    Folder {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The remote gave something else.
    #[error("git fetched {0:?}, expected a commit")]
    NoCommit(String),
    /// What was pushed is not on the ref.
    #[error("{commit} is not on {reference}: only what is there is rolled out")]
    Elsewhere {
        /// The commit of which the asker heard.
        commit: String,
        /// The configured ref.
        reference: String,
    },
}

impl Git {
    /// Fetches the ref, and gives the commit that it names and the folder with its files. `heard` is one that must be on
    /// it.
    ///
    /// # Errors
    /// [`GitError`]
    pub async fn newest(&self, heard: Option<&str>) -> Result<(String, PathBuf), GitError> {
        let busy = self.busy.lock().await;
        let commit = self.fetch(heard).await?;
        let folder = self.check_out(&commit).await?;
        drop(busy);
        Ok((commit, folder))
    }

    async fn fetch(&self, heard: Option<&str>) -> Result<String, GitError> {
        let repository = self.repository();
        if !repository.join("HEAD").is_file() {
            make(&self.folder)?;
            let init =
                self.plain(LIMIT).args(["init", "--quiet", "--bare", "--template=", "--"]).arg(&repository);
            init.text().await?;
        }
        let fixed =
            ["fetch", "--quiet", "--no-tags", "--no-recurse-submodules", "--no-write-fetch-head", "--prune"];
        let refspec = format!("+{}:{FETCHED}", self.remote.reference);
        self.authorized(self.git(FETCH_LIMIT))
            .args(fixed)
            .args(["--", &self.remote.url, &refspec])
            .text()
            .await?;
        let named = ["rev-parse", "--verify", "--quiet", "--end-of-options", "refs/vigie/fetched^{commit}"];
        let commit = self.git(LIMIT).args(named).text().await?.text.trim().to_owned();
        if !is_commit(&commit) {
            return Err(GitError::NoCommit(commit));
        }
        if let Some(heard) = heard {
            self.contains(heard, &commit).await?;
        }
        Ok(commit)
    }

    async fn contains(&self, heard: &str, commit: &str) -> Result<(), GitError> {
        let elsewhere = || GitError::Elsewhere {
            commit: heard.chars().take(64).collect(),
            reference: self.remote.reference.clone(),
        };
        if !is_commit(heard) {
            return Err(elsewhere());
        }
        let known = ["merge-base", "--is-ancestor", heard, commit];
        self.git(LIMIT).args(known).text().await.map(drop).map_err(|error| match error {
            ChildError::Failed { .. } => elsewhere(),
            error => error.into(),
        })
    }

    /// The folder with the files of a commit; made when it is not there.
    async fn check_out(&self, commit: &str) -> Result<PathBuf, GitError> {
        let folder = self.versions().join(commit);
        if folder.is_dir() {
            return Ok(folder);
        }
        // Half of a version must never look like one.
        let beside = self.versions().join(format!("{commit}.new"));
        let half = beside.clone();
        // What is left of it is of no use, and what cannot be removed is told by what follows.
        let _ = spawn_blocking(move || fs::remove_dir_all(half)).await;
        make(&beside)?;
        let index = beside.with_extension("index");
        let _ = fs::remove_file(&index);
        let read =
            self.git(LIMIT).env("GIT_INDEX_FILE", &index).args(["read-tree", "--end-of-options", commit]);
        read.text().await?;
        let files = self.git(LIMIT).env("GIT_INDEX_FILE", &index).env("GIT_WORK_TREE", &beside);
        files.args(["checkout-index", "--all", "--force"]).text().await?;
        let _ = fs::remove_file(&index);
        fs::rename(&beside, &folder).map_err(|source| GitError::Folder { path: folder.clone(), source })?;
        Ok(folder)
    }

    /// Removes the folders of versions that are not kept, and what was fetched for them. What cannot be removed is tried
    /// again the next time, and so is all of it while one of them is being made. It goes on elsewhere, and none is made
    /// meanwhile: thousands of files take an SD card longer than a service may be silent.
    pub fn prune(&self, kept: &[String]) {
        let Ok(busy) = self.busy.clone().try_lock_owned() else { return };
        let (git, kept) = (self.clone(), kept.to_vec());
        tokio::spawn(async move {
            let versions = git.versions();
            // What is left of it is removed the next time.
            let _ = spawn_blocking(move || remove_all_but(&kept, &versions)).await;
            if let Err(error) = git.tidy().await {
                tracing::warn!(%error, "what was fetched long ago is still here");
            }
            drop(busy);
        });
    }

    /// Nothing does so by itself: each fetch leaves a pack of its own.
    async fn tidy(&self) -> Result<(), ChildError> {
        if !self.repository().join("HEAD").is_file() {
            return Ok(());
        }
        // Whatever another container noted there: nobody else works in it while we are busy.
        let tidy = ["gc", "--prune=now", "--quiet", "--force"];
        self.git(TIDY_LIMIT).args(tidy).text().await.map(drop)
    }

    fn repository(&self) -> PathBuf {
        self.folder.join("repository.git")
    }

    fn versions(&self) -> PathBuf {
        self.folder.join("versions")
    }

    fn git(&self, limit: Duration) -> Child {
        let mut directory = OsString::from("--git-dir=");
        directory.push(self.repository());
        self.plain(limit).arg(directory)
    }

    fn plain(&self, limit: Duration) -> Child {
        let mut git = Child::new("git", self.environment.clone(), limit)
            .env("GIT_CONFIG_NOSYSTEM", "1")
            .env("GIT_CONFIG_GLOBAL", "/dev/null")
            .env("GIT_ATTR_NOSYSTEM", "1")
            .env("GIT_TERMINAL_PROMPT", "0")
            .env("GIT_ALLOW_PROTOCOL", "https:http:ssh")
            .env("LC_ALL", "C")
            .arg("--no-pager")
            .arg("--literal-pathspecs");
        for line in LOCKED {
            git = git.args(["-c", line]);
        }
        git
    }

    /// Secrets go by the environment: arguments are seen by all on a machine.
    fn authorized(&self, mut git: Child) -> Child {
        if let Some(token) = &self.remote.token {
            let both = format!("x-access-token:{}", token.expose_secret());
            let header = base64::engine::general_purpose::STANDARD.encode(both);
            git = git
                .env("GIT_CONFIG_COUNT", "1")
                .env("GIT_CONFIG_KEY_0", "http.extraHeader")
                .env("GIT_CONFIG_VALUE_0", format!("Authorization: Basic {header}"));
        }
        let mut ssh = "ssh -F /dev/null -o BatchMode=yes -o StrictHostKeyChecking=yes".to_owned();
        if let Some(key) = &self.remote.ssh_key {
            ssh += &format!(" -o IdentitiesOnly=yes -i {}", key.display());
        }
        if let Some(hosts) = &self.remote.known_hosts {
            ssh += &format!(" -o UserKnownHostsFile={}", hosts.display());
        }
        git.env("GIT_SSH_COMMAND", ssh).env("GIT_SSH_VARIANT", "ssh")
    }
}

fn remove_all_but(kept: &[String], versions: &Path) {
    let Ok(entries) = fs::read_dir(versions) else { return };
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        if !kept.iter().any(|kept| Path::new(kept) == path) {
            let removed = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
            if let Err(error) = removed {
                tracing::warn!(path = %path.display(), %error, "an old version cannot be removed");
            }
        }
    }
}

fn make(path: &Path) -> Result<(), GitError> {
    fs::create_dir_all(path).map_err(|source| GitError::Folder { path: path.to_owned(), source })
}

/// Reads where to fetch from: https, ssh, or http on this machine.
///
/// # Errors
/// What is wrong with it.
pub fn remote_url(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let plain =
        |part: &str| part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~/:@-%+".contains(&byte));
    if url.password().is_some() || (url.scheme() != "ssh" && !url.username().is_empty()) {
        return Err("a token belongs into DEPLOY_GIT_TOKEN".to_owned());
    }
    let host = url.host_str().unwrap_or_default();
    let here = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
    match url.scheme() {
        "https" | "ssh" => {}
        "http" if here => {}
        "http" => {
            return Err("whoever is in between could change what comes by http: use https or ssh".to_owned());
        }
        _ => return Err("it must start with https:// or ssh://".to_owned()),
    }
    let option = host.starts_with('-') || url.username().starts_with('-');
    if host.is_empty() || option || !plain(text) || url.query().is_some() || url.fragment().is_some() {
        return Err("it has signs that no repository's address has".to_owned());
    }
    Ok(text.to_owned())
}

/// Reads the name of a branch, or a full ref such as `refs/tags/stable`.
///
/// # Errors
/// What is wrong with it.
pub fn reference(text: &str) -> Result<String, String> {
    let sign = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/');
    let part = |part: &str| {
        !part.is_empty() && !part.starts_with(['.', '-']) && !part.ends_with('.') && !part.ends_with(".lock")
    };
    let full = if text.starts_with("refs/") { text.to_owned() } else { format!("refs/heads/{text}") };
    let known = ["refs/heads/", "refs/tags/"].iter().any(|start| full.starts_with(start));
    if text.len() > REF_MAX
        || !known
        || !full.bytes().all(sign)
        || full.contains("..")
        || !full.split('/').all(part)
    {
        return Err(String::new());
    }
    Ok(full)
}

/// Reads a path that ends up in the command line of ssh, which git splits at blanks.
///
/// # Errors
/// What is wrong with it.
pub fn plain_path(text: &str) -> Result<PathBuf, String> {
    let sign = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-' | b'/');
    if text.starts_with('/') && text.bytes().all(sign) {
        return Ok(PathBuf::from(text));
    }
    Err("of letters, digits and . _ - / only".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn git(folder: &Path, environment: Environment) -> Git {
        let remote = Remote {
            url: "https://git.example.org/you/vigie.git".to_owned(),
            reference: "refs/heads/main".to_owned(),
            token: None,
            ssh_key: None,
            known_hosts: None,
        };
        Git { folder: folder.to_owned(), remote, environment, busy: Arc::default() }
    }

    #[tokio::test]
    async fn old_versions_go_elsewhere_and_none_is_made_meanwhile() {
        let folder = tempfile::tempdir().unwrap();
        let git = git(folder.path(), Vec::new());
        for name in ["old", "new"] {
            fs::create_dir_all(git.versions().join(name).join("deploy")).unwrap();
        }
        let kept = git.versions().join("new");
        git.prune(&[kept.display().to_string()]);
        // Whoever makes one waits as this does.
        drop(git.busy.lock().await);
        assert!(kept.is_dir() && !git.versions().join("old").exists());
    }

    #[tokio::test]
    async fn what_nothing_leads_to_any_more_is_thrown_away() {
        let folder = tempfile::tempdir().unwrap();
        let git = git(folder.path(), child::environment(&["PATH"], &[]));
        let repository = git.repository();
        let init = git.plain(LIMIT).args(["init", "--quiet", "--bare", "--template=", "--"]).arg(&repository);
        init.text().await.unwrap();
        let line = "of a version that is gone".to_owned();
        let hash = git.git(LIMIT).args(["hash-object", "-w", "--stdin"]).input(line.into());
        let object = hash.text().await.unwrap().text.trim().to_owned();
        let is_there = async || git.git(LIMIT).args(["cat-file", "-e", &object]).text().await.is_ok();
        assert!(is_there().await);
        git.prune(&[]);
        drop(git.busy.lock().await);
        assert!(!is_there().await);
    }

    #[test]
    fn a_remote_is_an_address_and_nothing_else() {
        for good in [
            "https://git.example.org/you/vigie.git",
            "ssh://git@git.example.org:2222/you/vigie.git",
            "http://127.0.0.1:8080/vigie.git",
        ] {
            assert_eq!(remote_url(good).as_deref(), Ok(good));
        }
        for bad in [
            "ext::sh -c id",
            "file:///etc",
            "/srv/vigie.git",
            "git@git.example.org:you/vigie.git",
            "http://git.example.org/vigie.git",
            "https://user:hunter2@git.example.org/vigie.git",
            "https://token@git.example.org/vigie.git",
            "ssh://-oProxyCommand=id/x",
            "ssh://-oX@host/x",
            "https://host/a b",
            "https://host/a;id",
            "https://host/$(id)",
            "https://host/a?x=1",
            "--upload-pack=id",
        ] {
            let refused = remote_url(bad);
            assert!(refused.is_err(), "{bad}");
            assert!(!refused.unwrap_err().contains("hunter2"));
        }
    }

    #[test]
    fn a_ref_is_a_name_and_no_option_and_no_path() {
        assert_eq!(reference("main").as_deref(), Ok("refs/heads/main"));
        assert_eq!(reference("refs/tags/v1.2").as_deref(), Ok("refs/tags/v1.2"));
        assert_eq!(reference("release/1.x").as_deref(), Ok("refs/heads/release/1.x"));
        for bad in [
            "",
            "-x",
            "--upload-pack=id",
            "a..b",
            "../x",
            "refs/../x",
            "a b",
            "a;b",
            "$(id)",
            "a:b",
            "+a",
            "a~1",
            "a^{}",
            "@{-1}",
            "a.lock",
            "a//b",
            "/a",
            "a/",
            "refs/pull/1/head",
            "HEAD:x",
            "a\nb",
        ] {
            assert!(reference(bad).is_err(), "{bad}");
        }
    }
}
