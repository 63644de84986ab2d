//! How payloads become bytes and come back.

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// The version that this build writes, and the only one it reads.
pub const VERSION: u16 = 1;

/// A payload that carries its version.
pub trait Versioned: Serialize + DeserializeOwned {
    /// What the payload is called in errors and schema files.
    const NAME: &'static str;

    /// The version found in the payload.
    fn version(&self) -> u16;
}

/// Why a payload cannot be used. Count it and pass on: a newer peer may have written it.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Another version than [`VERSION`].
    #[error("{name} has version {found}, this build reads version {VERSION}")]
    Version {
        /// What was read.
        name: &'static str,
        /// The version it carries.
        found: u16,
    },
    /// Not JSON, or not of the expected shape.
    #[error("{name} does not have the expected shape")]
    Shape {
        /// What was read.
        name: &'static str,
        /// Where and why.
        source: serde_json::Error,
    },
}

/// Reads a payload.
///
/// # Errors
/// [`DecodeError`] when the bytes are of another version or shape.
pub fn decode<T: Versioned>(bytes: &[u8]) -> Result<T, DecodeError> {
    let unsupported = |found| DecodeError::Version { name: T::NAME, found };
    match serde_json::from_slice::<T>(bytes) {
        Ok(payload) if payload.version() == VERSION => Ok(payload),
        Ok(payload) => Err(unsupported(payload.version())),
        Err(source) => Err(match peek_version(bytes) {
            Some(found) if found != VERSION => unsupported(found),
            _ => DecodeError::Shape { name: T::NAME, source },
        }),
    }
}

/// Writes a payload.
///
/// # Errors
/// Only when a value cannot be JSON, which no type of this crate can cause.
pub fn encode<T: Versioned>(payload: &T) -> Result<Vec<u8>, serde_json::Error> {
    serde_json::to_vec(payload)
}

fn peek_version(bytes: &[u8]) -> Option<u16> {
    #[derive(Deserialize)]
    struct OnlyVersion {
        v: u16,
    }
    serde_json::from_slice::<OnlyVersion>(bytes).ok().map(|found| found.v)
}

/// Implements [`Versioned`] for a struct with a field `v`.
macro_rules! versioned {
    ($type:ty, $name:literal) => {
        impl crate::wire::Versioned for $type {
            const NAME: &'static str = $name;

            fn version(&self) -> u16 {
                self.v
            }
        }
    };
}
pub(crate) use versioned;
