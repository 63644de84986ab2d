//! Why a job failed, in words for people.

use std::{cell::Cell, error::Error};

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

thread_local! {
    /// Whether this thread is one of those that may take long.
    static IS_ASIDE: Cell<bool> = const { Cell::new(false) };
}

/// Whether work on files may be done here: it may take minutes, and the one thread of the service must go on, or it is
/// taken for hung. True on threads of [`aside`], and where there is no service.
pub fn may_take_long() -> bool {
    IS_ASIDE.get() || tokio::runtime::Handle::try_current().is_err()
}

/// Runs what blocks elsewhere. One job runs at a time, one step of it after the other, so that there are few at once.
///
/// # Errors
/// Its own; and when it panicked.
pub async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    let work = move || {
        IS_ASIDE.set(true);
        work()
    };
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(error).during("working on files"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_takes_long_is_not_done_on_the_one_thread() {
        assert!(!may_take_long());
        let there = aside(|| Ok((std::thread::current().id(), may_take_long()))).await.unwrap();
        assert!(there.0 != std::thread::current().id() && there.1);
    }
}
