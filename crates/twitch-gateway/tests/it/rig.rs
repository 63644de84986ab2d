//! One gateway in process, with its NATS and its Twitch.

use std::{collections::HashMap, ops::Deref, time::Duration};

use bus::{Bus, Message, Queue, Stream};
use protocol::{
    Action, ActionBody, Batch, ChannelId, CommunityId, Content, Delivery, Event, EventBody, MessageId,
    Outcome, OutcomeBody, Platform, VERSION, subject,
};
use sandbox::Sandbox;
use service::{Context, Settings, clock};
use testkit::{Everything, Nats, Proxy};
use tokio::{sync::oneshot, time::timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use twitch_gateway::{Config, Timing};

/// More than anything here takes.
pub const SOON: Duration = Duration::from_secs(30);
/// The channel in which the bot is moderator.
pub const DEMO: &str = "vigie_demo";
/// The channel in which it is an ordinary viewer.
pub const QUIET: &str = "quiet_corner";

/// How a rig is set up.
pub struct Plan {
    pub sandbox: sandbox::Options,
    pub timing: Timing,
    pub variables: Vec<(&'static str, String)>,
    pub websocket: bool,
    /// Whether NATS and Twitch are reached through [`Rig::links`].
    pub proxied: bool,
}

impl Default for Plan {
    fn default() -> Self {
        let quick = Timing {
            retry_first: Duration::from_millis(20),
            retry_most: Duration::from_millis(100),
            join_within: Duration::from_secs(1),
            api_pause_first: Duration::from_millis(300),
            api_pause_most: Duration::from_secs(1),
            linger: Duration::from_millis(100),
            ..Timing::default()
        };
        Self {
            sandbox: sandbox::Options::default(),
            timing: quick,
            variables: Vec::new(),
            websocket: false,
            proxied: false,
        }
    }
}

impl Plan {
    /// The bot has these channels instead of the two.
    pub fn channels(&mut self, count: usize) -> Vec<String> {
        let names: Vec<_> = (0..count).map(|n| format!("channel_{n:04}")).collect();
        self.sandbox.twitch.extra_channels = count;
        self.variables.push(("TWITCH_CHANNELS", names.join(",")));
        names
    }
}

/// A gateway and its surroundings.
pub struct Rig {
    pub nats: Nats,
    pub bus: Bus,
    pub sandbox: Sandbox,
    /// What lies between the gateway and the others, when it is proxied.
    pub links: Option<Links>,
    gateway: Gateway,
    config: Config,
    outcomes: bus::Subscription,
    actions: u32,
}

/// The ways of a gateway to the others.
pub struct Links {
    pub nats: Proxy,
    pub irc: Proxy,
    pub http: Proxy,
}

/// A gateway in a thread and a runtime of its own, so that killing it ends all that it has spawned.
/// Dropping it kills it as SIGKILL does.
pub struct Gateway {
    pub ctx: Context,
    ended: oneshot::Receiver<anyhow::Result<()>>,
    _alive: DropGuard,
}

impl Gateway {
    pub fn start(config: &Config, instance: &str) -> Self {
        let ctx = Context { instance: instance.to_owned(), ..Context::new("twitch-gateway") };
        let (tell, ended) = oneshot::channel();
        let (killed, config, begun) = (CancellationToken::new(), config.clone(), ctx.clone());
        let alive = killed.clone().drop_guard();
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let outcome = runtime.block_on(killed.run_until_cancelled(twitch_gateway::run(begun, config)));
            runtime.shutdown_background();
            // Who was killed has no last words, and nobody listens after the end of a test.
            let _ = outcome.map(|outcome| tell.send(outcome));
        });
        Self { ctx, ended, _alive: alive }
    }

    pub async fn until_ready(&self) {
        testkit::eventually(SOON, || async {
            let readiness = self.ctx.health.readiness();
            // Before the gateway has said what it is made of, nothing in it is down.
            let begun = self.ctx.metrics.snapshot().contains_key("events_total");
            if begun && readiness.ready { Ok(()) } else { Err(readiness.reason) }
        })
        .await;
    }

    pub async fn until_reason(&self, part: &str) -> String {
        testkit::eventually(SOON, || async {
            let reason = self.ctx.health.readiness().reason;
            if reason.contains(part) { Ok(reason) } else { Err(reason) }
        })
        .await
    }

    /// Waits until the gateway has counted this often.
    pub async fn until_counted(&self, name: &str, wanted: f64) {
        testkit::eventually(SOON, || async {
            if self.counted(name) >= wanted { Ok(()) } else { Err(self.ctx.metrics.snapshot()) }
        })
        .await;
    }

    /// How often it has counted.
    pub fn counted(&self, name: &str) -> f64 {
        self.ctx.metrics.snapshot().get(name).copied().unwrap_or_default()
    }

    /// How it ends by itself.
    pub async fn ended(&mut self) -> anyhow::Result<()> {
        timeout(SOON, &mut self.ended).await.expect("the gateway ends in time").expect("it was not killed")
    }

    /// Ends it as SIGTERM does.
    pub async fn end(&mut self) {
        self.ctx.shutdown.cancel();
        self.ended().await.unwrap();
    }
}

impl Links {
    async fn start(nats: &Nats, sandbox: &Sandbox) -> Self {
        let target = |url: String| url.rsplit('/').next().unwrap_or_default().to_owned();
        Self {
            nats: Proxy::start(target(nats.url())).await,
            irc: Proxy::start(sandbox.irc_addr().to_string()).await,
            http: Proxy::start(target(sandbox.http_url())).await,
        }
    }

    fn variables(&self) -> [(&'static str, String); 4] {
        let http = format!("http://{}", self.http.address());
        [
            ("NATS_URL", format!("nats://{}", self.nats.address())),
            ("TWITCH_IRC_URL", format!("irc://{}", self.irc.address())),
            ("TWITCH_API_URL", http.clone()),
            ("TWITCH_AUTH_URL", http),
        ]
    }
}

/// A rig is its first gateway, with what surrounds it.
impl Deref for Rig {
    type Target = Gateway;

    fn deref(&self) -> &Gateway {
        &self.gateway
    }
}

/// Variables that let a gateway reach a sandbox.
pub fn variables(nats: &Nats, sandbox: &Sandbox) -> HashMap<String, String> {
    [
        ("TWITCH_USERNAME", "vigie_bot".to_owned()),
        ("TWITCH_OAUTH_TOKEN", "oauth:sandbox-token".to_owned()),
        ("TWITCH_CHANNELS", format!("{DEMO},{QUIET}")),
        ("TWITCH_IRC_URL", format!("irc://{}", sandbox.irc_addr())),
        ("TWITCH_API_URL", sandbox.http_url()),
        ("TWITCH_AUTH_URL", sandbox.http_url()),
        ("NATS_URL", nats.url()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

pub fn with_app() -> Vec<(&'static str, String)> {
    vec![
        ("TWITCH_CLIENT_ID", "sandbox-client".to_owned()),
        ("TWITCH_CLIENT_SECRET", "sandbox-secret".to_owned()),
    ]
}

impl Rig {
    /// Starts everything and waits until the gateway is ready.
    pub async fn ready(plan: Plan) -> Self {
        let rig = Box::pin(Self::start(plan)).await;
        rig.until_ready().await;
        rig
    }

    /// Starts everything.
    pub async fn start(plan: Plan) -> Self {
        service::install_crypto();
        let nats = Nats::start().await;
        let bus = nats.bus("test").await;
        let sandbox = Sandbox::start(plan.sandbox).await.unwrap();
        let mut values = variables(&nats, &sandbox);
        if plan.websocket {
            values.insert("TWITCH_IRC_URL".to_owned(), format!("ws://{}", sandbox.irc_ws_addr()));
        }
        let links = if plan.proxied { Some(Links::start(&nats, &sandbox).await) } else { None };
        let proxied = links.iter().flat_map(Links::variables);
        values.extend(proxied.map(|(name, value)| (name.to_owned(), value)));
        values.extend(plan.variables.into_iter().map(|(name, value)| (name.to_owned(), value)));
        let mut settings = Settings::from_variables(&[twitch_gateway::SETTINGS], values);
        let mut config = Config::read(&mut settings);
        assert_eq!(settings.problems(), []);
        config.timing = plan.timing;
        let outcomes = bus.subscribe("outcome.>").await.unwrap();
        let gateway = Gateway::start(&config, "one");
        Self { nats, bus, sandbox, links, gateway, config, outcomes, actions: 0 }
    }

    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Starts another gateway of the same account.
    pub async fn another(&self, instance: &str) -> Gateway {
        let gateway = Gateway::start(&self.config, instance);
        gateway.until_ready().await;
        gateway
    }

    /// Kills the gateway as SIGKILL does.
    pub async fn kill(&mut self) {
        let Gateway { ended, _alive: alive, .. } = &mut self.gateway;
        *alive = CancellationToken::new().drop_guard();
        assert!(ended.await.is_err(), "it had no last words");
    }

    /// Kills the gateway as SIGKILL does, and starts it again.
    pub async fn kill_and_start(&mut self) {
        self.kill().await;
        self.gateway = Gateway::start(&self.config, "one");
        self.until_ready().await;
    }

    /// Ends the gateway as SIGTERM does.
    pub async fn end(&mut self) {
        self.gateway.end().await;
    }

    /// How the gateway ends by itself.
    pub async fn ended(&mut self) -> anyhow::Result<()> {
        self.gateway.ended().await
    }

    pub async fn count(&self, name: &str, wanted: u64) {
        self.sandbox.counters().wait(name, wanted, SOON).await.unwrap();
    }

    pub fn channel(&self, login: &str) -> ChannelId {
        let channels = self.sandbox.twitch().channels();
        ChannelId::new(&channels.iter().find(|channel| channel.login == login).unwrap().id).unwrap()
    }

    /// The next commands.
    pub async fn commands(&self, count: usize) -> Vec<Event> {
        self.events(Everything::of(&self.bus, Queue::Commands, 64).await, count).await
    }

    /// The next community events.
    pub async fn community(&self, count: usize) -> Vec<Event> {
        self.events(Everything::shared(&self.bus, Stream::Events, "community", 64).await, count).await
    }

    async fn events(&self, mut taken: Everything, count: usize) -> Vec<Event> {
        let mut events = Vec::new();
        while events.len() < count {
            let delivery = timeout(SOON, taken.next()).await.unwrap_or_else(|_| panic!("only {events:?}"));
            delivery.ack_sync().await.unwrap();
            events.push(delivery.decode().unwrap());
        }
        events
    }

    /// The texts of the next `count` chat messages.
    pub async fn chatter(&self, count: usize) -> Vec<String> {
        let mut consumer = self.bus.consume(Stream::Chatter, "chatter", 64).await.unwrap();
        let mut texts = Vec::new();
        while texts.len() < count {
            let delivery = timeout(SOON, consumer.next()).await.unwrap_or_else(|_| panic!("only {texts:?}"));
            delivery.ack_sync().await.unwrap();
            for event in delivery.decode::<Batch>().unwrap().events {
                let EventBody::Message(message) = event.body else { panic!("{event:?}") };
                texts.push(message.text);
            }
        }
        texts
    }

    /// Asks for an action in a channel and returns it.
    pub async fn ask(&mut self, login: &str, body: ActionBody) -> Action {
        self.ask_with(login, body, Delivery::AtMostOnce, Duration::from_secs(30)).await
    }

    pub async fn ask_with(
        &mut self,
        login: &str,
        body: ActionBody,
        delivery: Delivery,
        lives: Duration,
    ) -> Action {
        self.actions += 1;
        let channel = self.channel(login);
        let cause =
            protocol::EventId::of_platform(Platform::Twitch, &format!("test-{}", self.actions)).unwrap();
        let action = Action {
            v: VERSION,
            id: cause.action(0),
            platform: Platform::Twitch,
            community: CommunityId::new(channel.as_str()).unwrap(),
            channel,
            cause,
            cause_received_us: clock::unix_us(),
            expires_at_ms: clock::unix_ms() + u64::try_from(lives.as_millis()).unwrap(),
            delivery,
            body,
        };
        self.store(&action, action.id.as_str()).await;
        action
    }

    /// Stores an action under a message id of its own, as a second delivery would come.
    pub async fn store(&self, action: &Action, message_id: &str) {
        let subject = subject::action(Platform::Twitch, &action.channel, &action.community);
        self.bus.store(&Message::new(subject, message_id, action).unwrap()).await.unwrap();
    }

    /// The next outcome, however long it takes.
    pub async fn any_outcome(&mut self) -> Outcome {
        self.outcomes.next().await.unwrap().decode().unwrap()
    }

    /// The next outcome, whichever action it is of.
    pub async fn outcome(&mut self) -> Outcome {
        timeout(SOON, self.outcomes.next()).await.expect("an outcome in time").unwrap().decode().unwrap()
    }

    /// The outcome of the only action in flight.
    pub async fn outcome_of(&mut self, action: &Action) -> OutcomeBody {
        let outcome = self.outcome().await;
        assert_eq!(outcome.action, action.id);
        outcome.body
    }

    /// Says something, which Twitch takes, and gives the id of the message.
    pub async fn say(&mut self, login: &str, text: impl Into<String>) -> MessageId {
        let action = self.ask(login, send(text)).await;
        message_of(&self.outcome_of(&action).await).clone()
    }

    /// What is seen in a channel.
    pub fn seen(&self, login: &str) -> Vec<String> {
        self.sandbox.twitch().history(login).into_iter().map(|line| line.text).collect()
    }

    /// Ends the gateway as SIGTERM does, and the rest.
    pub async fn stop(mut self) {
        self.end().await;
        self.sandbox.stop().await;
    }
}

pub fn send(text: impl Into<String>) -> ActionBody {
    ActionBody::Send { content: Content::text(text) }
}

pub fn reply(to: &str, text: impl Into<String>) -> ActionBody {
    ActionBody::Reply { to: MessageId::new(to).unwrap(), content: Content::text(text) }
}

pub fn dropped(outcome: &OutcomeBody) -> (protocol::DropReason, &str) {
    match outcome {
        OutcomeBody::Dropped { reason, detail } => (*reason, detail),
        other => panic!("{other:?}"),
    }
}

pub fn message_of(outcome: &OutcomeBody) -> &MessageId {
    match outcome {
        OutcomeBody::Sent { message: Some(message), platform_us, total_us } => {
            assert!(*platform_us > 0 && total_us >= platform_us, "{outcome:?}");
            message
        }
        other => panic!("{other:?}"),
    }
}
