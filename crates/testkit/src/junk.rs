//! What somebody else might send.

use protocol::Versioned;
use serde::{Deserialize, Serialize};

/// A payload of some version that holds nothing of what any other one needs.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Junk {
    /// The version that it claims to be of.
    pub v: u16,
}

impl Versioned for Junk {
    const NAME: &'static str = "junk";

    fn version(&self) -> u16 {
        self.v
    }
}
