//! Twitch: the application if there is one, the bot's token, and the channels it joins.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use super::{End, Session, plan::Plan};
use crate::{
    accounts::{self, APP_SCOPES, Held, SCOPES, TWITCH_AUTH_URL, Trouble},
    paint,
};

/// The longest login, in characters.
const MAX_LOGIN: usize = 25;
/// Where a browser ends with the token in its address bar; nothing needs to listen there.
const REDIRECT: &str = "http://localhost:3000";

/// Flags for it.
#[derive(clap::Args, Debug)]
#[group(skip)]
pub(super) struct Options {
    /// The file with the user token of the bot's account
    #[arg(long, value_name = "FILE")]
    twitch_token_file: Option<PathBuf>,
    /// The login of the bot's account; not given: the token's
    #[arg(long, value_name = "LOGIN", value_parser = login)]
    twitch_username: Option<String>,
    /// The channels to join, by login, with commas
    #[arg(long, value_name = "LOGINS", value_parser = channels)]
    twitch_channels: Option<String>,
    /// The client id of your application; none: without one
    #[arg(long, value_name = "ID", value_parser = client_id)]
    twitch_client_id: Option<String>,
    /// The file with your application's secret
    #[arg(long, value_name = "FILE", requires = "twitch_client_id")]
    twitch_client_secret_file: Option<PathBuf>,
}

impl Options {
    pub(super) fn given(&self) -> bool {
        self.twitch_token_file.is_some()
    }
}

/// An application, whose secret Twitch knows.
struct App {
    client_id: String,
    secret: SecretString,
}

pub(super) async fn ask(session: &mut Session<'_>, options: Options, plan: &mut Plan<'_>) -> Result<(), End> {
    session.talk.part(3, "Twitch")?;
    let secret = session.given(options.twitch_client_secret_file).await?;
    let app = app(session, options.twitch_client_id, secret).await?;
    let given = session.given(options.twitch_token_file).await?;
    if given.is_none() {
        explain_token(session, app.as_ref())?;
    }
    let (token, held) = token(session, given.as_ref(), app.as_ref()).await?;
    let username = username(session, options.twitch_username, held.as_ref()).await?;
    let channels = joined(session, options.twitch_channels).await?;
    match app {
        Some(app) => {
            plan.set("TWITCH_CLIENT_ID", &app.client_id, "");
            plan.secret("TWITCH_CLIENT_SECRET", &app.secret);
        }
        None => ["TWITCH_CLIENT_ID", "TWITCH_CLIENT_SECRET"].into_iter().for_each(|name| plan.off(name)),
    }
    plan.set("TWITCH_USERNAME", &username, "");
    plan.secret("TWITCH_OAUTH_TOKEN", &token);
    plan.set("TWITCH_CHANNELS", &channels, "");
    Ok(())
}

async fn app(
    session: &mut Session<'_>,
    given: Option<String>,
    given_secret: Option<SecretString>,
) -> Result<Option<App>, End> {
    if given.is_none() {
        for line in [
            "An application of yours gives the bot the Chat Bot badge. It works without:",
            "  https://dev.twitch.tv/console, Register Your Application,",
            "  OAuth Redirect URL http://localhost:3000, Category Chat Bot; then Manage",
        ] {
            session.talk.explain(line)?;
        }
    }
    let mut there = session.before.value("TWITCH_CLIENT_ID").unwrap_or_default().to_owned();
    loop {
        let id = match &given {
            Some(id) => id.clone(),
            None if session.talk.person() => {
                let default = if there.is_empty() { "none" } else { &there };
                session.talk.ask("its Client ID", default, client_id).await?
            }
            None => there.clone(),
        };
        if id.is_empty() {
            return Ok(None);
        }
        let question = "its Client Secret (New Secret; it stays hidden)";
        let secret = session.secret(given_secret.as_ref(), "TWITCH_CLIENT_SECRET", question).await?;
        match secret {
            Some(secret) if accepted(session, &id, &secret).await? => {
                return Ok(Some(App { client_id: id, secret }));
            }
            None if !session.talk.person() => {
                let reason = "TWITCH_CLIENT_ID needs a secret: give --twitch-client-secret-file";
                return Err(End::Unusable(reason.to_owned()));
            }
            Some(_) => {}
            None => session.talk.bad("expected a secret; Client ID none goes on without")?,
        }
        // Either of the two may be wrong.
        there = id;
    }
}

/// Whether the application's secret will be used; when not, another one is to be asked for.
async fn accepted(session: &mut Session<'_>, client_id: &str, secret: &SecretString) -> Result<bool, End> {
    let Some(client) = session.client.clone() else { return Ok(true) };
    let base = session.before.or_default("TWITCH_AUTH_URL", TWITCH_AUTH_URL);
    let asked = accounts::app(&client, &base, client_id, secret);
    let trouble = match session.talk.unless_stopped(asked).await? {
        Ok(()) => {
            session.talk.good("Twitch knows the application and its secret")?;
            return Ok(true);
        }
        Err(trouble) => trouble,
    };
    let seen = match trouble {
        Trouble::Refused => "Twitch refuses the Client ID with this secret".to_owned(),
        ref other => format!("Twitch {other}"),
    };
    if !session.talk.person() {
        return Err(End::Unusable(seen));
    }
    session.talk.bad(&seen)?;
    match trouble {
        Trouble::Refused => Ok(false),
        _ => session.talk.confirm("keep it unchecked?", false).await,
    }
}

fn explain_token(session: &Session<'_>, app: Option<&App>) -> Result<(), End> {
    let Some(app) = app else {
        session
            .talk
            .explain("A user token of the bot's account, with the scopes chat:read and chat:edit,")?;
        return session
            .talk
            .explain("such as that of the Twitch CLI: twitch token -u -s 'chat:read chat:edit'");
    };
    if !session.talk.person() {
        return Ok(());
    }
    let base = session.before.or_default("TWITCH_AUTH_URL", TWITCH_AUTH_URL);
    let scopes = [SCOPES, APP_SCOPES].concat().join("%20").replace(':', "%3A");
    session.talk.explain("Logged in as the bot's account, open this and agree:")?;
    // On a line of its own, so that it can be copied whole.
    session.talk.say(&format!(
        "{}/oauth2/authorize?response_type=token&client_id={}&redirect_uri={REDIRECT}&scope={scopes}\n",
        base.trim_end_matches('/'),
        app.client_id
    ))?;
    session.talk.explain("The browser ends on a page that does not load: that is right. Copy the")?;
    session.talk.explain("whole address that it shows: the token is in it.")
}

/// A token that Twitch knows, or that is taken all the same because Twitch cannot be asked.
async fn token(
    session: &mut Session<'_>,
    given: Option<&SecretString>,
    app: Option<&App>,
) -> Result<(SecretString, Option<Held>), End> {
    loop {
        let question = "the token, or that address (it stays hidden)";
        let Some(typed) = session.secret(given, "TWITCH_OAUTH_TOKEN", question).await? else {
            if session.talk.person() {
                session.talk.bad("expected a token; Ctrl-C ends this")?;
                continue;
            }
            return Err(End::Unusable("Twitch needs a token: give --twitch-token-file".to_owned()));
        };
        let token = SecretString::from(accounts::bare_twitch_token(typed.expose_secret()));
        let Some(client) = session.client.clone() else { return Ok((token, None)) };
        let base = session.before.or_default("TWITCH_AUTH_URL", TWITCH_AUTH_URL);
        let heard = session.talk.unless_stopped(accounts::twitch(&client, &base, &token)).await?;
        let trouble = match heard.answer {
            Ok(held) => match unfit(&held) {
                None => {
                    welcome(session, &held, app)?;
                    return Ok((token, Some(held)));
                }
                Some(reason) => reason,
            },
            Err(Trouble::Refused) => {
                "Twitch refuses the token: it has ended, or was not copied whole".to_owned()
            }
            Err(other) if session.talk.person() => {
                session.talk.bad(&format!("Twitch {other}"))?;
                if session.talk.confirm("keep it unchecked?", false).await? {
                    return Ok((token, None));
                }
                continue;
            }
            Err(other) => format!("Twitch {other}: look at the network, or add --unchecked"),
        };
        if !session.talk.person() {
            return Err(End::Unusable(trouble));
        }
        session.talk.bad(&trouble)?;
        session.talk.advice("make a new one as said above")?;
    }
}

/// Why a bot cannot use the token.
fn unfit(held: &Held) -> Option<String> {
    if held.login.is_empty() {
        return Some("that is an application's token; the bot needs one of its account".to_owned());
    }
    let missing = held.lacks(&SCOPES);
    (!missing.is_empty()).then(|| format!("the token of {} lacks {}", held.login, missing.join(" and ")))
}

fn welcome(session: &Session<'_>, held: &Held, app: Option<&App>) -> Result<(), End> {
    let ends = match held.expires_in_s {
        0 => String::new(),
        seconds => format!(", good for {}", paint::duration(seconds)),
    };
    session.talk.good(&format!("the token is that of {}{ends}", held.login))?;
    let Some(app) = app else { return Ok(()) };
    let missing = held.lacks(&APP_SCOPES);
    if !missing.is_empty() {
        session.talk.warn(&format!("without {}: no Chat Bot badge", missing.join(" and ")))?;
    }
    if held.client_id != app.client_id {
        session.talk.warn("the token was made for another application: no Chat Bot badge")?;
    }
    Ok(())
}

async fn username(
    session: &mut Session<'_>,
    given: Option<String>,
    held: Option<&Held>,
) -> Result<String, End> {
    match (given, held) {
        (Some(given), Some(held)) if given != held.login => {
            Err(End::Unusable(format!("the token is that of {}, not of {given}", held.login)))
        }
        (Some(given), _) => Ok(given),
        (None, Some(held)) => Ok(held.login.clone()),
        (None, None) => {
            let there = session.before.value("TWITCH_USERNAME").unwrap_or_default().to_owned();
            if session.talk.person() {
                return session.talk.ask("the login of the bot's account", &there, login).await;
            }
            login(&there).map_err(|_| End::Unusable("Twitch needs --twitch-username".to_owned()))
        }
    }
}

async fn joined(session: &mut Session<'_>, given: Option<String>) -> Result<String, End> {
    let there = session.before.value("TWITCH_CHANNELS").unwrap_or_default().to_owned();
    match given {
        Some(given) => Ok(given),
        None if session.talk.person() => {
            session.talk.ask("the channels to join, with commas", &there, channels).await
        }
        None => channels(&there).map_err(|_| End::Unusable("Twitch needs --twitch-channels".to_owned())),
    }
}

fn login(text: &str) -> Result<String, String> {
    let name = text.trim().trim_start_matches(['#', '@']).to_ascii_lowercase();
    let fits = (1..=MAX_LOGIN).contains(&name.len());
    if fits && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        Ok(name)
    } else {
        Err(format!("expected a login, as at the end of twitch.tv/olive, found {text:?}"))
    }
}

fn channels(text: &str) -> Result<String, String> {
    let names = text.split([',', ' ']).filter(|name| !name.trim().is_empty());
    let names: Vec<String> = names.map(login).collect::<Result<_, _>>()?;
    if names.is_empty() {
        return Err("expected logins with commas, such as olive,max".to_owned());
    }
    Ok(names.join(","))
}

/// An id, or nothing for no application.
fn client_id(text: &str) -> Result<String, String> {
    match text {
        "" | "none" => Ok(String::new()),
        id if id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') => Ok(id.to_owned()),
        _ => Err("expected a Client ID, which has letters and digits, or none".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_taken_as_people_write_them() {
        assert_eq!(channels("#Olive, max,,@Ines").unwrap(), "olive,max,ines");
        assert!(channels(" , ").is_err());
        assert!(channels("twitch.tv/olive").is_err());
    }
}
