//! Saves what a bot is made of, proves that it comes back, and brings it back.
//!
//! | file | owns |
//! |---|---|
//! | `config` | the settings |
//! | `run` | start, what runs side by side, the end |
//! | `desk` | one job at a time: what is asked, what goes on, what came out |
//! | `jobs` | the steps of each job |
//! | `schedule` | when something is due, whatever the clock does |
//! | `kept` | what a restart must not forget, in a small file |
//! | `manifest` | what is in a backup, so that it can be held against it |
//! | `save` | gathers the database, streams, settings and folders in one place |
//! | `store` | where backups are: a repository of restic, archives; which of them are kept |
//! | `proof` | whether a restored backup is whole |
//! | `room` | room on disks: made, looked at, given back |
//! | `restore` | to a new place; or in place, by a swap that can be undone at any point |
//! | `child` | programs that are run for a while |
//! | `numbers` | what is counted |
//!
//! What "consistent" means here is said in `docs/backup.md`: streams first, then the database, then folders and
//! settings, each of them as it was at one moment.

mod config;
mod desk;
mod files;
mod jobs;
mod kept;
mod manifest;
mod numbers;
mod programs;
mod proof;
mod restore;
mod room;
mod run;
mod save;
mod schedule;
mod store;
mod trouble;

pub use config::{Config, Database, Folder, Keep, SETTINGS};
pub use run::run;
pub use schedule::Timetable;
