//! The alert rules: they ring when they should, and Grafana has the same.

use std::{collections::BTreeMap, process::Command};

use serde_json::{Value, json};

use super::{
    files::{Dashboard, METRICS},
    folder,
    programs::find,
    prometheus::Prometheus,
};

#[test]
fn every_rule_rings_in_time_and_falls_silent_again() {
    let Some(program) = find("promtool") else { return };
    let output = Command::new(program)
        .args(["test", "rules", "rules_test.yaml"])
        .current_dir(folder())
        .output()
        .expect("promtool runs");
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let rules = std::fs::read_to_string(folder().join("rules.yaml")).expect("the rules");
    let tests = std::fs::read_to_string(folder().join("rules_test.yaml")).expect("their tests");
    for name in rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")) {
        assert!(tests.contains(&format!("alertname=\"{name}\"")), "{name} has no test");
    }
}

#[tokio::test]
async fn grafana_is_given_the_rules_of_the_file() {
    let Some(program) = find("prometheus") else { return };
    let prometheus = Prometheus::start(program, &[]).await;
    let text = std::fs::read_to_string(folder().join("grafana/provisioning/alerting/rules.json"))
        .expect("the rules for Grafana");
    let file: Value = serde_json::from_str(&text).expect("JSON");
    let group = &file["groups"][0];
    assert_eq!(group["interval"], "15s");
    let theirs = group["rules"].as_array().expect("rules");
    let ours = prometheus.rules().await;
    let names = |rules: &[Value], key: &str| rules.iter().map(|rule| rule[key].clone()).collect::<Vec<_>>();
    assert_eq!(names(theirs, "title"), names(&ours, "name"));
    let dashboards: Vec<Value> = Dashboard::all().into_iter().map(|one| one.json["uid"].clone()).collect();
    for (theirs, ours) in theirs.iter().zip(&ours) {
        let title = &theirs["title"];
        let seconds =
            |text: &Value| text.as_str().and_then(seconds).unwrap_or_else(|| panic!("{title}: {text}"));
        assert_eq!(Some(seconds(&theirs["for"])), ours["duration"].as_f64(), "{title}");
        assert_eq!(theirs["labels"], ours["labels"], "{title}");
        assert_eq!(theirs["annotations"], ours["annotations"], "{title}");
        assert_eq!(theirs["dashboardUid"], ours["annotations"]["dashboard"], "{title}");
        assert!(dashboards.contains(&theirs["dashboardUid"]), "{title}: there is no such dashboard");
        let data = theirs["data"].as_array().expect("data");
        assert_eq!(data[0]["datasourceUid"], METRICS);
        let query = data[0]["model"]["expr"].as_str().expect("a query");
        let formatted = prometheus.formatted(query).await.unwrap_or_else(|why| panic!("{title}: {why}"));
        let wanted = ours["query"].as_str().expect("a query");
        assert_eq!(formatted, prometheus.formatted(wanted).await.expect("its own words"), "{title}");
        // Any series that the query returns rings, as in Prometheus; none, and all is well.
        assert_eq!(data[1]["model"]["expression"], "is_number($query) || is_nan($query) || is_inf($query)");
        assert_eq!(data[2]["model"]["conditions"][0]["evaluator"], json!({"type": "gt", "params": [0]}));
        assert_eq!((&theirs["condition"], &theirs["noDataState"]), (&json!("threshold"), &json!("OK")));
    }
    let uids: BTreeMap<_, _> = theirs.iter().map(|rule| (rule["uid"].to_string(), ())).collect();
    assert_eq!(uids.len(), theirs.len(), "each rule has an id of its own");
}

/// Reads `15s`, `2m`, `1h`.
fn seconds(text: &str) -> Option<f64> {
    let (number, unit) = text.split_at(text.len().checked_sub(1)?);
    let unit = match unit {
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return None,
    };
    Some(number.parse::<f64>().ok()? * unit)
}
