//! The settings of the worker.

use std::time::Duration;

use commands::Language;
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
        expected: "the number of an account on Discord or Twitch",
        help: "the account that has every right everywhere",
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
    /// The account that has every right everywhere.
    pub owner: Option<String>,
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
            owner: settings.optional_parse("OWNER_ID", account),
            cooldown: settings.optional_parse("COMMAND_COOLDOWN", cooldown),
        }
    }
}

fn account(text: &str) -> Result<String, String> {
    let fits = text.len() <= 20 && text.bytes().all(|byte| byte.is_ascii_digit());
    if fits { Ok(text.to_owned()) } else { Err("a name is not enough: names can change".to_owned()) }
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
        assert_eq!((config.language, config.owner, config.cooldown), (Language::En, None, None));
    }

    #[test]
    fn takes_what_is_set() {
        let (config, problems) = read(&[("LOCALE", "fr"), ("OWNER_ID", "42"), ("COMMAND_COOLDOWN", "0")]);
        assert_eq!(problems, [""; 0]);
        assert_eq!(config.language, Language::Fr);
        assert_eq!(config.owner.as_deref(), Some("42"));
        assert_eq!(config.cooldown, Some(Duration::ZERO));
    }

    #[test]
    fn says_what_is_wrong_with_every_value() {
        let (_, problems) = read(&[("LOCALE", "de"), ("OWNER_ID", "ines"), ("COMMAND_COOLDOWN", "-1")]);
        assert_eq!(
            problems,
            [
                "LOCALE: expected en or fr, found \"de\"",
                "OWNER_ID: expected the number of an account on Discord or Twitch, found \"ines\" \
                 (a name is not enough: names can change)",
                "COMMAND_COOLDOWN: expected a number of seconds from 0 (off) to 86400, found \"-1\"",
            ]
        );
    }
}
