//! A gateway with everything around it.

use std::{collections::HashMap, time::Duration};

use bus::{Bus, Consumer, Queue, Stream};
use discord_gateway::{Config, SETTINGS, run};
use protocol::{Batch, Event};
use sandbox::{Options, Sandbox, discord};
use service::{Context, Settings};
use testkit::{Everything, Nats, eventually};
use tokio::{task::JoinHandle, time::timeout};

/// Longer than anything here takes on a slow machine.
pub const LONG: Duration = Duration::from_secs(20);

/// NATS, a local Discord, and a connection of the test's own.
pub struct Rig {
    pub nats: Nats,
    pub sandbox: Sandbox,
    pub bus: Bus,
}

impl Rig {
    pub async fn start() -> Self {
        Self::with(discord::Options::default()).await
    }

    pub async fn with(options: discord::Options) -> Self {
        let nats = Nats::start().await;
        let bus = nats.bus("test").await;
        let options = Options { discord: options, ..Options::default() };
        Self { nats, sandbox: Sandbox::start(options).await.unwrap(), bus }
    }

    /// The settings of a gateway in this rig.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        vec![
            ("NATS_URL", self.nats.url()),
            ("DISCORD_API_URL", self.sandbox.http_url()),
            ("DISCORD_TOKEN", "sandbox-token".to_owned()),
        ]
    }

    /// A gateway that is ready.
    pub async fn gateway(&self) -> Gateway {
        let gateway = Gateway::start(self.settings());
        gateway.ready().await;
        gateway
    }

    /// The channel `#general`.
    pub fn general(&self) -> String {
        self.sandbox.discord().channels().first().unwrap().id.clone()
    }

    pub fn guild(&self) -> String {
        self.sandbox.discord().channels().first().unwrap().guild_id.clone()
    }

    pub async fn commands(&self) -> Everything {
        Everything::of(&self.bus, Queue::Commands, 16).await
    }

    pub async fn chatter(&self) -> Consumer {
        self.bus.consume(Stream::Chatter, "chatter", 16).await.unwrap()
    }
}

/// A gateway in this process.
pub struct Gateway {
    pub ctx: Context,
    task: JoinHandle<anyhow::Result<()>>,
}

impl Gateway {
    pub fn start(settings: Vec<(&str, String)>) -> Self {
        Self::with(settings, Context::new("discord-gateway"))
    }

    /// One of several.
    pub fn named(settings: Vec<(&str, String)>, instance: &str) -> Self {
        let ctx = Context { instance: instance.to_owned(), ..Context::new("discord-gateway") };
        Self::with(settings, ctx)
    }

    fn with(settings: Vec<(&str, String)>, ctx: Context) -> Self {
        service::install_crypto();
        // `RUST_LOG=1 cargo test -- --nocapture` shows what a failing test did.
        if std::env::var_os("RUST_LOG").is_some() {
            let _ = tracing_subscriber::fmt().with_max_level(tracing::Level::DEBUG).try_init();
        }
        let variables: HashMap<_, _> =
            settings.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        let mut settings = Settings::from_variables(&[SETTINGS], variables);
        let config = Config::read(&mut settings);
        assert!(settings.problems().is_empty(), "{:?}", settings.problems());
        let task = tokio::spawn(run(ctx.clone(), config));
        Self { ctx, task }
    }

    pub async fn ready(&self) {
        eventually(LONG, || async {
            if self.ctx.metrics.snapshot().is_empty() {
                return Err("it has not begun yet".to_owned());
            }
            let readiness = self.ctx.health.readiness();
            if readiness.ready { Ok(()) } else { Err(readiness.reason) }
        })
        .await;
    }

    /// Waits until the health says something with `words`.
    pub async fn says(&self, words: &str) {
        eventually(LONG, || async {
            let reason = self.ctx.health.readiness().reason;
            if reason.contains(words) { Ok(()) } else { Err(reason) }
        })
        .await;
    }

    /// Waits until a metric is at least `wanted`.
    pub async fn counted(&self, name: &str, wanted: f64) {
        eventually(LONG, || async {
            let all = self.ctx.metrics.snapshot();
            if all.get(name).is_some_and(|value| *value >= wanted) { Ok(()) } else { Err(all) }
        })
        .await;
    }

    /// Stops it as SIGTERM would.
    pub async fn stop(self) -> anyhow::Result<()> {
        self.ctx.shutdown.cancel();
        timeout(LONG, self.task).await.expect("the gateway stops").unwrap()
    }

    /// Waits until it ends by itself.
    pub async fn ended(self) -> anyhow::Result<()> {
        timeout(Duration::from_secs(60), self.task).await.expect("the gateway ends").unwrap()
    }
}

/// The next command, acknowledged.
pub async fn next_command(consumer: &mut Everything) -> Event {
    let delivery = timeout(LONG, consumer.next()).await.expect("a command comes");
    let event = delivery.decode().unwrap();
    delivery.ack_sync().await.unwrap();
    event
}

/// The next batch, acknowledged.
pub async fn next_batch(consumer: &mut Consumer) -> Batch {
    let delivery = timeout(LONG, consumer.next()).await.expect("a batch comes");
    let batch = delivery.decode().unwrap();
    delivery.ack_sync().await.unwrap();
    batch
}
