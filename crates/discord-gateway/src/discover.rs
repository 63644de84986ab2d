//! What the bot asks of Discord before it connects: who it is, where the gateway is, how many shards
//! to run, how many sessions it may start.

use std::{sync::Arc, time::Duration};

use anyhow::anyhow;
use futures_util::future::BoxFuture;
use serde::{Deserialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep};
use tracing::warn;
use twilight_http::{Client, request::TryIntoRequest};

use crate::{
    config,
    frame::{IdOnly, Snowflake},
    ledger::SessionStartLimit,
    rest::{Call, Rest, RestError, silently},
    shard::Recheck,
    stats::Stats,
};

/// How long one question may take, retries included.
const ASK_LIMIT: Duration = Duration::from_secs(8);
/// Before a question that had no answer is asked again.
const RETRY: Duration = Duration::from_secs(5);

/// Who the bot is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The application.
    pub application: Snowflake,
    /// Its account.
    pub user: Snowflake,
}

/// The answer of `GET /gateway/bot`.
#[derive(Clone, Debug, Deserialize)]
pub struct Gateway {
    /// Where the gateway is.
    pub url: String,
    /// How many shards Discord recommends.
    pub shards: u32,
    /// How many sessions may be started.
    pub session_start_limit: SessionStartLimit,
}

/// Asks.
#[derive(Clone, Debug)]
pub struct Discover {
    /// Sends.
    pub rest: Arc<Rest>,
    /// Builds requests.
    pub builder: Arc<Client>,
    /// Told what is missing.
    pub stats: Arc<Stats>,
    /// Where the API is, for messages.
    pub api_url: String,
}

impl Discover {
    /// Who the bot is. Asks until Discord answers.
    ///
    /// # Errors
    /// When Discord refuses the token.
    pub async fn identity(&self) -> anyhow::Result<Identity> {
        #[derive(Deserialize)]
        struct Application {
            id: Snowflake,
            bot: Option<IdOnly>,
        }
        let route = "GET /applications/@me";
        let application: Application =
            self.until_answered(route, || self.builder.current_user_application()).await?;
        let user = match application.bot {
            Some(bot) => bot.id,
            None => {
                let user = || self.builder.current_user();
                self.until_answered::<IdOnly, _>("GET /users/@me", user).await?.id
            }
        };
        Ok(Identity { application: application.id, user })
    }

    /// Where the gateway is. Asks until Discord answers.
    ///
    /// # Errors
    /// When Discord refuses the token.
    pub async fn gateway(&self) -> anyhow::Result<Gateway> {
        let gateway: Gateway =
            self.until_answered("GET /gateway/bot", || self.builder.gateway().authed()).await?;
        let url = config::url(&gateway.url, &["ws", "wss"])
            .map_err(|reason| anyhow!("{} is no gateway: {reason}", gateway.url))?;
        Ok(Gateway { url, ..gateway })
    }

    async fn until_answered<T, R>(&self, route: &'static str, request: impl Fn() -> R) -> anyhow::Result<T>
    where
        T: DeserializeOwned,
        R: TryIntoRequest,
    {
        loop {
            match self.ask(route, request()).await {
                Ok(answer) => return Ok(answer),
                Err(error @ RestError::TokenRefused) => return Err(error.into()),
                Err(error) => {
                    let reason = format!("{route} at {}: {error}", self.api_url);
                    warn!(reason, retry_s = RETRY.as_secs(), "discord does not answer yet");
                    self.stats.discord().down(reason);
                }
            }
            sleep(RETRY).await;
        }
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        route: &'static str,
        request: impl TryIntoRequest,
    ) -> Result<T, RestError> {
        let call = Call::new(route, 0, request)?;
        let reply = self.rest.call(&call, Instant::now() + ASK_LIMIT, &silently).await?;
        let shape = |error: serde_json::Error| RestError::Unreachable {
            reason: format!("the answer is not discord's: {error}"),
        };
        serde_json::from_slice(&reply.body).map_err(shape)
    }
}

impl Recheck for Discover {
    fn recheck(&self) -> BoxFuture<'_, Option<SessionStartLimit>> {
        Box::pin(async {
            let gateway = self.ask::<Gateway>("GET /gateway/bot", self.builder.gateway().authed()).await;
            gateway.ok().map(|gateway| gateway.session_start_limit)
        })
    }
}
