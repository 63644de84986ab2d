//! The tokens, asked of the platforms themselves.

use secrecy::SecretString;
use service::{Setting, Settings};

use super::Finding;
use crate::accounts::{self, APP_SCOPES, Bot, DISCORD_API_URL, Held, SCOPES, TWITCH_AUTH_URL, Trouble};

/// A token that ends sooner is told about, in seconds.
const SOON_S: u64 = 7 * 86400;

const fn needed(name: &'static str, default: Option<&'static str>, secret: bool) -> Setting {
    Setting { name, default, expected: "", help: "", secret }
}

/// What is needed to ask the platforms; the gateways own these settings and say what they are for.
static SETTINGS: &[Setting] = &[
    needed("DISCORD_TOKEN", None, true),
    needed("DISCORD_API_URL", Some(DISCORD_API_URL), false),
    needed("TWITCH_USERNAME", None, false),
    needed("TWITCH_OAUTH_TOKEN", None, true),
    needed("TWITCH_CLIENT_ID", None, false),
    needed("TWITCH_CLIENT_SECRET", None, true),
    needed("TWITCH_AUTH_URL", Some(TWITCH_AUTH_URL), false),
];

/// What was found, and by how much this machine's clock differs from a platform's, if one told.
pub(crate) async fn look() -> (Vec<Finding>, Option<i64>) {
    let mut settings = Settings::load(&[SETTINGS]);
    let client = match accounts::client() {
        Ok(client) => client,
        Err(error) => {
            let mend = "look at the TLS set-up of this machine";
            return (vec![Finding::bad("discord", error.to_string(), mend)], None);
        }
    };
    let mut findings = Vec::new();
    let mut skew = None;
    match settings.secret("DISCORD_TOKEN") {
        None => findings.push(Finding::note("discord", "off: DISCORD_TOKEN is not set")),
        Some(token) => {
            let base = settings.optional("DISCORD_API_URL").unwrap_or_default();
            let heard = accounts::discord(&client, &base, &token).await;
            skew = heard.skew_ms;
            findings.extend(of_discord(heard.answer));
        }
    }
    match settings.secret("TWITCH_OAUTH_TOKEN") {
        None => findings.push(Finding::note("twitch", "off: TWITCH_OAUTH_TOKEN is not set")),
        Some(token) => {
            let base = settings.optional("TWITCH_AUTH_URL").unwrap_or_default();
            let username = settings.optional("TWITCH_USERNAME").unwrap_or_default();
            let app = settings.optional("TWITCH_CLIENT_ID").zip(settings.secret("TWITCH_CLIENT_SECRET"));
            let heard = accounts::twitch(&client, &base, &token).await;
            skew = skew.or(heard.skew_ms);
            match heard.answer {
                Ok(held) => findings.extend(of_twitch(&held, &username, app.as_ref())),
                Err(trouble) => findings.push(of_trouble("twitch", &trouble, "TWITCH_AUTH_URL", RENEW)),
            }
            if let Some((id, secret)) = app
                && let Err(trouble) = accounts::app(&client, &base, &id, &secret).await
            {
                findings.push(of_app(&trouble));
            }
        }
    }
    (findings, skew)
}

const RENEW: &str = "make a new user token with the scopes chat:read and chat:edit and set TWITCH_OAUTH_TOKEN; `vigie init` helps";

fn of_discord(answer: Result<Bot, Trouble>) -> Vec<Finding> {
    let bot = match answer {
        Ok(bot) => bot,
        Err(trouble) => {
            let renew =
                "copy the bot's token anew from Discord's developer portal (page Bot) into DISCORD_TOKEN";
            return vec![of_trouble("discord", &trouble, "DISCORD_API_URL", renew)];
        }
    };
    let mut findings =
        vec![Finding::good("discord", format!("the token is that of {} ({})", bot.name, bot.id))];
    if bot.reads_messages == Some(false) {
        findings.push(Finding::bad(
            "discord",
            "Message Content Intent is off: Discord closes the connection with code 4014",
            "switch it on in Discord's developer portal, page Bot",
        ));
    }
    if bot.servers == Some(0) {
        let mend = format!("invite it: {}", accounts::invitation(&bot.application));
        findings.push(Finding::warn("discord", "the bot is in no server", mend));
    }
    findings
}

fn of_twitch(held: &Held, username: &str, app: Option<&(String, SecretString)>) -> Vec<Finding> {
    let missing = held.lacks(&SCOPES);
    let mut findings = Vec::new();
    if held.login.is_empty() {
        findings.push(Finding::bad("twitch", "the token is an application's, not that of an account", RENEW));
    } else if !username.is_empty() && !held.login.eq_ignore_ascii_case(username) {
        let seen = format!("the token is that of {}, TWITCH_USERNAME says {username}", held.login);
        findings.push(Finding::bad("twitch", seen, "make them the same account"));
    }
    if !missing.is_empty() {
        findings.push(Finding::bad("twitch", format!("the token lacks {}", missing.join(" and ")), RENEW));
    }
    if findings.is_empty() {
        findings.push(Finding::good("twitch", format!("the token is that of {}", held.login)));
    }
    if (1..SOON_S).contains(&held.expires_in_s) {
        let seen = format!("the token ends in {}", crate::paint::duration(held.expires_in_s));
        findings.push(Finding::warn("twitch", seen, RENEW));
    }
    if let Some((client_id, _)) = app {
        let missing = held.lacks(&APP_SCOPES);
        if !missing.is_empty() {
            let missing = missing.join(" and ");
            let seen =
                format!("the token lacks {missing}: the bot speaks by IRC, without the Chat Bot badge");
            findings.push(Finding::note("twitch", seen));
        }
        if !held.client_id.is_empty() && held.client_id != *client_id {
            findings.push(Finding::note(
                "twitch",
                "the token is of another application than TWITCH_CLIENT_ID: the bot speaks by IRC",
            ));
        }
    }
    findings
}

fn of_app(trouble: &Trouble) -> Finding {
    let mend = "make a new secret on dev.twitch.tv/console (Manage, New Secret) and set TWITCH_CLIENT_SECRET";
    let seen = match trouble {
        Trouble::Refused => "refuses TWITCH_CLIENT_ID with TWITCH_CLIENT_SECRET".to_owned(),
        other => format!("{other}, asked about TWITCH_CLIENT_SECRET"),
    };
    Finding::bad("twitch", seen, mend)
}

fn of_trouble(area: &'static str, trouble: &Trouble, setting: &str, renew: &str) -> Finding {
    let mend = match trouble {
        Trouble::Refused => renew.to_owned(),
        Trouble::Silent(_) => format!("look at the network, the name servers, and {setting}"),
        Trouble::Odd(_) => format!("try again later; if it stays so, look at {setting}"),
    };
    Finding::bad(area, trouble.to_string(), mend)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    fn held(login: &str, scopes: &[&str]) -> Held {
        let scopes = scopes.iter().map(|&scope| scope.to_owned()).collect();
        Held { login: login.to_owned(), client_id: "app".to_owned(), scopes, expires_in_s: 0 }
    }

    fn seen(findings: &[Finding]) -> Vec<&str> {
        findings.iter().map(|one| one.seen.as_str()).collect()
    }

    #[test]
    fn a_token_of_another_account_or_without_its_scopes_is_named() {
        let findings = of_twitch(&held("somebody", &["chat:read"]), "vigie_bot", None);
        let expected =
            ["the token is that of somebody, TWITCH_USERNAME says vigie_bot", "the token lacks chat:edit"];
        assert_eq!(seen(&findings), expected);
        let held = held("vigie_bot", &["chat:edit", "chat:read"]);
        let findings = of_twitch(&held, "Vigie_Bot", None);
        assert_eq!((findings[0].verdict, findings.len()), (Verdict::Good, 1));
        let app = ("app".to_owned(), SecretString::from("secret"));
        let findings = of_twitch(&held, "Vigie_Bot", Some(&app));
        assert!(findings[1].seen.contains("user:bot and user:write:chat"), "an application needs more");
    }

    #[test]
    fn a_token_that_ends_soon_or_is_no_accounts_is_named() {
        let soon = Held { expires_in_s: 2 * 86400, ..held("vigie_bot", &SCOPES) };
        assert_eq!(of_twitch(&soon, "", None)[1].seen, "the token ends in 2 d 0 h");
        let findings = of_twitch(&held("", &SCOPES), "vigie_bot", None);
        assert_eq!(seen(&findings), ["the token is an application's, not that of an account"]);
    }

    #[test]
    fn a_bot_that_may_not_read_or_is_nowhere_is_told_how() {
        let bot = Bot {
            id: "1".to_owned(),
            name: "Vigie".to_owned(),
            application: "2".to_owned(),
            reads_messages: Some(false),
            servers: Some(0),
        };
        let findings = of_discord(Ok(bot));
        let verdicts: Vec<_> = findings.iter().map(|one| one.verdict).collect();
        assert_eq!(verdicts, [Verdict::Good, Verdict::Bad, Verdict::Warn]);
        assert!(
            findings[2].mend.contains("https://discord.com/oauth2/authorize?client_id=2&permissions=84992&")
        );
    }
}
