//! Rolls out new versions of the bot, looks whether they work, and goes back by itself. The only service near Docker;
//! it has no open port, and obeys four verbs on `control.deploy.*`: `request`, `rollback`, `status`, `history`.
//!
//! | file | owns |
//! |---|---|
//! | `config` | the settings |
//! | `run` | start, the tasks side by side, what is obeyed and told |
//! | `plan` | one deploy as a state machine: steps, failures, ends |
//! | `book`, `journal` | what runs, what ran well, what failed, what is wanted; the file that survives us |
//! | `desk` | the same, shared, written before it is seen |
//! | `driver` | step after step |
//! | `numbers` | what is told of deploys, for graphs |
//! | `schedule` | looking for something new by itself, once a day |
//! | `hands` | what each step does |
//! | `engine` | what runs the bot, as the steps see it |
//! | `succession`, `heir`, `helper` | how the deployer itself is replaced: as a state machine; its own part; the helper's |
//! | `lock` | which of two deployers works |
//! | `crew` | how containers of one service come from one version to another |
//! | `gate` | whether a version works |
//! | `stack`, `lint` | which services a compose file has, and what it may hold |
//! | `source`, `manifest` | where versions come from; what a release is signed for |
//! | `docker`, `git` | the two programs that are run, and how |
//! | `sheet` | what Compose is given to read |
//! | `systemd`, `units` | the same without Docker, and how units come from one version to another |
//! | `shelf`, `archive` | releases as files on this machine, and how they come there |
//!
//! `plan`, `book`, `crew`, `gate`, `stack`, `lint` and `manifest` touch nothing outside so that their tests try every
//! failure, and `sim` every death.

mod archive;
mod book;
mod config;
mod crew;
mod desk;
mod docker;
mod driver;
mod engine;
mod gate;
mod git;
mod hands;
mod heir;
mod helper;
mod journal;
mod lint;
mod lock;
mod manifest;
mod numbers;
mod plan;
mod release;
mod run;
mod schedule;
mod sheet;
mod shelf;
#[cfg(test)]
mod sim;
mod source;
mod stack;
mod succession;
mod systemd;
mod units;

pub use config::{Config, Place, SETTINGS, SourceConfig};
pub use docker::HELP;
pub use gate::Pace;
pub use helper::{help, program as helper};
pub use run::run;
pub use schedule::{Check, Window};
