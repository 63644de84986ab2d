//! Why a job failed, in words for people.

use std::error::Error;

/// What was being done, and what went wrong.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// Something failed.
    #[error("{doing}")]
    Doing {
        /// What was being done.
        doing: String,
        /// What went wrong.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Something is not as it must be.
    #[error("{0}")]
    Found(String),
}

/// Says what was being done.
pub trait While<T> {
    /// Adds it to an error.
    ///
    /// # Errors
    /// The same, with it.
    fn during(self, doing: impl Into<String>) -> Result<T, Trouble>;
}

impl<T, E: Into<Box<dyn Error + Send + Sync>>> While<T> for Result<T, E> {
    fn during(self, doing: impl Into<String>) -> Result<T, Trouble> {
        self.map_err(|error| Trouble::Doing { doing: doing.into(), source: error.into() })
    }
}

/// Runs what blocks elsewhere.
///
/// # Errors
/// Its own; and when it panicked.
pub async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(error).during("working on files"),
    }
}
