//! A question before something that cannot be undone.

use std::io::{self, BufRead, IsTerminal, Read, Write};

use anyhow::Context;

/// No answer is longer than this, in bytes.
const MAX_ANSWER: u64 = 64;

/// Whether somebody may be asked, or the answer was given beforehand.
pub(crate) fn can_ask(yes: bool) -> bool {
    yes || io::stdin().is_terminal()
}

/// Asks on the terminal; everything but a clear yes is a no.
///
/// # Errors
/// When the answer cannot be read.
pub(crate) async fn confirmed(question: String) -> anyhow::Result<bool> {
    let asked = tokio::task::spawn_blocking(move || {
        let mut out = io::stderr().lock();
        write!(out, "{question} [y/N] ")?;
        out.flush()?;
        let mut answer = String::new();
        io::stdin().lock().take(MAX_ANSWER).read_line(&mut answer)?;
        io::Result::Ok(is_yes(&answer))
    });
    asked.await?.context("cannot read the answer")
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_one() {
        assert!(["y\n", " YES \r\n", "yes"].into_iter().all(is_yes));
        assert!(!["", "\n", "n\n", "yep\n", "yy"].into_iter().any(is_yes));
    }
}
