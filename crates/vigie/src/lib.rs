//! Vigie's command line for the person who runs it, and the supervisor for machines without Docker.
//!
//! | command | what it does |
//! |---|---|
//! | `vigie init` | asks for what a bot needs, checks it and writes `.env` |
//! | `vigie check` | whether what is set here can be started |
//! | `vigie doctor` | what is wrong, and how to mend it |
//! | `vigie settings` | every setting of every service |
//! | `vigie start`, `stop`, `restart` | tells what runs Vigie here ([`here`]) |
//! | `vigie up` | runs everything on this machine, and starts again what ends ([`up`]) |
//! | `vigie status` | how every service is, asked over NATS |
//! | `vigie monitor` | services and what passes, live in a whole terminal |
//! | `vigie logs` | what the parts have written |
//! | `vigie events` | what passes over the bus, live |
//! | `vigie dead` | lists, shows, gives back or drops what failed for good |
//! | `vigie audit` | what was done, and who asked |
//! | `vigie backup`, `vigie deploy` | tells the services `backup` and `deployer`, and watches their jobs |
//! | `vigie silence` | has nobody told of something that is wrong, for a while |
//! | `vigie commit-and-restart` | from a change in the bot's folder to a bot that runs with it |
//! | `vigie keys` | makes the keys by which NATS knows its users, and writes what it grants them |
//! | `vigie provision` | creates streams, consumers and buckets; with `--stay` again whenever NATS comes back |
//! | `vigie completions` | what a shell needs to complete commands |
//!
//! It imports no service: it starts their binaries, which lie beside its own, and talks to them over
//! NATS. Exit codes: 0 done, 1 something is wrong, 64 settings or arguments cannot be used, 69 and 74 of a
//! restore, 75 it still goes on.

mod accounts;
mod ask;
mod audit;
mod backup;
mod cli;
mod commit;
mod completions;
mod dead;
mod deploy;
mod doctor;
mod env_file;
mod events;
mod find;
mod here;
mod init;
mod jobs;
mod keys;
mod lifecycle;
mod logs;
mod monitor;
mod note;
mod paint;
mod provision;
mod settings;
mod silence;
mod status;
mod up;

pub use cli::main;
