//! Discord: the bot's token, what it may read, and the server it registers its commands in.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use super::{End, Session, plan::Plan};
use crate::accounts::{self, Bot, DISCORD_API_URL, Trouble};

/// Flags for it.
#[derive(clap::Args, Debug)]
#[group(skip)]
pub(super) struct Options {
    /// The file with the bot's token
    #[arg(long, value_name = "FILE")]
    discord_token_file: Option<PathBuf>,
    /// The id of the server that slash commands are registered in, where they show at once; none: everywhere
    #[arg(long, value_name = "ID", value_parser = server)]
    discord_server: Option<String>,
}

impl Options {
    pub(super) fn given(&self) -> bool {
        self.discord_token_file.is_some()
    }
}

pub(super) async fn ask(session: &mut Session<'_>, options: Options, plan: &mut Plan<'_>) -> Result<(), End> {
    session.talk.part(3, "Discord")?;
    let given = session.given(options.discord_token_file).await?;
    if given.is_none() {
        for line in [
            "The token is the key to the bot: whoever has it is the bot.",
            "  1. https://discord.com/developers/applications, New Application",
            "  2. page Bot: Reset Token, and copy it",
            "  3. same page: switch on Message Content Intent, and save",
        ] {
            session.talk.explain(line)?;
        }
    }
    let (token, bot) = token(session, given.as_ref()).await?;
    if let Some(bot) = bot {
        let bot = content(session, &token, bot).await?;
        invite(session, &bot)?;
    }
    plan.secret("DISCORD_TOKEN", &token);
    let there = session.before.value("DISCORD_GUILD_ID").unwrap_or_default().to_owned();
    let id = match options.discord_server {
        Some(id) => id,
        None if session.talk.person() => {
            session
                .talk
                .explain("Slash commands show at once in one server of your choice, or everywhere.")?;
            session
                .talk
                .explain("Its id: Settings, Advanced, Developer Mode; right-click it, Copy Server ID.")?;
            let default = if there.is_empty() { "everywhere" } else { &there };
            session.talk.ask("the server's id", default, server).await?
        }
        None => there,
    };
    if id.is_empty() {
        plan.off("DISCORD_GUILD_ID");
    } else {
        plan.set("DISCORD_GUILD_ID", &id, "");
    }
    Ok(())
}

/// A token that Discord knows, or that is taken all the same because Discord cannot be asked.
async fn token(
    session: &mut Session<'_>,
    given: Option<&SecretString>,
) -> Result<(SecretString, Option<Bot>), End> {
    loop {
        let question = "the bot's token (it stays hidden)";
        let Some(typed) = session.secret(given, "DISCORD_TOKEN", question).await? else {
            if session.talk.person() {
                session.talk.bad("expected a token; Ctrl-C ends this")?;
                continue;
            }
            return Err(End::Unusable("Discord needs a token: give --discord-token-file".to_owned()));
        };
        let token = SecretString::from(accounts::bare_discord_token(typed.expose_secret()));
        let Some(answer) = ask_discord(session, &token).await? else { return Ok((token, None)) };
        match answer {
            Ok(bot) => {
                session.talk.good(&format!("the token is that of {} ({})", bot.name, bot.id))?;
                return Ok((token, Some(bot)));
            }
            Err(trouble) if !session.talk.person() => {
                let hint = match trouble {
                    Trouble::Refused => shape(&token),
                    _ => "look at the network, or add --unchecked",
                };
                return Err(End::Unusable(format!("Discord {trouble}: {hint}")));
            }
            Err(trouble) => {
                session.talk.bad(&format!("Discord {trouble}"))?;
                if trouble == Trouble::Refused {
                    session.talk.advice(shape(&token))?;
                } else if session.talk.confirm("keep it unchecked?", false).await? {
                    return Ok((token, None));
                }
            }
        }
    }
}

/// `None` when nobody is to be asked.
async fn ask_discord(
    session: &mut Session<'_>,
    token: &SecretString,
) -> Result<Option<Result<Bot, Trouble>>, End> {
    let Some(client) = session.client.clone() else { return Ok(None) };
    let base = session.before.or_default("DISCORD_API_URL", DISCORD_API_URL);
    let heard = session.talk.unless_stopped(accounts::discord(&client, &base, token)).await?;
    Ok(Some(heard.answer))
}

/// What a refused token may be instead.
fn shape(token: &SecretString) -> &'static str {
    let text = token.expose_secret();
    if text.matches('.').count() == 2 {
        "it was reset since, or not copied whole: Reset Token gives a new one"
    } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
        "that is an id: the token is on the page Bot, and has two dots in it"
    } else {
        "a bot's token has two dots in it; it is on the page Bot"
    }
}

/// Without message content the bot would not see what people type, and Discord would end the connection.
async fn content(session: &mut Session<'_>, token: &SecretString, mut bot: Bot) -> Result<Bot, End> {
    while bot.reads_messages == Some(false) {
        session.talk.bad("Message Content Intent is off: Discord would not let the bot in")?;
        session.talk.advice("developer portal, page Bot: switch it on and save")?;
        if !session.talk.person() || !session.talk.confirm("look again? n goes on without", true).await? {
            return Ok(bot);
        }
        match ask_discord(session, token).await? {
            Some(Ok(looked)) => bot = looked,
            Some(Err(trouble)) => session.talk.warn(&format!("Discord {trouble}"))?,
            None => return Ok(bot),
        }
    }
    if bot.reads_messages == Some(true) {
        session.talk.good("it may read what people type")?;
    }
    Ok(bot)
}

fn invite(session: &Session<'_>, bot: &Bot) -> Result<(), End> {
    match bot.servers {
        Some(0) => session.talk.warn("it is in no server yet; this lets it into yours:"),
        Some(1) => session.talk.good("it is in 1 server; this lets it into another:"),
        Some(servers) => {
            session.talk.good(&format!("it is in {servers} servers; this lets it into another:"))
        }
        None => session.talk.good("this lets it into your server:"),
    }?;
    // On a line of its own, so that it can be copied whole.
    session.talk.say(&format!("{}\n", accounts::invitation(&bot.application)))
}

/// An id, or nothing for everywhere.
fn server(text: &str) -> Result<String, String> {
    match text {
        "" | "everywhere" | "none" => Ok(String::new()),
        id if id.parse::<u64>().is_ok_and(|id| id > 0) => Ok(id.to_owned()),
        _ => Err("expected a server's id, which is a number, or everywhere".to_owned()),
    }
}
