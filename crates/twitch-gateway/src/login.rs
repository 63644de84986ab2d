//! The first words of a connection: capabilities, token, name, and Twitch's yes or no.

use std::{io, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use tokio::time::timeout;

use crate::{
    irc::{Guarded, Line, Verb},
    transport::{ConnectError, Endpoint, Reader, Writer},
};

/// How long Twitch may take to say yes or no.
const LOGIN_WITHIN: Duration = Duration::from_secs(10);
/// Not `membership`: a JOIN and PART for every viewer would be a flood that nobody reads.
const CAPABILITIES: &str = "CAP REQ :twitch.tv/tags twitch.tv/commands";

/// Why nobody is logged in. The texts are meant for people.
#[derive(Debug, thiserror::Error)]
pub enum LoginError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// Twitch does not accept the token.
    #[error(
        "twitch refuses the login of {login} ({words}): TWITCH_OAUTH_TOKEN is wrong, expired, or lacks \
         chat:read; make a new user token of that account with chat:read and chat:edit"
    )]
    Refused {
        /// Whose.
        login: String,
        /// Twitch's words.
        words: String,
    },
    /// Twitch does not grant tags and commands.
    #[error("TWITCH_IRC_URL: the server has no Twitch capabilities; is it Twitch's chat?")]
    Capabilities,
    /// The connection ended before an answer came.
    #[error("the connection ended during the login")]
    Closed(#[source] io::Error),
    /// No answer came.
    #[error("TWITCH_IRC_URL: no answer to the login within {} s; is it Twitch's chat?", LOGIN_WITHIN.as_secs())]
    TimedOut,
}

/// Connects and logs in.
///
/// # Errors
/// [`LoginError`].
pub async fn log_in(
    endpoint: &Endpoint,
    login: &str,
    token: &SecretString,
) -> Result<(Reader, Writer), LoginError> {
    let (mut reader, mut writer) = endpoint.connect().await?;
    let talk = async {
        let pass = format!("PASS oauth:{}", token.expose_secret());
        for line in [CAPABILITIES, &pass, &format!("NICK {login}")] {
            writer.line(line).await.map_err(LoginError::Closed)?;
        }
        let mut granted = false;
        loop {
            while let Some(line) = reader.next_line() {
                match answer(&line, login)? {
                    Answer::Granted => granted = true,
                    Answer::Welcome if granted => return Ok(()),
                    Answer::Welcome => return Err(LoginError::Capabilities),
                    Answer::Ping(pong) => writer.line(&pong).await.map_err(LoginError::Closed)?,
                    Answer::Other => {}
                }
            }
            if !reader.fill().await.map_err(LoginError::Closed)? {
                return Err(LoginError::Closed(io::ErrorKind::UnexpectedEof.into()));
            }
        }
    };
    timeout(LOGIN_WITHIN, talk).await.map_err(|_elapsed| LoginError::TimedOut)??;
    Ok((reader, writer))
}

enum Answer {
    Granted,
    Welcome,
    Ping(String),
    Other,
}

fn answer(line: &str, login: &str) -> Result<Answer, LoginError> {
    let guarded = Guarded::new(line);
    let Some(line) = guarded.as_ref().ok().and_then(|guarded| guarded.line().ok()) else {
        return Ok(Answer::Other);
    };
    match line.verb() {
        Verb::Capability if line.params().contains(" ACK ") => Ok(Answer::Granted),
        Verb::Capability if line.params().contains(" NAK ") => Err(LoginError::Capabilities),
        Verb::RplWelcome => Ok(Answer::Welcome),
        Verb::Notice => Err(LoginError::Refused { login: login.to_owned(), words: line.text().to_owned() }),
        Verb::Ping => Ok(Answer::Ping(pong(&line))),
        _ => Ok(Answer::Other),
    }
}

/// The answer to a PING.
#[must_use]
pub fn pong(ping: &Line<'_>) -> String {
    format!("PONG :{}", ping.text())
}
