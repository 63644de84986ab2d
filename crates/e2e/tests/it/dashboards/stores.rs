//! From a number to its trace to its lines: the stores of traces and logs, behind the one door that services send to.
//! Their queries are those of the panels, and Grafana's two data sources ask by the same pages.

use std::{collections::BTreeSet, path::Path, time::Duration};

use sandbox::feed::Platform;
use serde_json::Value;
use testkit::{eventually, free_port};

use super::{
    files::{LOGS, TRACES, queries_of},
    folder,
    happenings::Run,
    programs::{Running, find},
};

/// How long what happened may take until it can be found.
const LIMIT: Duration = Duration::from_secs(60);
/// What the panel of slow steps asks for is made to happen by this.
const SLOW_MS: u64 = 400;

/// The stores, and the door to them.
struct Stores {
    door: String,
    logs: String,
    traces: String,
    _running: Vec<Running>,
    _folder: tempfile::TempDir,
}

impl Stores {
    async fn start() -> Option<Self> {
        let programs = ["vmauth", "victoria-logs", "victoria-traces"].map(find);
        let [Some(vmauth), Some(logs), Some(traces)] = programs else { return None };
        service::install_crypto();
        let folder_of_all = tempfile::tempdir().expect("a temporary folder");
        let address = || format!("127.0.0.1:{}", free_port());
        let (at_door, at_logs, at_traces) = (address(), address(), address());
        let start = |name: &str, program: &Path, at: &str, more: Vec<String>| {
            let own = folder_of_all.path().join(name);
            std::fs::create_dir(&own).expect("a folder");
            let mut arguments = vec![format!("-httpListenAddr={at}")];
            arguments.extend(more);
            Running::start(program, &arguments, &own)
        };
        let routes = std::fs::read_to_string(folder().join("otlp.yaml")).expect("the routes");
        let routes = routes.replace("logs:9428", &at_logs).replace("traces:10428", &at_traces);
        let file = folder_of_all.path().join("otlp.yaml");
        std::fs::write(&file, routes).expect("the routes are written");
        let data = || vec!["-storageDataPath=data".to_owned()];
        let running = vec![
            start("logs", &logs, &at_logs, data()),
            start("traces", &traces, &at_traces, data()),
            start("door", &vmauth, &at_door, vec![format!("-auth.config={}", file.display())]),
        ];
        for at in [&at_logs, &at_traces, &at_door] {
            eventually(LIMIT, || async {
                match reqwest::get(format!("http://{at}/health")).await {
                    Ok(answer) if answer.status().is_success() => Ok(()),
                    seen => {
                        Err(format!("{seen:?} {:?}", running.iter().map(Running::log).collect::<Vec<_>>()))
                    }
                }
            })
            .await;
        }
        Some(Self {
            door: format!("http://{at_door}"),
            logs: format!("http://{at_logs}"),
            traces: format!("http://{at_traces}/select/jaeger"),
            _running: running,
            _folder: folder_of_all,
        })
    }

    /// The lines that a query finds.
    async fn lines(&self, query: &str) -> Vec<Value> {
        let request = reqwest::Client::new().get(format!("{}/select/logsql/query", self.logs));
        let answer = request.query(&[("query", query), ("limit", "100")]).send().await.expect("an answer");
        let (status, text) = (answer.status(), answer.text().await.expect("its text"));
        assert!(status.is_success(), "{query}: {status} {text}");
        text.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }

    /// The traces that the panel of slow steps finds.
    async fn search(&self, service: &str, least: &str) -> Vec<Value> {
        let now = service::clock::unix_us();
        let (from, until) = ((now - 600_000_000).to_string(), now.to_string());
        let query = [
            ("service", service),
            ("minDuration", least),
            ("limit", "20"),
            ("start", &from),
            ("end", &until),
        ];
        self.traced(&format!("{}/api/traces", self.traces), &query).await
    }

    async fn traced(&self, url: &str, query: &[(&str, &str)]) -> Vec<Value> {
        let answer = reqwest::Client::new().get(url).query(query).send().await.expect("an answer");
        let answer: Value = answer.json().await.expect("JSON");
        answer["data"].as_array().cloned().unwrap_or_default()
    }
}

#[tokio::test]
async fn a_slow_command_leads_to_its_trace_and_the_trace_to_its_lines() {
    let Some(stores) = Stores::start().await else { return };
    let mut run = Run::start(vec![("OTEL_EXPORTER_OTLP_ENDPOINT", stores.door.clone())]).await;
    run.chat().await;
    run.stack.sandbox.discord().faults().update(|knobs| knobs.rest_slow_ms = SLOW_MS);
    run.stack.ask(Platform::Discord, "!echo slowly").await;
    run.stack.sandbox.discord().faults().update(|knobs| knobs.rest_slow_ms = 0);
    run.trouble().await;
    run.operate().await;

    for query in queries_of(LOGS) {
        let expression = query.target["expr"].as_str().expect("a query");
        found(&query.place, || stores.lines(expression)).await;
    }
    let mut services = BTreeSet::new();
    for query in queries_of(TRACES) {
        assert_eq!(query.target["queryType"], "search", "{}", query.place);
        services.insert(query.target["service"].as_str().expect("a service").to_owned());
    }
    assert!(services.contains("discord-gateway") && services.contains("command-worker"));
    let least = "250ms";
    found("slow steps", || stores.search("discord-gateway", least)).await;
    assert!(stores.search("discord-gateway", "100s").await.is_empty(), "nothing takes so long");

    // From a line to its trace, and back to all its lines.
    let lines = found("dropped", || stores.lines("\"dropped\" trace_id:*")).await;
    let id = lines[0]["trace_id"].as_str().expect("a trace id").to_owned();
    let url = format!("{}/api/traces/{id}", stores.traces);
    // Each service sends what it has every few seconds.
    eventually(LIMIT, || async {
        let seen = services_of(&stores.traced(&url, &[]).await);
        let whole = ["discord-gateway", "command-worker"].iter().all(|name| seen.contains(*name));
        if whole { Ok(()) } else { Err(seen) }
    })
    .await;
    // The query of the data source of the traces, as provisioned.
    let sources = std::fs::read_to_string(folder().join("grafana/provisioning/datasources/vigie.yaml"));
    let sources = sources.expect("the data sources");
    let query =
        sources.lines().find_map(|line| line.trim().strip_prefix("query: trace_id:")).expect("a query");
    let query = format!("trace_id:{}", query.replace("$${__trace.traceId}", &id));
    assert!(!stores.lines(&query).await.is_empty(), "{query}");
}

/// The services that took part in a trace.
fn services_of(traces: &[Value]) -> BTreeSet<String> {
    let processes = traces.iter().filter_map(|trace| trace["processes"].as_object());
    let names = processes.flatten().filter_map(|(_, process)| process["serviceName"].as_str());
    names.map(str::to_owned).collect()
}

async fn found<F>(what: &str, ask: impl Fn() -> F) -> Vec<Value>
where
    F: Future<Output = Vec<Value>>,
{
    eventually(LIMIT, || async {
        let seen = ask().await;
        if seen.is_empty() { Err(format!("{what}: nothing")) } else { Ok(seen) }
    })
    .await
}
