//! A real server of PostgreSQL.

use std::{
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use backup::Database;
use protocol::control::BackupOrder;
use testkit::{eventually, free_port};

use crate::{
    programs,
    world::{World, restore},
};

const FOLDERS: [&str; 3] =
    ["/usr/lib/postgresql/15/bin", "/usr/lib/postgresql/16/bin", "/usr/lib/postgresql/17/bin"];
/// Whom nobody knows: the server does not run as root.
const NOBODY: u32 = 65534;

struct Server {
    child: Child,
    programs: PathBuf,
    port: u16,
    _folder: tempfile::TempDir,
}

impl Server {
    async fn start() -> Option<Self> {
        programs::found("pg_dump", &[])?;
        programs::found("pg_restore", &[])?;
        let programs = programs::found("postgres", &FOLDERS)?.parent()?.to_owned();
        let folder = tempfile::tempdir().unwrap();
        let (root, data) = (rustix::process::geteuid().is_root(), folder.path().join("data"));
        if root {
            std::os::unix::fs::chown(folder.path(), Some(NOBODY), Some(NOBODY)).unwrap();
        }
        let command = |name: &str| {
            let mut command = Command::new(programs.join(name));
            command
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .current_dir(folder.path());
            if root {
                command.uid(NOBODY).gid(NOBODY);
            }
            command
        };
        let made =
            command("initdb").args(["--auth=trust", "--username=bot", "--no-sync", "-D"]).arg(&data).status();
        assert!(made.unwrap().success());
        let port = free_port();
        let child = command("postgres")
            .args(["-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-p", &port.to_string(), "-k"])
            .arg(folder.path())
            .arg("-D")
            .arg(&data)
            .spawn()
            .unwrap();
        let server = Self { child, programs, port, _folder: folder };
        eventually(Duration::from_secs(30), || async { server.run("postgres", "SELECT 1") }).await;
        server.run("postgres", "CREATE DATABASE vigie").unwrap();
        Some(server)
    }

    fn run(&self, database: &str, query: &str) -> Result<String, String> {
        let port = self.port.to_string();
        let psql = Command::new(self.psql())
            .args(["-XAtq", "-h", "127.0.0.1", "-p", &port, "-U", "bot", "-d", database, "-c", query])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&psql.stdout).trim().to_owned();
        if psql.status.success() { Ok(said) } else { Err(String::from_utf8_lossy(&psql.stderr).into_owned()) }
    }

    fn psql(&self) -> PathBuf {
        let beside = self.programs.join("psql");
        if beside.is_file() { beside } else { Path::new("psql").to_owned() }
    }

    fn count(&self) -> String {
        self.run("vigie", "SELECT count(*) FROM people").unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn it_is_saved_proved_and_put_back_as_a_whole() {
    let Some(server) = Server::start().await else { return };
    server
        .run(
            "vigie",
            "CREATE TABLE people (name TEXT); INSERT INTO people SELECT 'x' FROM generate_series(1, 500)",
        )
        .unwrap();
    let world = World::start().await;
    let mut config = world.config(false);
    let url = format!("postgres://bot:hunter2@127.0.0.1:{}/vigie", server.port);
    config.database = Some(Database::Postgres(url.into()));
    let service = world.serve(config).await;
    world.good(BackupOrder::Create).await;
    let words = world.good(BackupOrder::Drill).await;
    assert!(words.contains("500 rows"), "{words}");
    server.run("vigie", "DELETE FROM people WHERE ctid IN (SELECT ctid FROM people LIMIT 100)").unwrap();
    assert_eq!(server.count(), "400");
    world.good(restore("latest", None)).await;
    assert_eq!(server.count(), "500");
    service.stop().await;
}
