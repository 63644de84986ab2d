//! How an error is told on one line.

use std::error::Error;

/// An error with all that caused it.
#[must_use]
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn an_error_is_told_with_its_causes() {
        let inner: Box<dyn std::error::Error + Send + Sync> = "the disk is full".into();
        let outer = anyhow::Error::from_boxed(inner).context("not stored");
        assert_eq!(super::chain(&*outer), "not stored: the disk is full");
    }
}
