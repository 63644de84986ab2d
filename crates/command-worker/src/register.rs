//! Tells the gateways which commands there are.

use bus::{Bucket, BucketError, BucketName, Bus};
use commands::{Definition, catalogue};
use protocol::Catalogue;
use tracing::{info, warn};

/// The key in the bucket of settings.
const KEY: &str = "catalogue";
/// How often it is tried when another worker writes at the same moment.
const TRIES: u32 = 4;

/// Writes the catalogue unless it is there already, so that several workers of one version write once
/// and the gateways register nothing anew.
///
/// # Errors
/// [`BucketError`] when the bucket is not there, or the value cannot be written.
pub async fn publish(bus: &Bus, commands: &[&'static Definition]) -> Result<(), BucketError> {
    let bucket = bus.bucket(BucketName::Settings).await?;
    let ours = catalogue(commands);
    for _ in 1..TRIES {
        match write(&bucket, &ours).await {
            Err(BucketError::Changed { .. }) => {}
            outcome => return outcome,
        }
    }
    write(&bucket, &ours).await
}

async fn write(bucket: &Bucket, ours: &Catalogue) -> Result<(), BucketError> {
    let there = match bucket.entry::<Catalogue>(KEY).await {
        Ok(there) => there,
        Err(BucketError::Shape { key, source }) => {
            warn!(key, error = %source, "written by another version; replaced");
            bucket.put(KEY, ours).await?;
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let revision = match there {
        Some(entry) if entry.value == *ours => return Ok(()),
        Some(entry) => entry.revision,
        None => 0,
    };
    bucket.put_if(KEY, ours, revision).await?;
    info!(commands = ours.commands.len(), "the catalogue of commands is new");
    Ok(())
}
