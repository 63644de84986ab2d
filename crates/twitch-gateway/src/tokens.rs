//! Tokens: the bot's own, checked at start and every hour as Twitch demands
//! (<https://dev.twitch.tv/docs/authentication/validate-tokens/>), and the application's, asked for
//! when needed. Neither is ever written to a log.

use std::{sync::Arc, time::Duration};

use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use service::{Component, chain};
use tokio::{
    sync::{Mutex, watch},
    time::sleep,
};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::{
    body::{self, BodyError, words},
    chat::Chat,
    config::{Account, App},
};

/// Between two checks of a token that was not accepted, or could not be checked; doubled each time.
const CHECK_AGAIN: std::ops::Range<Duration> = Duration::from_secs(5)..Duration::from_secs(120);
/// What the chat needs.
const CHAT_SCOPES: [&str; 2] = ["chat:read", "chat:edit"];
/// What an application needs of the bot's account to speak in its name.
const APP_SCOPES: [&str; 2] = ["user:bot", "user:write:chat"];
/// What deleting messages needs.
const DELETE_SCOPE: &str = "moderator:manage:chat_messages";

/// Whether the bot's token may be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Validity {
    /// Not checked yet.
    Unknown,
    /// Twitch knows it.
    Valid(Identity),
    /// It could not be checked: chat itself will tell.
    Unchecked,
    /// It must not be used. What to do about it.
    Bad(String),
}

/// What Twitch tells of a valid token.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Identity {
    /// The application it was made for.
    pub client_id: String,
    /// Whose it is.
    #[serde(default)]
    pub login: String,
    /// The id of that account.
    #[serde(default)]
    pub user_id: String,
    /// What it allows.
    #[serde(default)]
    pub scopes: Vec<String>,
}

impl Validity {
    /// Whether to connect with it.
    #[must_use]
    pub fn usable(&self) -> bool {
        matches!(self, Self::Valid(_) | Self::Unchecked)
    }
}

impl Identity {
    /// Whether messages may be deleted with it.
    #[must_use]
    pub fn may_delete(&self) -> bool {
        self.scopes.iter().any(|scope| scope == DELETE_SCOPE)
    }
}

/// Why a token was not given, or not checked. The texts are meant for people.
#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    /// Twitch does not accept it.
    #[error("twitch does not accept {setting} ({status}: {words})")]
    Refused {
        /// The setting to look at.
        setting: &'static str,
        /// The HTTP status.
        status: u16,
        /// Twitch's words.
        words: String,
    },
    /// Twitch could not be asked.
    #[error("TWITCH_AUTH_URL: twitch could not be asked")]
    Unreachable(#[source] reqwest::Error),
    /// Twitch answered something unexpected.
    #[error("TWITCH_AUTH_URL: twitch answered with status {0}")]
    Status(u16),
    /// Twitch answered something that cannot be read.
    #[error("TWITCH_AUTH_URL: twitch could not be understood")]
    Unreadable(#[from] BodyError),
}

/// Checks the bot's token until `shutdown`, and tells of every change.
pub struct Watchman {
    /// Where tokens are checked.
    pub auth_url: String,
    /// The bot's account.
    pub account: Account,
    /// The id of the application that sends in its name.
    pub app: Option<String>,
    /// How HTTP is spoken.
    pub http: reqwest::Client,
    /// Who wants to know.
    pub chat: Arc<Chat>,
    /// Who else wants to know.
    pub health: Component,
    /// Where the result goes.
    pub validity: watch::Sender<Validity>,
}

impl Watchman {
    /// Runs until `shutdown`.
    ///
    /// # Errors
    /// None: it never gives up.
    pub async fn run(self, shutdown: CancellationToken) -> anyhow::Result<()> {
        let mut again = CHECK_AGAIN.start;
        loop {
            let found = tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                found = self.check() => found,
            };
            let wait = match &found {
                Validity::Valid(_) => {
                    again = CHECK_AGAIN.start;
                    self.chat.timing.check_every
                }
                _ => {
                    let wait = again;
                    again = (again * 2).min(CHECK_AGAIN.end);
                    wait
                }
            };
            // A token that was good an hour ago is not bad because Twitch cannot be asked.
            let keep = found == Validity::Unchecked && matches!(*self.validity.borrow(), Validity::Valid(_));
            if !keep {
                self.validity.send_if_modified(|known| {
                    let changed = *known != found;
                    *known = found;
                    changed
                });
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(()),
                () = sleep(wait) => {}
            }
        }
    }

    async fn check(&self) -> Validity {
        match validate(&self.http, &self.auth_url, &self.account.token).await {
            Ok(identity) => self.judge(identity),
            Err(TokenError::Refused { words, .. }) => self.bad(format!(
                "twitch says that TWITCH_OAUTH_TOKEN is not valid ({words}): it expired or was revoked; make a new \
                 user token of {} with {}",
                self.account.login,
                CHAT_SCOPES.join(" and ")
            )),
            Err(error) => {
                warn!(error = chain(&error), "the token could not be checked; chat will tell");
                Validity::Unchecked
            }
        }
    }

    fn judge(&self, identity: Identity) -> Validity {
        if identity.login != self.account.login {
            return self.bad(format!(
                "TWITCH_OAUTH_TOKEN belongs to {}, but TWITCH_USERNAME is {}: make a token while logged in as {1}, \
                 or change TWITCH_USERNAME",
                if identity.login.is_empty() { "an application, not to a user" } else { &identity.login },
                self.account.login
            ));
        }
        let wanted = CHAT_SCOPES.iter().chain(APP_SCOPES.iter().filter(|_| self.app.is_some()));
        let missing: Vec<&str> =
            wanted.copied().filter(|scope| !identity.scopes.iter().any(|has| has == scope)).collect();
        if missing.contains(&CHAT_SCOPES[0]) {
            return self.bad(format!(
                "TWITCH_OAUTH_TOKEN lacks {}: without it Twitch's chat lets nobody in; make a new token of {} with it",
                missing.join(" and "),
                self.account.login
            ));
        }
        if !missing.is_empty() {
            warn!(
                missing = missing.join(" "),
                "TWITCH_OAUTH_TOKEN lacks scopes; some messages may be refused"
            );
        }
        if *self.validity.borrow() == Validity::Unknown {
            info!(login = identity.login, user = identity.user_id, "the token is valid");
            if self.app.as_ref().is_some_and(|app| *app != identity.client_id) {
                warn!(
                    "TWITCH_OAUTH_TOKEN was made for another application than TWITCH_CLIENT_ID: unless {} granted that \
                     one {} too, it may not speak, and chat is used",
                    self.account.login,
                    APP_SCOPES.join(" and ")
                );
            }
        }
        self.chat.set_own_id(&identity.user_id);
        Validity::Valid(identity)
    }

    fn bad(&self, reason: String) -> Validity {
        let found = Validity::Bad(reason.clone());
        if *self.validity.borrow() != found {
            error!("{reason}");
        }
        self.health.down(reason);
        found
    }
}

/// Asks Twitch whose token this is.
///
/// # Errors
/// [`TokenError`].
pub async fn validate(
    http: &reqwest::Client,
    auth_url: &str,
    token: &SecretString,
) -> Result<Identity, TokenError> {
    let answer = http
        .get(format!("{auth_url}/oauth2/validate"))
        .header("Authorization", format!("OAuth {}", token.expose_secret()))
        .send()
        .await
        .map_err(unreachable)?;
    match answer.status().as_u16() {
        200 => Ok(body::json(answer).await?),
        401 => Err(TokenError::Refused {
            setting: "TWITCH_OAUTH_TOKEN",
            status: 401,
            words: words(answer).await,
        }),
        status => Err(TokenError::Status(status)),
    }
}

/// The application's token, asked for when it is first needed and again when Twitch refuses it.
#[derive(Debug)]
pub struct AppToken {
    app: App,
    auth_url: String,
    http: reqwest::Client,
    held: Mutex<Option<SecretString>>,
}

impl AppToken {
    /// Nothing is asked for yet.
    #[must_use]
    pub fn new(app: App, auth_url: &str, http: reqwest::Client) -> Self {
        Self { app, auth_url: auth_url.to_owned(), http, held: Mutex::default() }
    }

    /// The application.
    #[must_use]
    pub fn client_id(&self) -> &str {
        &self.app.client_id
    }

    /// The token; a new one when `refused` is the one at hand.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn get(&self, refused: Option<&SecretString>) -> Result<SecretString, TokenError> {
        let mut held = self.held.lock().await;
        match held.as_ref() {
            Some(token) if refused.is_none_or(|refused| refused.expose_secret() != token.expose_secret()) => {
                Ok(token.clone())
            }
            _ => Ok(held.insert(self.ask().await?).clone()),
        }
    }

    async fn ask(&self) -> Result<SecretString, TokenError> {
        #[derive(Deserialize)]
        struct Granted {
            access_token: String,
        }
        let form = [
            ("client_id", self.app.client_id.as_str()),
            ("client_secret", self.app.client_secret.expose_secret()),
            ("grant_type", "client_credentials"),
        ];
        let request = self.http.post(format!("{}/oauth2/token", self.auth_url)).form(&form);
        let answer = request.send().await.map_err(unreachable)?;
        match answer.status().as_u16() {
            200 => Ok(body::json::<Granted>(answer).await?.access_token.into()),
            status @ (400 | 401 | 403) => Err(TokenError::Refused {
                setting: "TWITCH_CLIENT_ID with TWITCH_CLIENT_SECRET",
                status,
                words: words(answer).await,
            }),
            status => Err(TokenError::Status(status)),
        }
    }
}

/// The URL of a request may hold what nobody should read in a log.
fn unreachable(error: reqwest::Error) -> TokenError {
    TokenError::Unreachable(error.without_url())
}
