//! `cargo xtask schema`: JSON Schemas of what passes over the bus, for workers in other languages.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context, bail};
use protocol::{
    Action, Batch, Catalogue, Event, Interaction, InteractionResponse, Outcome, ServiceStats, VERSION,
    Versioned,
    control::{
        Audit, BackupAnswer, BackupRequest, DeployAnswer, DeployRequest, HealthAnswer, HealthRequest,
        Restart, Restarting,
    },
};
use schemars::{JsonSchema, schema_for};
use serde_json::{Value, json};

use crate::paths;

/// Arguments of `cargo xtask schema`.
#[derive(clap::Args, Debug)]
pub struct Options {
    /// Only say whether the files are up to date
    #[arg(long)]
    pub check: bool,
}

/// Writes or checks `docs/schema`.
///
/// # Errors
/// When a file cannot be written or, with `--check`, differs from the code.
pub fn run(options: &Options) -> anyhow::Result<()> {
    let folder = paths::root().join("docs").join("schema");
    let wanted = all()?;
    let stale = differences(&folder, &wanted)?;
    if options.check {
        if stale.is_empty() {
            println!("{} schemas are up to date", wanted.len());
            return Ok(());
        }
        bail!("not up to date: {}; run cargo xtask schema", stale.join(", "));
    }
    fs::create_dir_all(&folder)?;
    for name in &stale {
        let path = folder.join(name);
        match wanted.get(name) {
            Some(text) => fs::write(&path, text),
            None => fs::remove_file(&path),
        }
        .with_context(|| format!("cannot update {}", path.display()))?;
        println!("{}", paths::shown(&path));
    }
    println!("{} schemas, {} changed", wanted.len(), stale.len());
    Ok(())
}

fn all() -> anyhow::Result<BTreeMap<String, String>> {
    [
        entry::<Action>(),
        entry::<Audit>(),
        entry::<BackupAnswer>(),
        entry::<BackupRequest>(),
        entry::<Batch>(),
        entry::<Catalogue>(),
        entry::<DeployAnswer>(),
        entry::<DeployRequest>(),
        entry::<Event>(),
        entry::<HealthAnswer>(),
        entry::<HealthRequest>(),
        entry::<Interaction>(),
        entry::<InteractionResponse>(),
        entry::<Outcome>(),
        entry::<Restart>(),
        entry::<Restarting>(),
        entry::<ServiceStats>(),
    ]
    .into_iter()
    .collect()
}

fn entry<T: Versioned + JsonSchema>() -> anyhow::Result<(String, String)> {
    let mut schema = serde_json::to_value(schema_for!(T))?;
    // The type allows any number; the code reads one.
    if let Some(version) = schema.pointer_mut("/properties/v").and_then(Value::as_object_mut) {
        version.insert("const".to_owned(), json!(VERSION));
    }
    let text = serde_json::to_string_pretty(&schema)? + "\n";
    Ok((format!("{}.json", T::NAME), text))
}

/// Names of files that are missing, differ, or should not be there.
fn differences(folder: &Path, wanted: &BTreeMap<String, String>) -> anyhow::Result<Vec<String>> {
    let is_current = |(name, text): &(&String, &String)| {
        fs::read_to_string(folder.join(name)).is_ok_and(|found| found == **text)
    };
    let mut stale: Vec<String> =
        wanted.iter().filter(|entry| !is_current(entry)).map(|(name, _)| name.clone()).collect();
    if folder.is_dir() {
        for found in fs::read_dir(folder)? {
            let path: PathBuf = found?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if path.extension().is_some_and(|kind| kind == "json") && !wanted.contains_key(&name) {
                stale.push(name);
            }
        }
    }
    Ok(stale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_schema_names_the_one_version_that_is_read() {
        let (name, text) = entry::<Event>().unwrap();
        let schema: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(name, "event.json");
        assert_eq!(schema["properties"]["v"]["const"], VERSION);
    }

    #[test]
    fn missing_changed_and_left_over_files_are_found() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = BTreeMap::from(["a", "b", "c"].map(|name| (format!("{name}.json"), name.to_owned())));
        for (name, text) in [("a.json", "a"), ("b.json", "old"), ("gone.json", "x"), ("notes.md", "x")] {
            fs::write(folder.path().join(name), text).unwrap();
        }
        assert_eq!(differences(folder.path(), &wanted).unwrap(), ["b.json", "c.json", "gone.json"]);
    }
}
