//! Vigie's command line for the person who runs it, and the supervisor for machines without Docker.
//!
//! | command | what it does |
//! |---|---|
//! | `vigie init` | asks for what a bot needs, checks it and writes `.env` |
//! | `vigie up` | runs everything on this machine, and starts again what ends ([`up`]) |
//! | `vigie provision` | creates streams, consumers and buckets; with `--stay` again whenever NATS comes back |
//! | `vigie status` | how every service is, asked over NATS |
//! | `vigie events` | what passes over the bus, live |
//! | `vigie dead` | lists, shows, gives back or drops what failed for good |
//! | `vigie doctor` | what is wrong, and how to mend it |
//! | `vigie keys` | makes the keys by which NATS knows its users, and writes what it grants them |
//! | `vigie settings` | every setting of every service |
//!
//! It imports no service: it starts their binaries, which lie beside its own, and talks to them over
//! NATS. Exit codes: 0 done, 1 something is wrong, 64 settings or arguments cannot be used.

mod accounts;
mod cli;
mod dead;
mod doctor;
mod env_file;
mod events;
mod find;
mod init;
mod keys;
mod paint;
mod provision;
mod settings;
mod status;
mod up;

pub use cli::main;
