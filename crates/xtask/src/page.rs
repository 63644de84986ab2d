//! Pages of the documentation that hold what a command measured, between two markers.

use anyhow::Context;

use crate::paths;

/// Puts `text` between `<!-- NAME:start -->` and `<!-- NAME:end -->` of a page of the checkout.
///
/// # Errors
/// When the page or a marker is not there, or it cannot be written.
pub fn write(page: &str, name: &str, text: &str) -> anyhow::Result<()> {
    let (start, end) = (format!("<!-- {name}:start -->"), format!("<!-- {name}:end -->"));
    let path = paths::root().join(page);
    let before = std::fs::read_to_string(&path).with_context(|| format!("cannot read {page}"))?;
    let (head, rest) = before.split_once(&start).with_context(|| format!("{page} has no {start}"))?;
    let (_, tail) = rest.split_once(&end).with_context(|| format!("{page} has no {end}"))?;
    std::fs::write(path, format!("{head}{start}\n{text}{end}{tail}"))
        .with_context(|| format!("cannot write {page}"))
}
