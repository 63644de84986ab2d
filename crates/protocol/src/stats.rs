//! What a service says of itself in the `data` of its `$SRV.STATS` answer (NATS services protocol,
//! ADR-32).

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::wire::versioned;

/// What a service says of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ServiceStats {
    /// The version of this payload.
    pub v: u16,
    /// The service's name, such as `discord-gateway`.
    pub service: String,
    /// Which of several: `<host>-<process id>`.
    pub instance: String,
    /// Version and commit, `0.1.0 (abc1234)`.
    pub build: String,
    /// How long it runs, in seconds.
    pub uptime_s: u64,
    /// Whether it does its work now; see `/readyz`.
    pub ready: bool,
    /// Why it is not ready; empty when it is.
    pub reason: String,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// What it counts, by metric name without the `vigie_` prefix. Names are in `docs/metrics.md`.
    pub metrics: BTreeMap<String, f64>,
}
versioned!(ServiceStats, "service-stats");
