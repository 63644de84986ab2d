//! `vigie provision`: creates what the services only look up. Compose runs it before them; `vigie up`
//! does it itself.

use std::process::ExitCode;

use anyhow::Context;
use bus::{Bus, Storage};
use service::Settings;

use crate::{cli, find, settings};

/// Creates streams, consumers and buckets, and says which there are.
///
/// # Errors
/// When NATS cannot be reached or refuses.
pub(crate) async fn run() -> anyhow::Result<ExitCode> {
    let mut settings = Settings::load(&[settings::SETTINGS]);
    let storage = storage(&mut settings);
    let url = settings.optional("NATS_URL").unwrap_or_else(|| bus::NATS_URL_DEFAULT.to_owned());
    if !settings::usable(&settings) {
        return Ok(cli::bad_settings());
    }
    let options = bus::Options { url: url.clone(), name: format!("provision-{}", std::process::id()) };
    // Compose starts this together with NATS, so it is as patient as a service.
    let bus = Bus::connect(options).await?;
    bus::provision(&bus, storage).await.context(ADVICE)?;
    let streams: Vec<&str> = bus::backlogs(&bus).await.iter().map(|backlog| backlog.stream).collect();
    let buckets = bus::BucketName::ALL.map(bus::BucketName::name);
    let kept = if storage == Storage::Memory { "in memory" } else { "on disk" };
    cli::say(&format!(
        "NATS {} at {} holds what Vigie needs, {kept}:\n  streams  {}\n  buckets  {}\n",
        bus.server_version(),
        find::without_credentials(&url),
        streams.join(", "),
        buckets.join(", "),
    ))?;
    bus.drain().await;
    Ok(ExitCode::SUCCESS)
}

/// What to look at when NATS refuses.
pub(crate) const ADVICE: &str =
    "NATS refused to create what Vigie needs; it must run with JetStream and have room on its disk";

/// Reads `NATS_STORAGE`.
pub(crate) fn storage(settings: &mut Settings) -> Storage {
    settings.parse("NATS_STORAGE", |text| match text {
        "file" => Ok(Storage::File),
        "memory" => Ok(Storage::Memory),
        _ => Err(String::new()),
    })
}
