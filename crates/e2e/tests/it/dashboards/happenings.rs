//! A run of Vigie in which everything happens that the dashboards show.

use std::time::Duration;

use bus::{Message, User};
use e2e::{Process, Stack, StackOptions};
use sandbox::{discord::RestFault, feed::Platform, people::Person};
use serde_json::json;
use testkit::{Junk, eventually};

use super::operations::Operations;

/// How long a thing may take to be counted.
const SOON: Duration = Duration::from_secs(30);

/// A Vigie with everything that has numbers.
pub struct Run {
    pub stack: Stack,
    pub healthcheck: Process,
    operations: Operations,
    _data: tempfile::TempDir,
}

impl Run {
    /// Starts it. `more` are settings for every service.
    pub async fn start(more: Vec<(&'static str, String)>) -> Self {
        let mut variables = vec![
            ("TWITCH_CLIENT_ID", "sandbox-client".to_owned()),
            ("TWITCH_CLIENT_SECRET", "sandbox-secret".to_owned()),
        ];
        variables.extend(more);
        let stack = Stack::start(StackOptions { variables, ..StackOptions::default() }).await;
        let data = tempfile::tempdir().expect("a temporary folder");
        let mut settings = stack.settings();
        settings.push(("HEALTHCHECK_DATA".to_owned(), data.path().display().to_string()));
        let healthcheck = stack.start_one("healthcheck", settings);
        healthcheck.ready().await;
        let operations = Operations::start(&stack).await;
        Self { stack, healthcheck, operations, _data: data }
    }

    /// Each service with the address of its numbers.
    pub fn targets(&self) -> Vec<(&'static str, String)> {
        vec![
            ("discord-gateway", self.stack.discord.address()),
            ("twitch-gateway", self.stack.twitch.address()),
            ("command-worker", self.stack.workers[0].address()),
            ("healthcheck", self.healthcheck.address()),
            ("backup", self.operations.backup.address()),
            ("webhook-deploy", self.operations.webhook.address()),
            ("deployer", self.operations.deployer.address()),
        ]
    }

    /// Somebody asks on both platforms and is answered.
    pub async fn ask(&self) {
        for platform in [Platform::Discord, Platform::Twitch] {
            self.stack.ask(platform, "!echo well?").await;
        }
    }

    /// It is saved, and somebody pushes.
    pub async fn operate(&self) {
        self.operations.work(&self.stack).await;
    }

    /// Whatever is shown as a rate goes on.
    pub async fn go_on(&self) {
        self.ask().await;
        self.operations.deliver().await;
    }

    /// People chat on both platforms.
    pub async fn chat(&self) {
        self.ask().await;
        for platform in [Platform::Discord, Platform::Twitch] {
            self.stack.say(platform, Person::Max, "hello everybody");
            self.stack.say(platform, Person::Max, "!thereisnosuchcommand");
        }
        self.slash().await;
        counted(&self.stack.workers[0], "vigie_interactions_total{answer=\"command\"}").await;
        counted(&self.stack.workers[0], "vigie_commands_passed_total{reason=\"unknown\"}").await;
    }

    /// What must not happen, happens.
    pub async fn trouble(&mut self) {
        self.limits_and_refusals().await;
        self.broken_links().await;
        self.poison().await;
        self.nobody_answers().await;
    }

    async fn limits_and_refusals(&self) {
        let (discord, gateway) = (self.stack.sandbox.discord(), &self.stack.discord);
        let fault = |status| RestFault {
            status,
            count: 1,
            retry_after_ms: 200,
            global: false,
            route: "POST /channels/{channel_id}/messages".to_owned(),
        };
        discord.faults().update(|knobs| knobs.rest_status = Some(fault(429)));
        self.stack.ask(Platform::Discord, "!echo in a moment").await;
        counted(gateway, "vigie_discord_requests_total{answer=\"limited_bucket\"}").await;
        discord.faults().update(|knobs| knobs.rest_status = Some(fault(400)));
        self.stack.say(Platform::Discord, Person::Ines, "!echo never");
        counted(gateway, "vigie_actions_dropped_total").await;
    }

    async fn broken_links(&self) {
        let (sandbox, stack) = (&self.stack.sandbox, &self.stack);
        sandbox.discord().drop_connections();
        counted(&stack.discord, "vigie_discord_connects_total{by=\"resume\"}").await;
        sandbox.twitch().clear_chat(&stack.twitch_channel()).expect("it is cleared");
        counted(&stack.twitch, "vigie_messages_cleared_total").await;
        sandbox.twitch().drop_connections();
        counted(&stack.twitch, "vigie_disconnects_total").await;
        stack.discord.ready().await;
        stack.twitch.ready().await;
    }

    async fn poison(&self) {
        let bus = self.stack.nats.bus_as(User::TwitchGateway, "test").await;
        let junk = Message::new("chatter.twitch".to_owned(), "junk", &Junk { v: 1 }).expect("a message");
        bus.store(&junk).await.expect("it is stored");
        counted(&self.healthcheck, "vigie_nats_dead_letters").await;
        bus.drain().await;
    }

    async fn nobody_answers(&mut self) {
        self.stack.workers[0].kill();
        self.slash().await;
        counted(&self.stack.discord, "vigie_interactions_unanswered_total").await;
        self.stack.workers[0].resume();
        self.stack.workers[0].ready().await;
        self.chat().await;
    }

    async fn slash(&self) {
        let (discord, channel) = (self.stack.sandbox.discord(), self.stack.discord_channel());
        // The command is registered a moment after the gateway is ready.
        eventually(SOON, || async { discord.slash(Person::Ines, &channel, "uptime", json!({})) }).await;
    }
}

/// Waits until a number with this beginning is above 0.
pub async fn counted(service: &Process, name: &str) {
    eventually(SOON, || async {
        let text = service.metrics().await;
        let values = text.lines().filter(|line| line.starts_with(name));
        let mut numbers = values.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok());
        if numbers.any(|value| value > 0.0) { Ok(()) } else { Err(format!("{name} in\n{text}")) }
    })
    .await;
}
