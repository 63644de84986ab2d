//! The settings of the deployer.

use std::path::{Path, PathBuf};

use minisign_verify::PublicKey;
use reqwest::Url;
use service::{NatsLogin, Setting, Settings};

use crate::{
    gate::Pace,
    git::{self, Remote},
    schedule::{Check, Window},
};

/// Where programs are, and as whom to ask the engine and the forge. Everything else of the environment may be a secret
/// of this service, and a compose file could ask for it.
const HANDED_ON: [&str; 5] = ["PATH", "HOME", "TMPDIR", "XDG_RUNTIME_DIR", "SSH_AUTH_SOCK"];
/// Docker puts it into every container.
const CONTAINER_MARK: &str = "/.dockerenv";
/// More names than anybody lists.
const NAMES_MAX: usize = 32;

const fn setting(
    name: &'static str,
    default: Option<&'static str>,
    expected: &'static str,
    help: &'static str,
) -> Setting {
    Setting { name, default, expected, help, secret: false }
}

/// Every setting that this crate reads.
pub static SETTINGS: &[Setting] = &[
    service::NATS_URL,
    service::NATS_NKEY,
    service::NATS_CA_FILE,
    setting(
        "DEPLOY_MODE",
        Some("pull"),
        "pull, build or binaries",
        "where new versions come from: images of a signed release, a build of what was pushed, or, without Docker, \
         programs of a signed release that systemd starts",
    ),
    setting(
        "DEPLOY_DATA",
        Some("data/deployer"),
        "a folder",
        "where it is kept what runs, and what ran before",
    ),
    setting("DEPLOY_PROJECT", Some("vigie"), "the name of a Compose project", "the bot that is replaced"),
    setting(
        "DEPLOY_FOLDER",
        None,
        "the full path of a folder",
        "where the compose file of the bot is; the same path on this machine and in the deployer's container",
    ),
    setting(
        "DEPLOY_ENV_FILE",
        None,
        "the full path of a file",
        "the settings of the bot; not set: .env in DEPLOY_FOLDER",
    ),
    setting(
        "DEPLOY_FILES",
        Some("compose.yaml"),
        "names, with commas",
        "the compose files, below the folder",
    ),
    setting("DEPLOY_PROFILES", None, "names, with commas", "the profiles of Compose that are up"),
    setting(
        "DEPLOY_SERVICES",
        None,
        "names, with commas",
        "services of your own in the compose files; others than those of Vigie are refused",
    ),
    setting(
        "DEPLOY_BINDS",
        None,
        "full paths, with commas",
        "files and folders that services may be given besides those below the compose file, such as that of secrets",
    ),
    setting(
        "DEPLOY_RELEASE",
        None,
        "a URL or a full path of a release.json",
        "the newest release; its signature is beside it, in release.json.minisig. For pull and binaries",
    ),
    setting(
        "DEPLOY_RELEASE_KEY",
        None,
        "a public key of minisign (56 signs that begin with RW)",
        "who signs releases; nothing else is rolled out. For pull and binaries",
    ),
    setting(
        "DEPLOY_PROGRAMS",
        Some("/var/lib/vigie"),
        "the full path of a folder",
        "where releases are, and which unit starts which, as deploy/systemd/install.sh makes it. For \
         DEPLOY_MODE=binaries",
    ),
    setting(
        "DEPLOY_GIT_URL",
        None,
        "a URL such as https://git.example.org/you/vigie.git",
        "the repository that is built. For DEPLOY_MODE=build",
    ),
    setting("DEPLOY_GIT_REF", Some("main"), "a branch, or refs/tags/…", "what of it. For DEPLOY_MODE=build"),
    Setting {
        name: "DEPLOY_GIT_TOKEN",
        default: None,
        expected: "an access token",
        help: "for a repository that not everybody may read, by https",
        secret: true,
    },
    setting("DEPLOY_GIT_SSH_KEY", None, "a full path", "the private key for such a repository, by ssh"),
    setting("DEPLOY_GIT_KNOWN_HOSTS", None, "a full path", "the host keys that are believed, by ssh"),
    setting(
        "DEPLOY_OPERATIONS",
        None,
        "on or off",
        "whether the deployer itself, and a backup with a repository, are replaced too; not set: on to pull, off to build",
    ),
    setting(
        "DEPLOY_BACKUP",
        Some("required"),
        "required or off",
        "whether everything is saved before each deploy; off: what a bad version does to data is not undone",
    ),
    setting(
        "DEPLOY_CHECK",
        Some("off"),
        "off, notify or auto",
        "whether it is looked once a day for something new; notify: only said so, auto: rolled out",
    ),
    setting(
        "DEPLOY_WINDOW",
        Some("02:00-05:00"),
        "two times in UTC such as 02:00-05:00",
        "when it is looked",
    ),
];

/// How the deployer runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where NATS is, and by what it knows us.
    pub nats: NatsLogin,
    /// Where new versions come from.
    pub source: SourceConfig,
    /// Where the journal is.
    pub data: PathBuf,
    /// The name of the Compose project.
    pub project: String,
    /// Where its compose file is.
    pub folder: PathBuf,
    /// Its settings.
    pub env_file: PathBuf,
    /// Its compose files, below the folder.
    pub files: Vec<PathBuf>,
    /// The profiles that are up.
    pub profiles: Vec<String>,
    /// Services of the operator's own.
    pub services: Vec<String>,
    /// What services may be given besides.
    pub binds: Vec<PathBuf>,
    /// Whether what runs from the second image is replaced too. Whoever makes that image has the machine.
    pub operations: bool,
    /// Whether everything is saved before.
    pub backup: bool,
    /// Whether it is looked by itself for something new.
    pub check: Check,
    /// When.
    pub window: Window,
    /// How long things must and may take; shorter in tests.
    pub pace: Pace,
    /// What `docker` and `git` are told of the environment; others in tests.
    pub environment: child::Environment,
    /// Whether this program is in a container: then Docker does not see its data under the same path.
    pub contained: bool,
}

/// Where new versions come from.
#[derive(Clone, Debug)]
pub enum SourceConfig {
    /// Images of a signed release.
    Pull {
        /// Where it is.
        release: Place,
        /// Who signs it; `None` only where settings are wrong.
        key: Option<PublicKey>,
    },
    /// Programs of a signed release, which systemd starts.
    Binaries {
        /// Where it is.
        release: Place,
        /// Who signs it; `None` only where settings are wrong.
        key: Option<PublicKey>,
        /// Where releases are here.
        programs: PathBuf,
    },
    /// A build of what was pushed.
    Build(Remote),
}

/// Where a file is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// On the web.
    Web(Url),
    /// On this machine.
    File(PathBuf),
}

impl Config {
    /// Reads the settings; what is wrong with them stays in `settings`.
    #[must_use]
    pub fn read(settings: &mut Settings) -> Self {
        let mode = settings.parse("DEPLOY_MODE", mode);
        let folder = match mode {
            // There is no compose file.
            Mode::Binaries => PathBuf::new(),
            Mode::Pull | Mode::Build => required(settings, "DEPLOY_FOLDER", full_path),
        };
        let env_file = settings.optional_parse("DEPLOY_ENV_FILE", full_path);
        let source = match mode {
            Mode::Pull => read_pull(settings),
            Mode::Build => read_build(settings),
            Mode::Binaries => read_binaries(settings),
        };
        Self {
            nats: NatsLogin::read(settings),
            source,
            data: settings.get("DEPLOY_DATA"),
            project: settings.parse("DEPLOY_PROJECT", name),
            env_file: env_file.unwrap_or_else(|| folder.join(".env")),
            folder,
            files: settings.parse("DEPLOY_FILES", |text| list(text, relative_path)),
            profiles: settings.optional_parse("DEPLOY_PROFILES", |text| list(text, name)).unwrap_or_default(),
            services: settings.optional_parse("DEPLOY_SERVICES", |text| list(text, name)).unwrap_or_default(),
            binds: settings.optional_parse("DEPLOY_BINDS", |text| list(text, full_path)).unwrap_or_default(),
            operations: settings
                .optional_parse("DEPLOY_OPERATIONS", |text| match text {
                    "on" => Ok(true),
                    "off" => Ok(false),
                    _ => Err(String::new()),
                })
                .unwrap_or(mode == Mode::Pull),
            backup: settings.parse("DEPLOY_BACKUP", |text| match text {
                "required" => Ok(true),
                "off" => Ok(false),
                _ => Err(String::new()),
            }),
            check: settings.parse("DEPLOY_CHECK", |text| match text {
                "off" => Ok(Check::Off),
                "notify" => Ok(Check::Notify),
                "auto" => Ok(Check::Auto),
                _ => Err(String::new()),
            }),
            window: settings.parse("DEPLOY_WINDOW", Window::read),
            pace: Pace::default(),
            environment: child::environment(&HANDED_ON, &["DOCKER_"]),
            contained: Path::new(CONTAINER_MARK).exists(),
        }
    }
}

/// Where new versions come from, in a word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Mode {
    #[default]
    Pull,
    Build,
    Binaries,
}

fn mode(text: &str) -> Result<Mode, String> {
    match text {
        "pull" => Ok(Mode::Pull),
        "build" => Ok(Mode::Build),
        "binaries" => Ok(Mode::Binaries),
        _ => Err(String::new()),
    }
}

fn read_release(settings: &mut Settings) -> (Place, Option<PublicKey>) {
    let release = required(settings, "DEPLOY_RELEASE", place);
    let key = |text: &str| PublicKey::from_base64(text).map(Some).map_err(|_| String::new());
    (release, required(settings, "DEPLOY_RELEASE_KEY", key))
}

fn read_pull(settings: &mut Settings) -> SourceConfig {
    let (release, key) = read_release(settings);
    SourceConfig::Pull { release, key }
}

fn read_binaries(settings: &mut Settings) -> SourceConfig {
    let (release, key) = read_release(settings);
    SourceConfig::Binaries { release, key, programs: settings.parse("DEPLOY_PROGRAMS", full_path) }
}

fn read_build(settings: &mut Settings) -> SourceConfig {
    SourceConfig::Build(Remote {
        url: required(settings, "DEPLOY_GIT_URL", git::remote_url),
        reference: settings.parse("DEPLOY_GIT_REF", git::reference),
        token: settings.secret("DEPLOY_GIT_TOKEN"),
        ssh_key: settings.optional_parse("DEPLOY_GIT_SSH_KEY", git::plain_path),
        known_hosts: settings.optional_parse("DEPLOY_GIT_KNOWN_HOSTS", git::plain_path),
    })
}

impl Default for Place {
    fn default() -> Self {
        Self::File(PathBuf::new())
    }
}

/// One without which there is nothing to do; `parse` says so when it is missing.
fn required<T: Default>(
    settings: &mut Settings,
    name: &str,
    read: impl FnOnce(&str) -> Result<T, String>,
) -> T {
    settings.parse(name, read)
}

fn place(text: &str) -> Result<Place, String> {
    if text.starts_with('/') {
        return Ok(Place::File(PathBuf::from(text)));
    }
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(Place::Web(url)),
        Ok(_) => Err("it must start with https:// or /".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn list<T>(text: &str, read: impl Fn(&str) -> Result<T, String>) -> Result<Vec<T>, String> {
    let all: Vec<T> = text.split(',').map(|one| read(one.trim())).collect::<Result<_, _>>()?;
    if all.len() <= NAMES_MAX { Ok(all) } else { Err(format!("more than {NAMES_MAX}")) }
}

fn name(text: &str) -> Result<String, String> {
    let sign = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    let first = text.starts_with(|first: char| first.is_ascii_lowercase() || first.is_ascii_digit());
    if first && text.len() <= 63 && text.bytes().all(sign) { Ok(text.to_owned()) } else { Err(String::new()) }
}

fn full_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    if path.is_absolute() { Ok(path) } else { Err("it must begin with /".to_owned()) }
}

fn relative_path(text: &str) -> Result<PathBuf, String> {
    let path = PathBuf::from(text);
    let inside = path.components().all(|part| matches!(part, std::path::Component::Normal(_)));
    if inside && !text.is_empty() && !text.starts_with('-') {
        Ok(path)
    } else {
        Err("below the folder".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> (Config, Vec<String>) {
        Settings::try_out(SETTINGS, pairs, Config::read)
    }

    const KEY: &str = "RWQf6LRCGA9i53mlYecO4IzT51TGPpvWucNSCh1CBM0QTaLn73Y7GFO3";

    #[test]
    fn the_least_is_a_folder_and_a_signed_release() {
        let (config, problems) = read(&[
            ("DEPLOY_FOLDER", "/srv/vigie"),
            ("DEPLOY_RELEASE", "https://example.org/release.json"),
            ("DEPLOY_RELEASE_KEY", KEY),
        ]);
        assert_eq!(problems, [""; 0]);
        assert_eq!(config.env_file, PathBuf::from("/srv/vigie/.env"));
        assert!(config.backup && matches!(config.source, SourceConfig::Pull { key: Some(_), .. }));
        let (config, problems) = read(&[
            ("DEPLOY_FOLDER", "/srv/vigie"),
            ("DEPLOY_MODE", "build"),
            ("DEPLOY_GIT_URL", "https://git.example.org/you/vigie.git"),
            ("DEPLOY_GIT_TOKEN", "hunter2"),
        ]);
        assert_eq!(problems, [""; 0]);
        assert!(!format!("{config:?}").contains("hunter2"));
        let (config, problems) = read(&[
            ("DEPLOY_MODE", "binaries"),
            ("DEPLOY_RELEASE", "https://example.org/release.json"),
            ("DEPLOY_RELEASE_KEY", KEY),
        ]);
        assert_eq!(problems, [""; 0]);
        let programs =
            matches!(&config.source, SourceConfig::Binaries { programs, .. } if programs.is_absolute());
        assert!(programs && !config.operations);
    }

    #[test]
    fn says_what_is_missing_and_what_is_wrong() {
        let (_, problems) = read(&[]);
        let names: Vec<&str> = problems.iter().filter_map(|words| Some(words.split_once(':')?.0)).collect();
        assert_eq!(names, ["DEPLOY_FOLDER", "DEPLOY_RELEASE", "DEPLOY_RELEASE_KEY"]);
        let (_, problems) = read(&[
            ("DEPLOY_FOLDER", "vigie"),
            ("DEPLOY_MODE", "build"),
            ("DEPLOY_GIT_URL", "ext::sh -c id"),
            ("DEPLOY_GIT_REF", "--upload-pack=id"),
            ("DEPLOY_PROJECT", "-p"),
            ("DEPLOY_FILES", "../compose.yaml"),
            ("DEPLOY_BACKUP", "no"),
        ]);
        assert_eq!(problems.len(), 6, "{problems:?}");
    }
}
