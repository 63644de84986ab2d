//! `vigie provision`: creates what the services only look up. Compose runs it beside them (`--stay`),
//! since a NATS that keeps its streams in memory comes back without them; `vigie up` does it itself.

use std::{convert::Infallible, process::ExitCode, time::Duration};

use anyhow::Context;
use bus::{BucketName, Bus, Keeping, Link, Storage, User};
use serde_json::json;
use service::Settings;
use tokio::{sync::watch, time::sleep};

use crate::{cli, find, settings, up::Stopper};

/// What to look at when NATS refuses.
const ADVICE: &str = "NATS refused to create what Vigie needs; it must run with JetStream, have room on its disk, and with \
     NATS_REPLICAS as many servers";
/// Until the next try, when a NATS that came back refuses: it may not have started all of itself.
const PAUSE: Duration = Duration::from_secs(1);

/// What `vigie provision --help` ends with.
const EXIT_CODES: &str = "Exit codes: 0 everything is there; 1 with --check something is not; NATS does not answer, or \
refuses; 64 settings or arguments cannot be used";

/// Arguments of `vigie provision`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Options {
    /// Stay, and create them again whenever NATS comes back, until SIGTERM
    #[arg(long)]
    stay: bool,
    /// Create nothing; say by the exit code whether everything is there
    #[arg(long, conflicts_with = "stay")]
    check: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Creates streams, consumers and buckets, and says which there are.
///
/// # Errors
/// When NATS cannot be reached or refuses.
pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut settings = Settings::load(&[settings::SETTINGS]);
    let keeping = keeping(&mut settings);
    let url = settings.optional("NATS_URL").unwrap_or_else(|| bus::NATS_URL_DEFAULT.to_owned());
    if !settings::usable(&settings) {
        return Ok(cli::bad_settings());
    }
    if options.check {
        return check(&url, options.json).await;
    }
    if !options.stay {
        create(&url, keeping, options.json).await?.end().await;
        return Ok(ExitCode::SUCCESS);
    }
    let mut stopper = Stopper::new(false)?;
    tokio::select! {
        outcome = stay(&url, keeping, options.json) => match outcome? {},
        () = stopper.asked() => Ok(ExitCode::SUCCESS),
    }
}

async fn stay(url: &str, keeping: Keeping, json: bool) -> anyhow::Result<Infallible> {
    create(url, keeping, json).await?.go_on(cli::complain).await
}

/// Creates everything for the first time.
async fn create(url: &str, keeping: Keeping, json: bool) -> anyhow::Result<Upkeep> {
    let options = bus::Options { url: url.to_owned(), name: format!("provision-{}", std::process::id()) };
    // Compose starts this together with NATS, so it is as patient as a service.
    let bus = Bus::connect_as(&find::login(User::Provision)?, options).await?;
    let upkeep = Upkeep::begin(bus, keeping).await?;
    let streams: Vec<&str> = bus::backlogs(&upkeep.bus).await.iter().map(|backlog| backlog.stream).collect();
    let buckets = BucketName::ALL.map(BucketName::name);
    let (kept, storage) =
        if keeping.storage == Storage::Memory { ("in memory", "memory") } else { ("on disk", "file") };
    let (version, url) = (upkeep.bus.server_version(), bus::without_credentials(url));
    cli::say(&if json {
        let nats = json!({ "url": url, "version": version });
        json!({ "nats": nats, "storage": storage, "streams": streams, "buckets": buckets }).to_string() + "\n"
    } else {
        format!(
            "NATS {version} at {url} holds what Vigie needs, {kept}:\n  streams  {}\n  buckets  {}\n",
            streams.join(", "),
            buckets.join(", "),
        )
    })?;
    Ok(upkeep)
}

async fn check(url: &str, json: bool) -> anyhow::Result<ExitCode> {
    let bus = find::connect_as(User::Provision, url).await?;
    let missing = bus::missing(&bus).await;
    if json {
        cli::say(&(json!({ "missing": missing }).to_string() + "\n"))?;
    }
    if missing.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    let whose = bus::without_credentials(url);
    cli::complain(&format!("NATS at {whose} lacks {}: run `vigie provision`", missing.join(", ")));
    Ok(ExitCode::FAILURE)
}

/// Keeps everything there for as long as NATS may come back without it.
pub(crate) struct Upkeep {
    bus: Bus,
    link: watch::Receiver<Link>,
    keeping: Keeping,
}

impl Upkeep {
    /// Creates everything for the first time.
    ///
    /// # Errors
    /// When NATS refuses.
    pub(crate) async fn begin(bus: Bus, keeping: Keeping) -> anyhow::Result<Self> {
        let mut link = bus.link();
        // From here on; a loss while the lines below run is seen by `go_on`.
        link.mark_unchanged();
        bus::provision(&bus, keeping).await.context(ADVICE)?;
        Ok(Self { bus, link, keeping })
    }

    /// Creates everything again whenever the link comes back, for ever, and tells a person how that went.
    ///
    /// # Errors
    /// When the connection is closed for good.
    pub(crate) async fn go_on(mut self, tell: impl Fn(&str)) -> anyhow::Result<Infallible> {
        let mut refused = false;
        loop {
            tokio::select! {
                changed = self.link.changed() => changed.context("the connection to NATS is closed")?,
                () = sleep(PAUSE), if refused => {}
            }
            if *self.link.borrow_and_update() == Link::Down {
                refused = false;
                continue;
            }
            match bus::provision(&self.bus, self.keeping).await.context(ADVICE) {
                Ok(()) => {
                    refused = false;
                    tell("NATS is back, and holds what Vigie needs");
                }
                Err(_) if refused => {}
                Err(reason) => {
                    refused = true;
                    tell(&format!("{reason:#}; trying again until it does not"));
                }
            }
        }
    }

    /// Ends without doing it again.
    pub(crate) async fn end(self) {
        self.bus.drain().await;
    }
}

/// Reads `NATS_STORAGE` and `NATS_REPLICAS`.
pub(crate) fn keeping(settings: &mut Settings) -> Keeping {
    let storage = settings.parse("NATS_STORAGE", |text| match text {
        "file" => Ok(Storage::File),
        "memory" => Ok(Storage::Memory),
        _ => Err(String::new()),
    });
    let replicas = settings.parse("NATS_REPLICAS", |text| match text {
        "1" => Ok(1),
        "3" => Ok(3),
        "5" => Ok(5),
        _ => Err(String::new()),
    });
    Keeping { storage, replicas }
}
