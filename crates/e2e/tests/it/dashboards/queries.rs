//! Every query has data.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::{
    files::{METRICS, Query, queries_of},
    happenings::Run,
    programs::find,
    prometheus::{Prometheus, has_numbers},
};

/// How long a number may take from a service to an answer.
const LIMIT: Duration = Duration::from_secs(60);

/// What only some machines can tell. Each is asked all the same, and must be a valid query.
const NEEDS_HARDWARE: [(&str, &str); 2] = [
    ("vigie_host_temperature_celsius", "needs a sensor, which virtual machines have none of"),
    ("vigie_host_under_voltage", "told by a Raspberry Pi only"),
];

#[tokio::test]
async fn every_panel_and_every_alert_has_data_in_a_real_run() {
    let Some(program) = find("prometheus") else { return };
    let mut run = Run::start(Vec::new()).await;
    let prometheus = Prometheus::start(program, &run.targets()).await;
    run.chat().await;
    run.trouble().await;
    run.operate().await;

    let queries = queries_of(METRICS);
    assert!(queries.len() > 100, "{} queries", queries.len());
    let mut open: Vec<Query> = queries.clone();
    let deadline = Instant::now() + LIMIT;
    let mut seen = BTreeSet::new();
    while !open.is_empty() && Instant::now() < deadline {
        seen.clear();
        let mut still = Vec::new();
        for query in open {
            match ask(&prometheus, &query).await {
                Answer::Data => {}
                Answer::Nothing => {
                    seen.insert(format!("{}: no data: {}", query.place, query.target["expr"]));
                    still.push(query);
                }
                Answer::Refused(why) => panic!("{}: {why}: {}", query.place, query.target["expr"]),
            }
        }
        open = still;
        // A rate is seen between two looks of Prometheus, which are a second apart.
        run.go_on().await;
    }
    assert!(open.is_empty(), "{seen:#?}");
    let text: String = queries.iter().map(|query| query.target["expr"].to_string()).collect();
    for (name, _) in NEEDS_HARDWARE {
        assert!(text.contains(name), "{name} is on no dashboard any more");
    }
    rules_have_data(&prometheus).await;
}

enum Answer {
    Data,
    Nothing,
    Refused(String),
}

async fn ask(prometheus: &Prometheus, query: &Query) -> Answer {
    let expression = plain(query.target["expr"].as_str().expect("a query"));
    let instant = query.target["instant"] == true;
    let result =
        if instant { prometheus.now(&expression).await } else { prometheus.lately(&expression).await };
    match result {
        Err(why) => Answer::Refused(why),
        Ok(result) if has_numbers(&result) => Answer::Data,
        Ok(_) if needs_hardware(&expression) => Answer::Data,
        Ok(_) => Answer::Nothing,
    }
}

/// The query as Grafana sends it, without the zero that is shown in place of nothing: that would hide a wrong name.
fn plain(expression: &str) -> String {
    let expression = expression.replace("$__rate_interval", "30s").replace("$__range", "10m");
    assert!(!expression.contains('$'), "an unknown variable in {expression}");
    expression.replace(" or vector(0)", "")
}

fn needs_hardware(expression: &str) -> bool {
    NEEDS_HARDWARE.iter().any(|(name, _)| expression.contains(name))
}

/// Each rule reads and, ringing or not, has something to look at.
async fn rules_have_data(prometheus: &Prometheus) {
    let rules = prometheus.rules().await;
    assert!(rules.len() >= 28, "{} rules", rules.len());
    for rule in rules {
        let (name, query) = (&rule["name"], rule["query"].as_str().expect("a query"));
        assert_eq!(rule["lastError"].as_str().unwrap_or_default(), "", "{name}");
        let both = format!("({query}) or ({})", opposite(query));
        let result = prometheus.now(&both).await.unwrap_or_else(|why| panic!("{name}: {why}"));
        assert!(!result.is_empty() || needs_hardware(query), "{name} has nothing to look at: {both}");
    }
}

/// What holds when the rule does not ring.
fn opposite(query: &str) -> String {
    if let Some(inner) = query.strip_prefix("absent(").and_then(|query| query.strip_suffix(')')) {
        return inner.to_owned();
    }
    let pairs = [(" > ", " <= "), (" < ", " >= "), (" == ", " != ")];
    let found = pairs.iter().find(|(is, _)| query.contains(is));
    let (is, is_not) = found.unwrap_or_else(|| panic!("no comparison in {query}"));
    query.replace(is, is_not)
}
