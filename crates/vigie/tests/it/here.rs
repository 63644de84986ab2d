//! `vigie start`, `stop`, `restart` and `logs`, whatever runs Vigie: stand-ins for `docker` and `systemctl` that
//! write down what they were told, and a real `vigie up` in the background.

use std::{
    fs,
    io::{BufRead, BufReader},
    os::unix::{fs::PermissionsExt, process::CommandExt},
    process::{Child, Command, Output, Stdio},
    sync::mpsc::Receiver,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::folder::{Folder, follow, runs, signal, wait_until_gone};

/// A machine where nothing but these programs is on the path.
pub struct Machine {
    pub folder: Folder,
}

impl Machine {
    /// Each program is given as the branches of a shell's `case` on its arguments.
    pub fn with(programs: &[(&str, &str)]) -> Self {
        let machine = Self { folder: Folder::new() };
        let path = machine.folder.path().join("programs");
        fs::create_dir(&path).unwrap();
        let home = machine.folder.path().display();
        for (name, branches) in programs {
            let text = format!(
                "#!/bin/sh\nPATH=/usr/bin:/bin\ncd '{home}'\necho \"{name} $*\" >>told\ncase \"$*\" in\n{branches}\nesac\n"
            );
            fs::write(path.join(name), text).unwrap();
            fs::set_permissions(path.join(name), fs::Permissions::from_mode(0o755)).unwrap();
        }
        machine
    }

    pub fn file(&self, name: &str, text: &str) {
        fs::write(self.folder.path().join(name), text).unwrap();
    }

    pub fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = self.folder.vigie(arguments);
        command.env("PATH", self.folder.path().join("programs"));
        said(&command.output().unwrap())
    }

    /// A restore in place that goes on; in a group of its own, as a shell starts it.
    fn restores(&self) -> (Child, Receiver<String>, Receiver<String>) {
        let mut command = self.folder.vigie(&["backup", "restore", "9f3c1a", "--yes"]);
        command.env("PATH", self.folder.path().join("programs")).process_group(0);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (follow(child.stdout.take().unwrap()), follow(child.stderr.take().unwrap()));
        (child, out, err)
    }

    /// What programs were told, but for what only asks.
    pub fn told(&self) -> Vec<String> {
        let told = fs::read_to_string(self.folder.path().join("told")).unwrap();
        fs::remove_file(self.folder.path().join("told")).unwrap();
        let asks = [" ps ", "list-unit", " config "];
        let told = told.lines().filter(|line| !asks.iter().any(|word| line.contains(word)));
        told.map(str::to_owned).collect()
    }
}

/// As a terminal does: to all that is in front of it.
fn signal_all(leader: &Child, name: &str) {
    let group = format!("-{}", leader.id());
    assert!(Command::new("kill").args([name, "--", &group]).status().unwrap().success());
}

fn said(output: &Output) -> (Option<i32>, String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

pub const DOCKER: &str = r#"
"compose ps"*) if [ -e broken ]; then echo 'permission denied' >&2; exit 1; fi; cat ps 2>/dev/null || true ;;
"compose config --services") printf 'keys\nnats\ndiscord-gateway\n' ;;
"compose up"*) cp up ps ;;
"compose stop"*) echo ' Container demo-twitch-1  Stopping' >&2; while [ -e slow ]; do sleep 0.05; done; sed 's/"running"/"exited"/; s/Up 2 minutes (healthy)/Exited (0) 1 second ago/' up >ps ;;
"compose logs"*) printf 'nats-1         | hello\ndemo-twitch-1  | you\n' ;;
"compose start"*) cp up ps ;;
"compose run"*) echo inside; while [ -e busy ]; do sleep 0.05; done; exit "$(cat code 2>/dev/null || echo 3)" ;;
*) echo "docker: unknown $*" >&2; exit 1 ;;
"#;

pub const UP: &str = r#"{"Service":"keys","State":"exited","Health":"","Status":"Exited (0) 2 minutes ago","ExitCode":0}
{"Service":"nats","State":"running","Health":"healthy","Status":"Up 2 minutes (healthy)","ExitCode":0}
{"Service":"demo-twitch","State":"running","Health":"healthy","Status":"Up 2 minutes (healthy)","ExitCode":0}
{"Service":"status","State":"exited","Health":"","Status":"Exited (0) 1 hour ago","ExitCode":0,"Labels":"a=b,com.docker.compose.oneoff=True"}
"#;

#[test]
fn compose_is_told_and_its_parts_are_shown() {
    let machine = Machine::with(&[("docker", DOCKER)]);
    let (code, _, err) = machine.run(&["stop"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("nothing runs Vigie here"), "{err}");

    machine.file("compose.yaml", "services: { discord-gateway: {} }\n");
    machine.file("up", UP);
    let (code, out, err) = machine.run(&["start"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.starts_with("starting Docker Compose in /"), "{err}");
    assert!(out.contains("✓ nats         Up 2 minutes (healthy)") && out.contains("· keys"), "{out}");
    assert_eq!(machine.told(), ["docker compose up --detach --wait discord-gateway nats"]);

    let (code, _, err) = machine.run(&["restart", "twitch-gateway"]);
    assert_eq!(code, Some(0), "{err}");
    let order = "docker compose up --detach --wait --force-recreate --no-deps demo-twitch";
    assert_eq!(machine.told(), [order]);
    let (code, _, err) = machine.run(&["restart", "twich"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("no part is called twich: expected one of demo-twitch, keys, nats"), "{err}");

    let (code, out, _) = machine.run(&["logs", "-n", "5", "nats", "twitch-gateway"]);
    assert_eq!((code, &*out), (Some(0), "nats-1            | hello\ndemo-twitch-1     | you\n"));
    assert_eq!(machine.told(), ["docker compose logs --no-color --tail 5 nats demo-twitch"]);

    let (code, out, _) = machine.run(&["stop", "--json"]);
    let view: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((code, &view["by"], &view["good"]), (Some(0), &"compose".into(), &true.into()));
    assert_eq!(view["parts"][2]["state"], "down");
    assert_eq!(machine.told(), ["docker compose stop demo-twitch nats"]);
}

#[test]
fn a_docker_that_does_not_answer_is_no_bot_that_does_not_run() {
    let machine = Machine::with(&[("docker", DOCKER)]);
    machine.file("compose.yaml", "services: { discord-gateway: {} }\n");
    machine.file("broken", "");
    for arguments in
        [&["start"][..], &["start", "nats"], &["stop"], &["restart"], &["status"], &["dead", "list"]]
    {
        let (code, _, err) = machine.run(arguments);
        assert_eq!(code, Some(1), "{arguments:?}: {err}");
        assert!(err.contains("permission denied") && !err.contains("vigie up"), "{arguments:?}: {err}");
    }
    assert_eq!(machine.told(), [""; 0], "nothing was started or stopped");
}

#[test]
fn what_asks_nats_is_asked_in_a_container_where_nats_is_out_of_reach() {
    let machine = Machine::with(&[("docker", DOCKER)]);
    machine.file("compose.yaml", "services: { discord-gateway: {} }\n");
    machine.file("ps", UP);
    let (code, out, _) = machine.run(&["status", "--run", "compose", "--json"]);
    assert_eq!((code, &*out), (Some(3), "inside\n"));
    let started =
        r#"VIGIE_STARTED=[{"name":"demo-twitch","state":"ready","detail":"Up 2 minutes (healthy)"}]"#;
    let run = "docker compose run --rm --no-deps --no-TTY";
    assert_eq!(machine.told(), [format!("{run} --env {started} status vigie status --json")]);
    machine.run(&["audit"]);
    assert_eq!(machine.told(), [format!("{run} status vigie audit")], "only who looks is told");
    fs::create_dir(machine.folder.data()).unwrap();
    machine.file("data/vigie.lock", r#"{"pid":1,"nats_url":"nats://127.0.0.1:9"}"#);
    let (code, out, _) = machine.run(&["status", "--run", "up"]);
    assert_eq!(code, Some(1), "what was named is asked: {out}");
    assert!(out.contains("no NATS server answers at nats://127.0.0.1:9"), "{out}");
    machine.file(".env", "NATS_URL=nats://127.0.0.1:9\n");
    let (code, out, _) = machine.run(&["status"]);
    assert_eq!(code, Some(1));
    assert!(out.starts_with("As seen by Docker Compose in /") && out.contains("✓ nats  "), "{out}");
    assert!(out.contains("✗ no NATS server answers at nats://127.0.0.1:9"), "{out}");
}

#[test]
fn a_restore_in_place_stops_the_bot_before_and_starts_it_after_whatever_came_of_it() {
    let machine = Machine::with(&[("docker", DOCKER)]);
    machine.file("compose.yaml", "services: { discord-gateway: {} }\n");
    // The demo has the real gateways beside those that do their work.
    let idle = r#"{"Service":"twitch-gateway","State":"running","Health":"healthy","Status":"Up 2 minutes (healthy)"}"#;
    let up = format!("{UP}{idle}\n");
    machine.file("up", &up);
    machine.file("ps", &up);
    let (code, _, err) = machine.run(&["backup", "restore"]);
    assert_eq!(code, Some(64), "{err}");
    let (code, _, err) = machine.run(&["backup", "restore", "--yes", "--no-wait"]);
    assert_eq!(code, Some(64), "{err}");
    assert_eq!(machine.told(), [""; 0]);
    let inside =
        "docker compose run --rm --no-deps --no-TTY status vigie backup restore 9f3c1a --yes --no-stop";
    let (stop, start) =
        ("docker compose stop demo-twitch twitch-gateway", "docker compose start demo-twitch twitch-gateway");
    for (of_job, expected) in [("0", 0), ("1", 1)] {
        machine.file("code", of_job);
        let (code, out, err) = machine.run(&["backup", "restore", "9f3c1a", "--yes"]);
        assert_eq!(code, Some(expected), "{err}{out}");
        assert_eq!(machine.told(), [stop, inside, start]);
        assert!(out.starts_with("inside\n") && out.contains("✓ demo-twitch     Up 2 minutes"), "{out}");
        assert!(err.starts_with("stopping demo-twitch, twitch-gateway of Docker Compose in /"), "{err}");
    }
    machine.file("code", "74");
    let (code, _, err) = machine.run(&["backup", "restore", "9f3c1a", "--yes"]);
    assert_eq!((code, machine.told()), (Some(74), vec![stop.to_owned(), inside.to_owned()]), "{err}");
    assert!(err.contains("must not run on what is half") && err.contains("`vigie restart backup`"), "{err}");
    machine.file("ps", &up);
    machine.file("code", "75");
    let (code, _, err) = machine.run(&["backup", "restore", "9f3c1a", "--yes"]);
    assert_eq!((code, machine.told()), (Some(75), vec![stop.to_owned(), inside.to_owned()]), "{err}");
    assert!(
        err.contains("it still goes on") && err.contains("`vigie start demo-twitch twitch-gateway`"),
        "{err}"
    );
    // It is stopped by now, and stays so.
    machine.file("code", "0");
    let (code, _, err) = machine.run(&["backup", "restore", "9f3c1a", "--yes"]);
    assert_eq!((code, machine.told()), (Some(0), vec![inside.to_owned()]), "{err}");
}

#[test]
fn what_is_killed_before_it_is_a_process_of_its_own_is_done_once_more() {
    for verb in ["stop", "start"] {
        let usual = format!("\"compose {verb}\"*)");
        let killed = format!("{usual} if [ ! -e killed ]; then : >killed; kill -TERM $$; fi; ");
        let machine = Machine::with(&[("docker", &DOCKER.replacen(&usual, &killed, 1))]);
        machine.file("compose.yaml", "services: { discord-gateway: {} }\n");
        machine.file("up", UP);
        machine.file("ps", UP);
        machine.file("code", "0");
        let (code, out, err) = machine.run(&["backup", "restore", "--yes"]);
        assert_eq!(code, Some(0), "{err}");
        assert!(out.contains("✓ demo-twitch"), "{out}");
        let order = format!("docker compose {verb} demo-twitch");
        assert_eq!(machine.told().iter().filter(|told| **told == order).count(), 2, "{verb}");
    }
}

#[test]
fn docker_is_asked_where_the_person_says_and_not_where_the_file_of_settings_does() {
    let answers = DOCKER.replacen(
        "\"compose ps\"*)",
        "\"compose ps\"*) echo \"$DOCKER_HOST $DOCKER_CONTEXT\" >>where;",
        1,
    );
    let machine = Machine::with(&[("docker", &answers)]);
    machine.file("compose.yaml", "services: { discord-gateway: {} }\n");
    machine.file("up", UP);
    machine.file("ps", UP);
    machine.file(".env", "DOCKER_HOST=ssh://file\nDOCKER_CONTEXT=file\n");
    let wheres = |variables: &[(&str, &str)]| {
        let mut command = machine.folder.vigie(&["stop"]);
        command.env("PATH", machine.folder.path().join("programs"));
        command.env_remove("DOCKER_HOST").env_remove("DOCKER_CONTEXT").envs(variables.iter().copied());
        let (code, _, err) = said(&command.output().unwrap());
        assert_eq!(code, Some(0), "{err}");
        let path = machine.folder.path().join("where");
        let mut lines: Vec<String> = fs::read_to_string(&path).unwrap().lines().map(str::to_owned).collect();
        fs::remove_file(path).unwrap();
        lines.dedup();
        lines
    };
    assert_eq!(wheres(&[("DOCKER_HOST", "ssh://pi"), ("DOCKER_CONTEXT", "pi")]), ["ssh://pi pi"]);
    assert_eq!(wheres(&[]), [" "], "Compose reads the file for itself");
}

#[test]
fn a_bot_that_cannot_be_stopped_is_not_restored_under() {
    let refusing = DOCKER.replacen("\"compose stop\"*)", "\"compose stop\"*) exit 1 ;; \"compose halt\")", 1);
    let machine = Machine::with(&[("docker", &refusing)]);
    machine.file("compose.yaml", "services: { discord-gateway: {} }\n");
    machine.file("up", UP);
    machine.file("ps", UP);
    let (code, _, err) = machine.run(&["backup", "restore", "--yes"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("vigie: nothing was restored: `docker compose stop"), "{err}");
    assert_eq!(machine.told(), ["docker compose stop demo-twitch", "docker compose start demo-twitch"]);
}

#[test]
fn what_is_restored_in_a_container_is_waited_for_whatever_is_pressed() {
    let machine = Machine::with(&[("docker", DOCKER)]);
    machine.file("compose.yaml", "services: { discord-gateway: {} }\n");
    machine.file("up", UP);
    machine.file("ps", UP);
    machine.file("code", "0");
    machine.file("busy", "");
    let (mut restore, out, err) = machine.restores();
    let wait = |lines: &Receiver<String>, text: &str| {
        while !lines.recv_timeout(Duration::from_secs(30)).unwrap().contains(text) {}
    };
    wait(&out, "inside");
    for name in ["-INT", "-HUP", "-TERM"] {
        signal_all(&restore, name);
        wait(&err, "it goes on; the bot is started again when it is over");
    }
    drop((out, err));
    fs::remove_file(machine.folder.path().join("busy")).unwrap();
    assert_eq!(restore.wait().unwrap().code(), Some(0));
    let told = machine.told();
    assert!(told[1].contains("compose run") && told[2] == "docker compose start demo-twitch", "{told:?}");

    // Before it has begun, it does not begin.
    machine.file("slow", "");
    let (mut restore, _out, err) = machine.restores();
    // Only then is it a process of its own; earlier it would get the signal as well.
    wait(&err, "demo-twitch-1  Stopping");
    signal_all(&restore, "-INT");
    wait(&err, "nothing will be restored");
    fs::remove_file(machine.folder.path().join("slow")).unwrap();
    wait(&err, "interrupted: nothing was restored");
    assert_eq!(restore.wait().unwrap().code(), Some(1));
    assert_eq!(machine.told(), ["docker compose stop demo-twitch", "docker compose start demo-twitch"]);
}

pub const SYSTEMCTL: &str = r"
list-unit-files*) echo 'vigie.target enabled enabled' ;;
list-units*) cat units ;;
stop*) sed 's/ active running / inactive dead /' units >less; cp less units ;;
start*|restart*) sed 's/ inactive dead / active running /' units >more; cp more units ;;
";
const UNITS: &str = "\
vigie-command-worker@1.service loaded active running Vigie: command worker 1
vigie-nats.service loaded active running Vigie: NATS
";
const JOURNALCTL: &str = r#"
*) echo '{"MESSAGE":"hello","_SYSTEMD_UNIT":"vigie-nats.service"}' ;;
"#;

#[test]
fn systemd_is_told_and_its_units_are_shown() {
    let machine = Machine::with(&[("systemctl", SYSTEMCTL), ("journalctl", JOURNALCTL)]);
    machine.file("units", UNITS);
    let (code, out, err) = machine.run(&["stop"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(err.starts_with("stopping systemd (vigie.target)") && out.contains("○ nats"), "{err}{out}");
    let (code, out, err) = machine.run(&["start", "command-worker"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(out.contains("✓ command-worker@1  active (running)"), "{out}");
    let (code, out, _) = machine.run(&["logs", "--json", "nats"]);
    assert_eq!((code, &*out), (Some(0), "{\"part\":\"nats\",\"line\":\"hello\"}\n"));
    let journal = "journalctl --no-pager --output=json --lines 100 --unit=vigie-nats.service";
    assert_eq!(
        machine.told(),
        ["systemctl stop vigie.target", "systemctl start vigie-command-worker@1.service", journal]
    );
    // Nobody restores here: what was stopped for it is started again.
    machine.file(".env", "NATS_URL=nats://127.0.0.1:9\n");
    let (code, _, err) = machine.run(&["backup", "restore", "--yes", "--run", "systemd"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.contains("no NATS server answers"), "{err}");
    let worker = "vigie-command-worker@1.service";
    assert_eq!(machine.told(), [format!("systemctl stop {worker}"), format!("systemctl start {worker}")]);
    let (code, _, err) = machine.run(&["start", "--sandbox"]);
    assert_eq!(code, Some(64), "{err}");
}

/// A `vigie up` in the background, which must not outlive the test.
struct Background(Folder);

impl Background {
    fn run(&self, arguments: &[&str]) -> (Option<i32>, String, String) {
        let mut command = self.0.vigie(arguments);
        command.env("PATH", self.0.path());
        said(&command.output().unwrap())
    }

    fn state(&self) -> Value {
        let text = fs::read_to_string(self.0.data().join("vigie.lock")).unwrap();
        serde_json::from_str(&text).unwrap_or_default()
    }

    fn pid(&self, part: &str) -> u32 {
        let state = self.state();
        let parts = state["parts"].as_array().unwrap();
        let found = parts.iter().find(|one| one["name"] == part).unwrap();
        u32::try_from(found["pid"].as_u64().unwrap()).unwrap()
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        if let Some(pid) = self.state()["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok())
            && runs(pid)
        {
            signal(pid, "KILL");
        }
    }
}

#[test]
fn vigie_up_is_started_in_the_background_and_looked_after_from_there() {
    let up = Background(Folder::new());
    let (code, out, err) = up.run(&["start", "--workers", "2", "--json"]);
    assert_eq!(code, Some(0), "{err}");
    let view: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&view["by"], view["parts"].as_array().unwrap().len()), (&"up".into(), 6), "{view:#}");
    assert_eq!(view["good"], true);
    let (code, _, err) = up.run(&["start"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("it runs already (process "), "{err}");

    let before = up.pid("discord-gateway");
    let (code, out, err) = up.run(&["restart", "discord-gateway"]);
    assert_eq!(code, Some(0), "{err}{out}");
    assert!(out.contains("✓ discord-gateway   ready, process "), "{out}");
    assert_ne!(up.pid("discord-gateway"), before);

    let (whole, worker) = (up.state()["pid"].clone(), up.pid("command-worker-2"));
    let (code, _, err) = up.run(&["restart"]);
    assert_eq!(code, Some(0), "{err}");
    assert!(up.state()["pid"] != whole && up.pid("command-worker-2") != worker, "with as many workers");

    let (code, out, _) = up.run(&["logs", "--lines", "1000"]);
    assert_eq!(code, Some(0));
    assert!(out.contains("vigie             | everything has ended after "), "{out}");
    let ready = out.lines().filter(|line| line.contains("everything is ready after"));
    assert_eq!(ready.count(), 2, "{out}");
    let (_, out, _) = up.run(&["logs", "--json", "-n", "1", "vigie"]);
    let line: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(line["part"], "vigie");

    let pids = ["nats", "command-worker-1", "healthcheck"].map(|part| up.pid(part));
    let (code, out, err) = up.run(&["stop"]);
    assert_eq!((code, &*out), (Some(0), ""), "{err}");
    wait_until_gone(&pids);
    let (code, _, err) = up.run(&["stop"]);
    assert_eq!(code, Some(1));
    assert!(err.contains("nothing runs Vigie here"), "{err}");
}

#[test]
fn a_start_that_fails_says_why() {
    let up = Background(Folder::new());
    let mut command = up.0.vigie(&["start"]);
    command.env("PATH", up.0.path()).env("STAND_IN", "odd");
    let (code, _, err) = said(&command.output().unwrap());
    assert_eq!(code, Some(1));
    assert!(err.contains("it ended while it started") && err.contains("settings of"), "{err}");
    let (_, out, _) = up.run(&["logs", "--run", "up"]);
    assert!(out.contains("STAND_IN: expected good"), "{out}");
}

#[test]
fn one_in_a_terminal_is_not_taken_from_it() {
    let folder = Folder::new();
    let mut up = folder.up(&[], &[]);
    up.ready();
    let mut command = folder.vigie(&["restart"]);
    command.env("PATH", folder.path());
    let (code, _, err) = said(&command.output().unwrap());
    assert_eq!(code, Some(1));
    assert!(err.contains(&format!("it runs in a terminal (process {})", up.pid())), "{err}");

    let mut follow = folder.vigie(&["logs", "--follow", "-n", "0"]);
    follow.env("PATH", folder.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut follow = follow.spawn().unwrap();
    let mut said_first = String::new();
    BufReader::new(follow.stderr.take().unwrap()).read_line(&mut said_first).unwrap();
    assert!(said_first.starts_with("logs of `vigie up` with /"), "{said_first}");
    // What it prints may have been written before it looked: a part is ended until one line comes.
    signal(up.pid_of("twitch-gateway"), "KILL");
    let mut line = String::new();
    BufReader::new(follow.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.contains("twitch-gateway"), "{line}");
    signal(follow.id(), "INT");
    let deadline = Instant::now() + Duration::from_secs(10);
    while follow.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "it did not end");
        std::thread::park_timeout(Duration::from_millis(10));
    }
}
