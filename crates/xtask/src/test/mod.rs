//! `cargo xtask test`: everything that must pass, in the order in which it fails soonest.

mod tally;

use std::{
    collections::BTreeMap,
    fs,
    io::{self, BufRead, BufReader, Write},
    process::Stdio,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use self::tally::Tally;
use crate::{
    chaos, compose, conformance, demo, nats, paths, schema,
    shell::{self, Paint},
    tidy,
};

/// What a step may do besides failing.
enum Outcome {
    Passed,
    /// It ran tests of its own, which are counted, and left some out for these reasons.
    Counted(Tally, Vec<String>),
    /// It cannot run here; the reason is shown.
    Skipped(String),
}

type Step = (&'static str, fn() -> anyhow::Result<Outcome>);

/// Arguments of `cargo xtask test`.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct Options {
    /// Try the stack of compose.yaml on a real Docker engine, and nothing else
    #[arg(long)]
    pub compose: bool,
    /// How
    #[command(flatten)]
    pub stack: compose::Options,
}

const STEPS: [Step; 10] = [
    ("format", format),
    ("clippy", clippy),
    ("build", build),
    ("tidy", || tidy::run().map(|()| Outcome::Passed)),
    ("schema", || schema::run(&schema::Options { check: true }).map(|()| Outcome::Passed)),
    ("tests", tests),
    ("demo", smoke),
    ("chaos", || chaos::run(&chaos::Options::short()).map(|()| Outcome::Passed)),
    ("conformance", strangers),
    ("compose", stack),
];

/// Runs every step and stops at the first that fails; or what was asked for.
///
/// # Errors
/// When a step fails; the summary names it.
pub fn run(options: &Options) -> anyhow::Result<()> {
    if options.compose { compose::run(&options.stack) } else { all() }
}

fn all() -> anyhow::Result<()> {
    let paint = Paint::stdout();
    let (began, mut tally, mut report) = (Instant::now(), Tally::default(), Vec::new());
    let mut skipped = Vec::new();
    let mut broken = None;
    for (number, (name, step)) in STEPS.iter().enumerate() {
        println!("\n{}", paint.strong(&format!("== {}/{} {name}", number + 1, STEPS.len())));
        let since = Instant::now();
        let outcome = step();
        let took = seconds(since.elapsed());
        let (sign, note) = match &outcome {
            Ok(Outcome::Passed) => {
                tally.passed += 1;
                (paint.good("passed "), String::new())
            }
            Ok(Outcome::Counted(counted, reasons)) => {
                tally.add(*counted);
                skipped.extend(reasons.iter().map(|reason| format!("  {name}: {reason}")));
                if counted.failed == 0 {
                    (paint.good("passed "), format!("{} passed", counted.passed))
                } else {
                    broken = Some(format!("{name}: {} failed", counted.failed));
                    (paint.bad("failed "), format!("{} passed, {} failed", counted.passed, counted.failed))
                }
            }
            Ok(Outcome::Skipped(why)) => (paint.faint("skipped"), why.clone()),
            Err(reason) => {
                tally.failed += 1;
                broken = Some(format!("{name}: {reason:#}"));
                (paint.bad("failed "), String::new())
            }
        };
        report.push(format!("  {sign} {name:<12} {took:>8}  {note}").trim_end().to_owned());
        if broken.is_some() {
            break;
        }
    }
    println!("\n{}", paint.strong(&format!("== summary, {}", seconds(began.elapsed()))));
    println!("{}", report.join("\n"));
    for (name, _) in &STEPS[report.len()..] {
        println!("  {} {name}", paint.faint("not run"));
    }
    if !skipped.is_empty() {
        println!("\n{}\n{}", paint.strong("not tried here"), skipped.join("\n"));
    }
    if let Some(reason) = &broken {
        println!("\n{}", paint.bad(reason));
    }
    println!("\n{} passed, {} failed", tally.passed, tally.failed);
    if broken.is_some() {
        bail!("not everything passes");
    }
    Ok(())
}

fn format() -> anyhow::Result<Outcome> {
    shell::cargo(&["fmt", "--all", "--check"])?;
    Ok(Outcome::Passed)
}

fn clippy() -> anyhow::Result<Outcome> {
    shell::cargo(&["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])?;
    Ok(Outcome::Passed)
}

/// What a demo runs, and what is asked for its settings besides.
fn build() -> anyhow::Result<Outcome> {
    demo::build()?;
    let mut others = vec!["build", "--bins"];
    others.extend(paths::OTHER_BINARIES.iter().flat_map(|name| ["--package", name]));
    shell::cargo(&others).context("the build failed, see above")?;
    Ok(Outcome::Passed)
}

/// Runs the tests of the workspace, all of them even when some fail, and counts what they say.
fn tests() -> anyhow::Result<Outcome> {
    let server = nats::find_or_fetch()?;
    let skipped = paths::target().join("skipped.txt");
    fs::write(&skipped, "").with_context(|| format!("cannot write {}", skipped.display()))?;
    let mut child = shell::cargo_command()
        .args(["test", "--workspace", "--no-fail-fast"])
        .env("NATS_SERVER", server)
        .env("VIGIE_SKIPPED", &skipped)
        // Most of them wait for servers and clocks, not for a processor.
        .env("RUST_TEST_THREADS", "4")
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start cargo test")?;
    let stdout = child.stdout.take().context("cargo test has no standard output")?;
    let mut tally = Tally::default();
    let mut out = io::stdout();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line?;
        tally.read(&String::from_utf8_lossy(&line));
        out.write_all(&line)?;
        out.write_all(b"\n")?;
    }
    let status = child.wait()?;
    if !status.success() && tally.failed == 0 {
        bail!("cargo test: {status}");
    }
    if tally.passed == 0 {
        bail!("no test ran");
    }
    Ok(Outcome::Counted(tally, counted(&fs::read_to_string(&skipped)?)))
}

/// Each line once, and how often it was there.
fn counted(lines: &str) -> Vec<String> {
    let mut counts = BTreeMap::<&str, usize>::new();
    lines.lines().for_each(|line| *counts.entry(line).or_default() += 1);
    counts.iter().map(|(line, count)| format!("{line} ({count} times)")).collect()
}

fn smoke() -> anyhow::Result<Outcome> {
    demo::run(&demo::Options { say: Some("!ping".to_owned()) })?;
    Ok(Outcome::Passed)
}

fn strangers() -> anyhow::Result<Outcome> {
    if shell::find("npm").is_none() && shell::find("python3").is_none() {
        return Ok(Outcome::Skipped("neither npm nor python3 is here".to_owned()));
    }
    anyhow::ensure!(paths::binary("sandbox").is_file(), "the sandbox is not built");
    let found = conformance::judge(&conformance::Options::default())?;
    if found.passed + found.failed == 0 {
        return Ok(Outcome::Skipped("no client could be installed here, see above".to_owned()));
    }
    Ok(Outcome::Counted(Tally { passed: found.passed, failed: found.failed }, Vec::new()))
}

/// It compiles everything once more, statically, and takes half an hour: only who asks for it gets it.
fn stack() -> anyhow::Result<Outcome> {
    let asked = || "there is a Docker engine: cargo xtask test --compose".to_owned();
    Ok(Outcome::Skipped(compose::missing().unwrap_or_else(asked)))
}

fn seconds(time: Duration) -> String {
    format!("{:.1} s", time.as_secs_f32())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_left_out_is_said_once_with_its_number() {
        assert_eq!(counted("no restic\nno sshd\nno restic\n"), ["no restic (2 times)", "no sshd (1 times)"]);
        assert!(counted("").is_empty());
    }
}
