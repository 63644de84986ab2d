//! The worker: takes events and interactions from NATS, runs the commands of `commands`, and publishes
//! what they answer. It knows no platform, and any number of workers share the work.
//!
//! | file | owns |
//! |---|---|
//! | `config` | the settings |
//! | `run` | start, the loops side by side, drain |
//! | `worker` | what all loops share |
//! | `queue` | the queue of chat commands: take, run, publish, acknowledge |
//! | `attempt` | one run of one command: cooldown, deadline, apology |
//! | `interactions` | slash commands, buttons, completion: asked and answered at once |
//! | `chatter`, `community` | events that no command answers: counted for now |
//! | `facts`, `latency`, `rate`, `numbers` | what `ping`, `stats` and `/metrics` tell |
//! | `register` | the catalogue of commands, for the gateways |
//! | `probes` | what `/readyz` says |
//!
//! An event is acknowledged after its actions are stored. A worker that dies in between leaves the
//! event to another, whose actions have the same ids, so that the stream drops them.

mod attempt;
mod chatter;
mod community;
mod config;
mod facts;
mod interactions;
mod jobs;
mod latency;
mod numbers;
mod probes;
mod queue;
mod rate;
mod register;
mod run;
mod worker;

pub use config::{Config, SETTINGS};
pub use run::{run, run_commands};
