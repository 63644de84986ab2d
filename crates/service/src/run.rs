//! The `main` of a service: arguments, settings, telemetry, then the work.

use std::{future::Future, net::SocketAddr, process::ExitCode, time::Instant};

use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{
    health::Health,
    http::{self, Pages},
    lifecycle,
    memory::resident_bytes,
    metrics::Metrics,
    settings::{COMMON, Setting, Settings},
    tasks::Tasks,
    telemetry,
    watchdog::Watchdog,
};

/// Version and commit of this build, `0.1.0 (abc1234567)`.
pub const BUILD: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("VIGIE_BUILD_COMMIT"), ")");
/// The exit code for settings that cannot be used (`EX_USAGE` of sysexits): a restart would not help.
pub const EXIT_BAD_SETTINGS: u8 = 64;
/// The exit code of a service that was told to start again (`EX_TEMPFAIL` of sysexits): no success, since some
/// supervisors start again only what failed.
pub const EXIT_START_AGAIN: u8 = 75;

/// The longest name of an instance, in characters.
const INSTANCE_MAX: usize = 64;

/// What a binary is called.
#[derive(Clone, Copy, Debug)]
pub struct Info {
    /// The name of the service, its crate and its binary.
    pub name: &'static str,
}

/// What a service is given to work with.
#[derive(Clone, Debug)]
pub struct Context {
    /// The name of the service.
    pub name: &'static str,
    /// Which of several: `VIGIE_INSTANCE`, or `<host>-<process id>`.
    pub instance: String,
    /// When it was.
    pub started: Instant,
    /// Cancelled when the service should stop taking work, drain, and return.
    pub shutdown: CancellationToken,
    /// Cancelled besides when it should be started again after that.
    pub again: CancellationToken,
    /// What the probes say.
    pub health: Health,
    /// What `/metrics` says.
    pub metrics: Metrics,
    /// What is answered besides the probes and numbers.
    pub pages: Pages,
    /// Where background work is spawned.
    pub tasks: Tasks,
}

impl Context {
    /// A context outside of [`main`], for tests that run a service in process.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        let shutdown = CancellationToken::new();
        Self {
            name,
            instance: host_and_process(),
            started: Instant::now(),
            health: Health::default(),
            metrics: Metrics::default(),
            pages: Pages::default(),
            tasks: Tasks::new(shutdown.clone()),
            again: CancellationToken::new(),
            shutdown,
        }
    }

    /// Ends the service in order, with [`EXIT_START_AGAIN`], once `told` gives `true`.
    pub fn start_again_when(&self, told: impl Future<Output = bool> + Send + 'static) {
        let (again, shutdown) = (self.again.clone(), self.shutdown.clone());
        self.tasks.spawn("start-again", async move {
            if shutdown.run_until_cancelled(told).await == Some(true) {
                again.cancel();
                shutdown.cancel();
            }
            Ok(())
        });
    }
}

/// Runs a service as the `main` of its binary.
///
/// Arguments: `--version`, `--probe` (is the one that runs here ready?), `--settings` (the table of
/// its settings, one JSON object a line), `--help`. Exit codes: 0 after a signal, 1 when the service
/// failed, [`EXIT_START_AGAIN`] when it was told to start again, [`EXIT_BAD_SETTINGS`] when settings or
/// arguments cannot be used.
pub fn main<C, R, F>(info: Info, known: &'static [Setting], read: fn(&mut Settings) -> C, work: R) -> ExitCode
where
    R: FnOnce(Context, C) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    let arguments: Vec<String> =
        std::env::args_os().skip(1).map(|argument| argument.to_string_lossy().into_owned()).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => serve(info, known, read, work),
        ["--version" | "-V"] => say(&format!("{} {BUILD}", info.name)),
        ["--help" | "-h"] => say(&help(info, known)),
        ["--settings"] => say(&table(known)),
        ["--probe"] => probe(known),
        _ => {
            complain(&format!(
                "{}: expected no argument, or one of --version --probe --settings --help",
                info.name
            ));
            ExitCode::from(EXIT_BAD_SETTINGS)
        }
    }
}

/// Makes ring the provider of TLS for this process. Two providers in one dependency tree make
/// rustls panic unless one is chosen.
pub fn install_crypto() {
    // An error says that one is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn serve<C, R, F>(info: Info, known: &'static [Setting], read: fn(&mut Settings) -> C, work: R) -> ExitCode
where
    R: FnOnce(Context, C) -> F,
    F: Future<Output = anyhow::Result<()>>,
{
    let mut settings = Settings::load(&[known]);
    let telemetry = telemetry::Config::read(&mut settings);
    let address = http_address(&mut settings);
    let instance = instance(&mut settings);
    let config = read(&mut settings);
    if let [first, ..] = settings.problems() {
        let count = settings.problems().len();
        let plural = if count == 1 { "setting" } else { "settings" };
        complain(&format!("{}: {count} {plural} cannot be used:", info.name));
        for problem in settings.problems() {
            complain(&format!("  {problem}"));
        }
        complain(&format!("nothing was started; mend {} and start again", first.name));
        return ExitCode::from(EXIT_BAD_SETTINGS);
    }
    install_crypto();
    let context = Context { instance, ..Context::new(info.name) };
    let guard = match telemetry::start(&telemetry, info.name, &context.instance) {
        Ok(guard) => guard,
        Err(reason) => {
            complain(&format!("{}: logs and traces cannot be started: {reason:#}", info.name));
            return ExitCode::FAILURE;
        }
    };
    let outcome = block_on(info.name, run(&context, address, work(context.clone(), config)));
    if let Err(reason) = &outcome {
        error!(error = format!("{reason:#}"), "ended");
    }
    // From here on nothing is exported any more.
    drop(guard);
    match outcome {
        Ok(()) if context.again.is_cancelled() => ExitCode::from(EXIT_START_AGAIN),
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}

/// One thread: an event costs fewer wake-ups, and a service fits in less memory.
fn block_on(service: &'static str, work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let watchdog = Watchdog::start(service)?;
    let outcome = runtime.block_on(async {
        tokio::select! {
            biased;
            outcome = work => outcome,
            never = watchdog.turn() => match never {},
        }
    });
    runtime.shutdown_background();
    outcome
}

async fn run(
    context: &Context,
    address: SocketAddr,
    work: impl Future<Output = anyhow::Result<()>>,
) -> anyhow::Result<()> {
    show_itself(context);
    let listener = http::bind(address).await?;
    info!(build = BUILD, http = %listener.local_addr()?, "starting");
    let answers = http::serve(
        listener,
        context.health.clone(),
        context.metrics.clone(),
        context.pages.clone(),
        context.shutdown.clone(),
    );
    context.tasks.spawn("http", answers);
    let outcome = lifecycle::supervise(work, context).await;
    if outcome.is_ok() {
        info!("ended");
    }
    outcome
}

/// The numbers that every service has.
fn show_itself(context: &Context) {
    let (metrics, health, started) = (&context.metrics, context.health.clone(), context.started);
    metrics.gauge_of("ready", "Whether the service does its work now", move || {
        if health.readiness().ready { 1.0 } else { 0.0 }
    });
    metrics.gauge_of("uptime_seconds", "Since the service started", move || started.elapsed().as_secs_f64());
    // Memory is far below 2^52 bytes.
    #[allow(clippy::cast_precision_loss)]
    let resident = || resident_bytes() as f64;
    metrics.gauge_of("resident_bytes", "Memory that the service holds", resident);
    metrics.build(BUILD);
}

fn http_address(settings: &mut Settings) -> SocketAddr {
    let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
    settings
        .optional_parse("VIGIE_HTTP_ADDR", |text| text.parse().map_err(|_| String::new()))
        .unwrap_or(nowhere)
}

fn probe(known: &'static [Setting]) -> ExitCode {
    let mut settings = Settings::load(&[known]);
    let address = http_address(&mut settings);
    match http::probe(address) {
        Ok(()) => say("ready"),
        Err(reason) => {
            complain(&format!("{reason:#}"));
            ExitCode::FAILURE
        }
    }
}

fn help(info: Info, known: &[Setting]) -> String {
    let mut text = format!("{} {BUILD}\n\nSettings (environment, NAME_FILE, or vigie.toml):\n", info.name);
    for setting in known.iter().chain(COMMON) {
        let default = setting.default.map(|value| format!(" (default {value})")).unwrap_or_default();
        text += &format!("  {:<30} {}{default}\n", setting.name, setting.help);
    }
    text + "\nArguments: --version, --probe, --settings, --help"
}

fn table(known: &[Setting]) -> String {
    let line = |setting: &Setting| {
        serde_json::json!({
            "name": setting.name,
            "default": setting.default,
            "expected": setting.expected,
            "help": setting.help,
            "secret": setting.secret,
        })
        .to_string()
    };
    known.iter().chain(COMMON).map(line).collect::<Vec<_>>().join("\n")
}

fn instance(settings: &mut Settings) -> String {
    let fine = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let named = settings.optional_parse("VIGIE_INSTANCE", |text| {
        let good = (1..=INSTANCE_MAX).contains(&text.len()) && text.chars().all(fine);
        if good { Ok(text.to_owned()) } else { Err(String::new()) }
    });
    named.unwrap_or_else(host_and_process)
}

fn host_and_process() -> String {
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let token = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '-' };
    format!("{}-{}", host.chars().take(32).map(token).collect::<String>(), std::process::id())
}

#[allow(clippy::print_stdout, reason = "the answer to an argument goes to standard output")]
fn say(text: &str) -> ExitCode {
    println!("{text}");
    ExitCode::SUCCESS
}

#[allow(clippy::print_stderr, reason = "there is no log yet")]
pub(crate) fn complain(text: &str) {
    eprintln!("{text}");
}
