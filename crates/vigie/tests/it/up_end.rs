//! How `vigie up` ends: in order, in time, and with nothing left, whatever ended it.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::folder::{Folder, Up, signal, wait_until_gone};

/// What a person waits for at most after Ctrl-C.
const LIMIT: Duration = Duration::from_secs(5);

fn stopped(seen: &[Value]) -> Vec<String> {
    let stopped = seen.iter().filter(|report| report["state"] == "stopped");
    stopped.map(|report| report["part"].as_str().unwrap().to_owned()).collect()
}

fn end_in_time(up: &mut Up, asked_by: &str) {
    let asked = Instant::now();
    signal(up.pid(), asked_by);
    let status = up.ended();
    assert!(asked.elapsed() < LIMIT, "{:?}", asked.elapsed());
    assert!(status.success(), "{status}");
}

#[test]
fn ctrl_c_ends_the_parts_in_order_and_leaves_nothing() {
    let folder = Folder::new();
    let mut up = folder.up(&[], &[]);
    let pids = up.ready();
    end_in_time(&mut up, "INT");
    up.wait_for("vigie", "stopped");
    let order = stopped(up.seen());
    assert_eq!(order[3..], ["command-worker-1", "nats", "vigie"], "{order:?}");
    wait_until_gone(&pids);
}

#[test]
fn a_part_that_does_not_end_is_killed_in_time() {
    let folder = Folder::new();
    let mut up = folder.up(&[], &[("STAND_IN", "stubborn")]);
    let pids = up.ready();
    end_in_time(&mut up, "TERM");
    wait_until_gone(&pids);
    let report = up.wait_for("command-worker-1", "stopped");
    assert_eq!(report["detail"], "killed, since it did not end in time");
}

#[test]
fn a_second_ctrl_c_ends_everything_at_once() {
    let folder = Folder::new();
    let mut up = folder.up(&[], &[("STAND_IN", "stubborn")]);
    let pids = up.ready();
    let asked = Instant::now();
    signal(up.pid(), "INT");
    signal(up.pid(), "INT");
    // Two signals may arrive as one; by then the first has been taken.
    while up.seen().is_empty() {}
    signal_if_alive(up.pid());
    up.ended();
    assert!(asked.elapsed() < LIMIT, "{:?}", asked.elapsed());
    wait_until_gone(&pids);
}

fn signal_if_alive(pid: u32) {
    if crate::folder::runs(pid) {
        let _ = std::process::Command::new("kill")
            .args(["-INT", &pid.to_string()])
            .stderr(Stdio::null())
            .status();
    }
}

#[test]
fn a_killed_supervisor_leaves_no_process() {
    let folder = Folder::new();
    let mut up = folder.up(&["--workers", "2"], &[]);
    let pids = up.ready();
    signal(up.pid(), "KILL");
    up.ended();
    wait_until_gone(&pids);
    // The lock went with it, so that the next start is not held up.
    folder.up(&[], &[]).ready();
}

#[test]
fn an_end_while_it_starts_leaves_no_process() {
    let folder = Folder::new();
    let mut up = folder.up(&[], &[]);
    up.wait_for("nats", "starting");
    let pids = up.pids();
    signal(up.pid(), "INT");
    assert!(up.ended().success());
    wait_until_gone(&pids);
}

#[test]
fn it_ends_with_its_standard_input() {
    let folder = Folder::new();
    let mut child = folder
        .vigie(&["up", "--until-stdin-closes"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    drop(child.stdin.take());
    assert!(child.wait().unwrap().success());
}
