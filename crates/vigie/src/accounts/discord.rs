//! Discord: the bot that a token belongs to.

use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::{Heard, ask};

/// Message content is granted to a verified application (`1 << 18`), or switched on by the owner of
/// a smaller one (`1 << 19`): <https://docs.discord.com/developers/resources/application>.
const MESSAGE_CONTENT: u64 = 1 << 18 | 1 << 19;
/// What the bot needs in a server: view channels, send messages, embed links, read message history
/// (<https://docs.discord.com/developers/topics/permissions>).
const PERMISSIONS: u64 = 1 << 10 | 1 << 11 | 1 << 14 | 1 << 16;

/// A bot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Bot {
    /// Of the bot's account.
    pub id: String,
    pub name: String,
    /// Of the application, for [`invitation`]; the same as `id` but for very old bots.
    pub application: String,
    /// Whether it may read what people type; `None` when Discord does not say.
    pub reads_messages: Option<bool>,
    /// How many servers it is in; `None` when Discord does not say.
    pub servers: Option<u64>,
}

/// Asks whose token it is, and what the application may do.
pub(crate) async fn discord(client: &Client, base: &str, token: &SecretString) -> Heard<Bot> {
    let base = base.trim_end_matches('/');
    let get = |path: &str| {
        let header = format!("Bot {}", bare(token.expose_secret()));
        client.get(format!("{base}/api/v10{path}")).header("Authorization", header)
    };
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let me = ask(get("/users/@me"), |me| (text(&me["id"]), text(&me["username"]))).await;
    let (id, name) = match me.answer {
        Ok(me) => me,
        Err(trouble) => return Heard { answer: Err(trouble), skew_ms: me.skew_ms },
    };
    let mut bot = Bot { application: id.clone(), id, name, reads_messages: None, servers: None };
    // What is not told here is a smaller matter, and no reason to doubt the token.
    if let Ok(application) = ask(get("/applications/@me"), Value::clone).await.answer {
        bot.reads_messages = application["flags"].as_u64().map(|flags| flags & MESSAGE_CONTENT != 0);
        bot.servers = application["approximate_guild_count"].as_u64();
        bot.application = application["id"].as_str().unwrap_or(&bot.id).to_owned();
    }
    Heard { answer: Ok(bot), skew_ms: me.skew_ms }
}

/// Where a person lets the bot into a server.
pub(crate) fn invitation(application: &str) -> String {
    format!(
        "https://discord.com/oauth2/authorize?client_id={application}&permissions={PERMISSIONS}\
         &scope=bot%20applications.commands"
    )
}

/// A token without what people copy along with it.
pub(crate) fn bare(token: &str) -> &str {
    let token = token.trim();
    token.strip_prefix("Bot ").unwrap_or(token).trim()
}
