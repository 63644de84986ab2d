//! Twitch: the account that a token belongs to, and whether an application's secret is right.

use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::{Heard, Trouble, ask};

/// What a chat bot's token must allow (<https://dev.twitch.tv/docs/chat/irc-migration/>).
pub(crate) const SCOPES: [&str; 2] = ["chat:read", "chat:edit"];
/// What it must allow besides when the bot speaks through its application, which gives it the badge
/// (<https://dev.twitch.tv/docs/chat/authenticating/>).
pub(crate) const APP_SCOPES: [&str; 2] = ["user:bot", "user:write:chat"];

/// What a token holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    /// The account; empty for the token of an application.
    pub login: String,
    /// The application that the token was made for.
    pub client_id: String,
    pub scopes: Vec<String>,
    /// In seconds; 0 for never.
    pub expires_in_s: u64,
}

impl Held {
    /// Those of `wanted` that it does not allow.
    pub(crate) fn lacks(&self, wanted: &[&'static str]) -> Vec<&'static str> {
        wanted.iter().copied().filter(|wanted| !self.scopes.iter().any(|held| held == wanted)).collect()
    }
}

/// Asks whose token it is (<https://dev.twitch.tv/docs/authentication/validate-tokens/>).
pub(crate) async fn twitch(client: &Client, base: &str, token: &SecretString) -> Heard<Held> {
    let url = format!("{}/oauth2/validate", base.trim_end_matches('/'));
    let header = format!("OAuth {}", bare(token.expose_secret()));
    ask(client.get(url).header("Authorization", header), |told| Held {
        login: told["login"].as_str().unwrap_or_default().to_owned(),
        client_id: told["client_id"].as_str().unwrap_or_default().to_owned(),
        scopes: told["scopes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect(),
        expires_in_s: told["expires_in"].as_u64().unwrap_or_default(),
    })
    .await
}

/// Whether an application and its secret belong together: Twitch gives a token for them, which nobody
/// keeps (<https://dev.twitch.tv/docs/authentication/getting-tokens-oauth/#client-credentials-grant-flow>).
///
/// # Errors
/// When they do not, or Twitch does not say.
pub(crate) async fn app(
    client: &Client,
    base: &str,
    client_id: &str,
    secret: &SecretString,
) -> Result<(), Trouble> {
    let url = format!("{}/oauth2/token", base.trim_end_matches('/'));
    let form = [
        ("client_id", client_id),
        ("client_secret", secret.expose_secret()),
        ("grant_type", "client_credentials"),
    ];
    let heard = ask(client.post(url).form(&form), |_| ()).await;
    heard.answer.map_err(|trouble| match trouble {
        // 400 for an unknown id, 403 for a wrong secret.
        Trouble::Odd(status) if status.starts_with("400") || status.starts_with("403") => Trouble::Refused,
        other => other,
    })
}

/// A token without what people copy along with it: the prefix of IRC, or the whole address that a
/// browser ends on when Twitch hands a token out.
pub(crate) fn bare(token: &str) -> &str {
    let token = token.trim();
    if let Some((_, rest)) = token.split_once("access_token=") {
        return rest.split('&').next().unwrap_or(rest);
    }
    token.strip_prefix("oauth:").unwrap_or(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_in_what_people_paste() {
        let address = "http://localhost:3000/#access_token=abc123&scope=chat%3Aread&token_type=bearer";
        assert_eq!([address, " oauth:abc123\n", "abc123"].map(bare), ["abc123"; 3]);
    }
}
