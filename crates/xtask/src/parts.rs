//! What `bench` and `chaos` need alike to start the parts of Vigie as processes of their own.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use testkit::free_port;

use crate::{http, process::Process};

/// How long a part may take to be ready.
pub const READY_LIMIT: Duration = Duration::from_secs(60);
/// Between two looks.
const POLL: Duration = Duration::from_millis(50);

/// Waits until the part at `url` says that it works.
///
/// # Errors
/// When it does not within [`READY_LIMIT`].
pub async fn ready(url: &str) -> anyhow::Result<()> {
    let started = Instant::now();
    loop {
        match http::get(url, "/readyz", Duration::from_secs(2)).await {
            Ok(_) => return Ok(()),
            Err(error) if started.elapsed() > READY_LIMIT => bail!("{url} is not ready: {error:#}"),
            Err(_) => tokio::time::sleep(POLL).await,
        }
    }
}

/// Starts nats-server on one thread, as it is shipped; gives it with its port.
///
/// # Errors
/// When it cannot be started.
pub fn nats(server: &Path, folder: &Path) -> anyhow::Result<(Process, u16)> {
    let port = free_port();
    let config = folder.join("nats.conf");
    std::fs::write(&config, nats_config(port, folder))?;
    let config = config.to_str().context("the path is not UTF-8")?;
    let one_thread = [("GOMAXPROCS", "1".to_owned())];
    Ok((Process::start("nats-server", server, &["--config", config], &one_thread, folder)?, port))
}

/// A configuration for nats-server with its data in `folder`.
#[must_use]
pub fn nats_config(port: u16, folder: &Path) -> String {
    format!(
        "listen: \"127.0.0.1:{port}\"\nmax_payload: 256KB\njetstream {{ store_dir: {:?}, \
         max_memory_store: 512MB, max_file_store: 1GB, sync_interval: \"10s\" }}\n",
        nats_data(folder)
    )
}

/// Where that keeps its data.
#[must_use]
pub fn nats_data(folder: &Path) -> PathBuf {
    folder.join("jetstream")
}
