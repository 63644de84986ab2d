//! The binary: its HTTP server, its probe, and its end.

use std::{
    process::{Child, Command, Stdio},
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};
use testkit::{Nats, eventually, free_port};

use crate::world::SOON;

/// The service in a process of its own.
pub struct Program {
    child: Child,
    url: String,
}

impl Program {
    pub fn start(variables: &[(&str, &str)]) -> Self {
        let address = format!("127.0.0.1:{}", free_port());
        let child = Command::new(env!("CARGO_BIN_EXE_healthcheck"))
            .env_clear()
            .env("VIGIE_HTTP_ADDR", &address)
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self { child, url: format!("http://{address}") }
    }

    pub async fn get(&self, path: &str) -> Result<(u16, String), String> {
        let answer = reqwest::get(format!("{}{path}", self.url)).await.map_err(|error| error.to_string())?;
        let status = answer.status().as_u16();
        Ok((status, answer.text().await.map_err(|error| error.to_string())?))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn it_answers_over_http_and_ends_when_asked() {
    service::install_crypto();
    let nats = Nats::start().await;
    nats.bus("test").await.drain().await;
    let folder = tempfile::tempdir().unwrap();
    let mut program = Program::start(&[
        ("NATS_URL", &nats.url()),
        ("HEALTHCHECK_SERVICES", "healthcheck"),
        ("HEALTHCHECK_DATA", folder.path().to_str().unwrap()),
    ]);
    eventually(SOON, || async {
        match program.get("/health").await {
            Ok((200, body)) if body.contains("\"healthcheck\"") => Ok(()),
            other => Err(other),
        }
    })
    .await;
    assert_eq!(program.get("/ping").await.unwrap(), (200, "pong\n".to_owned()));
    assert_eq!(program.get("/nothing").await.unwrap().0, 404);
    assert_eq!(program.get("/readyz").await.unwrap().0, 200);
    let (_, metrics) = program.get("/metrics").await.unwrap();
    assert!(metrics.contains("vigie_nats_up 1\n") && metrics.ends_with("# EOF\n"), "{metrics}");
    let answered = reqwest::get(format!("{}/health/detailed", program.url)).await.unwrap();
    assert_eq!(answered.headers()["cache-control"], "no-store");
    assert!(answered.text().await.unwrap().contains("MACHINE"));
    let id = Pid::from_raw(i32::try_from(program.child.id()).unwrap()).unwrap();
    kill_process(id, Signal::TERM).unwrap();
    let ended = eventually(Duration::from_secs(10), || {
        let ended = program.child.try_wait().unwrap();
        async move { ended.ok_or("it still runs") }
    })
    .await;
    assert_eq!(ended.code(), Some(0));
}

/// Those who look from outside see nothing but the status, and many ask by HEAD.
#[tokio::test]
async fn what_is_wrong_is_the_status_of_http_too() {
    service::install_crypto();
    let folder = tempfile::tempdir().unwrap();
    let nobody = format!("nats://127.0.0.1:{}", free_port());
    let data = folder.path().to_str().unwrap();
    let program = Program::start(&[("NATS_URL", &nobody), ("HEALTHCHECK_DATA", data)]);
    eventually(SOON, || async {
        match program.get("/status").await {
            Ok((503, body)) if body == "unhealthy: NATS cannot be reached\n" => Ok(()),
            other => Err(other),
        }
    })
    .await;
    let client = reqwest::Client::new();
    for (path, status) in
        [("/health", 503), ("/health/detailed", 503), ("/ping", 200), ("/uptime", 200), ("/commit", 200)]
    {
        assert_eq!(program.get(path).await.unwrap().0, status, "{path}");
        let asked = client.head(format!("{}{path}", program.url)).send().await.unwrap();
        assert_eq!(asked.status().as_u16(), status, "{path}");
    }
}
