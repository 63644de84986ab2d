//! The binary: what it says of settings that cannot be used, its probe, its end.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use testkit::{eventually, free_port};

use crate::world::{SECRET, SOON, World, github, send};

const PROGRAM: &str = env!("CARGO_BIN_EXE_webhook-deploy");

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn it_does_not_start_with_a_weak_secret_and_names_every_fault() {
    let folder = tempfile::tempdir().unwrap();
    let hooks = folder.path().join("hooks.toml");
    std::fs::write(
        &hooks,
        "[site]\nforge = \"github\"\nrepository = \"ines/vigie\"\nbranch = \"main\"\nsecret_file = \"empty\"\n\
         [other]\nforge = \"gitea\"\nrepository = \"ines/other\"\nbranch = \"main\"\nsecret_file = \"short\"\n\
         [third]\nforge = \"gitlab\"\nrepository = \"ines\"\nbranch = \"main\"\n",
    )
    .unwrap();
    std::fs::write(folder.path().join("empty"), "\n").unwrap();
    std::fs::write(folder.path().join("short"), "a_random_secret").unwrap();
    let ended = Command::new(PROGRAM)
        .env_clear()
        .env("WEBHOOK_HOOKS_FILE", &hooks)
        .env("WEBHOOK_PROXIES", "everybody")
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(ended.status.code(), Some(64));
    let said = String::from_utf8(ended.stderr).unwrap();
    for expected in [
        "5 settings cannot be used",
        "[site] secret_file: empty: is empty",
        "[other] secret_file: short: has 15 bytes, expected at least 32",
        "[third] repository: expected",
        "[third] secret_file: is not set",
        "WEBHOOK_PROXIES: expected networks",
    ] {
        assert!(said.contains(expected), "{expected}\n---\n{said}");
    }
    assert!(!said.contains("a_random_secret"), "{said}");
}

#[tokio::test]
async fn it_answers_and_ends_when_asked() {
    let world = World::start().await;
    let deployer = world.deployer().await;
    let [probes, hooks] = [free_port(), free_port()].map(|port| format!("127.0.0.1:{port}"));
    let start = |hooks: Option<&str>| {
        let mut command = Command::new(PROGRAM);
        command.env_clear().env("NATS_URL", world.nats.url()).env("VIGIE_HTTP_ADDR", &probes);
        if let Some(address) = hooks {
            let file = world.folder.path().join("hooks.toml");
            command.env("WEBHOOK_ADDR", address).env("WEBHOOK_HOOKS_FILE", file);
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Running(command.spawn().unwrap())
    };
    let probe = || async {
        let asked = Command::new(PROGRAM)
            .env_clear()
            .env("VIGIE_HTTP_ADDR", &probes)
            .arg("--probe")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        if asked.status.success() { Ok(()) } else { Err(String::from_utf8(asked.stderr).unwrap()) }
    };
    for address in [Some(hooks.as_str()), None] {
        let mut running = start(address);
        eventually(SOON, probe).await;
        if let Some(address) = address {
            let delivery = github("github", SECRET, "push", &crate::world::push(crate::world::COMMIT), &[]);
            assert_eq!(send(address.parse().unwrap(), &delivery).await.status, 202);
        }
        let id = Pid::from_raw(i32::try_from(running.0.id()).unwrap()).unwrap();
        kill_process(id, Signal::TERM).unwrap();
        let ended = eventually(Duration::from_secs(10), || {
            let ended = running.0.try_wait().unwrap();
            async move { ended.ok_or("it still runs") }
        })
        .await;
        assert_eq!(ended.code(), Some(0));
    }
    assert_eq!(deployer.heard().len(), 1);
}
