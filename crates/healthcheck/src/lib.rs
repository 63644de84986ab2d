//! Watches every service, NATS and the machine; answers over HTTP how they are; tells people when something is
//! wrong and when it is over.
//!
//! | file | owns |
//! |---|---|
//! | `config` | the settings |
//! | `run` | start, the tasks side by side, drain |
//! | `watch` | one look after the other |
//! | `view` | what one look found |
//! | `host` | CPU, memory, disk, temperature and power of the machine, from `/proc` and `/sys` |
//! | `nats` | what NATS says |
//! | `services` | who answered when, who came back with a fresh start |
//! | `certificates` | until when servers have a certificate |
//! | `backups` | how old the last good backup is, and how the last drill went |
//! | `averages` | the last five minutes, the last hour |
//! | `rules` | what is wrong from which value on, for how long, and until when |
//! | `restart` | tells what hangs to start again |
//! | `trail`, `news` | what came to the audit trail, and what of it people should know |
//! | `silences` | of what nobody is told for a while |
//! | `kept` | what a restart must not forget, in a small file |
//! | `pages` | `/health` and the others, and the lines of `/metrics` |
//! | `tell` | Discord, webhooks, ntfy, e-mail |
//! | `witness` | pings somebody outside, who notices when these stop |
//!
//! No request makes work: every answer is made of the last look.
//!
//! What it asks of NATS: it publishes `$SRV.STATS`, `$JS.API.STREAM.INFO.*` and `$JS.API.CONSUMER.LIST.*`, and to
//! its own inbox, to see how long that takes. As every service it answers `$SRV.*` and `vigie.healthcheck.*`, and obeys
//! `control.healthcheck.*`. To what hangs it says `control.<service>.restart`, and notes it in
//! `audit.healthcheck`; it reads all of the audit trail. Of the service `backup` it asks `control.backup.status`, of the
//! deployer, when a deploy has ended, `control.deploy.history`. With
//! `ALERT_DISCORD_CHANNEL` it also publishes `action.discord.*.alerts` and listens to `outcome.discord.alerts`.

mod averages;
mod backups;
mod certificates;
mod config;
mod host;
mod kept;
mod nats;
mod news;
mod pages;
mod restart;
mod rules;
mod run;
mod services;
mod silences;
mod tell;
mod trail;
mod view;
mod watch;
mod witness;
mod words;

pub use certificates::Server;
pub use config::{Address, Config, Quiet, SETTINGS};
pub use rules::Pace;
pub use run::run;
pub use tell::Addresses;
