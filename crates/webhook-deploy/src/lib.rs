//! Faces the internet and has no power: verifies that a forge says that there is something new, and tells the
//! deployer to go and look. What is rolled out, and from where, is never taken from a delivery.
//!
//! | file | owns |
//! |---|---|
//! | `config`, `hooks` | the settings, and the file that says which hooks there are |
//! | `run` | start, end |
//! | `server` | connections: how many, how long, one request on each |
//! | `door` | the checks of a request, in order |
//! | `place` | a hook at work: each delivery once, the deployer told, the rest noted |
//! | `network` | who a request comes from |
//! | `limits` | how often, and how many at once |
//! | `signature` | whether the forge has sent it |
//! | `payload` | what it means |
//! | `seen` | that it is not taken twice |
//! | `desk` | telling the deployer, in turn |
//! | `notes` | the audit trail |
//! | `answer`, `numbers` | what is said, and counted |
//!
//! A request passes, in this order: place for its connection, time and size of its head, source, rate of the source,
//! path, method, network, type, length, memory, time of its body, signature, event, repository, branch, replay, rate
//! of the hook. Nothing of a body is read before its signature holds.
//!
//! What it asks of NATS: it publishes `control.deploy.request` and `audit.webhook-deploy`, hears
//! `control.webhook-deploy.restart`, and as every service it answers `$SRV.*` and `vigie.webhook-deploy.*`.

mod answer;
mod config;
mod desk;
mod door;
mod hooks;
mod limits;
mod network;
mod notes;
mod numbers;
mod payload;
mod place;
mod run;
mod seen;
mod server;
mod signature;

pub use config::{Config, SETTINGS};
pub use hooks::{About, Hook, parse as parse_hooks};
pub use network::{Networks, Unclear, source};
pub use payload::{Event, Meaning};
pub use run::run;
pub use seen::Mark;
pub use signature::{Doubt, Forge, Secret, Verified};
