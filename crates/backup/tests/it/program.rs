//! The binary: its probe, and its end in the midst of a job.

use std::process::{Child, Command, Stdio};

use protocol::control::BackupOrder;
use rustix::process::{Pid, Signal, kill_process};
use testkit::{eventually, free_port};

use crate::world::{SOON, World};

/// What is tried.
pub const BINARY: &str = env!("CARGO_BIN_EXE_backup");

pub struct Program(pub Child);

impl Drop for Program {
    fn drop(&mut self) {
        // `SIGKILL`: nothing is put in order.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Program {
    /// Asks it to end, which it does in order.
    pub async fn terminate(&mut self) {
        let id = Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap();
        kill_process(id, Signal::TERM).unwrap();
        let ended = eventually(SOON, || {
            let ended = self.0.try_wait().unwrap();
            async move { ended.ok_or("it still runs") }
        })
        .await;
        assert_eq!(ended.code(), Some(0));
    }
}

/// With the settings of [`World::config`].
pub fn start(world: &World, restic: bool, address: &str) -> Program {
    let path = |below: &str| world.path(below).display().to_string();
    let mut command = Command::new(BINARY);
    set(&mut command, world, address);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    if restic {
        command.env("BACKUP_REPOSITORY", path("repository")).env("BACKUP_PASSWORD", "correct horse battery");
    } else {
        command.env("BACKUP_EXPORT", path("export"));
    }
    Program(command.spawn().unwrap())
}

/// Tells it all but where backups are.
pub fn set(command: &mut Command, world: &World, address: &str) {
    let path = |below: &str| world.path(below).display().to_string();
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("VIGIE_HTTP_ADDR", address)
        .env("NATS_URL", world.nats.url())
        .env("DATABASE_URL", format!("sqlite://{}", path("bot/vigie.db")))
        .env("BACKUP_FOLDERS", format!("gitea={}", path("gitea")))
        .env("BACKUP_DATA", path("data"))
        .stdin(Stdio::null());
}

#[tokio::test]
async fn it_obeys_is_ready_and_ends_in_the_midst_of_a_job_when_asked() {
    let world = World::start().await;
    let address = format!("127.0.0.1:{}", free_port());
    let mut program = start(&world, false, &address);
    world.status().await;
    let probe = Command::new(BINARY)
        .arg("--probe")
        .env_clear()
        .env("VIGIE_HTTP_ADDR", &address)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(probe.unwrap().success());
    // The database is locked, so that the job is not over.
    let database = world.database();
    database.execute_batch("PRAGMA journal_mode=DELETE; BEGIN EXCLUSIVE").unwrap();
    world.order(BackupOrder::Create).await.unwrap();
    program.terminate().await;
    database.execute_batch("COMMIT").unwrap();
    let program = start(&world, false, &address);
    let end = eventually(SOON, || async {
        let status = world.status().await;
        status.job.clone().and_then(|job| job.end).ok_or(status)
    })
    .await;
    assert!(!end.good && end.words.contains("nothing half"), "{}", end.words);
    world.good(BackupOrder::Create).await;
    drop(program);
}
