//! `.env` in the working folder, as Docker Compose reads it: so that one file serves both ways of
//! running Vigie. A variable that is set already wins.

use std::{env, fs, io, path::Path, sync::OnceLock};

use anyhow::{Context, bail};

/// What it is called.
pub(crate) const NAME: &str = ".env";
/// More than every setting with room to spare, in bytes.
const MAX_BYTES: u64 = 256 * 1024;

/// The variables that [`load`] has set.
static LOADED: OnceLock<Vec<String>> = OnceLock::new();

/// Reads `.env`, if there is one, into the environment of this process and its children, but for names
/// that start with one of `skip`.
///
/// # Errors
/// When it cannot be read; the message names the line, and shows no value.
#[allow(unsafe_code, reason = "the environment of a process can only be changed so")]
pub(crate) fn load(skip: &[&str]) -> anyhow::Result<()> {
    let mut loaded = Vec::new();
    for (name, value) in read(Path::new(NAME))? {
        let skipped = skip.iter().any(|start| name.starts_with(start));
        if !skipped && env::var_os(&name).is_none() {
            // SAFETY: this runs at the head of `main`, when the process has no other thread that
            // could read the environment at the same time.
            unsafe { env::set_var(&name, value) };
            loaded.push(name);
        }
    }
    // It is loaded once; another time would find nothing to set.
    let _ = LOADED.set(loaded);
    Ok(())
}

/// What was read from the file into the environment: a program that reads it by itself is not to get it twice.
pub(crate) fn loaded() -> &'static [String] {
    LOADED.get().map_or(&[], Vec::as_slice)
}

/// Its settings, in order; none when there is no such file.
///
/// # Errors
/// As [`load`].
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<(String, String)>> {
    let length = match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        found => found.with_context(|| format!("{} cannot be read", path.display()))?.len(),
    };
    if length > MAX_BYTES {
        bail!("{} has {length} bytes, at most {MAX_BYTES} are read", path.display());
    }
    let text = fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    parse(&text).with_context(|| path.display().to_string())
}

fn parse(text: &str) -> anyhow::Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let pair = line.split_once('=').filter(|(name, _)| is_name(name.trim()));
        let Some((name, rest)) = pair else { bail!("line {}: expected NAME=value", number + 1) };
        let Some(value) = value(rest.trim()) else { bail!("line {}: a quote is not closed", number + 1) };
        found.push((name.trim().to_owned(), value));
    }
    Ok(found)
}

/// Whether it can be the name of a setting.
pub(crate) fn is_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// A value is quoted, and then taken as it is; or ends where a comment begins.
fn value(text: &str) -> Option<String> {
    if let Some(quote) = text.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        return text[1..].split_once(quote).map(|(value, _)| value.to_owned());
    }
    let end = if text.starts_with('#') { 0 } else { text.find(" #").unwrap_or(text.len()) };
    Some(text[..end].trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_values_quotes_and_comments_are_told_apart() {
        let text = "# a comment\n\nPREFIX=!\nexport LOCALE = fr # French\nTOKEN=\"a #b\"\nEMPTY=\nHASH=a#b\nQ='it is'\n";
        let expected = [
            ("PREFIX", "!"),
            ("LOCALE", "fr"),
            ("TOKEN", "a #b"),
            ("EMPTY", ""),
            ("HASH", "a#b"),
            ("Q", "it is"),
        ];
        let found = parse(text).unwrap();
        assert_eq!(found, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn a_bad_line_is_named_without_its_value() {
        let error = parse("A=1\nhunter2\n").unwrap_err().to_string();
        assert_eq!(error, "line 2: expected NAME=value");
        assert_eq!(parse("A=\"hunter2").unwrap_err().to_string(), "line 1: a quote is not closed");
    }

    #[test]
    fn no_file_is_no_error() {
        assert!(read(Path::new("/nowhere/.env")).unwrap().is_empty());
    }
}
