//! The settings of this service.

use secrecy::{ExposeSecret as _, SecretString};
use service::{NatsLogin, Setting, Settings};

use crate::{timing::Timing, transport::Endpoint};

/// Most channels of one account. Twitch itself stops at 100 unless the bot is broadcaster or
/// moderator there (<https://dev.twitch.tv/docs/chat/#rate-limits>).
pub const MAX_CHANNELS: usize = 1000;
/// Longest login on Twitch.
const MAX_LOGIN_CHARS: usize = 25;
/// What everybody may send in 30 s (<https://dev.twitch.tv/docs/chat/#rate-limits>).
pub const GRANTED_TO_ALL: usize = 20;
/// What a verified bot may send; nobody may send more.
pub const MAX_MESSAGES_PER_30S: usize = 7500;

const fn plain(name: &'static str, expected: &'static str, help: &'static str) -> Setting {
    Setting { name, default: None, expected, help, secret: false }
}

const fn defaulted(
    name: &'static str,
    default: &'static str,
    expected: &'static str,
    help: &'static str,
) -> Setting {
    Setting { name, default: Some(default), expected, help, secret: false }
}

const fn secret(name: &'static str, expected: &'static str, help: &'static str) -> Setting {
    Setting { name, default: None, expected, help, secret: true }
}

/// What can be set.
pub static SETTINGS: &[Setting] = &[
    plain("TWITCH_USERNAME", "a login such as my_bot", "the login of the bot's account"),
    secret(
        "TWITCH_OAUTH_TOKEN",
        "a user access token",
        "token of the bot's account: chat:read, chat:edit; with TWITCH_CLIENT_ID made for that application, and \
         user:bot, user:write:chat too",
    ),
    plain(
        "TWITCH_CLIENT_ID",
        "a client id",
        "id of the application that sends by Twitch's API where the bot is moderator or the broadcaster granted \
         channel:bot",
    ),
    secret("TWITCH_CLIENT_SECRET", "a client secret", "secret of that application"),
    plain("TWITCH_CHANNELS", "logins with commas, such as olive,max", "the channels to join"),
    defaulted(
        "TWITCH_IRC_URL",
        "ircs://irc.chat.twitch.tv:6697",
        "an irc://, ircs://, ws:// or wss:// URL",
        "where chat is read",
    ),
    defaulted("TWITCH_API_URL", "https://api.twitch.tv", "an http(s) URL", "where Twitch's API is"),
    defaulted(
        "TWITCH_AUTH_URL",
        "https://id.twitch.tv",
        "an http(s) URL",
        "where tokens are checked and issued",
    ),
    defaulted(
        "TWITCH_MESSAGES_PER_30S",
        "20",
        "a number from 1 to 7500",
        "messages that Twitch grants the account in 30 s where it is like any viewer: 20, or 7500 when verified; a \
         moderator's 100 hold by themselves",
    ),
    defaulted("PREFIX", "!", "1 to 8 characters without spaces", "what a chat command starts with"),
    service::NATS_URL,
    service::NATS_NKEY,
    service::NATS_CA_FILE,
];

/// How the service runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// The bot's account; `None` switches the platform off.
    pub account: Option<Account>,
    /// Why there is no account, for people.
    pub off_because: &'static str,
    /// The application that sends by Helix, if there is one.
    pub app: Option<App>,
    /// Logins in lower case, without repetitions.
    pub channels: Vec<String>,
    /// Where chat is read.
    pub irc: Endpoint,
    /// Without a slash at the end.
    pub api_url: String,
    /// Without a slash at the end.
    pub auth_url: String,
    /// Messages in 30 s where the bot is like any viewer.
    pub messages_per_30s: usize,
    /// What a chat command starts with.
    pub prefix: String,
    /// Where NATS is, and by what it knows us.
    pub nats: NatsLogin,
    /// When connections are given up and tried; no setting.
    pub timing: Timing,
}

/// The bot's account.
#[derive(Clone, Debug)]
pub struct Account {
    /// In lower case.
    pub login: String,
    /// Without `oauth:`.
    pub token: SecretString,
}

/// The application that sends.
#[derive(Clone, Debug)]
pub struct App {
    /// Its client id.
    pub client_id: String,
    /// Its client secret.
    pub client_secret: SecretString,
}

impl Config {
    /// Reads the settings; what is wrong is kept in `settings`.
    pub fn read(settings: &mut Settings) -> Self {
        let username = settings.optional_parse("TWITCH_USERNAME", login);
        let token = settings.secret("TWITCH_OAUTH_TOKEN");
        let off_because = match (&username, &token) {
            (None, None) => "TWITCH_USERNAME and TWITCH_OAUTH_TOKEN are not set",
            (None, Some(_)) => "TWITCH_USERNAME is not set",
            (Some(_), None) => "TWITCH_OAUTH_TOKEN is not set",
            (Some(_), Some(_)) => "",
        };
        let account = username.zip(token).map(|(login, token)| Account { login, token: bare(&token) });
        Self {
            account,
            off_because,
            app: read_app(settings),
            channels: settings.optional_parse("TWITCH_CHANNELS", channels).unwrap_or_default(),
            irc: settings.parse("TWITCH_IRC_URL", str::parse),
            api_url: settings.parse("TWITCH_API_URL", base_url),
            auth_url: settings.parse("TWITCH_AUTH_URL", base_url),
            messages_per_30s: settings.parse("TWITCH_MESSAGES_PER_30S", |text| match text.parse() {
                Ok(number @ 1..=MAX_MESSAGES_PER_30S) => Ok(number),
                _ => Err(String::new()),
            }),
            prefix: settings.parse("PREFIX", prefix),
            nats: NatsLogin::read(settings),
            timing: Timing::default(),
        }
    }
}

fn read_app(settings: &mut Settings) -> Option<App> {
    let client_id = settings.optional("TWITCH_CLIENT_ID");
    match (client_id, settings.secret("TWITCH_CLIENT_SECRET")) {
        (Some(client_id), Some(client_secret)) => Some(App { client_id, client_secret }),
        (None, Some(_)) => {
            let reason = "is not set, but TWITCH_CLIENT_SECRET is; set both or neither".to_owned();
            settings.problem("TWITCH_CLIENT_ID", reason);
            None
        }
        // An id alone is harmless: other parts of Vigie use it.
        (_, None) => None,
    }
}

fn bare(token: &SecretString) -> SecretString {
    let token = token.expose_secret().trim();
    SecretString::from(token.strip_prefix("oauth:").unwrap_or(token))
}

fn login(text: &str) -> Result<String, String> {
    let login = text.trim().trim_start_matches('#').to_ascii_lowercase();
    let fits = login.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match fits && (1..=MAX_LOGIN_CHARS).contains(&login.len()) {
        true => Ok(login),
        false => Err(format!("a login has 1 to {MAX_LOGIN_CHARS} characters of a-z, 0-9 and _")),
    }
}

fn channels(text: &str) -> Result<Vec<String>, String> {
    let mut logins = Vec::new();
    for name in text.split(',').filter(|name| !name.trim().is_empty()) {
        let login = login(name)?;
        if !logins.contains(&login) {
            logins.push(login);
        }
    }
    match logins.len() {
        0..=MAX_CHANNELS => Ok(logins),
        many => Err(format!("{many} channels; at most {MAX_CHANNELS}")),
    }
}

fn base_url(text: &str) -> Result<String, String> {
    let url: http::Uri = text.parse().map_err(|_| String::new())?;
    match (url.scheme_str(), url.host()) {
        (Some("http" | "https"), Some(_)) => Ok(text.trim_end_matches('/').to_owned()),
        _ => Err(String::new()),
    }
}

fn prefix(text: &str) -> Result<String, String> {
    match (1..=8).contains(&text.chars().count()) && !text.contains(char::is_whitespace) {
        true => Ok(text.to_owned()),
        false => Err(String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> (Config, Vec<String>) {
        Settings::try_out(SETTINGS, pairs, Config::read)
    }

    #[test]
    fn nothing_set_means_off_and_no_problem() {
        let (config, problems) = read(&[]);
        assert_eq!(problems, Vec::<String>::new());
        assert!(config.account.is_none());
        assert_eq!(config.off_because, "TWITCH_USERNAME and TWITCH_OAUTH_TOKEN are not set");
    }

    #[test]
    fn a_token_may_carry_its_irc_prefix_and_logins_may_be_written_loosely() {
        let (config, problems) = read(&[
            ("TWITCH_USERNAME", "My_Bot"),
            ("TWITCH_OAUTH_TOKEN", "oauth:secret"),
            ("TWITCH_CHANNELS", "#Olive, max,,olive"),
        ]);
        assert_eq!(problems, Vec::<String>::new());
        let account = config.account.unwrap();
        assert_eq!((account.login.as_str(), account.token.expose_secret()), ("my_bot", "secret"));
        assert_eq!(config.channels, ["olive", "max"]);
    }

    #[test]
    fn every_bad_value_is_named_and_no_secret_is_shown() {
        let (_, problems) = read(&[
            ("TWITCH_USERNAME", "not a login"),
            ("TWITCH_CLIENT_SECRET", "hunter2"),
            ("TWITCH_CHANNELS", "olive,in valid"),
            ("TWITCH_IRC_URL", "gopher://x"),
            ("TWITCH_API_URL", "api.twitch.tv"),
            ("TWITCH_MESSAGES_PER_30S", "0"),
            ("PREFIX", "a b"),
        ]);
        let names: Vec<_> = problems.iter().map(|problem| problem.split(':').next().unwrap()).collect();
        assert_eq!(
            names,
            [
                "TWITCH_USERNAME",
                "TWITCH_CLIENT_ID",
                "TWITCH_CHANNELS",
                "TWITCH_IRC_URL",
                "TWITCH_API_URL",
                "TWITCH_MESSAGES_PER_30S",
                "PREFIX"
            ]
        );
        assert!(!problems.concat().contains("hunter2"));
    }
}
