//! The settings of the Discord gateway.

use std::num::NonZeroU64;

use secrecy::{ExposeSecret, SecretString};
use service::{NatsLogin, Setting, Settings};

/// The most shards one process runs; a bot of that size has other needs than this.
const MAX_SHARDS: u32 = 256;
/// The longest command prefix, in characters.
const MAX_PREFIX_CHARS: usize = 8;

/// Every setting that this crate reads.
pub static SETTINGS: &[Setting] = &[
    Setting {
        name: "DISCORD_TOKEN",
        default: None,
        expected: "the bot's token from the developer portal, page Bot",
        help: "the bot's token; not set: Discord is off",
        secret: true,
    },
    Setting {
        name: "DISCORD_GUILD_ID",
        default: None,
        expected: "the id of a server (17 to 20 digits)",
        help: "register slash commands in this server only, where they show at once",
        secret: false,
    },
    Setting {
        name: "DISCORD_API_URL",
        default: Some("https://discord.com"),
        expected: "an http:// or https:// URL without a path",
        help: "where Discord's REST API is",
        secret: false,
    },
    Setting {
        name: "DISCORD_GATEWAY_URL",
        default: None,
        expected: "a ws:// or wss:// URL",
        help: "where Discord's gateway is; not set: asked from the API. Resumes go there too",
        secret: false,
    },
    Setting {
        name: "DISCORD_SHARDS",
        default: Some("auto"),
        expected: "auto or a number from 1 to 256",
        help: "how many shards to run",
        secret: false,
    },
    Setting {
        name: "DISCORD_REQUESTS_PER_SECOND",
        default: Some("50"),
        expected: "a number from 1 to 10000",
        help: "Discord's global limit for this bot",
        secret: false,
    },
    Setting {
        name: "PREFIX",
        default: Some("!"),
        expected: "1 to 8 characters without spaces",
        help: "what a chat command starts with",
        secret: false,
    },
    service::NATS_URL,
    service::NATS_NKEY,
    service::NATS_CA_FILE,
];

/// What was set.
#[derive(Debug, Clone)]
pub struct Config {
    /// The bot's token without `Bot `; without it Discord is off.
    pub token: Option<SecretString>,
    /// Register slash commands there instead of everywhere.
    pub guild: Option<NonZeroU64>,
    /// Base of the REST API, without `/api`.
    pub api_url: String,
    /// The gateway, for connects and resumes alike; `None`: ask the API.
    pub gateway_url: Option<String>,
    /// How many shards; `None`: as many as Discord recommends.
    pub shards: Option<u32>,
    /// The global limit.
    pub requests_per_second: u32,
    /// What a chat command starts with.
    pub prefix: String,
    /// Where NATS is, and by what it knows us.
    pub nats: NatsLogin,
}

impl Config {
    /// Reads the settings; problems are collected in `s`.
    pub fn read(s: &mut Settings) -> Self {
        Self {
            token: s.secret("DISCORD_TOKEN").and_then(|token| checked_token(s, &token)),
            guild: s.optional_parse("DISCORD_GUILD_ID", |text| text.parse().map_err(|_| String::new())),
            api_url: s.parse("DISCORD_API_URL", |text| url(text, &["http", "https"])),
            gateway_url: s.optional_parse("DISCORD_GATEWAY_URL", |text| url(text, &["ws", "wss"])),
            shards: s.parse("DISCORD_SHARDS", |text| match text {
                "auto" => Ok(None),
                _ => number(text, MAX_SHARDS).map(Some),
            }),
            requests_per_second: s.parse("DISCORD_REQUESTS_PER_SECOND", |text| number(text, 10_000)),
            prefix: s.parse("PREFIX", prefix),
            nats: NatsLogin::read(s),
        }
    }
}

fn checked_token(s: &mut Settings, token: &SecretString) -> Option<SecretString> {
    let text = token.expose_secret().trim();
    let text = text.strip_prefix("Bot ").unwrap_or(text);
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
        s.problem("DISCORD_TOKEN", "expected a token of visible ASCII characters, found others".to_owned());
        return None;
    }
    Some(text.into())
}

fn number(text: &str, max: u32) -> Result<u32, String> {
    text.parse().ok().filter(|number| (1..=max).contains(number)).ok_or_else(String::new)
}

fn prefix(text: &str) -> Result<String, String> {
    let fits = (1..=MAX_PREFIX_CHARS).contains(&text.chars().count());
    let clean = !text.chars().any(|c| c.is_whitespace() || c.is_control());
    if fits && clean { Ok(text.to_owned()) } else { Err(String::new()) }
}

/// A URL that both HTTP stacks take. The gateway's would make twilight panic otherwise.
pub(crate) fn url(text: &str, schemes: &[&str]) -> Result<String, String> {
    let uri = text.parse::<http::Uri>().map_err(|error| error.to_string())?;
    let scheme = uri.scheme_str().unwrap_or_default();
    if !schemes.contains(&scheme) {
        return Err(format!("it starts with {}://", schemes.join(":// or ")));
    }
    if uri.host().is_none_or(str::is_empty) || uri.query().is_some() {
        return Err("it has a host and no query".to_owned());
    }
    Ok(text.trim_end_matches('/').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> (Config, Vec<String>) {
        Settings::try_out(SETTINGS, pairs, Config::read)
    }

    #[test]
    fn the_defaults_run_without_discord() {
        let (config, problems) = read(&[]);
        assert_eq!(problems, Vec::<String>::new());
        assert!(config.token.is_none());
        assert_eq!((config.shards, config.requests_per_second, config.prefix.as_str()), (None, 50, "!"));
        assert_eq!(config.api_url, "https://discord.com");
    }

    #[test]
    fn every_bad_value_is_named_and_no_token_is_shown() {
        let (_, problems) = read(&[
            ("DISCORD_TOKEN", "secret with spaces"),
            ("DISCORD_GUILD_ID", "0"),
            ("DISCORD_API_URL", "discord.com"),
            ("DISCORD_GATEWAY_URL", "https://gateway"),
            ("DISCORD_SHARDS", "0"),
            ("DISCORD_REQUESTS_PER_SECOND", "-1"),
            ("PREFIX", "a b"),
        ]);
        assert_eq!(problems.len(), 7, "{problems:#?}");
        assert!(!problems.join("").contains("secret with"));
    }

    #[test]
    fn a_token_may_be_pasted_with_its_prefix() {
        let (config, _) = read(&[("DISCORD_TOKEN", " Bot abc.def ")]);
        assert_eq!(config.token.unwrap().expose_secret(), "abc.def");
    }
}
