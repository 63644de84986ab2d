//! What every binary of Vigie needs, whatever it does: settings, telemetry, lifecycle, probes.
//!
//! It knows no NATS, no database and no platform. A service's `main` is one call of [`main`]; its
//! work is a function that takes a [`Context`] and returns when `ctx.shutdown` is cancelled and
//! everything it started is drained.

mod chain;
pub mod clock;
mod health;
mod http;
mod lifecycle;
mod memory;
mod metrics;
mod nats;
mod run;
mod settings;
mod tasks;
mod telemetry;
pub mod trace;
mod watchdog;

pub use chain::chain;
pub use health::{Component, Health, Readiness};
pub use http::{Page, Pages, probe};
pub use memory::resident_bytes;
pub use metrics::{Counter, CounterVec, Gauge, Histogram, Metrics};
pub use nats::{NATS_CA_FILE, NATS_NKEY, NATS_URL, NatsLogin};
pub use run::{BUILD, Context, EXIT_BAD_SETTINGS, EXIT_START_AGAIN, Info, install_crypto, main};
pub use settings::{COMMON, Problem, Setting, Settings};
pub use tasks::Tasks;
