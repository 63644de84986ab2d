//! A gateway that is stopped or killed goes on where it was.

use std::{
    collections::BTreeSet,
    process::{Child, Command, Stdio},
};

use discord_gateway::cursor::Cursor;
use protocol::{Batch, Event, VERSION, control::Restart};
use sandbox::{discord, people::Person};
use testkit::{eventually, free_port};

use crate::rig::{LONG, Rig, next_command};

#[tokio::test]
async fn a_restart_resumes_and_loses_nothing() {
    let rig = Rig::start().await;
    let (mut commands, counters) = (rig.commands().await, rig.sandbox.counters());
    let discord = rig.sandbox.discord();
    let gateway = rig.gateway().await;
    let before = discord.say(Person::Max, &rig.general(), "!before").unwrap();
    assert_eq!(next_command(&mut commands).await.id.as_str(), format!("discord:{before}"));
    gateway.stop().await.unwrap();

    let missed = discord.say(Person::Max, &rig.general(), "!missed").unwrap();
    let gateway = rig.gateway().await;
    let event = next_command(&mut commands).await;
    assert_eq!(event.id.as_str(), format!("discord:{missed}"));
    // No GUILD_CREATE comes after a resume: the rank was asked for.
    let protocol::EventBody::Command(command) = event.body else { panic!() };
    assert_eq!(command.message.author.rank, protocol::Rank::Moderator);
    let all = counters.all();
    assert_eq!((all["discord.gateway.identify"], all["discord.gateway.resume"]), (1, 1), "{all:?}");
    gateway.counted("communities", 1.0).await;
    gateway.stop().await.unwrap();
}

#[tokio::test]
async fn a_killed_gateway_loses_nothing() {
    // Discord keeps more for a session with more guilds.
    let rig = Rig::with(discord::Options { extra_guilds: 40, ..Default::default() }).await;
    let (mut commands, mut chatter) = (rig.commands().await, rig.chatter().await);
    let discord = rig.sandbox.discord().clone();
    let general = rig.general();
    let mut first = Process::start(&rig);
    rig.sandbox.counters().wait("discord.gateway.identify", 1, LONG).await.unwrap();
    kept_cursor(&rig).await;
    let mut said = BTreeSet::new();
    for n in 0..300 {
        let text = if n % 10 == 0 { format!("!command {n}") } else { format!("chatter {n}") };
        said.insert(format!("discord:{}", discord.say(Person::Ines, &general, &text).unwrap()));
        if n == 150 {
            first.kill();
        }
        tokio::task::yield_now().await;
    }
    let _second = Process::start(&rig);
    let mut heard = BTreeSet::new();
    let hearing = async {
        while !heard.is_superset(&said) {
            tokio::select! {
                delivery = commands.next() => {
                    let event: Event = delivery.decode().unwrap();
                    delivery.ack_sync().await.unwrap();
                    assert!(heard.insert(event.id.as_str().to_owned()), "a command came twice: {event:?}");
                }
                delivery = chatter.next() => {
                    let batch: Batch = delivery.decode().unwrap();
                    delivery.ack_sync().await.unwrap();
                    heard.extend(batch.events.iter().map(|event| event.id.as_str().to_owned()));
                }
            }
        }
    };
    if tokio::time::timeout(LONG, hearing).await.is_err() {
        panic!("lost: {:?}", said.difference(&heard));
    }
    assert_eq!(rig.sandbox.counters().get("discord.gateway.identify"), 1, "the session was resumed");
}

#[tokio::test]
async fn a_gateway_that_is_told_to_start_again_ends_in_order() {
    let rig = Rig::start().await;
    let (mut commands, discord) = (rig.commands().await, rig.sandbox.discord());
    let mut first = Process::start(&rig);
    kept_cursor(&rig).await;
    let order = Restart {
        v: VERSION,
        by: "test".to_owned(),
        reason: "to see that it does".to_owned(),
        instance: None,
    };
    let answer = rig.bus.command_restart("discord-gateway", &order, LONG).await.unwrap();
    assert_eq!(answer.instance, "under-test");
    assert_eq!(first.ended().await, Some(i32::from(service::EXIT_START_AGAIN)));
    let missed = discord.say(Person::Max, &rig.general(), "!missed").unwrap();
    let _second = Process::start(&rig);
    assert_eq!(next_command(&mut commands).await.id.as_str(), format!("discord:{missed}"));
    assert_eq!(rig.sandbox.counters().get("discord.gateway.identify"), 1, "the session was resumed");
}

#[tokio::test]
async fn a_session_that_is_gone_is_replaced_by_a_new_one() {
    let rig = Rig::start().await;
    rig.gateway().await.stop().await.unwrap();
    rig.sandbox.discord().invalidate_sessions(false);
    let cursor = kept_cursor(&rig).await;
    let kv = rig.bus.bucket(bus::BucketName::Session).await.unwrap();
    let stale = Cursor { session: "gone".to_owned(), ..cursor.1 };
    kv.put(&cursor.0, &stale).await.unwrap();
    let gateway = rig.gateway().await;
    assert_eq!(rig.sandbox.counters().get("discord.gateway.identify"), 2);
    gateway.stop().await.unwrap();
}

/// The cursor of the only shard, once there is one.
async fn kept_cursor(rig: &Rig) -> (String, Cursor) {
    service::install_crypto();
    let kv = rig.bus.bucket(bus::BucketName::Session).await.unwrap();
    let me: serde_json::Value = reqwest::Client::new()
        .get(format!("{}/api/v10/applications/@me", rig.sandbox.http_url()))
        .header("authorization", "Bot sandbox-token")
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let key = format!("discord.{}.0.1", me["id"].as_str().unwrap());
    let cursor =
        eventually(LONG, || async { kv.get::<Cursor>(&key).await.ok().flatten().ok_or("none yet") }).await;
    (key, cursor)
}

/// The real binary, so that it can be killed.
struct Process(Child);

impl Process {
    fn start(rig: &Rig) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_discord-gateway"));
        command.env_clear().envs(rig.settings()).stdout(Stdio::null()).stderr(Stdio::null());
        command.env("VIGIE_HTTP_ADDR", format!("127.0.0.1:{}", free_port()));
        command.env("VIGIE_INSTANCE", "under-test");
        Self(command.spawn().unwrap())
    }

    /// Waits until it ends; its exit code.
    async fn ended(&mut self) -> Option<i32> {
        eventually(LONG, || std::future::ready(self.0.try_wait().unwrap().ok_or("it runs"))).await.code()
    }

    fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // An error says that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
