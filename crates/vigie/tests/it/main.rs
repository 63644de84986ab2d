//! `vigie` as a person or a program meets it: the real binary, real child processes, a real
//! nats-server. The services are stand-ins with a service's real lifecycle; `e2e` runs the real ones.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod commit;
mod compose;
mod dead;
mod doctor;
mod folder;
mod full_disk;
mod golden;
mod here;
mod init;
mod jobs;
mod keys;
mod monitor;
mod provision;
mod status;
mod tail;
mod terminal;
mod up;
mod up_end;
