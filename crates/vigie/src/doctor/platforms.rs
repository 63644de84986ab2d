//! The tokens, asked of the platforms themselves, and the clock, held against theirs.

use std::time::Duration;

use reqwest::{Client, Response, StatusCode, header::DATE};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;
use service::{Setting, Settings};
use time::{OffsetDateTime, PrimitiveDateTime, macros::format_description};

use super::Finding;

/// How long a platform may take to answer.
const PATIENCE: Duration = Duration::from_secs(8);
/// A clock may be off by this much: a `Date` header has whole seconds, and the way there takes time.
const TOLERANCE_S: u64 = 5;
/// What a chat bot's token must allow (<https://dev.twitch.tv/docs/chat/irc-migration/>).
const TWITCH_SCOPES: [&str; 2] = ["chat:read", "chat:edit"];
/// What it must allow besides when the bot speaks through its application, which gives it the badge
/// (<https://dev.twitch.tv/docs/chat/authenticating/>).
const TWITCH_APP_SCOPES: [&str; 2] = ["user:bot", "user:write:chat"];
/// What Discord demands of every program: <https://docs.discord.com/developers/reference#user-agent>.
const AGENT: &str =
    concat!("DiscordBot (", env!("CARGO_PKG_REPOSITORY"), ", ", env!("CARGO_PKG_VERSION"), ")");

const fn needed(name: &'static str, default: Option<&'static str>, secret: bool) -> Setting {
    Setting { name, default, expected: "", help: "", secret }
}

/// What is needed to ask the platforms; the gateways own these settings and say what they are for.
static SETTINGS: &[Setting] = &[
    needed("DISCORD_TOKEN", None, true),
    needed("DISCORD_API_URL", Some("https://discord.com"), false),
    needed("TWITCH_USERNAME", None, false),
    needed("TWITCH_OAUTH_TOKEN", None, true),
    needed("TWITCH_CLIENT_SECRET", None, true),
    needed("TWITCH_AUTH_URL", Some("https://id.twitch.tv"), false),
];

/// What a platform answered, with the clock it showed.
struct Heard {
    findings: Vec<Finding>,
    skew: Option<Skew>,
}

/// By how much this machine's clock is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Skew {
    /// Positive when it is ahead, in seconds.
    seconds: i64,
}

pub(crate) async fn look() -> Vec<Finding> {
    let mut settings = Settings::load(&[SETTINGS]);
    let client = match Client::builder().timeout(PATIENCE).user_agent(AGENT).build() {
        Ok(client) => client,
        Err(error) => {
            return vec![Finding::bad(
                "discord",
                error.to_string(),
                "look at the TLS set-up of this machine",
            )];
        }
    };
    let discord = match settings.secret("DISCORD_TOKEN") {
        None => off("discord", "DISCORD_TOKEN is not set"),
        Some(token) => {
            let base = settings.optional("DISCORD_API_URL").unwrap_or_default();
            ask_discord(&client, &base, &token).await
        }
    };
    let username = settings.optional("TWITCH_USERNAME").unwrap_or_default();
    let twitch = match settings.secret("TWITCH_OAUTH_TOKEN") {
        None => off("twitch", "TWITCH_OAUTH_TOKEN is not set"),
        Some(token) => {
            let base = settings.optional("TWITCH_AUTH_URL").unwrap_or_default();
            let app = settings.secret("TWITCH_CLIENT_SECRET").is_some();
            ask_twitch(&client, &base, &token, &username, app).await
        }
    };
    let clock = clock(discord.skew.or(twitch.skew));
    discord.findings.into_iter().chain(twitch.findings).chain([clock]).collect()
}

fn off(area: &'static str, why: &str) -> Heard {
    Heard { findings: vec![Finding::note(area, format!("off: {why}"))], skew: None }
}

async fn ask_discord(client: &Client, base: &str, token: &SecretString) -> Heard {
    let url = format!("{}/api/v10/users/@me", base.trim_end_matches('/'));
    let bare = token.expose_secret().trim();
    let header = format!("Bot {}", bare.strip_prefix("Bot ").unwrap_or(bare));
    let renew = "copy the bot's token anew from Discord's developer portal (page Bot) into DISCORD_TOKEN";
    heard("discord", "DISCORD_API_URL", client.get(url).header("Authorization", header), renew, |me| {
        let name = me["username"].as_str().unwrap_or("?");
        vec![Finding::good(
            "discord",
            format!("the token is that of {name} ({})", me["id"].as_str().unwrap_or("?")),
        )]
    })
    .await
}

async fn ask_twitch(client: &Client, base: &str, token: &SecretString, username: &str, app: bool) -> Heard {
    let url = format!("{}/oauth2/validate", base.trim_end_matches('/'));
    let bare = token.expose_secret().trim();
    let header = format!("OAuth {}", bare.strip_prefix("oauth:").unwrap_or(bare));
    let renew = "make a new user token with the scopes chat:read and chat:edit and set TWITCH_OAUTH_TOKEN";
    heard("twitch", "TWITCH_AUTH_URL", client.get(url).header("Authorization", header), renew, |token| {
        of_twitch_token(token, username, app, renew)
    })
    .await
}

fn of_twitch_token(token: &Value, username: &str, app: bool, renew: &str) -> Vec<Finding> {
    let login = token["login"].as_str().unwrap_or_default();
    let scopes: Vec<&str> =
        token["scopes"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let lacks = |wanted: [&'static str; 2]| {
        wanted.into_iter().filter(|scope| !scopes.contains(scope)).collect::<Vec<_>>()
    };
    let missing = lacks(TWITCH_SCOPES);
    let missing_for_app = if app { lacks(TWITCH_APP_SCOPES) } else { Vec::new() };
    let mut findings = Vec::new();
    if !username.is_empty() && !login.eq_ignore_ascii_case(username) {
        let seen = format!("the token is that of {login}, TWITCH_USERNAME says {username}");
        findings.push(Finding::bad("twitch", seen, "make them the same account"));
    }
    if !missing.is_empty() {
        findings.push(Finding::bad("twitch", format!("the token lacks {}", missing.join(" and ")), renew));
    }
    if findings.is_empty() {
        findings.push(Finding::good("twitch", format!("the token is that of {login}")));
    }
    if !missing_for_app.is_empty() {
        let missing = missing_for_app.join(" and ");
        let seen = format!("the token lacks {missing}: the bot speaks by IRC, without the Chat Bot badge");
        findings.push(Finding::note("twitch", seen));
    }
    findings
}

/// Asks a platform who the token belongs to.
async fn heard(
    area: &'static str,
    setting: &str,
    request: reqwest::RequestBuilder,
    renew: &str,
    read: impl FnOnce(&Value) -> Vec<Finding>,
) -> Heard {
    let answer = match request.send().await {
        Ok(answer) => answer,
        Err(error) => {
            let why = innermost(&error);
            let mend = format!("look at the network, the name servers, and {setting}");
            return Heard {
                findings: vec![Finding::bad(area, format!("does not answer: {why}"), mend)],
                skew: None,
            };
        }
    };
    let skew = skew(&answer, OffsetDateTime::now_utc());
    let findings = match answer.status() {
        StatusCode::OK => match answer.json::<Value>().await {
            Ok(value) => read(&value),
            Err(_) => {
                vec![Finding::bad(area, "answers something else than expected", format!("look at {setting}"))]
            }
        },
        StatusCode::UNAUTHORIZED => vec![Finding::bad(area, "refuses the token", renew)],
        status => {
            let mend = format!("try again later; if it stays so, look at {setting}");
            vec![Finding::bad(area, format!("answers {status}"), mend)]
        }
    };
    Heard { findings, skew }
}

/// The URL of a request may hold what must not be shown, and its cause says more anyway.
fn innermost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return format!("no answer within {} s", PATIENCE.as_secs());
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

fn skew(answer: &Response, now: OffsetDateTime) -> Option<Skew> {
    let date = answer.headers().get(DATE)?.to_str().ok()?;
    // The form that RFC 9110 asks servers to send.
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let theirs = PrimitiveDateTime::parse(date, format).ok()?.assume_utc();
    Some(Skew { seconds: (now - theirs).whole_seconds() })
}

fn clock(skew: Option<Skew>) -> Finding {
    let Some(Skew { seconds }) = skew else {
        return Finding::note("clock", "not looked at: no platform told the time");
    };
    let off = seconds.unsigned_abs();
    if off <= TOLERANCE_S {
        return Finding::good("clock", "agrees with the platform's");
    }
    let direction = if seconds > 0 { "ahead of" } else { "behind" };
    Finding::bad(
        "clock",
        format!("{off} s {direction} the platform's; answers would come out as expired"),
        "switch on time synchronisation, such as `timedatectl set-ntp true`",
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn a_clock_that_is_off_is_named_with_its_direction() {
        assert_eq!(clock(Some(Skew { seconds: -5 })).verdict, Verdict::Good);
        assert!(clock(Some(Skew { seconds: 90 })).seen.starts_with("90 s ahead of"));
        assert!(clock(Some(Skew { seconds: -90 })).seen.starts_with("90 s behind"));
        assert_eq!(clock(None).verdict, Verdict::Note);
    }

    #[test]
    fn a_token_of_another_account_or_without_its_scopes_is_named() {
        let token = json!({ "login": "somebody", "scopes": ["chat:read"] });
        let seen: Vec<String> =
            of_twitch_token(&token, "vigie_bot", false, "").into_iter().map(|one| one.seen).collect();
        assert_eq!(
            seen,
            ["the token is that of somebody, TWITCH_USERNAME says vigie_bot", "the token lacks chat:edit"]
        );
        let token = json!({ "login": "vigie_bot", "scopes": ["chat:edit", "chat:read"] });
        let findings = |app| of_twitch_token(&token, "Vigie_Bot", app, "");
        assert_eq!(findings(false)[0].verdict, Verdict::Good);
        assert_eq!(findings(false).len(), 1);
        assert!(findings(true)[1].seen.contains("user:bot and user:write:chat"), "an application needs more");
    }
}
