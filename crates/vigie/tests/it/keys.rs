//! `vigie keys`, and NATS with the configuration of Compose: what it makes is what the server and the commands
//! take.

use std::{
    fs::{self, File},
    path::PathBuf,
    process::{Child, Command, Output, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use testkit::{eventually, free_port};

use crate::folder::{Folder, nats_server};

/// nats-server with the `nats.conf` of the project, in a folder like the container's root.
struct Server {
    folder: Folder,
    port: u16,
    child: Option<Child>,
}

impl Server {
    fn new() -> Self {
        let (folder, port) = (Folder::new(), free_port());
        let conf = include_str!("../../../../nats.conf")
            .replace("0.0.0.0:4222", &format!("127.0.0.1:{port}"))
            .replace("127.0.0.1:8222", &format!("127.0.0.1:{}", free_port()))
            .replace("\"/data\"", &format!("{:?}", folder.path().join("data")));
        fs::create_dir_all(folder.path().join("etc/nats")).unwrap();
        fs::write(folder.path().join("etc/nats/nats.conf"), conf).unwrap();
        Self { folder, port, child: None }
    }

    fn command(&self) -> Command {
        let log = File::create(self.folder.path().join("nats.log")).unwrap();
        let mut command = Command::new(nats_server());
        command.arg("--config").arg(self.folder.path().join("etc/nats/nats.conf"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        command
    }

    fn start(&mut self) {
        self.child = Some(self.command().spawn().unwrap());
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("nats.log")).unwrap()
    }

    /// Has it read its configuration again.
    async fn reload(&self) {
        let id = i32::try_from(self.child.as_ref().unwrap().id()).unwrap();
        kill_process(Pid::from_raw(id).unwrap(), Signal::HUP).unwrap();
        eventually(Duration::from_secs(10), || async {
            let log = self.log();
            if log.contains("Reloaded server configuration") { Ok(()) } else { Err(log) }
        })
        .await;
    }

    fn seed(&self, user: &str) -> PathBuf {
        self.folder.path().join("keys").join(user).join("nats.nk")
    }

    /// `vigie` as a user of NATS, or as nobody.
    async fn vigie(&self, user: Option<&str>, arguments: &[&str]) -> Output {
        let mut command = self.folder.vigie(arguments);
        command.env("NATS_URL", format!("nats://127.0.0.1:{}", self.port));
        if let Some(user) = user {
            command.env("NATS_NKEY_FILE", self.seed(user));
        }
        tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap()
    }

    async fn said(&self, user: Option<&str>, arguments: &[&str]) -> (Option<i32>, String) {
        let output = self.vigie(user, arguments).await;
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[tokio::test]
async fn nats_of_compose_lets_in_who_has_a_key_and_does_not_start_without_any() {
    let mut server = Server::new();
    assert_eq!(server.command().status().unwrap().code(), Some(1));
    assert!(server.log().contains("keys/nats/users.conf"), "{}", server.log());

    let (code, text) = server.said(None, &["keys", "keys"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("made keys in keys: discord-gateway,") && text.contains("users.conf"), "{text}");
    assert_eq!(
        server.said(None, &["keys", "keys"]).await.1,
        "keys holds a key for each user; nothing to do\n"
    );

    server.start();
    eventually(Duration::from_secs(10), || async {
        let (code, text) = server.said(Some("provision"), &["provision"]).await;
        if code == Some(0) { Ok(()) } else { Err(text) }
    })
    .await;
    assert_eq!(server.said(Some("provision"), &["provision", "--check"]).await, (Some(0), String::new()));
    let (_, text) = server.said(Some("operator"), &["status"]).await;
    assert!(text.contains("ACTIONS_TWITCH") && text.contains("no discord-gateway answers"), "{text}");
    let (code, text) = server.said(Some("operator"), &["dead", "list"]).await;
    assert_eq!(code, Some(0), "{text}");
    let (code, text) = server.said(None, &["status"]).await;
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("lets nobody in without a key: expected NATS_NKEY_FILE"), "{text}");
}

#[tokio::test]
async fn a_new_key_takes_the_place_of_the_old_one_once_nats_has_read_it() {
    let mut server = Server::new();
    server.said(None, &["keys", "keys"]).await;
    server.start();
    let in_time = Duration::from_secs(10);
    let asks = || async {
        let (_, text) = server.said(Some("operator"), &["status"]).await;
        if text.contains("run `vigie provision`") { Ok(()) } else { Err(text) }
    };
    eventually(in_time, asks).await;

    let (code, text) = server.said(None, &["keys", "keys", "--rotate", "operator"]).await;
    assert_eq!(code, Some(0), "{text}");
    assert!(text.starts_with("made new keys for operator"), "{text}");
    let (_, text) = server.said(Some("operator"), &["status"]).await;
    assert!(text.contains("refused the key U") && text.contains("the one of operator"), "{text}");
    server.reload().await;
    eventually(in_time, asks).await;

    let (code, text) = server.said(None, &["keys", "keys", "--rotate", "nobody"]).await;
    assert_eq!(code, Some(64), "{text}");
    assert!(text.contains("expected one of discord-gateway"), "{text}");
}
