//! What deploy/observability shows and when it rings, against a real run: every query of every panel and of every
//! alert rule is asked of a real Prometheus that read the numbers of all services.
//!
//! The store of a user is VictoriaMetrics, which answers the same queries. Where there is no `prometheus` (see
//! [`programs`]), these tests say that they were skipped. What Grafana draws is not looked at here.

mod files;
mod happenings;
mod operations;
mod programs;
mod prometheus;
mod queries;
mod rules;
mod shape;
mod stores;

use std::path::PathBuf;

/// deploy/observability.
fn folder() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../deploy/observability"))
}
