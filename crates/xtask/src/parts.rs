//! What `bench` and `chaos` need alike to start the parts of Vigie as processes of their own.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use anyhow::bail;

use crate::http;

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

/// A configuration for nats-server with its data in `folder`.
#[must_use]
pub fn nats_config(port: u16, folder: &Path) -> String {
    format!(
        "listen: \"127.0.0.1:{port}\"\nmax_payload: 256KB\njetstream {{ store_dir: {:?}, \
         max_memory_store: 512MB, max_file_store: 1GB, sync_interval: \"10s\" }}\n",
        folder.join("jetstream")
    )
}
