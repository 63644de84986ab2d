//! A power cut in the midst of a restore in place: when all is started at once, the bot starts on what was before.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use serde_json::Value;
use testkit::eventually;
use tokio::{
    io::{AsyncBufReadExt as _, BufReader, Lines},
    process::{Child, ChildStdout, Command},
    time::timeout,
};

/// On a loaded machine.
const LIMIT: Duration = Duration::from_secs(60);
/// So many that exchanging them takes longer than seeing that it has begun.
const FILES: usize = 6000;
/// A power cut may come too late.
const TRIES: usize = 10;

struct Machine {
    folder: tempfile::TempDir,
}

/// A `vigie up` with all its parts.
struct Up {
    child: Child,
    reports: Lines<BufReader<ChildStdout>>,
    pids: Vec<u64>,
}

impl Machine {
    fn new() -> Self {
        let machine = Self { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(machine.kept()).unwrap();
        machine.write("saved");
        machine
    }

    fn kept(&self) -> PathBuf {
        self.folder.path().join("kept")
    }

    fn unfinished(&self) -> PathBuf {
        self.folder.path().join("data/backup/restore.json")
    }

    fn write(&self, text: &str) {
        for number in 0..FILES {
            fs::write(self.kept().join(number.to_string()), text).unwrap();
        }
    }

    /// How many files hold this.
    fn count(&self, text: &str) -> usize {
        let files = fs::read_dir(self.kept()).unwrap().map(|file| file.unwrap().path());
        files.filter(|path| fs::read_to_string(path).is_ok_and(|found| found == text)).count()
    }

    fn vigie(&self, arguments: &[&str]) -> Command {
        let fetched = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../target/tools/nats-server");
        let server = std::env::var_os("NATS_SERVER").map_or_else(fetched, PathBuf::from);
        let settings = [
            ("NATS_SERVER", server.display().to_string()),
            ("DATABASE_URL", "none".to_owned()),
            ("BACKUP_EXPORT", "exports".to_owned()),
            ("BACKUP_FOLDERS", format!("kept={}", self.kept().display())),
        ];
        let mut command = e2e::command("vigie", &settings.map(|(name, value)| (name.to_owned(), value)));
        command.args(arguments).current_dir(self.folder.path()).stderr(Stdio::null());
        let mut command = Command::from(command);
        command.kill_on_drop(true);
        command
    }

    fn up(&self) -> Up {
        let mut child = self.vigie(&["up", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
        let reports = BufReader::new(child.stdout.take().unwrap()).lines();
        Up { child, reports, pids: Vec::new() }
    }
}

impl Up {
    async fn wait_for(&mut self, part: &str, state: &str) {
        loop {
            let line = timeout(LIMIT, self.reports.next_line()).await.expect("a report").unwrap();
            let report: Value = serde_json::from_str(&line.expect("it goes on")).unwrap();
            self.pids.extend(report["pid"].as_u64());
            if report["part"] == part && report["state"] == state {
                return;
            }
        }
    }

    /// All at once.
    async fn power_cut(mut self) {
        self.child.kill().await.unwrap();
        eventually(LIMIT, || async {
            let left = self.pids.iter().find(|pid| runs(**pid));
            left.map_or(Ok(()), Err)
        })
        .await;
    }
}

/// Whether it runs; one that nobody has waited for does not.
fn runs(pid: u64) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[tokio::test]
async fn the_bot_starts_on_what_was_before() {
    let machine = Machine::new();
    let mut up = machine.up();
    up.wait_for("vigie", "ready").await;
    assert!(machine.vigie(&["backup", "create"]).status().await.unwrap().success());
    for _ in 0..TRIES {
        machine.write("later");
        let mut restore = machine.vigie(&["backup", "restore", "--yes"]).spawn().unwrap();
        let begun = eventually(LIMIT, || {
            let over = restore.try_wait().unwrap();
            let begun = machine.unfinished().exists();
            async move { if begun || over.is_some() { Ok(begun) } else { Err("it has not begun") } }
        })
        .await;
        up.power_cut().await;
        restore.kill().await.unwrap();
        let cut = begun && machine.unfinished().exists();
        up = machine.up();
        up.wait_for("command-worker-1", "starting").await;
        if cut {
            assert!(!machine.unfinished().exists(), "it is neither done nor undone");
            assert_eq!(machine.count("later"), FILES);
            up.wait_for("vigie", "ready").await;
            return;
        }
        up.wait_for("vigie", "ready").await;
    }
    panic!("no power cut came in the midst");
}
