//! The settings of the worker.

use std::time::Duration;

use commands::{Language, Owners};
use service::{NatsLogin, Setting, Settings};

/// The longest cooldown that can be set: a day.
const MAX_COOLDOWN_S: u64 = 86_400;

/// Every setting that this crate reads.
pub static SETTINGS: &[Setting] = &[
    service::NATS_URL,
    service::NATS_NKEY,
    service::NATS_CA_FILE,
    Setting {
        name: "LOCALE",
        default: Some("en"),
        expected: "en or fr",
        help: "the language of the bot where the platform does not tell the person's",
        secret: false,
    },
    Setting {
        name: "OWNER_ID",
        default: None,
        expected: "numbers of accounts on Discord or Twitch, such as discord:80351110224678912,twitch:141981764",
        help: "who runs the bot: accounts with every right everywhere, updates and backups included",
        secret: false,
    },
    Setting {
        name: "COMMAND_COOLDOWN",
        default: None,
        expected: "a number of seconds from 0 (off) to 86400",
        help: "how long a person waits between two uses of a command; not set: each command's own",
        secret: false,
    },
];

/// How the worker runs.
#[derive(Clone, Debug, Default)]
pub struct Config {
    /// Where NATS is, and by what it knows us.
    pub nats: NatsLogin,
    /// The language where the platform does not tell the person's.
    pub language: Language,
    /// The accounts that have every right everywhere.
    pub owners: Owners,
    /// In place of each command's own cooldown; zero is none.
    pub cooldown: Option<Duration>,
}

impl Config {
    /// Reads the settings; what is wrong with them stays in `settings`.
    #[must_use]
    pub fn read(settings: &mut Settings) -> Self {
        Self {
            nats: NatsLogin::read(settings),
            language: settings.parse("LOCALE", |text| text.parse().map_err(|_| String::new())),
            owners: settings.optional_parse("OWNER_ID", owners).unwrap_or_default(),
            cooldown: settings.optional_parse("COMMAND_COOLDOWN", cooldown),
        }
    }
}

fn owners(text: &str) -> Result<Owners, String> {
    text.parse().map_err(|error: commands::NotAnAccount| error.to_string())
}

fn cooldown(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds) if seconds <= MAX_COOLDOWN_S => Ok(Duration::from_secs(seconds)),
        _ => Err(String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> (Config, Vec<String>) {
        Settings::try_out(SETTINGS, pairs, Config::read)
    }

    #[test]
    fn runs_without_any_setting() {
        let (config, problems) = read(&[]);
        assert_eq!(problems, [""; 0]);
        assert_eq!(config.nats.url, bus::NATS_URL_DEFAULT);
        assert_eq!((config.language, config.cooldown), (Language::En, None));
        assert_eq!(config.owners, Owners::default());
    }

    #[test]
    fn takes_what_is_set() {
        let (config, problems) = read(&[("LOCALE", "fr"), ("OWNER_ID", "42"), ("COMMAND_COOLDOWN", "0")]);
        assert_eq!(problems, [""; 0]);
        assert_eq!(config.language, Language::Fr);
        assert!(config.owners.have(protocol::Platform::Twitch, &42.into()));
        assert_eq!(config.cooldown, Some(Duration::ZERO));
    }

    #[test]
    fn says_what_is_wrong_with_every_value() {
        let (_, problems) = read(&[("LOCALE", "de"), ("OWNER_ID", "ines"), ("COMMAND_COOLDOWN", "-1")]);
        assert_eq!(
            problems,
            [
                "LOCALE: expected en or fr, found \"de\"",
                "OWNER_ID: expected numbers of accounts on Discord or Twitch, such as \
                 discord:80351110224678912,twitch:141981764, found \"ines\" (a name is not enough: names can change)",
                "COMMAND_COOLDOWN: expected a number of seconds from 0 (off) to 86400, found \"-1\"",
            ]
        );
    }
}
