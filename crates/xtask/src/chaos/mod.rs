//! `cargo xtask chaos`: people talk on both platforms while parts are killed, stopped, cut off and
//! slowed down by a seeded plan, and every line is followed until it is answered. What is lost or
//! answered twice fails the run.
//!
//! | file | what it owns |
//! |---|---|
//! | `kinds`, `plan` | which faults there are, and which happen when |
//! | `part`, `stack` | the processes behind their proxies, started again when they end |
//! | `inject` | how a fault is done and undone |
//! | `load`, `witness`, `ledger` | what is said, what is replied, what passes over NATS |
//! | `verdict`, `report` | what became of each line, and the table |

mod inject;
pub(crate) mod kinds;
pub(crate) mod ledger;
pub(crate) mod load;
mod part;
mod plan;
mod report;
mod stack;
mod verdict;
mod witness;

use std::{cell::RefCell, path::Path, time::Duration};

use anyhow::{Context, bail, ensure};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{Instant, sleep},
};

use self::{
    kinds::Platform,
    load::Shared,
    plan::{Fault, Plan, Step},
    report::{Facts, Report, clock},
    stack::{Size, Stack},
    verdict::{Judge, Strike, Window},
};
use crate::{demo, nats, page, paths, shell};

/// How long everything may take to answer at first.
const WARM_UP_LIMIT: Duration = Duration::from_secs(60);
/// How long it may take to answer at once again after a fault.
const RECOVERY_LIMIT: Duration = Duration::from_secs(60);
/// A command is answered within 60 s or not at all; after the last one so long is waited for replies.
const SETTLE_LIMIT: Duration = Duration::from_secs(75);
/// A second reply would come within this time.
const SECOND_REPLY: Duration = Duration::from_secs(3);
const POLL: Duration = Duration::from_millis(20);

/// Arguments of `cargo xtask chaos`.
#[derive(clap::Args, Clone, Debug)]
pub struct Options {
    /// For how long faults are made
    #[arg(long, value_name = "N", default_value_t = 5.0, value_parser = minutes)]
    pub minutes: f64,
    /// The same seed makes the same faults in the same order [default: any]
    #[arg(long, value_name = "S")]
    pub seed: Option<u64>,
    /// Gateways of each platform
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=8))]
    pub gateways: u8,
    /// Workers
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=16))]
    pub workers: u8,
    /// Commands a second on each platform, with as much chatter
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub rate: u32,
    /// Only faults whose name contains this
    #[arg(long, value_name = "TEXT")]
    pub only: Option<String>,
    /// Try the release build
    #[arg(long)]
    pub release: bool,
    /// Try what is built already
    #[arg(long)]
    pub no_build: bool,
    /// Print the report as JSON
    #[arg(long)]
    pub json: bool,
    /// Write the table into docs/reliability.md
    #[arg(long)]
    pub write: bool,
}

impl Options {
    /// The short run that is part of `cargo xtask test`.
    #[must_use]
    pub fn short() -> Self {
        Self {
            minutes: 0.8,
            seed: Some(1),
            gateways: 2,
            workers: 3,
            rate: 8,
            only: None,
            release: false,
            no_build: true,
            json: false,
            write: false,
        }
    }

    fn size(&self, nats_server: &Path, folder: &Path) -> Size {
        Size {
            gateways: self.gateways.into(),
            workers: self.workers.into(),
            binaries: paths::target().join(self.build()),
            nats_server: nats_server.to_owned(),
            folder: folder.to_owned(),
        }
    }

    fn build(&self) -> &'static str {
        if self.release { "release" } else { "debug" }
    }
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes = text.parse::<f64>().ok().filter(|minutes| (0.1..=1440.0).contains(minutes));
    minutes.ok_or_else(|| "expected a number of minutes from 0.1 to 1440".to_owned())
}

/// Builds, makes faults under load, prints the table.
///
/// # Errors
/// When something cannot be built or started, or a line was lost or answered twice.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..1_000_000));
    // Said before anything is built, when the arguments cannot be used.
    let plan = Plan::new(seed, options.only.as_deref())?;
    let nats_server = nats::find_or_fetch()?;
    match (options.no_build, options.release) {
        (true, _) => {}
        (false, false) => demo::build()?,
        (false, true) => shell::cargo(&["build", "--release", "--workspace", "--bins"])?,
    }
    let folder = paths::target().join("chaos").join(seed.to_string());
    if folder.exists() {
        std::fs::remove_dir_all(&folder).with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    std::fs::create_dir_all(&folder)?;
    shell::complain(&format!("seed {seed}, logs in {}", paths::shown(&folder)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let size = options.size(&nats_server, &folder);
    let (report, whole) = runtime.block_on(chaos(options, &size, seed, plan))?;
    std::fs::write(folder.join("report.json"), serde_json::to_vec_pretty(&report)?)?;
    // They are large, and of no use any more.
    std::fs::remove_dir_all(folder.join("bin"))?;
    std::fs::remove_dir_all(folder.join("jetstream"))?;
    show(options, &report, &folder)?;
    ensure!(whole, "ended before its time; what was not answered by then is left out");
    Ok(())
}

fn show(options: &Options, report: &Report, folder: &Path) -> anyhow::Result<()> {
    if options.json {
        println!("{}", serde_json::to_string_pretty(report)?);
    } else {
        println!("\n{}", report.markdown());
    }
    shell::complain(&report.complaints());
    if options.write {
        page::write("docs/reliability.md", "chaos", &report.markdown())?;
    }
    ensure!(
        report.is_clean(),
        "{} lost, {} doubled; the logs are in {}",
        report.total.lost,
        report.total.doubled,
        paths::shown(folder)
    );
    Ok(())
}

/// Whether the run came to its end is told with the report.
async fn chaos(options: &Options, size: &Size, seed: u64, plan: Plan) -> anyhow::Result<(Report, bool)> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stack = tokio::select! {
        stack = Stack::start(size) => stack?,
        // Dropping what was started ends it.
        _ = interrupt.recv() => bail!("interrupted"),
        _ = terminate.recv() => bail!("asked to end"),
    };
    let run = Run {
        stack: &stack,
        shared: Shared::default(),
        windows: RefCell::default(),
        can_hand_over: size.gateways > 1,
    };
    let lasts = Duration::from_secs_f64(options.minutes * 60.0);
    let whole = tokio::select! {
        broken = run.watch() => return Err(broken),
        done = run.act(options.rate, plan, lasts) => done.map(|()| true)?,
        _ = interrupt.recv() => false,
        _ = terminate.recv() => false,
    };
    let facts = Facts {
        seed,
        seconds: stack.now().min(lasts).as_secs(),
        gateways: size.gateways,
        workers: size.workers,
        rate: options.rate,
        build: options.build(),
    };
    if !whole {
        run.shared.ledger().leave_out_open(stack.now().saturating_sub(SETTLE_LIMIT));
    }
    let report = {
        let (ledger, windows) = (run.shared.ledger(), run.windows.borrow());
        let judge = Judge { windows: &windows, can_hand_over: run.can_hand_over };
        std::fs::write(size.folder.join("lines.json"), serde_json::to_vec(ledger.lines())?)?;
        Report::new(facts, &ledger, judge, &stack.incidents())
    };
    drop(run);
    stack.end().await;
    Ok((report, whole))
}

/// A run with all its parts.
struct Run<'a> {
    stack: &'a Stack,
    shared: Shared,
    windows: RefCell<Vec<Window>>,
    can_hand_over: bool,
}

impl Run<'_> {
    /// What goes on all the time; it ends only when it breaks.
    async fn watch(&self) -> anyhow::Error {
        let (stack, shared) = (self.stack, &self.shared);
        let ended = tokio::select! {
            ended = stack.tend() => ended,
            ended = load::watch(stack, shared) => ended,
            ended = witness::listen(stack, shared) => ended,
        };
        ended.err().unwrap_or_else(|| anyhow::anyhow!("something ended that goes on all the time"))
    }

    /// Lets people talk while faults are made, and waits for the last replies.
    async fn act(&self, rate: u32, plan: Plan, lasts: Duration) -> anyhow::Result<()> {
        let (stack, shared) = (self.stack, &self.shared);
        tokio::select! {
            ended = load::talk(stack, shared, rate, Platform::Discord) => ended?,
            ended = load::talk(stack, shared, rate, Platform::Twitch) => ended?,
            done = self.faults(plan, lasts) => done?,
        }
        let last = stack.now();
        while self.lost() > 0 && stack.now() < last + SETTLE_LIMIT {
            sleep(POLL).await;
        }
        sleep(SECOND_REPLY).await;
        Ok(())
    }

    async fn faults(&self, mut plan: Plan, lasts: Duration) -> anyhow::Result<()> {
        let everywhere = self.stack.places_of(None);
        let answers = self.answers_since(&everywhere, Duration::ZERO, WARM_UP_LIMIT).await;
        ensure!(answers, "not every channel was answered within {} s", WARM_UP_LIMIT.as_secs());
        let began = Instant::now();
        while began.elapsed() < lasts {
            let window = self.step(&plan.next()).await?;
            self.windows.borrow_mut().push(window);
            self.tell();
        }
        Ok(())
    }

    /// One or two faults, until everybody is answered at once again.
    async fn step(&self, step: &Step) -> anyhow::Result<Window> {
        let stack = self.stack;
        sleep(step.pause).await;
        let begin = stack.now();
        let mut strikes = vec![self.strike(&step.fault, begin)?];
        match &step.beside {
            None => inject::inject(stack, &step.fault).await?,
            Some((later, fault)) => {
                strikes.push(self.strike(fault, begin + *later)?);
                let second = async {
                    sleep(*later).await;
                    inject::inject(stack, fault).await
                };
                tokio::try_join!(inject::inject(stack, &step.fault), second)?;
            }
        }
        let everywhere = stack.places_of(None);
        self.answers_since(&everywhere, stack.now(), RECOVERY_LIMIT).await;
        Ok(Window { strikes, begin, end: stack.now() })
    }

    fn strike(&self, fault: &Fault, at: Duration) -> anyhow::Result<Strike> {
        let part = inject::target(self.stack, fault)?.name.clone();
        Ok(Strike { kind: fault.kind, part, at, lasts: fault.lasts })
    }

    async fn answers_since(&self, places: &[ledger::Place], since: Duration, limit: Duration) -> bool {
        let until = self.stack.now() + limit;
        loop {
            if self.shared.ledger().answers_again(places, since) {
                return true;
            }
            if self.stack.now() > until {
                return false;
            }
            sleep(POLL).await;
        }
    }

    /// How many lines are lost as it stands.
    fn lost(&self) -> usize {
        let windows = self.windows.borrow();
        Judge { windows: &windows, can_hand_over: self.can_hand_over }.lost(&self.shared.ledger())
    }

    /// One line of progress, about the last fault.
    fn tell(&self) {
        let (windows, lost) = (self.windows.borrow(), self.lost());
        let Some(window) = windows.last() else { return };
        let what: Vec<String> = window.strikes.iter().map(ToString::to_string).collect();
        let said = self.shared.ledger().lines().len();
        shell::complain(&format!(
            "{} {:>3}. {}: all well after {:.1} s; {said} said, {lost} to be answered",
            clock(window.begin),
            windows.len(),
            what.join(" and "),
            (window.end - window.begin).as_secs_f32(),
        ));
    }
}
