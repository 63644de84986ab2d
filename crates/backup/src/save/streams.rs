//! Streams and buckets on disk, each by a snapshot of the server.

use std::{collections::BTreeMap, path::Path};

use bus::{Bus, Cut, SAVED, Saved};
use tokio::{
    fs::{self, File},
    io::AsyncWriteExt as _,
};
use tracing::info;

use crate::{
    files,
    manifest::Part,
    trouble::{Trouble, While as _, aside},
};

/// What the server told of a stream, and what it sent: the names that `nats stream restore` looks for.
pub const CUT: &str = "backup.json";
/// How the streams of buckets are named.
const BUCKET: &str = "KV_";
/// The stream itself.
pub const DATA: &str = "stream.tar.s2";

/// Saves all of them into `folder`. Those in memory, and those that were never there, are left out. `before` has the
/// messages of each in the last good backup.
///
/// # Errors
/// [`Trouble`]; also when one is gone, or a bucket has lost most of what it held: backups of a server that has lost its
/// disk would take the place of those that hold everything.
pub async fn save(bus: &Bus, folder: &Path, before: &BTreeMap<String, u64>) -> Result<Vec<Part>, Trouble> {
    let mut parts = Vec::new();
    for Saved { name, .. } in SAVED {
        let doing = || format!("saving the stream {name}");
        let before = before.get(name).copied();
        if !bus.can_be_saved(name).await.during(doing())? {
            if before.is_some() && bus.stream_now(name).await.during(doing())?.is_none() {
                return Err(lost(&format!("the last backup had the stream {name}, and there is none now")));
            }
            info!(stream = name, "not on disk; it is not saved");
            continue;
        }
        let messages = save_one(bus, name, &folder.join(name)).await?.messages();
        // Of a key that is deleted a mark stays: a bucket does not become smaller by itself.
        if let Some(before) = before.filter(|before| name.starts_with(BUCKET) && messages * 2 < *before) {
            let found = format!("{name} held {before} entries in the last backup, and holds {messages} now");
            return Err(lost(&found));
        }
        parts.push(Part::Stream { name: name.to_owned(), messages });
    }
    Ok(parts)
}

fn lost(found: &str) -> Trouble {
    Trouble::Found(format!(
        "{found}: does NATS have its disk? To bring it back, restore; to go on as it is, remove backup.json from \
         BACKUP_DATA"
    ))
}

/// Saves one into `folder`.
///
/// # Errors
/// [`Trouble`]
pub async fn save_one(bus: &Bus, name: &str, folder: &Path) -> Result<Cut, Trouble> {
    let doing = || format!("saving the stream {name}");
    fs::create_dir_all(folder).await.during(doing())?;
    let mut file = File::create(folder.join(DATA)).await.during(doing())?;
    let cut = bus.save_stream(name, &mut file).await.during(doing())?;
    // Only this tells how the last write ended.
    file.flush().await.during(doing())?;
    file.sync_all().await.during(doing())?;
    let (path, told, doing) = (folder.join(CUT), cut.clone(), doing());
    aside(move || files::write_json(&path, &told).during(doing)).await?;
    Ok(cut)
}

/// What was saved of one.
///
/// # Errors
/// When it cannot be read.
pub fn cut(folder: &Path) -> Result<Cut, Trouble> {
    let doing = || format!("reading {}", folder.display());
    let text = std::fs::read(folder.join(CUT)).during(doing())?;
    serde_json::from_slice(&text).during(doing())
}

/// Puts one that was saved in the place of what is there.
///
/// # Errors
/// [`Trouble`]; then there may be none.
pub async fn replace(bus: &Bus, name: &str, folder: &Path) -> Result<(), Trouble> {
    let doing = || format!("putting the stream {name} back");
    let cut = cut(folder)?;
    let mut file = File::open(folder.join(DATA)).await.during(doing())?;
    bus.remove_stream(name).await.during(doing())?;
    let messages = bus.put_stream_back(name, &cut, &mut file).await.during(doing())?;
    // What became too old meanwhile is gone by now; in a bucket nothing becomes too old.
    let expected = cut.messages();
    if messages > expected || (messages < expected && name.starts_with(BUCKET)) {
        return Err(Trouble::Found(format!("{name} holds {messages} messages, {expected} were expected")));
    }
    Ok(())
}
