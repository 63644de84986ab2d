//! The only crate that knows Twitch's wire.
//!
//! Lines of chat become events (`irc`, `mapping`, `gifts`, `publish`) on connections that keep
//! themselves alive (`transport`, `login`, `connection`, `joins`, `slot`, `rooms`); actions become
//! messages (`send`, `text`, `limiter`; taken and kept in order by the crate `actions`) with tokens that
//! are checked (`tokens`). Several gateways of one account share its channels (`reading`, `roll`,
//! `standby`, `directory`) and its limits (`ledger`, `pace`).

mod backoff;
mod body;
mod chat;
mod config;
mod connection;
mod directory;
mod framing;
mod gifts;
pub mod irc;
mod joins;
mod ledger;
pub mod limiter;
mod login;
pub mod mapping;
mod pace;
mod publish;
mod reading;
mod roll;
mod rooms;
mod run;
mod send;
mod slot;
mod standby;
mod stats;
mod stop;
pub mod text;
mod timing;
mod tokens;
mod transport;

pub use config::{Account, App, Config, SETTINGS};
pub use run::run;
pub use timing::Timing;
pub use transport::Endpoint;
