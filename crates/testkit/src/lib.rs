//! For tests only: real servers on free ports, and waiting with a deadline.
//!
//! A test that fails here fails by panicking, with what it saw last.

#![allow(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod everything;
mod frame;
mod junk;
mod nats;
mod point;
mod proxy;
mod skip;
mod wait;
mod wire;

pub use everything::Everything;
pub use junk::Junk;
pub use nats::Nats;
pub use point::Point;
pub use proxy::Proxy;
pub use skip::skipped;
pub use wait::{eventually, free_port};
pub use wire::Wire;
