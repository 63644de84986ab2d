//! The text of `.env`: settings are written into it line by line, so that its comments stay.

use crate::env_file;

/// What a new one is made of: the file that explains every setting.
const EXAMPLE: &str = include_str!("../../../../.env.example");
const ADDED: &str = "# Added by vigie init.";

/// The lines of a `.env`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EnvText(Vec<String>);

impl EnvText {
    /// The one that every setting is explained in.
    pub(super) fn example() -> Self {
        Self::from(EXAMPLE)
    }

    pub(super) fn from(text: &str) -> Self {
        Self(text.lines().map(str::to_owned).collect())
    }

    /// The text, ready to be written.
    pub(super) fn render(&self) -> String {
        self.0.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Sets `name` where it is set, else where it is commented out, else at the end.
    pub(super) fn set(&mut self, name: &str, value: &str) {
        self.put(&[name], name, value);
    }

    /// Sets `name` to the path of a file: in place of its value, because it must have only one.
    pub(super) fn set_file(&mut self, name: &str, path: &str) {
        let file = format!("{name}_FILE");
        self.put(&[&file, name], &file, path);
    }

    /// Leaves `name` without a value.
    pub(super) fn unset(&mut self, name: &str) {
        self.put(&[&format!("{name}_FILE"), name], name, "");
    }

    /// Writes one line in the place of the first of `places`, and takes their other ones away.
    fn put(&mut self, places: &[&str], name: &str, value: &str) {
        let line = format!("{name}={}", quoted(value));
        let active = |line: &String| places.iter().any(|place| sets(line, place));
        let commented = |line: &String| {
            line.strip_prefix('#').is_some_and(|line| places.iter().any(|place| sets(line, place)))
        };
        let at = self.0.iter().position(active).or_else(|| self.0.iter().position(commented));
        let Some(at) = at else {
            if !self.0.iter().any(|line| line == ADDED) {
                self.0.extend([String::new(), ADDED.to_owned()]);
            }
            self.0.push(line);
            return;
        };
        self.0[at] = line;
        let mut number = 0;
        self.0.retain(|line| {
            number += 1;
            number - 1 == at || !places.iter().any(|place| sets(line, place))
        });
    }
}

/// Every name that the example explains.
pub(crate) fn example_names() -> impl Iterator<Item = &'static str> {
    let settings = EXAMPLE.lines().filter_map(|line| line.trim_start_matches('#').split_once('='));
    settings.map(|(name, _)| name).filter(|name| env_file::is_name(name))
}

/// Whether a line gives a value to `name`.
fn sets(line: &str, name: &str) -> bool {
    let line = line.trim_start();
    let line = line.strip_prefix("export ").unwrap_or(line).trim_start();
    line.strip_prefix(name).is_some_and(|rest| rest.trim_start().starts_with('='))
}

/// A value that Vigie and Compose read alike: the latter replaces what begins with `$`, but not
/// between single quotes.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:,@!?+=%&~^*".contains(c);
    if value.chars().all(plain) {
        value.to_owned()
    } else if value.contains('\'') {
        format!("\"{value}\"")
    } else {
        format!("'{value}'")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_goes_where_it_is_or_was_commented_out_and_comments_stay() {
        let mut env = EnvText::from("# the token\nDISCORD_TOKEN=\n\n# language\n#LOCALE=en\n");
        env.set_file("DISCORD_TOKEN", "./secrets/discord_token");
        env.set("LOCALE", "fr");
        env.set("PREFIX", "!");
        assert_eq!(
            env.render(),
            "# the token\nDISCORD_TOKEN_FILE=./secrets/discord_token\n\n# language\nLOCALE=fr\n\n\
             # Added by vigie init.\nPREFIX=!\n"
        );
        env.unset("DISCORD_TOKEN");
        assert!(env.render().contains("\nDISCORD_TOKEN=\n"), "{env:?}");
    }

    #[test]
    fn a_setting_has_one_value_only() {
        let mut env = EnvText::from("export A=1\nA_FILE=./a\nAB=2\nA=3\n");
        env.set_file("A", "./b");
        assert_eq!(env.render(), "A_FILE=./b\nAB=2\n");
    }

    #[test]
    fn what_is_written_is_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".env");
        for value in ["!", "#", "$", "a b", "'", "$HOME", "olive,max"] {
            let mut env = EnvText::example();
            env.set("PREFIX", value);
            std::fs::write(&path, env.render()).unwrap();
            let read = env_file::read(&path).unwrap();
            assert!(read.contains(&("PREFIX".to_owned(), value.to_owned())), "{value}");
        }
    }

    #[test]
    fn the_example_names_its_settings() {
        let names: Vec<_> = example_names().collect();
        assert!(names.contains(&"DISCORD_TOKEN") && names.contains(&"PREFIX"), "{names:?}");
    }
}
