//! The `sandbox` binary, as a supervisor sees it.

use std::{process::Stdio, time::Duration};

use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader},
    process::{Child, Command},
};

use crate::bot::http_client;

const WITHIN: Duration = Duration::from_secs(15);

fn start(flags: &[&str]) -> Child {
    start_with(flags, "text")
}

fn start_with(flags: &[&str], log_format: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_sandbox"))
        .args(flags)
        .env("LOG_FORMAT", log_format)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap()
}

async fn addresses(child: &mut Child) -> Value {
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let line = tokio::time::timeout(WITHIN, lines.next_line()).await.unwrap().unwrap().unwrap();
    serde_json::from_str(&line).unwrap()
}

#[tokio::test]
async fn it_says_where_it_listens_and_ends_with_its_standard_input() {
    let mut child = start(&["--port", "0", "--json", "--until-stdin-closes"]);
    let at = addresses(&mut child).await;
    let http = at["http"].as_str().unwrap();
    let ready = http_client().get(format!("{http}/readyz")).send().await.unwrap();
    assert_eq!(ready.status(), 200);
    for (name, scheme) in [("irc", "irc://"), ("irc_tls", "ircs://"), ("irc_ws", "ws://")] {
        assert!(at[name].as_str().unwrap().starts_with(scheme), "{at}");
    }
    drop(child.stdin.take());
    let ended = tokio::time::timeout(WITHIN, child.wait()).await.expect("it ends").unwrap();
    assert!(ended.success(), "{ended}");
}

#[tokio::test]
async fn a_probe_says_whether_one_is_ready() {
    let mut child = start(&["--port", "0", "--json"]);
    let at = addresses(&mut child).await;
    let http = at["http"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let probe = async || start(&["--http", &http, "--probe"]).wait_with_output().await.unwrap();
    let ready = probe().await;
    assert!(ready.status.success() && ready.stdout == b"ready\n", "{ready:?}");
    child.kill().await.unwrap();
    let gone = probe().await;
    assert_eq!(gone.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&gone.stderr).contains("nobody answers"), "{gone:?}");
}

#[tokio::test]
async fn logs_are_json_where_that_is_asked_for() {
    let mut child = start_with(&["--port", "0", "--json", "--until-stdin-closes"], "json");
    addresses(&mut child).await;
    drop(child.stdin.take());
    let ended = tokio::time::timeout(WITHIN, child.wait_with_output()).await.expect("it ends").unwrap();
    let said: Vec<Value> = ended
        .stderr
        .split(|byte| *byte == b'\n')
        .filter_map(|line| serde_json::from_slice(line).ok())
        .collect();
    let last = said.last().unwrap();
    assert!(last["level"] == "INFO" && last["message"].as_str().unwrap().contains("stopping"), "{said:?}");
}

#[tokio::test]
async fn a_second_one_on_the_same_port_ends_with_advice() {
    let mut first = start(&["--port", "0", "--json"]);
    let at = addresses(&mut first).await;
    let taken = at["http"].as_str().unwrap().trim_start_matches("http://").to_owned();
    let mut second = start(&["--port", "0", "--http", &taken]);
    let ended = tokio::time::timeout(WITHIN, second.wait()).await.expect("it ends").unwrap();
    let mut said = String::new();
    second.stderr.take().unwrap().read_to_string(&mut said).await.unwrap();
    assert_eq!(ended.code(), Some(1));
    assert!(said.contains("the port is in use") && said.contains("--port 0"), "{said}");
    first.kill().await.unwrap();
}
