//! `/health`: for monitors and programs. Its fields are part of what Vigie promises (docs/health.md).

use std::{collections::BTreeMap, time::Duration};

use serde::Serialize;

use crate::{
    rules::Pace,
    services::ServiceView,
    view::{Verdict, View},
    words::{duration, megabytes, moment},
};

#[derive(Serialize)]
struct Health<'a> {
    status: &'static str,
    uptime_seconds: u64,
    uptime_human: String,
    request_count: u64,
    last_heartbeat: Option<String>,
    avg_latency_5min: Option<f64>,
    avg_memory_mb_5min: Option<f64>,
    total_errors: u64,
    task_failures_1h: u64,
    silenced: BTreeMap<&'a str, String>,
    services: BTreeMap<&'a str, Service>,
}

#[derive(Serialize)]
struct Service {
    state: &'static str,
    instances: usize,
    version: String,
    memory: f64,
    latency: Option<f64>,
}

/// One JSON object.
pub fn health(view: Option<&View>, verdict: Verdict, uptime: Duration) -> String {
    let services = view.map(|view| view.found.services.as_slice()).unwrap_or_default();
    // Not by whom and why: the page may be public.
    let silences = view.into_iter().flat_map(|view| view.silences.values());
    let health = Health {
        status: verdict.as_str(),
        uptime_seconds: uptime.as_secs(),
        uptime_human: duration(uptime),
        request_count: view.map_or(0, |view| whole(view.requests)),
        last_heartbeat: view.and_then(|view| view.heartbeat_ms).map(moment),
        avg_latency_5min: view.and_then(|view| view.latency_ms).map(tenths),
        avg_memory_mb_5min: view.and_then(|view| view.memory_mb).map(tenths),
        total_errors: view.map_or(0, |view| whole(view.errors)),
        task_failures_1h: view.map_or(0, |view| view.failures),
        silenced: silences.map(|silence| (silence.alert.as_str(), moment(silence.until_ms))).collect(),
        services: services.iter().map(|service| (service.name.as_str(), of(service))).collect(),
    };
    // A struct of numbers and words is always JSON.
    serde_json::to_string(&health).unwrap_or_default() + "\n"
}

fn of(service: &ServiceView) -> Service {
    Service {
        state: state(service),
        instances: service.instances.len(),
        version: version(service),
        memory: tenths(megabytes(service.memory_bytes())),
        latency: service.latency().map(|took| tenths(took.as_secs_f64() * 1000.0)),
    }
}

/// `ready`, `partly` when only some instances are, `not_ready`, `gone` when none answers, or `unknown` when that
/// cannot be told yet.
pub fn state(service: &ServiceView) -> &'static str {
    match (service.ready(), service.instances.len()) {
        (_, 0) if !service.is_known(Pace::default()) => "unknown",
        (_, 0) => "gone",
        (0, _) => "not_ready",
        (ready, there) if ready < there => "partly",
        _ => "ready",
    }
}

/// That of its instances; all of them, while an update is half done.
pub fn version(service: &ServiceView) -> String {
    let mut builds: Vec<&str> = service.instances.iter().map(|one| one.stats.build.as_str()).collect();
    builds.sort_unstable();
    builds.dedup();
    builds.join(", ")
}

fn tenths(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

/// Counters of a bot stay far below 2^53, and are never negative.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn whole(count: f64) -> u64 {
    count.max(0.0) as u64
}
