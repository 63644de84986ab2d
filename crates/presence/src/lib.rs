//! How a service is there on NATS. It knows what every service says of itself, and nothing of what one does.
//!
//! | to do | call |
//! |---|---|
//! | connect, or fail | [`connect`] |
//! | connect as often as it takes, and work meanwhile | [`connecting`] |
//! | show in the probes whether the link is up | [`follow_link`] |
//! | be found and counted | [`announce`] |
//!
//! Whoever connects obeys from then on when it is told to start again.

mod announce;
mod connect;

pub use announce::announce;
pub use connect::{ConnectError, Connection, connect, connecting, follow_link};
