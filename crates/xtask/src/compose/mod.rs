//! `cargo xtask test --compose`: the stack as people run it, on a real Docker engine. Builds the image, chats,
//! scales, kills, cuts off and replaces containers while people talk, and measures what all of it costs.
//!
//! | file | what it owns |
//! |---|---|
//! | `docker` | one command to the engine, bounded in time |
//! | `image` | static binaries, and the image of them |
//! | `project` | a Compose project: settings, start, end, its containers and what happens to them |
//! | `people` | what is said and what is replied |
//! | `first` | what somebody sees who tries it: the demo, two bots side by side, the tools |
//! | `trials` | what is done to the stack while people talk |
//! | `window` | what became of what was said during a trial |
//! | `deploys` | pushes and releases, good and bad, while people talk |
//! | `restore` | a machine that is gone, brought back by what docs/backup.md says, and a restore in place |
//! | `cost` | memory at rest and under load |
//! | `report` | the tables |

mod cost;
mod deploys;
mod docker;
mod first;
mod image;
mod people;
mod project;
mod report;
mod restore;
mod trials;
mod window;

use anyhow::ensure;
use tokio::signal::unix::{SignalKind, signal};

use self::{project::Project, report::Report};
use crate::{page, shell};

/// What `--only` calls all but deploys.
const STACK: &str = "stack";
const PAGE: &str = "docs/performance.md";
const DEPLOYS_PAGE: &str = "docs/operations.md";
/// What the image with all binaries must be smaller than, unpacked, in bytes: it is kept several times on an SD card.
const IMAGE_AIM: u64 = 100_000_000;

/// Arguments of `cargo xtask test --compose`.
#[derive(clap::Args, Clone, Debug, Default)]
#[group(id = "stack")]
pub struct Options {
    /// Try this image instead of building one, such as vigie:local
    #[arg(long, value_name = "IMAGE", requires = "compose")]
    pub image: Option<String>,
    /// Only trials whose name contains this, and nothing else; `stack` is all but deploys, `memory` measures only what
    /// the stack holds, `restore` brings back a machine that is gone
    #[arg(long, value_name = "TEXT", requires = "compose")]
    pub only: Option<String>,
    /// Let the containers be when something fails
    #[arg(long, requires = "compose")]
    pub keep: bool,
    /// Write the tables into docs/performance.md and docs/operations.md; with `--only stack` the first, with
    /// `--only deploy:` the second
    #[arg(long, requires = "compose")]
    pub write: bool,
}

/// Why nothing of this can run here; `None` when it can.
#[must_use]
pub fn missing() -> Option<String> {
    let answers = |arguments: &[&str]| shell::output(std::process::Command::new("docker").args(arguments));
    if shell::find("docker").is_none() {
        return Some("docker is not installed".to_owned());
    }
    if answers(&["version"]).is_err() {
        return Some("no Docker engine answers".to_owned());
    }
    answers(&["compose", "version"]).is_err().then(|| "Docker has no Compose v2".to_owned())
}

/// Runs everything and prints the tables.
///
/// # Errors
/// Without an engine, or when something does not hold; what was measured until then is printed first.
pub fn run(options: &Options) -> anyhow::Result<()> {
    if let Some(reason) = missing() {
        anyhow::bail!(
            "{reason}: expected a Docker engine with Compose v2; start one, or leave out --compose"
        );
    }
    let only = options.only.as_deref();
    ensure!(
        !options.write || is_whole(only) || only == Some(deploys::NAME),
        "expected --write with all trials, with --only {STACK}, or with --only {}",
        deploys::NAME
    );
    if !is_whole(only) && ![Some(cost::NAME), Some(restore::NAME)].contains(&only) && !deploys::any(only) {
        trials::check(only)?;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let folder = tempfile::tempdir()?;
    let mut report = Report::default();
    let done = runtime.block_on(async {
        let (mut interrupt, mut terminate) =
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
        let done = tokio::select! {
            done = Box::pin(everything(options, folder.path(), &mut report)) => done,
            _ = interrupt.recv() => Err(anyhow::anyhow!("interrupted")),
            _ = terminate.recv() => Err(anyhow::anyhow!("asked to end")),
        };
        if done.is_ok() || !options.keep {
            project::end_all().await?;
        }
        done
    });
    println!("\n{}", report.markdown());
    if !report.deploys.is_empty() {
        println!("{}", deploys::markdown(&report.machine, &report.deploys));
    }
    done?;
    ensure!(report.is_clean(), "{} lost, {} answered twice", report.lost(), report.doubled());
    if options.write && is_whole(only) {
        page::write(PAGE, "compose", &report.markdown())?;
    }
    if options.write && only != Some(STACK) {
        page::write(DEPLOYS_PAGE, "deploys", &deploys::markdown(&report.machine, &report.deploys))?;
    }
    Ok(())
}

/// Whether the stack is tried with all that belongs to it.
fn is_whole(only: Option<&str>) -> bool {
    only.is_none_or(|only| only == STACK)
}

async fn everything(options: &Options, folder: &std::path::Path, report: &mut Report) -> anyhow::Result<()> {
    let image = match &options.image {
        Some(image) => image.clone(),
        None => image::build().await?,
    };
    report.machine = docker::machine().await?;
    // Left by a run that was cut off.
    project::end_all().await?;
    let only = options.only.as_deref();
    let whole = is_whole(only);
    if whole {
        let bytes = image::size(&image).await?;
        let megabytes = bytes / 1_000_000;
        ensure!(
            bytes < IMAGE_AIM,
            "the image has {megabytes} MB: expected less than {} MB",
            IMAGE_AIM / 1_000_000
        );
        report.first.push(("the image with all binaries, unpacked", format!("{megabytes} MB")));
        report.first.extend(first::try_it(folder, &image).await?);
    }
    if whole || trials::check(only).is_ok() {
        let stack = Project::new("trials", folder, &image)?.without_limits(7).on_a_small_disk();
        report.trials = trials::run(stack, only.filter(|_| !whole)).await?;
    }
    if only == Some(restore::NAME) || whole {
        match restore::missing() {
            None => report.first.extend(restore::run(folder, &image).await?),
            Some(reason) if whole => {
                shell::complain(&format!("a machine that is gone is not tried: {reason}"));
            }
            Some(reason) => anyhow::bail!("{reason}"),
        }
    }
    if only == Some(cost::NAME) || whole {
        let stack = Project::new("cost", folder, &image)?.without_limits(cost::GUILDS);
        (report.load, report.costs) = cost::measure(stack).await?;
    }
    if deploys::any(only) {
        deploys::run(folder, &image, only, &mut report.deploys).await?;
    }
    Ok(())
}
