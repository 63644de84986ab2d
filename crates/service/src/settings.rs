//! Settings: environment variables, the same as `NAME_FILE` for Docker secrets, and `vigie.toml`.
//!
//! A crate lists its settings in a static table and reads them into its own `Config`. Every bad value
//! is remembered, so that all of them are reported at once, by name, before anything starts.

use std::{collections::HashMap, ffi::OsString, fmt, path::Path, str::FromStr};

use config::{Config, Environment, File, FileFormat};
use secrecy::SecretString;

/// The file that is read when it is there, unless `VIGIE_CONFIG` names another.
const FILE: &str = "vigie.toml";
/// A secret in a file is at most this long, in bytes.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// One setting: what `--settings`, `.env.example` and error messages say about it.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The environment variable.
    pub name: &'static str,
    /// What holds when it is not set; `None` for "not set".
    pub default: Option<&'static str>,
    /// What a value must look like, to follow "expected".
    pub expected: &'static str,
    /// What it is for, one line.
    pub help: &'static str,
    /// Whether its value must never be shown.
    pub secret: bool,
}

/// The settings that every service has.
pub static COMMON: &[Setting] = &[
    Setting {
        name: "LOG_LEVEL",
        default: Some("info"),
        expected: "error, warn, info or debug",
        help: "how much is logged",
        secret: false,
    },
    Setting {
        name: "LOG_FORMAT",
        default: Some("text"),
        expected: "text or json",
        help: "how a log line looks",
        secret: false,
    },
    Setting {
        name: "OTEL_EXPORTER_OTLP_ENDPOINT",
        default: None,
        expected: "a URL such as http://localhost:4318",
        help: "where traces and logs go (OTLP over HTTP); not set: nowhere",
        secret: false,
    },
    Setting {
        name: "OTEL_LOGS_EXPORTER",
        default: Some("otlp"),
        expected: "otlp or none",
        help: "whether logs go there too; none: traces only",
        secret: false,
    },
    Setting {
        name: "VIGIE_INSTANCE",
        default: None,
        expected: "1 to 64 of A-Z a-z 0-9 - _",
        help: "the name of this process among those of its kind: the same again after a restart, never two at \
               once; not set: host and process id",
        secret: false,
    },
    Setting {
        name: "VIGIE_HTTP_ADDR",
        default: Some("127.0.0.1:9420"),
        expected: "an address with a port",
        help: "where a service answers /livez, /readyz and /metrics",
        secret: false,
    },
];

/// A value that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The setting.
    pub name: String,
    /// What was expected and, unless it is secret, what was found.
    pub message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.message)
    }
}

/// The values of a service's settings, and what is wrong with them.
#[derive(Debug)]
pub struct Settings {
    known: Vec<Setting>,
    values: HashMap<String, String>,
    problems: Vec<Problem>,
}

impl Settings {
    /// Reads the environment and `vigie.toml` for the settings in `known` and the [`COMMON`] ones.
    #[must_use]
    pub fn load(known: &[&'static [Setting]]) -> Self {
        // A variable that is not UTF-8 is none of ours; reading it as text would end the program.
        let text =
            |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        let variables = std::env::vars_os().filter_map(text).collect::<HashMap<_, _>>();
        let file = variables.get("VIGIE_CONFIG").cloned();
        Self::from_sources(known, variables, Path::new(file.as_deref().unwrap_or(FILE)), file.is_some())
    }

    /// The same from given variables, without a file: for tests and for `vigie doctor`.
    #[must_use]
    pub fn from_variables(known: &[&'static [Setting]], variables: HashMap<String, String>) -> Self {
        Self::from_sources(known, variables, Path::new(""), false)
    }

    /// What `read` makes of these pairs, and what is wrong with them: for tests.
    pub fn try_out<C>(
        known: &'static [Setting],
        pairs: &[(&str, &str)],
        read: fn(&mut Self) -> C,
    ) -> (C, Vec<String>) {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut settings = Self::from_variables(&[known], pairs.collect());
        let config = read(&mut settings);
        (config, settings.problems().iter().map(Problem::to_string).collect())
    }

    fn from_sources(
        known: &[&'static [Setting]],
        variables: HashMap<String, String>,
        file: &Path,
        file_required: bool,
    ) -> Self {
        let known = known.iter().copied().chain([COMMON]).flatten().copied().collect();
        let mut settings = Self { known, values: HashMap::new(), problems: Vec::new() };
        let mut builder = Config::builder();
        if !file.as_os_str().is_empty() {
            builder = builder.add_source(File::from(file).format(FileFormat::Toml).required(file_required));
        }
        let lookup = variables.clone();
        match builder.add_source(Environment::default().source(Some(variables))).build() {
            Ok(config) => settings.take(&config, &lookup),
            Err(error) => settings.problem(&file.display().to_string(), format!("cannot be read: {error}")),
        }
        settings
    }

    /// Keeps the value of each known setting; an empty one counts as not set, as Compose writes it.
    fn take(&mut self, config: &Config, variables: &HashMap<String, String>) {
        for setting in self.known.clone() {
            let name = setting.name;
            let value = config.get_string(&name.to_lowercase()).ok().filter(|value| !value.is_empty());
            let file = variables.get(&format!("{name}_FILE")).filter(|path| !path.is_empty());
            match (value, file) {
                (Some(_), Some(_)) => {
                    self.problem(name, format!("set either {name} or {name}_FILE, not both"));
                }
                (Some(value), None) => {
                    self.values.insert(name.to_owned(), value);
                }
                (None, Some(path)) => match read_bounded(Path::new(path)) {
                    Ok(value) => {
                        self.values.insert(name.to_owned(), value.trim_end_matches(['\r', '\n']).to_owned());
                    }
                    Err(reason) => self.problem(name, format!("{name}_FILE={path}: {reason}")),
                },
                (None, None) => {}
            }
        }
    }

    /// The value, or the default, read by `FromStr`. On a bad value the problem is kept and the
    /// type's own default returned, which nobody will use.
    pub fn get<T: FromStr + Default>(&mut self, name: &str) -> T {
        self.parse(name, |text| text.parse().map_err(|_| String::new()))
    }

    /// The value, or the default, read by `read`, which may say more precisely what is wrong.
    pub fn parse<T: Default>(&mut self, name: &str, read: impl FnOnce(&str) -> Result<T, String>) -> T {
        match self.raw(name) {
            Some(text) => self.checked(name, &text, read).unwrap_or_default(),
            None => {
                self.problem(name, format!("is not set; expected {}", self.setting(name).expected));
                T::default()
            }
        }
    }

    /// The value or the default as it is; `None` when there is neither.
    pub fn optional(&mut self, name: &str) -> Option<String> {
        self.raw(name)
    }

    /// The value or default, read by `read`; `None` when there is neither or it is bad.
    pub fn optional_parse<T>(
        &mut self,
        name: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let text = self.raw(name)?;
        self.checked(name, &text, read)
    }

    /// A value that must not be shown.
    pub fn secret(&mut self, name: &str) -> Option<SecretString> {
        self.raw(name).map(SecretString::from)
    }

    /// Remembers what is wrong with a setting, for rules that concern more than one.
    pub fn problem(&mut self, name: &str, message: String) {
        self.problems.push(Problem { name: name.to_owned(), message });
    }

    /// Everything that is wrong.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    fn checked<T>(
        &mut self,
        name: &str,
        text: &str,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        let reason = match read(text) {
            Ok(value) => return Some(value),
            Err(reason) => reason,
        };
        let setting = self.setting(name);
        let found = if setting.secret { "something else".to_owned() } else { format!("{text:?}") };
        let reason = if reason.is_empty() { reason } else { format!(" ({reason})") };
        self.problem(name, format!("expected {}, found {found}{reason}", setting.expected));
        None
    }

    fn raw(&self, name: &str) -> Option<String> {
        let setting = self.setting(name);
        self.values.get(name).cloned().or_else(|| setting.default.map(str::to_owned))
    }

    /// A name that is in no table reads as "not set", and a test of the crate finds it in `problems`.
    fn setting(&self, name: &str) -> Setting {
        let unknown = Setting {
            name: "",
            default: None,
            expected: "nothing: this setting is in no table",
            help: "",
            secret: true,
        };
        self.known.iter().find(|setting| setting.name == name).copied().unwrap_or(unknown)
    }
}

fn read_bounded(path: &Path) -> Result<String, String> {
    let length = std::fs::metadata(path).map_err(|error| error.to_string())?.len();
    if length > MAX_FILE_BYTES {
        return Err(format!("has {length} bytes, at most {MAX_FILE_BYTES} are read"));
    }
    std::fs::read_to_string(path).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    static KNOWN: &[Setting] = &[
        Setting { name: "PORT", default: Some("80"), expected: "a port", help: "", secret: false },
        Setting { name: "TOKEN", default: None, expected: "a token", help: "", secret: true },
    ];

    fn settings(pairs: &[(&str, &str)]) -> Settings {
        let variables = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        Settings::from_variables(&[KNOWN], variables)
    }

    #[test]
    fn the_environment_wins_over_the_default_and_empty_means_not_set() {
        assert_eq!(settings(&[("PORT", "81")]).get::<u16>("PORT"), 81);
        assert_eq!(settings(&[("PORT", "")]).get::<u16>("PORT"), 80);
        assert!(settings(&[("TOKEN", "")]).secret("TOKEN").is_none());
    }

    #[test]
    fn every_bad_value_is_reported_and_no_secret_is_shown() {
        let mut bad = settings(&[("PORT", "many"), ("TOKEN", "hunter2")]);
        bad.get::<u16>("PORT");
        bad.parse::<u64>("TOKEN", |text| text.parse().map_err(|_| "not a number".to_owned()));
        let report = bad.problems().iter().map(Problem::to_string).collect::<Vec<_>>().join("\n");
        assert_eq!(
            report,
            "PORT: expected a port, found \"many\"\nTOKEN: expected a token, found something else (not a number)"
        );
    }

    #[test]
    fn a_secret_can_come_from_a_file_but_not_from_both() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, "hunter2\n").unwrap();
        let path = path.to_str().unwrap();
        let mut from_file = settings(&[("TOKEN_FILE", path)]);
        assert_eq!(from_file.secret("TOKEN").unwrap().expose_secret(), "hunter2");
        assert_eq!(settings(&[("TOKEN_FILE", path), ("TOKEN", "x")]).problems().len(), 1);
        assert_eq!(settings(&[("TOKEN_FILE", "/nowhere/at/all")]).problems().len(), 1);
    }

    #[test]
    fn the_file_is_read_below_the_environment() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("vigie.toml");
        std::fs::write(&path, "PORT = 8080\ntoken = \"from file\"\n").unwrap();
        let variables = HashMap::from([("PORT".to_owned(), "81".to_owned())]);
        let mut both = Settings::from_sources(&[KNOWN], variables, &path, true);
        assert_eq!(both.get::<u16>("PORT"), 81);
        assert_eq!(both.optional("TOKEN").as_deref(), Some("from file"));
    }
}
