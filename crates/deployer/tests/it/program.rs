//! The binary: its probes, its end, and a deploy that the next one goes on with.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use testkit::{eventually, free_port};

use crate::world::{SOON, World};

struct Program {
    child: Child,
    url: String,
}

impl Program {
    fn start(world: &World) -> Self {
        Self::start_with(world, [])
    }

    fn start_with<const N: usize>(world: &World, more: [(&str, &str); N]) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let config = world.config();
        let child = Command::new(env!("CARGO_BIN_EXE_deployer"))
            .env_clear()
            .envs(config.environment.iter().map(|(name, value)| (name, value)))
            .env("VIGIE_HTTP_ADDR", &address)
            .envs(world.variables())
            .envs(more)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, url: format!("http://{address}") }
    }

    async fn ready(&self) {
        eventually(SOON, || async {
            let answer =
                reqwest::get(format!("{}/readyz", self.url)).await.map_err(|error| error.to_string())?;
            if answer.status().is_success() { Ok(()) } else { Err(answer.text().await.unwrap_or_default()) }
        })
        .await;
    }

    async fn end(&mut self, signal: Signal) -> Option<i32> {
        let id = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(id, signal).unwrap();
        let ended = eventually(Duration::from_secs(10), || {
            let ended = self.child.try_wait().unwrap();
            async move { ended.ok_or("it still runs") }
        });
        ended.await.code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn it_is_ready_ends_when_asked_and_goes_on_after_a_kill() {
    let world = World::start().await;
    world.release(1);
    world.put("fake/hang-before", "pull --quiet");
    let mut program = Program::start(&world);
    program.ready().await;
    let id = world.request().await;
    eventually(SOON, || async { std::fs::read(world.path("fake/hung")) }).await;
    assert_eq!(program.end(Signal::KILL).await, None);
    // It would take a minute to go to the end at the pace of people.
    world.put("fake/fail", "pull --quiet");
    let mut program = Program::start(&world);
    let end = world.end(&id).await;
    assert!(end.words.starts_with("fetch: `docker pull") && end.words.contains("not well"), "{}", end.words);
    let metrics = reqwest::get(format!("{}/metrics", program.url)).await.unwrap().text().await.unwrap();
    assert!(metrics.contains("vigie_deploys_total{state=\"never_started\"} 1\n"), "{metrics}");
    assert_eq!(program.end(Signal::TERM).await, Some(0));
}

/// Nothing else of its environment goes there.
#[tokio::test]
async fn docker_is_told_which_engine_to_ask() {
    let world = World::start().await;
    let program = Program::start_with(
        &world,
        [
            ("DOCKER_HOST", "tcp://192.0.2.7:2376"),
            ("DOCKER_CONTEXT", "boat"),
            ("DOCKER_TLS_VERIFY", "1"),
            ("DOCKER_CERT_PATH", "/srv/certs"),
        ],
    );
    program.ready().await;
    let told = std::fs::read_to_string(world.path("fake/told")).unwrap();
    assert_eq!(told.trim_end(), "tcp://192.0.2.7:2376 boat 1 /srv/certs");
}

#[tokio::test]
async fn as_a_helper_it_does_what_the_journal_says_and_nothing_else() {
    let world = World::start().await;
    let config = world.config();
    let helper = Command::new(env!("CARGO_BIN_EXE_deployer"))
        .arg(deployer::HELP)
        .env_clear()
        .envs(config.environment.iter().map(|(name, value)| (name, value)))
        .envs(world.variables())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(helper.status.code(), Some(1));
    let words = String::from_utf8(helper.stderr).unwrap();
    assert_eq!(words, "no succession goes on: this is only run by the deployer\n");
    assert!(world.commands().is_empty());
}
