//! Discord: by the bot itself, and by a webhook of the channel when the bot is the patient.

use std::{sync::OnceLock, time::Duration};

use bus::{Bus, Link, Message, Subscription};
use presence::Connection;
use protocol::{
    Action, ActionBody, ChannelId, CommunityId, Content, Delivery, EventId, MessageId, Outcome, OutcomeBody,
    Platform, VERSION, subject,
};
use reqwest::{RequestBuilder, Url, header::CONTENT_TYPE};
use service::clock::{unix_ms, unix_us};
use tokio::time::timeout;
use tracing::warn;

use super::{Again, Client, Failure, note::Note};

/// How long an action lives. After that the webhook is used; the bot must not say the same later.
const LIFE: Duration = Duration::from_secs(15);
/// The bot has said what became of it by then.
const OUTCOME_LIMIT: Duration = Duration::from_secs(17);
/// What alarms have instead of a server: their own subject, which NATS can grant apart from all others.
const COMMUNITY: &str = "alerts";

/// Tells by the first of both ways that works.
pub struct Discord {
    pub client: Client,
    pub bot: Option<Bot>,
    pub webhook: Option<Url>,
    /// Why the webhook is not asked again, where there is the bot to go on with.
    pub refused: OnceLock<String>,
}

/// The bot, asked over NATS as by any command.
pub struct Bot {
    connection: Connection,
    channel: ChannelId,
}

impl Discord {
    pub async fn tell(&self, note: &Note) -> Result<(), Failure> {
        let text = format!("**{}**\n{}", note.title(), note.lines().join("\n"));
        let mut failure = Failure::passing("no way is set");
        if let Some(bot) = &self.bot {
            match bot.say(&text).await {
                Ok(_) => return Ok(()),
                Err(why) => failure = why,
            }
        }
        let Some(url) = &self.webhook else { return Err(failure) };
        if self.bot.is_some() {
            warn!(reason = failure.reason, "the bot could not say it; by the webhook instead");
        }
        // No one is mentioned, whatever a service called itself.
        let json = serde_json::json!({ "content": text, "allowed_mentions": { "parse": [] } });
        let request = self.client.post(url.clone()).header(CONTENT_TYPE, "application/json");
        self.by_webhook(request.body(json.to_string())).await
    }

    /// The webhook is only looked up; the bot says something and takes it back.
    pub async fn test(&self) -> Result<(), Failure> {
        if let Some(url) = &self.webhook {
            self.by_webhook(self.client.get(url.clone())).await?;
        }
        if let Some(bot) = &self.bot {
            // Its failure may always pass: the bot is started again, and may be granted what it lacks.
            let said = bot.say("Vigie: daily test of alarms").await;
            let message = said.map_err(|why| of_way("bot", why))?;
            if let Some(message) = message {
                let deleted = bot.act(ActionBody::Delete { message }).await;
                deleted.map_err(|why| of_way("bot", why))?;
            }
        }
        Ok(())
    }

    /// A webhook that is gone does not silence the bot; nor is it asked again, as Discord wishes.
    async fn by_webhook(&self, request: RequestBuilder) -> Result<(), Failure> {
        if let Some(reason) = self.refused.get() {
            return Err(Failure::passing(reason));
        }
        let sent = self.client.send(request).await;
        sent.map_err(|why| {
            let failure = of_way("webhook", why);
            match failure.again {
                Again::Soon => failure,
                _ if self.bot.is_some() => Failure::passing(self.refused.get_or_init(|| failure.reason)),
                // Discord asks not to try one again that it does not know
                // (<https://discord.com/developers/docs/topics/rate-limits>).
                _ => Failure { again: Again::Never, ..failure },
            }
        })
    }
}

fn of_way(way: &str, mut failure: Failure) -> Failure {
    failure.reason = format!("{way}: {}", failure.reason);
    failure
}

impl Bot {
    pub fn new(connection: Connection, channel: ChannelId) -> Self {
        Self { connection, channel }
    }

    async fn say(&self, text: &str) -> Result<Option<MessageId>, Failure> {
        self.act(ActionBody::Send { content: Content::text(text) }).await
    }

    async fn act(&self, body: ActionBody) -> Result<Option<MessageId>, Failure> {
        let bus = self.connection.borrow().clone();
        let bus = bus.map_err(|reason| Failure::passing(format!("NATS: {reason}")))?;
        if *bus.link().borrow() == Link::Down {
            return Err(Failure::passing("NATS: the connection is lost"));
        }
        let done = self.try_act(&bus, body);
        match timeout(OUTCOME_LIMIT, done).await {
            Ok(outcome) => outcome,
            Err(_) => Err(Failure::passing(format!("no outcome within {} s", OUTCOME_LIMIT.as_secs()))),
        }
    }

    async fn try_act(&self, bus: &Bus, body: ActionBody) -> Result<Option<MessageId>, Failure> {
        let passing = |error: &dyn std::error::Error| Failure::passing(service::chain(error));
        let community = CommunityId::new(COMMUNITY).map_err(|error| passing(&error))?;
        let cause = EventId::new(format!("healthcheck:{}", unix_us())).map_err(|error| passing(&error))?;
        let action = Action {
            v: VERSION,
            id: cause.action(0),
            platform: Platform::Discord,
            community: community.clone(),
            channel: self.channel.clone(),
            cause,
            cause_received_us: unix_us(),
            expires_at_ms: unix_ms() + LIFE.as_millis() as u64,
            delivery: Delivery::AtMostOnce,
            body,
        };
        // Who listens only after asking may miss the answer.
        let heard = bus.subscribe(&subject::outcome(Platform::Discord, &community)).await;
        let mut outcomes = heard.map_err(|error| passing(&error))?;
        bus.round_trip().await;
        let to = subject::action(Platform::Discord, &self.channel, &community);
        let message = Message::new(to, action.id.as_str(), &action).map_err(|error| passing(&error))?;
        bus.store(&message).await.map_err(|error| passing(&error))?;
        outcome_of(&action, &mut outcomes).await
    }
}

async fn outcome_of(action: &Action, outcomes: &mut Subscription) -> Result<Option<MessageId>, Failure> {
    while let Some(incoming) = outcomes.next().await {
        let Ok(outcome) = incoming.decode::<Outcome>() else { continue };
        if outcome.action != action.id {
            continue;
        }
        match outcome.body {
            OutcomeBody::Sent { message, .. } => return Ok(message),
            OutcomeBody::Queued { .. } => {}
            OutcomeBody::Dropped { reason, detail } => {
                return Err(Failure::passing(format!("{reason}: {detail}")));
            }
        }
    }
    Err(Failure::passing("the connection to NATS was closed"))
}
