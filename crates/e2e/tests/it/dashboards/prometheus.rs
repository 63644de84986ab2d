//! A real Prometheus that reads the numbers of the services of a test, with the rules of the project.

use std::{fmt::Write as _, path::PathBuf, time::Duration};

use serde_json::Value;
use testkit::{eventually, free_port};

use super::{folder, programs::Running};

/// How long it may take to start.
const READY_LIMIT: Duration = Duration::from_secs(30);

/// A running Prometheus.
pub struct Prometheus {
    url: String,
    running: Running,
    _folder: tempfile::TempDir,
}

impl Prometheus {
    /// Starts it. `targets` are the jobs with the addresses whose `/metrics` it reads, each second.
    pub async fn start(program: PathBuf, targets: &[(&str, String)]) -> Self {
        service::install_crypto();
        let data = tempfile::tempdir().expect("a temporary folder");
        let address = format!("127.0.0.1:{}", free_port());
        let mut config = format!(
            "global: {{ scrape_interval: 1s, evaluation_interval: 1s }}\nrule_files: [{:?}]\nscrape_configs:\n",
            folder().join("rules.yaml").canonicalize().expect("the rules")
        );
        let own = [("observability", address.clone())];
        for (job, target) in targets.iter().chain(&own) {
            let _ =
                writeln!(config, "  - {{ job_name: {job}, static_configs: [{{ targets: [{target:?}] }}] }}");
        }
        std::fs::write(data.path().join("prometheus.yaml"), config).expect("its configuration");
        let arguments = [
            "--config.file=prometheus.yaml".to_owned(),
            "--storage.tsdb.path=data".to_owned(),
            format!("--web.listen-address={address}"),
        ];
        let running = Running::start(&program, &arguments, data.path());
        let prometheus = Self { url: format!("http://{address}"), running, _folder: data };
        eventually(READY_LIMIT, || async {
            match reqwest::get(format!("{}/-/ready", prometheus.url)).await {
                Ok(answer) if answer.status().is_success() => Ok(()),
                seen => Err(format!("{seen:?}\n{}", prometheus.running.log())),
            }
        })
        .await;
        prometheus
    }

    /// Asks for the value now.
    ///
    /// # Errors
    /// What Prometheus has against the query.
    pub async fn now(&self, query: &str) -> Result<Vec<Value>, String> {
        self.result("query", &[("query", query)]).await
    }

    /// Asks for the values of the last minute, as a graph does.
    ///
    /// # Errors
    /// What Prometheus has against the query.
    pub async fn lately(&self, query: &str) -> Result<Vec<Value>, String> {
        let now = service::clock::unix_ms() / 1000;
        let (start, end) = ((now - 60).to_string(), now.to_string());
        self.result("query_range", &[("query", query), ("start", &start), ("end", &end), ("step", "2")]).await
    }

    /// A query as Prometheus would write it.
    ///
    /// # Errors
    /// What it has against it.
    pub async fn formatted(&self, query: &str) -> Result<String, String> {
        let data = self.get("format_query", &[("query", query)]).await?;
        Ok(data.as_str().unwrap_or_default().to_owned())
    }

    /// The rules as it has read them.
    pub async fn rules(&self) -> Vec<Value> {
        let data = self.get("rules", &[]).await.expect("the rules");
        data["groups"][0]["rules"].as_array().cloned().expect("rules")
    }

    async fn result(&self, page: &str, query: &[(&str, &str)]) -> Result<Vec<Value>, String> {
        Ok(self.get(page, query).await?["result"].as_array().cloned().unwrap_or_default())
    }

    async fn get(&self, page: &str, query: &[(&str, &str)]) -> Result<Value, String> {
        let request = reqwest::Client::new().get(format!("{}/api/v1/{page}", self.url)).query(query);
        let answer = request.send().await.map_err(|error| error.to_string())?;
        let mut answer: Value = answer.json().await.map_err(|error| error.to_string())?;
        if answer["status"] == "success" {
            Ok(answer["data"].take())
        } else {
            Err(answer["error"].to_string())
        }
    }
}

/// Whether there is a number in it: a graph of nothing but NaN is empty.
pub fn has_numbers(result: &[Value]) -> bool {
    let is_number = |sample: &Value| {
        let value = sample[1].as_str().and_then(|text| text.parse::<f64>().ok());
        value.is_some_and(|value| !value.is_nan())
    };
    result.iter().any(|series| {
        is_number(&series["value"])
            || series["values"].as_array().is_some_and(|values| values.iter().any(is_number))
    })
}
