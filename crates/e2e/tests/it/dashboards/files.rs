//! Reads the dashboards.

use serde_json::Value;

use super::folder;

/// The data source of the metrics store.
pub const METRICS: &str = "vigie-metrics";
/// Those of the others.
pub const TRACES: &str = "vigie-traces";
pub const LOGS: &str = "vigie-logs";

/// One dashboard.
pub struct Dashboard {
    /// Its file.
    pub file: String,
    /// What is in it.
    pub json: Value,
}

/// One question of one panel.
#[derive(Clone, Debug)]
pub struct Query {
    /// The dashboard and panel.
    pub place: String,
    /// The data source's uid.
    pub source: String,
    /// What is asked.
    pub target: Value,
}

impl Dashboard {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let entries = std::fs::read_dir(folder().join("grafana/dashboards")).expect("the dashboards");
        let mut all: Vec<_> = entries
            .map(|entry| {
                let path = entry.expect("a file").path();
                let file = path.file_name().expect("a name").to_string_lossy().into_owned();
                let text = std::fs::read_to_string(&path).expect("it can be read");
                let json = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{file}: {error}"));
                Self { file, json }
            })
            .collect();
        all.sort_by(|one, other| one.file.cmp(&other.file));
        assert!(all.len() >= 6, "six dashboards");
        all
    }

    /// Its panels without the rows.
    pub fn panels(&self) -> impl Iterator<Item = &Value> {
        self.json["panels"].as_array().expect("panels").iter().filter(|panel| panel["type"] != "row")
    }

    /// What its panels ask.
    pub fn queries(&self) -> Vec<Query> {
        let of = |panel: &Value| {
            let place = format!("{}, {}", self.file, panel["title"].as_str().unwrap_or_default());
            let targets = panel["targets"].as_array().cloned().unwrap_or_default();
            targets.into_iter().map(move |target| {
                let source = target["datasource"]["uid"].as_str().unwrap_or_default().to_owned();
                Query { place: place.clone(), source, target }
            })
        };
        self.panels().flat_map(of).collect()
    }
}

/// What all panels ask of one data source.
pub fn queries_of(source: &str) -> Vec<Query> {
    let all = Dashboard::all();
    all.iter().flat_map(Dashboard::queries).filter(|query| query.source == source).collect()
}
