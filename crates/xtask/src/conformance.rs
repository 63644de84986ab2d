//! `cargo xtask conformance`: other people's clients against the sandbox. Each folder under
//! `conformance/` holds one client that is unchanged but for its endpoint setting.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Instant,
};

use anyhow::{Context, bail};
use serde_json::Value;

use crate::{
    paths,
    shell::{self, Paint},
};

/// Arguments of `cargo xtask conformance`.
#[derive(clap::Args, Debug, Default)]
pub struct Options {
    /// Only these clients, such as `discordjs`
    #[arg(value_name = "CLIENT")]
    pub clients: Vec<String>,
}

/// What became of the clients.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// They were satisfied.
    pub passed: u32,
    /// They were not.
    pub failed: u32,
    /// They could not be installed here.
    pub skipped: u32,
}

/// Runs the clients.
///
/// # Errors
/// When a client fails, or the sandbox cannot be started.
pub fn run(options: &Options) -> anyhow::Result<()> {
    shell::cargo(&["build", "--package", "sandbox", "--bins"])?;
    let tally = judge(options)?;
    println!("{} clients passed, {} failed, {} skipped", tally.passed, tally.failed, tally.skipped);
    if tally.failed > 0 {
        bail!("the sandbox is not what these clients expect");
    }
    Ok(())
}

/// Runs the clients against an already built sandbox.
///
/// # Errors
/// When the sandbox cannot be started; not when a client fails, which is counted.
pub fn judge(options: &Options) -> anyhow::Result<Tally> {
    let paint = Paint::stdout();
    let mut tally = Tally::default();
    for client in clients(options)? {
        let name = client.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let began = Instant::now();
        let work = match install(&client, &name) {
            Ok(work) => work,
            Err(reason) => {
                println!("  {} {name}: skipped: {reason:#}", paint.faint("-"));
                tally.skipped += 1;
                continue;
            }
        };
        // A sandbox each, so that one client's faults cannot be another's.
        let outcome = Sandbox::start().and_then(|sandbox| drive(&work, &sandbox));
        let took = format!("{:.1} s", began.elapsed().as_secs_f32());
        match outcome {
            Ok(()) => {
                println!("  {} {name} {}", paint.good("✓"), paint.faint(&took));
                tally.passed += 1;
            }
            Err(reason) => {
                println!("  {} {name}: {reason:#}", paint.bad("✗"));
                tally.failed += 1;
            }
        }
    }
    Ok(tally)
}

fn clients(options: &Options) -> anyhow::Result<Vec<PathBuf>> {
    let folder = paths::root().join("conformance");
    let mut found = Vec::new();
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_client = path.join("package.json").is_file() || path.join("requirements.txt").is_file();
        if is_client && (options.clients.is_empty() || options.clients.contains(&name)) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// Copies the client, and what several clients share, to the target folder and installs what it needs
/// there, so that the checkout stays clean.
fn install(client: &Path, name: &str) -> anyhow::Result<PathBuf> {
    let work = paths::target().join("conformance").join(name);
    fs::create_dir_all(&work)?;
    for folder in [client.parent().unwrap_or(client), client] {
        for entry in fs::read_dir(folder)? {
            let from = entry?.path();
            if from.is_file() {
                fs::copy(&from, work.join(from.file_name().unwrap_or_default()))?;
            }
        }
    }
    if work.join("package.json").is_file() {
        let npm = shell::find("npm").context("npm is not here")?;
        let mut command = Command::new(npm);
        let arguments = ["ci", "--no-audit", "--no-fund", "--loglevel=error"];
        shell::output(command.args(arguments).current_dir(&work))?;
    } else {
        let venv = work.join("venv");
        if !venv.join("bin/python").is_file() {
            shell::output(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
        }
        let mut command = Command::new(venv.join("bin/python"));
        let arguments = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r"];
        shell::output(command.args(arguments).arg(work.join("requirements.txt")))?;
    }
    Ok(work)
}

fn drive(work: &Path, sandbox: &Sandbox) -> anyhow::Result<()> {
    let mut command = if work.join("package.json").is_file() {
        let mut command = Command::new("npm");
        command.args(["test", "--silent"]);
        command
    } else {
        let mut command = Command::new(work.join("venv/bin/python"));
        command.args(["-u", "main.py"]);
        command
    };
    command
        .current_dir(work)
        .env("SANDBOX_URL", &sandbox.url)
        .env("SANDBOX_IRC", &sandbox.irc)
        .env("SANDBOX_IRC_WS", &sandbox.irc_ws);
    shell::run(&mut command)
}

/// A sandbox on free ports that ends with this value.
struct Sandbox {
    child: Child,
    url: String,
    irc: String,
    irc_ws: String,
}

impl Sandbox {
    fn start() -> anyhow::Result<Self> {
        let mut child = Command::new(paths::binary("sandbox"))
            .args(["--json", "--port", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("cannot start the sandbox")?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("the sandbox has no standard output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let said: Value = serde_json::from_str(&line)
            .with_context(|| format!("the sandbox did not say where it is, but {line:?}"))?;
        let text = |name: &str| {
            said[name].as_str().map(str::to_owned).with_context(|| format!("the sandbox did not say {name}"))
        };
        Ok(Self { url: text("http")?, irc: text("irc")?, irc_ws: text("irc_ws")?, child })
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        // It keeps nothing, so it need not end in order.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
