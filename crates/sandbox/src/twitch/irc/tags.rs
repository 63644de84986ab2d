//! IRCv3 message tags as Twitch writes them: escaping, and a builder that keeps the order given.
//! Which tags a line carries is decided by the module that sends it.

use std::{borrow::Cow, fmt::Write as _};

/// Tags of an outgoing line, `key=value;key=value`, without the leading `@`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tags(String);

impl Tags {
    pub(crate) fn new() -> Self {
        Self(String::with_capacity(512))
    }

    /// Adds a tag whose value may hold anything. Twitch always writes the `=`.
    pub(crate) fn text(mut self, key: &str, value: &str) -> Self {
        self.key(key);
        escape_into(&mut self.0, value);
        self
    }

    /// Adds a tag whose value is a number or a flag and needs no escaping.
    pub(crate) fn plain(mut self, key: &str, value: impl std::fmt::Display) -> Self {
        self.key(key);
        // Writing to a String cannot fail.
        let _ = write!(self.0, "{value}");
        self
    }

    pub(crate) fn flag(self, key: &str, on: bool) -> Self {
        self.plain(key, u8::from(on))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn key(&mut self, key: &str) {
        if !self.0.is_empty() {
            self.0.push(';');
        }
        self.0.push_str(key);
        self.0.push('=');
    }
}

fn escape_into(out: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            ';' => out.push_str("\\:"),
            ' ' => out.push_str("\\s"),
            '\\' => out.push_str("\\\\"),
            '\r' => out.push_str("\\r"),
            '\n' => out.push_str("\\n"),
            other => out.push(other),
        }
    }
}

/// The value of one tag in the raw tags of an incoming line, unescaped; `None` when it is absent.
pub(crate) fn find<'a>(raw: &'a str, key: &str) -> Option<Cow<'a, str>> {
    raw.split(';').find_map(|tag| {
        let (name, value) = tag.split_once('=').unwrap_or((tag, ""));
        (name == key).then(|| unescape(value))
    })
}

fn unescape(value: &str) -> Cow<'_, str> {
    if !value.contains('\\') {
        return Cow::Borrowed(value);
    }
    let mut out = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some(':') => out.push(';'),
            Some('s') => out.push(' '),
            Some('r') => out.push('\r'),
            Some('n') => out.push('\n'),
            Some(other) => out.push(other),
            None => {}
        }
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn escapes_what_would_end_a_tag() {
        let tags = Tags::new().text("system-msg", "a; b\\c\r\n").flag("mod", true);
        assert_eq!(tags.as_str(), "system-msg=a\\:\\sb\\\\c\\r\\n;mod=1");
    }

    #[test]
    fn finds_a_tag_without_value() {
        assert_eq!(find("a=1;b;c=x\\sy", "b").as_deref(), Some(""));
        assert_eq!(find("a=1;b;c=x\\sy", "c").as_deref(), Some("x y"));
        assert_eq!(find("a=1", "d"), None);
    }

    proptest! {
        #[test]
        fn any_value_comes_back(value in ".*") {
            let tags = Tags::new().plain("n", 1).text("v", &value);
            prop_assert_eq!(find(tags.as_str(), "v").unwrap(), value);
        }
    }
}
