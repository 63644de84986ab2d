//! Dashboards are well formed: what Grafana would take without a word and show as an empty or puzzling panel.

use std::collections::BTreeSet;

use serde_json::Value;

use super::{
    files::{Dashboard, LOGS, METRICS, TRACES},
    folder,
};

/// Grafana divides the width of a dashboard by this.
const WIDTH: u64 = 24;

#[test]
fn every_dashboard_has_an_id_a_title_and_says_what_it_answers() {
    let mut ids = BTreeSet::new();
    for Dashboard { file, json } in Dashboard::all() {
        let uid = json["uid"].as_str().unwrap_or_default().to_owned();
        assert!(uid.starts_with("vigie-") && uid.len() <= 40, "{file}: {uid:?}");
        assert_eq!(file, format!("{}.json", uid.trim_start_matches("vigie-")), "named like its id");
        assert!(ids.insert(uid), "{file}: its id is taken");
        assert!(json.get("id").is_none(), "{file}: the number is Grafana's to give");
        for key in ["title", "description", "refresh"] {
            assert!(json[key].as_str().is_some_and(|text| !text.is_empty()), "{file}: {key}");
        }
        assert_eq!(json["tags"], serde_json::json!(["vigie"]), "{file}: found by the others");
    }
}

#[test]
fn every_panel_has_a_unit_words_and_a_known_data_source() {
    for dashboard in Dashboard::all() {
        let mut ids = BTreeSet::new();
        for panel in dashboard.panels() {
            let place = format!("{}, {}", dashboard.file, panel["title"]);
            assert!(ids.insert(panel["id"].to_string()), "{place}: its number is taken");
            let words = panel["description"].as_str().unwrap_or_default();
            assert!(words.len() > 15 && words.ends_with('.'), "{place}: what does it answer? {words:?}");
            let unit = panel["fieldConfig"]["defaults"]["unit"].as_str();
            assert!(unit.is_some_and(|unit| !unit.is_empty()), "{place}: a unit");
            steps_ascend(&place, &panel["fieldConfig"]["defaults"]["thresholds"]["steps"]);
            let targets = panel["targets"].as_array().expect("targets");
            assert_eq!(targets.is_empty(), panel["type"] == "alertlist", "{place}: it asks for something");
            let mut letters = BTreeSet::new();
            for target in targets {
                let source = target["datasource"]["uid"].as_str().unwrap_or_default();
                assert!([METRICS, LOGS, TRACES].contains(&source), "{place}: {source:?}");
                assert!(letters.insert(target["refId"].to_string()), "{place}: two have the same letter");
                let several = targets.len() > 1 && source == METRICS;
                let legend = target["legendFormat"].as_str().unwrap_or_default();
                assert!(!several || !legend.is_empty(), "{place}: which line is which?");
            }
        }
    }
}

fn steps_ascend(place: &str, steps: &Value) {
    let steps = steps.as_array().unwrap_or_else(|| panic!("{place}: thresholds"));
    assert!(steps[0]["value"].is_null(), "{place}: the first colour holds for everything below");
    let values: Vec<f64> = steps[1..].iter().filter_map(|step| step["value"].as_f64()).collect();
    assert_eq!(values.len() + 1, steps.len(), "{place}");
    assert!(values.is_sorted(), "{place}: {values:?}");
}

#[test]
fn no_panel_covers_another_or_leaves_the_screen() {
    for dashboard in Dashboard::all() {
        let mut taken = BTreeSet::new();
        for panel in dashboard.json["panels"].as_array().expect("panels") {
            let place = format!("{}, {}", dashboard.file, panel["title"]);
            let at = |key: &str| panel["gridPos"][key].as_u64().unwrap_or_else(|| panic!("{place}: {key}"));
            let (x, y, w, h) = (at("x"), at("y"), at("w"), at("h"));
            assert!(w > 0 && h > 0 && x + w <= WIDTH, "{place}");
            for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
                assert!(taken.insert(cell), "{place}: something is at {cell:?} already");
            }
        }
    }
}

#[test]
fn the_data_sources_of_panels_and_links_are_provisioned() {
    let file = folder().join("grafana/provisioning/datasources/vigie.yaml");
    let sources = std::fs::read_to_string(file).expect("the data sources");
    for (uid, kind) in
        [(METRICS, "prometheus"), (TRACES, "jaeger"), (LOGS, "victoriametrics-logs-datasource")]
    {
        assert!(sources.contains(&format!("uid: {uid}\n    type: {kind}\n")), "{uid}");
        for query in Dashboard::all().iter().flat_map(Dashboard::queries).filter(|query| query.source == uid)
        {
            assert_eq!(query.target["datasource"]["type"], kind, "{}", query.place);
        }
    }
}
