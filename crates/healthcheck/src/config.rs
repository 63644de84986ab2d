//! The settings of the health check.

use std::{fmt, path::PathBuf, time::Duration};

use lettre::message::Mailbox;
use protocol::ChannelId;
use reqwest::Url;
use secrecy::SecretString;
use service::{NatsLogin, Setting, Settings};

use crate::{certificates::Server, rules::Pace, tell::Addresses};

/// More services than any bot has.
const SERVICES_MAX: usize = 64;
/// More people than look after any bot.
const RECIPIENTS_MAX: usize = 16;
/// A service that needs more than this in an hour is not helped by it.
const RESTARTS_MAX: usize = 12;
/// More servers than any bot uses.
const CERTIFICATES_MAX: usize = 16;
/// A backup that is older is none.
const BACKUP_HOURS_MAX: u64 = 9000;
/// Between two looks.
const LOOK_EVERY: Duration = Duration::from_secs(5);

const fn address(name: &'static str, expected: &'static str, help: &'static str) -> Setting {
    // Whoever knows such an address can write there, or keep the witness quiet.
    Setting { name, default: None, expected, help, secret: true }
}

/// Every setting that this crate reads.
pub static SETTINGS: &[Setting] = &[
    service::NATS_URL,
    service::NATS_NKEY,
    service::NATS_CA_FILE,
    Setting {
        name: "HEALTHCHECK_SERVICES",
        default: Some("discord-gateway,twitch-gateway,command-worker"),
        expected: "names of services, with commas",
        help: "the services that must be there from the start; others are watched once they were seen",
        secret: false,
    },
    Setting {
        name: "HEALTHCHECK_DATA",
        default: Some("data"),
        expected: "a folder",
        help: "where it is kept what people were told; the disk below it is watched",
        secret: false,
    },
    Setting {
        name: "HEALTHCHECK_RESTARTS",
        default: Some("3"),
        expected: "a number from 0 (never) to 12",
        help: "how often in an hour a service that hangs is told to start again",
        secret: false,
    },
    Setting {
        name: "HEALTHCHECK_CERTIFICATES",
        default: None,
        expected: "servers with their port, such as bot.example.org:443, with commas",
        help: "whose certificates are watched; they must speak TLS from the first byte",
        secret: false,
    },
    Setting {
        name: "HEALTHCHECK_BACKUP_HOURS",
        default: Some("26"),
        expected: "a number of hours from 1 to 9000",
        help: "how old the last good backup may be, when there is the service backup; twice as old is critical",
        secret: false,
    },
    address(
        "HEALTHCHECK_URL",
        "a URL such as https://hc-ping.com/your-uuid",
        "who outside is told every minute that all is well, and notices when that stops (healthchecks.io or your own)",
    ),
    Setting {
        name: "ALERT_DISCORD_CHANNEL",
        default: None,
        expected: "the number of a channel on Discord",
        help: "where the bot itself says on Discord what is wrong",
        secret: false,
    },
    address(
        "ALERT_DISCORD_WEBHOOK",
        "a URL such as https://discord.com/api/webhooks/1/abc",
        "a webhook of a Discord channel, for when the bot itself is the patient",
    ),
    address("ALERT_WEBHOOK", "a URL", "who is told by a POST of JSON what is wrong"),
    address(
        "ALERT_NTFY",
        "a URL such as https://ntfy.sh/your-topic",
        "the ntfy topic that is told what is wrong",
    ),
    address("ALERT_NTFY_TOKEN", "an access token", "for an ntfy topic that not everybody may write to"),
    Setting {
        name: "ALERT_EMAIL",
        default: None,
        expected: "e-mail addresses, with commas",
        help: "who is told by e-mail what is wrong; needs ALERT_SMTP_URL",
        secret: false,
    },
    Setting {
        name: "ALERT_EMAIL_FROM",
        default: None,
        expected: "an e-mail address",
        help: "the sender; not set: the first of ALERT_EMAIL",
        secret: false,
    },
    address(
        "ALERT_SMTP_URL",
        "a URL such as smtps://user:password@smtp.example.org",
        "the server that sends e-mail, with an account; signs that a URL has itself are written as %40",
    ),
    Setting {
        name: "ALERT_QUIET",
        default: None,
        expected: "two times in UTC such as 22:00-07:00",
        help: "when people are told only what is critical; the rest waits until then",
        secret: false,
    },
];

/// How the health check runs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where NATS is, and by what it knows us.
    pub nats: NatsLogin,
    /// The services that must be there from the start.
    pub expected: Vec<String>,
    /// Where files are kept; the disk below it is watched.
    pub data: PathBuf,
    /// How often in an hour a service that hangs is told to start again.
    pub restarts: usize,
    /// Whose certificates are watched.
    pub certificates: Vec<Server>,
    /// How old the last good backup may be.
    pub backup_after: Duration,
    /// Who is told every minute that all is well.
    pub witness: Option<Address>,
    /// The Discord channel that the bot itself writes to.
    pub discord_channel: Option<ChannelId>,
    /// The webhook for when the bot is the patient.
    pub discord_webhook: Option<Address>,
    /// Who is told by JSON.
    pub webhook: Option<Address>,
    /// The topic on ntfy.
    pub ntfy: Option<Address>,
    /// Its access token.
    pub ntfy_token: Option<SecretString>,
    /// Who is told by e-mail.
    pub email: Option<Addresses>,
    /// When only what is critical is told.
    pub quiet: Option<Quiet>,
    /// Between two looks.
    pub look_every: Duration,
    /// How long things must hold; shorter in tests.
    pub pace: Pace,
    /// Where `/proc` and `/sys` are; another folder in tests.
    pub root: PathBuf,
}

/// A URL that is not shown: it holds a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(pub Url);

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({}…)", self.0.host_str().unwrap_or_default())
    }
}

/// A time of the day in which only what is critical is told, in minutes after midnight UTC; it may span midnight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quiet {
    /// The first minute.
    pub from: u16,
    /// The first minute after it.
    pub until: u16,
}

impl Quiet {
    /// Whether the time is within, in Unix milliseconds.
    #[must_use]
    pub const fn holds(self, unix_ms: u64) -> bool {
        let minute = unix_ms / 60_000 % 1440;
        let (from, until) = (self.from as u64, self.until as u64);
        if from <= until { from <= minute && minute < until } else { from <= minute || minute < until }
    }
}

impl Config {
    /// Reads the settings; what is wrong with them stays in `settings`.
    #[must_use]
    pub fn read(settings: &mut Settings) -> Self {
        let mut url = |name| settings.optional_parse(name, to_address);
        let witness = url("HEALTHCHECK_URL");
        let discord_webhook = url("ALERT_DISCORD_WEBHOOK");
        let (webhook, ntfy) = (url("ALERT_WEBHOOK"), url("ALERT_NTFY"));
        Self {
            nats: NatsLogin::read(settings),
            expected: settings.parse("HEALTHCHECK_SERVICES", names),
            data: settings.get("HEALTHCHECK_DATA"),
            restarts: settings.parse("HEALTHCHECK_RESTARTS", |text| match text.parse() {
                Ok(count) if count <= RESTARTS_MAX => Ok(count),
                _ => Err(String::new()),
            }),
            certificates: settings.optional_parse("HEALTHCHECK_CERTIFICATES", servers).unwrap_or_default(),
            backup_after: settings.parse("HEALTHCHECK_BACKUP_HOURS", |text| match text.parse() {
                Ok(hours @ 1..=BACKUP_HOURS_MAX) => Ok(Duration::from_secs(hours * 3600)),
                _ => Err(String::new()),
            }),
            witness,
            discord_channel: settings.optional_parse("ALERT_DISCORD_CHANNEL", channel),
            discord_webhook,
            webhook,
            ntfy,
            ntfy_token: settings.secret("ALERT_NTFY_TOKEN"),
            email: email(settings),
            quiet: settings.optional_parse("ALERT_QUIET", quiet),
            look_every: LOOK_EVERY,
            pace: Pace::default(),
            root: PathBuf::from("/"),
        }
    }
}

fn to_address(text: &str) -> Result<Address, String> {
    match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(Address(url)),
        Ok(_) => Err("it must start with https:// or http://".to_owned()),
        Err(error) => Err(error.to_string()),
    }
}

fn email(settings: &mut Settings) -> Option<Addresses> {
    let mailbox = |text: &str| text.trim().parse::<Mailbox>().map_err(|error| error.to_string());
    let to = settings.optional_parse("ALERT_EMAIL", |text| {
        let all: Result<Vec<Mailbox>, String> = text.split(',').map(mailbox).collect();
        all.and_then(|all| if all.len() <= RECIPIENTS_MAX { Ok(all) } else { Err("too many".to_owned()) })
    });
    let from = settings.optional_parse("ALERT_EMAIL_FROM", mailbox);
    let server = settings.optional_parse("ALERT_SMTP_URL", smtp_url);
    match (to, server) {
        (Some(to), Some(server)) => {
            let from = from.or_else(|| to.first().cloned())?;
            Some(Addresses { server, from, to })
        }
        (Some(_), None) if settings.optional("ALERT_SMTP_URL").is_none() => {
            settings.problem("ALERT_SMTP_URL", "is not set, and ALERT_EMAIL needs it".to_owned());
            None
        }
        (None, Some(_)) if settings.optional("ALERT_EMAIL").is_none() => {
            settings.problem("ALERT_EMAIL", "is not set, and ALERT_SMTP_URL is for nothing else".to_owned());
            None
        }
        _ => None,
    }
}

/// A password goes over the network encrypted, or not at all.
fn smtp_url(text: &str) -> Result<SecretString, String> {
    let url = Url::parse(text).map_err(|error| error.to_string())?;
    let required = url.query_pairs().any(|(name, value)| name == "tls" && value == "required");
    match url.scheme() {
        "smtps" if url.has_host() => Ok(text.to_owned().into()),
        "smtp" if url.has_host() && (required || url.password().is_none()) => Ok(text.to_owned().into()),
        "smtp" => {
            Err("the password would not be encrypted: smtps://, or ?tls=required at the end".to_owned())
        }
        _ => Err("it must start with smtps://".to_owned()),
    }
}

fn names(text: &str) -> Result<Vec<String>, String> {
    let fine = |name: &String| {
        !name.is_empty() && name.len() <= 64 && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
    };
    let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
    match names.len() {
        1..=SERVICES_MAX if names.iter().all(fine) => Ok(names),
        _ => Err(String::new()),
    }
}

fn servers(text: &str) -> Result<Vec<Server>, String> {
    let server = |text: &str| {
        let (host, port) = text.trim().rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Some(Server { host: host.try_into().ok()?, port: port.parse().ok()? })
    };
    let servers: Option<Vec<Server>> = text.split(',').map(server).collect();
    servers.filter(|servers| servers.len() <= CERTIFICATES_MAX).ok_or_else(String::new)
}

fn channel(text: &str) -> Result<ChannelId, String> {
    let number = text.parse::<u64>().map_err(|_| "copy it with “Copy Channel ID”".to_owned())?;
    Ok(ChannelId::from(number))
}

fn quiet(text: &str) -> Result<Quiet, String> {
    let minutes = |time: &str| {
        let (hours, minutes) = time.trim().split_once(':')?;
        let (hours, minutes) = (hours.parse::<u16>().ok()?, minutes.parse::<u16>().ok()?);
        (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
    };
    let times = text.split_once('-').and_then(|(from, until)| Some((minutes(from)?, minutes(until)?)));
    times.map(|(from, until)| Quiet { from, until }).ok_or_else(String::new)
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
        assert_eq!(config.expected, ["discord-gateway", "twitch-gateway", "command-worker"]);
        assert!(config.witness.is_none() && config.webhook.is_none() && config.quiet.is_none());
    }

    #[test]
    fn no_address_is_shown() {
        let (config, problems) = read(&[("ALERT_WEBHOOK", "https://example.org/secret")]);
        assert_eq!(problems, [""; 0]);
        assert!(!format!("{config:?}").contains("secret"), "{config:?}");
        let (_, problems) = read(&[("ALERT_NTFY", "ntfy.sh/secret"), ("HEALTHCHECK_URL", "ftp://secret")]);
        assert_eq!(problems.len(), 2);
        assert!(!problems.concat().contains("secret"), "{problems:?}");
    }

    #[test]
    fn an_email_needs_a_server_that_keeps_the_password_to_itself() {
        let (config, problems) = read(&[
            ("ALERT_EMAIL", "Ines <ines@example.org>, leo@example.org"),
            ("ALERT_SMTP_URL", "smtps://bot:hunter2@smtp.example.org"),
        ]);
        assert_eq!(problems, [""; 0]);
        let email = config.email.unwrap();
        assert_eq!((email.to.len(), email.from.to_string().as_str()), (2, "Ines <ines@example.org>"));
        let (_, problems) = read(&[("ALERT_EMAIL", "ines@example.org")]);
        assert_eq!(problems, ["ALERT_SMTP_URL: is not set, and ALERT_EMAIL needs it"]);
        let (_, problems) =
            read(&[("ALERT_EMAIL", "ines"), ("ALERT_SMTP_URL", "smtp://bot:hunter2@smtp.example.org")]);
        assert_eq!(problems.len(), 2, "{problems:?}");
        assert!(
            problems[1].contains("would not be encrypted") && !problems[1].contains("hunter2"),
            "{problems:?}"
        );
    }

    #[test]
    fn says_what_is_wrong() {
        let (_, problems) = read(&[
            ("HEALTHCHECK_SERVICES", "a,,b"),
            ("ALERT_DISCORD_CHANNEL", "#general"),
            ("ALERT_QUIET", "22-7"),
            ("HEALTHCHECK_RESTARTS", "13"),
            ("HEALTHCHECK_CERTIFICATES", "bot.example.org"),
            ("HEALTHCHECK_BACKUP_HOURS", "0"),
        ]);
        assert_eq!(
            problems,
            [
                "HEALTHCHECK_SERVICES: expected names of services, with commas, found \"a,,b\"",
                "HEALTHCHECK_RESTARTS: expected a number from 0 (never) to 12, found \"13\"",
                "HEALTHCHECK_CERTIFICATES: expected servers with their port, such as bot.example.org:443, with \
                 commas, found \"bot.example.org\"",
                "HEALTHCHECK_BACKUP_HOURS: expected a number of hours from 1 to 9000, found \"0\"",
                "ALERT_DISCORD_CHANNEL: expected the number of a channel on Discord, found \"#general\" (copy it \
                 with “Copy Channel ID”)",
                "ALERT_QUIET: expected two times in UTC such as 22:00-07:00, found \"22-7\"",
            ]
        );
    }

    #[test]
    fn servers_are_named_or_numbered() {
        let (config, problems) =
            read(&[("HEALTHCHECK_CERTIFICATES", "bot.example.org:443, 192.0.2.1:6697,[::1]:4222")]);
        assert_eq!(problems, [""; 0]);
        let shown: Vec<String> = config.certificates.iter().map(ToString::to_string).collect();
        assert_eq!(shown, ["bot.example.org:443", "192.0.2.1:6697", "::1:4222"]);
    }

    #[test]
    fn a_quiet_time_may_span_midnight() {
        let (config, _) = read(&[("ALERT_QUIET", "22:00-07:30")]);
        let quiet = config.quiet.unwrap();
        let at = |hours: u64, minutes: u64| quiet.holds((hours * 60 + minutes) * 60_000);
        assert!(at(22, 0) && at(23, 59) && at(0, 0) && at(7, 29));
        assert!(!at(21, 59) && !at(7, 30) && !at(12, 0));
    }
}
