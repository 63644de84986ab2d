//! What Compose is given to read. The files of the operator are read by each command anew. What others pushed is merged
//! and checked, and that very text is run: a file that it includes could be another one by then.

use std::path::Path;

use secrecy::SecretString;
use serde_json::{Value, json};

/// Signs that end a line for Compose, which reads YAML, and not in JSON, which it writes.
const BREAKS: [(char, &str); 3] = [('\u{85}', "\\u0085"), ('\u{2028}', "\\u2028"), ('\u{2029}', "\\u2029")];

/// What Compose is given to read.
#[derive(Clone, Debug)]
pub enum Sheet {
    /// The configured files in this folder, with all that they include.
    Own(String),
    /// What they say together.
    Merged {
        /// The folder that they are in.
        folder: String,
        /// It holds the settings of services, secrets too, and goes to Compose by its standard input.
        text: SecretString,
    },
}

impl Sheet {
    /// What the files in this folder say together, as Compose wrote it; but what it would not read again as it wrote it
    /// is written in another way.
    #[must_use]
    pub fn merged(folder: &str, config: &Value) -> Self {
        let mut config = config.clone();
        let names: Vec<String> = object(&mut config, "services").map(|(name, _)| name.clone()).collect();
        for (_, service) in object(&mut config, "services") {
            // A limit of nothing is left out.
            for limit in object(service, "ulimits").filter_map(|(_, limit)| limit.as_object_mut()) {
                for side in ["soft", "hard"] {
                    limit.entry(side).or_insert(json!(0));
                }
            }
            // So is a service whose profile is not up.
            if let Some(needs) = service.get_mut("depends_on").and_then(Value::as_object_mut) {
                needs.retain(|name, _| names.contains(name));
            }
        }
        let text = BREAKS.iter().fold(config.to_string(), |text, (sign, code)| text.replace(*sign, code));
        Self::Merged { folder: folder.to_owned(), text: text.into() }
    }

    /// The folder of the files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        match self {
            Self::Own(folder) | Self::Merged { folder, .. } => Path::new(folder),
        }
    }
}

fn object<'a>(of: &'a mut Value, key: &str) -> impl Iterator<Item = (&'a String, &'a mut Value)> + use<'a> {
    of.get_mut(key).and_then(Value::as_object_mut).into_iter().flatten()
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn what_compose_would_not_read_again_is_written_in_another_way() {
        let config = json!({ "services": {
            "a": {
                "command": ["\u{2028}", "$$HOME"],
                "depends_on": { "b": { "required": true }, "c": { "required": false } },
                "ulimits": { "core": {}, "nofile": { "hard": 9 }, "nproc": 7 },
            },
            "b": {},
        } });
        let Sheet::Merged { text, .. } = Sheet::merged("/srv/vigie", &config) else { panic!() };
        assert!(text.expose_secret().is_ascii());
        let expected = json!({ "services": {
            "a": {
                "command": ["\u{2028}", "$$HOME"],
                "depends_on": { "b": { "required": true } },
                "ulimits": { "core": { "soft": 0, "hard": 0 }, "nofile": { "soft": 0, "hard": 9 }, "nproc": 7 },
            },
            "b": {},
        } });
        assert_eq!(serde_json::from_str::<Value>(text.expose_secret()).unwrap(), expected);
    }
}
