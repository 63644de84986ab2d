//! What asks NATS of Compose, which is out of reach from outside.

use std::fs;

use serde_json::{Value, json};

use crate::{
    here::{DOCKER, Machine, UP},
    terminal::Terminal,
};

#[test]
fn what_compose_knows_is_told_when_its_nats_does_not_answer() {
    let machine = Machine::with(&[("docker", DOCKER)]);
    machine.file("compose.yaml", "services: { discord-gateway: {} }\n");
    let ill = |state: &str, health: &str, status: &str| {
        let nats =
            r#""Service":"nats","State":"running","Health":"healthy","Status":"Up 2 minutes (healthy)"#;
        assert!(UP.contains(nats), "{UP}");
        let now = format!(r#""Service":"nats","State":"{state}","Health":"{health}","Status":"{status}"#);
        machine.file("ps", &UP.replace(nats, &now));
    };
    let told = |why: &str| {
        let (code, out, err) = machine.run(&["status"]);
        assert_eq!(code, Some(1), "{err}");
        assert!(out.starts_with("As seen by Docker Compose in /") && out.contains("✓ demo-twitch"), "{out}");
        assert!(out.ends_with(&format!("✗ {why}\n")), "{out}");
    };
    ill("running", "unhealthy", "Up 2 minutes (unhealthy)");
    told("NATS does not answer (Up 2 minutes (unhealthy)): `vigie restart nats` starts it again");
    ill("paused", "healthy", "Up 2 minutes (Paused)");
    told("NATS does not answer (Up 2 minutes (Paused)): `vigie restart nats` starts it again");
    ill("exited", "", "Exited (1) 1 second ago");
    told("NATS does not run (Exited (1) 1 second ago): `vigie start` starts it");
    assert_eq!(machine.told(), [""; 0], "no container is started for that");
    fs::create_dir(machine.folder.data()).unwrap();
    machine.file("data/vigie.lock", r#"{"pid":1,"nats_url":"nats://127.0.0.1:9"}"#);
    let (code, _, err) = machine.run(&["audit"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("start Vigie with `vigie start`"), "{err}");

    // It hangs, and Docker has not noticed.
    machine.file("ps", UP);
    machine.file("code", "69");
    let (code, out, _) = machine.run(&["status", "--json"]);
    let view: Value = serde_json::from_str(out.trim_start_matches("inside\n")).unwrap();
    assert_eq!((code, &view["runs"]["by"]), (Some(1), &"compose".into()));
    let why = "NATS does not answer (Up 2 minutes (healthy)): `vigie restart nats` starts it again";
    assert_eq!(view["problems"], json!([why]));
}

#[test]
fn the_same_is_shown_live() {
    let machine = Machine::with(&[("docker", DOCKER)]);
    machine.file("compose.yaml", "services: { discord-gateway: {} }\n");
    machine.file("ps", UP);
    machine.file("code", "69");
    let mut command = machine.folder.vigie(&["monitor"]);
    let programs = machine.folder.path().join("programs");
    command.env("PATH", format!("{}:/usr/bin:/bin", programs.display()));
    let mut terminal = Terminal::start(&command);
    terminal.wait_for("As seen by Docker Compose in /");
    terminal.wait_for("NATS does not answer (Up 2 minutes (healthy))");
    terminal.wait_for("demo-twitch");
    terminal.press("q");
    let (status, shown) = terminal.ended();
    assert_eq!(status.code(), Some(0), "{shown}");
}
