//! `compose.yaml` and the images in `deploy/` against the settings that the binaries know: each service
//! is told all that it reads, by names that exist.
//!
//! Reads no YAML but the plain form of that file: one key a line, anchors, and merges of them.

use std::collections::BTreeMap;

use super::{
    Text,
    settings::{self, Setting},
};

const COMPOSE: &str = "compose.yaml";
const DEPLOY: &str = "deploy/";
/// What is no setting of ours: programs and the dynamic loader read it everywhere.
const FOREIGN: [&str; 3] = ["HOME", "NO_COLOR", "PATH"];
/// Its commands read parts of the settings, so none can be missing; its doctor looks at those of all.
const CLI: &str = "vigie";

type Known = BTreeMap<String, Setting>;

pub(crate) fn check(files: &[Text]) -> anyhow::Result<Vec<String>> {
    let known = settings::known()?;
    let Some(compose) = files.iter().find(|file| file.path == COMPOSE) else {
        return Ok(vec![format!("{COMPOSE} is missing")]);
    };
    let mut problems = of_compose(&known, &compose.text);
    let images = files.iter().filter(|file| file.path.starts_with(DEPLOY));
    problems.extend(images.flat_map(|image| of_image(&known, image)));
    Ok(problems)
}

/// One line `key: value`.
struct Line<'a> {
    indent: usize,
    key: &'a str,
    value: &'a str,
}

struct Lines<'a>(Vec<Line<'a>>);

impl<'a> Lines<'a> {
    fn read(text: &'a str) -> Self {
        let of = |line: &'a str| {
            let (key, value) = line.split_once(':').unwrap_or((line, ""));
            Line { indent: key.len() - key.trim_start().len(), key: key.trim(), value: value.trim() }
        };
        let lines = text.lines().map(of);
        Self(lines.filter(|line| !line.key.is_empty() && !line.key.starts_with('#')).collect())
    }

    /// The lines right below one, after those that it merges: the last of a key holds.
    fn members(&self, of: usize) -> Vec<usize> {
        // `key: *name` has what `key: &name` has.
        if let Some(anchor) = self.0[of].value.strip_prefix('*').and_then(|name| self.anchor(of, name)) {
            return self.members(anchor);
        }
        let outer = self.0[of].indent;
        let below = (of + 1..self.0.len()).take_while(|at| self.0[*at].indent > outer);
        let inner = self.0.get(of + 1).map_or(0, |first| first.indent);
        let (mut merged, mut own) = (Vec::new(), Vec::new());
        for at in below.filter(|at| self.0[*at].indent == inner) {
            if self.0[at].key != "<<" {
                own.push(at);
                continue;
            }
            let names = self.0[at].value.trim_matches(['[', ']']).split(',');
            for name in names.filter_map(|name| name.trim().strip_prefix('*')) {
                merged.extend(self.anchor(at, name).into_iter().flat_map(|anchor| self.members(anchor)));
            }
        }
        merged.extend(own);
        merged
    }

    /// It stands before what refers to it, so that following one after the other ends.
    fn anchor(&self, before: usize, name: &str) -> Option<usize> {
        (0..before).find(|at| self.0[*at].value.strip_prefix('&') == Some(name))
    }

    fn member(&self, of: usize, key: &str) -> Option<usize> {
        self.members(of).into_iter().rfind(|at| self.0[*at].key == key)
    }
}

fn of_compose(known: &Known, text: &str) -> Vec<String> {
    let lines = Lines::read(text);
    let top = lines.0.iter().position(|line| line.indent == 0 && line.key == "services");
    let services = top.map(|top| lines.members(top)).unwrap_or_default();
    if services.is_empty() {
        return vec![format!("{COMPOSE}: expected services")];
    }
    services.into_iter().flat_map(|service| of_service(known, &lines, service)).collect()
}

fn of_service(known: &Known, lines: &Lines<'_>, service: usize) -> Vec<String> {
    let problem = |words: String| format!("{COMPOSE}: {}: {words}", lines.0[service].key);
    let Some(environment) = lines.member(service, "environment") else { return Vec::new() };
    // Somebody else's program knows none of our settings.
    if lines.member(service, "image").is_some_and(|at| !lines.0[at].value.contains(CLI)) {
        return Vec::new();
    }
    let Some(binary) = lines.member(service, "command").and_then(|at| first_word(lines.0[at].value)) else {
        return vec![problem(
            "expected command: [\"binary\"], which says what its environment is for".into(),
        )];
    };
    let is_read = |setting: &&Setting| binary == CLI || setting.read_by.iter().any(|reader| reader == binary);
    let reads: Vec<&Setting> = known.values().filter(is_read).collect();
    if reads.is_empty() {
        return vec![problem(format!("{binary} is not among those that `vigie settings` asks"))];
    }
    let told: BTreeMap<&str, &str> =
        lines.members(environment).into_iter().map(|at| (lines.0[at].key, lines.0[at].value)).collect();
    let mut problems = Vec::new();
    for (name, value) in told.iter().filter(|(name, _)| !FOREIGN.contains(*name)) {
        // A secret may be told by its file; and the path of a file may be a setting.
        let secret = name.strip_suffix("_FILE");
        let is_told = |known: &&&Setting| known.name == *name || Some(known.name.as_str()) == secret;
        match reads.iter().find(is_told) {
            None => problems.push(problem(format!("{name} is no setting of {binary}"))),
            Some(known) => {
                problems.extend(wrong_default(known, name, value).map(problem));
            }
        }
    }
    for setting in reads.iter().filter(|_| binary != CLI) {
        let file = setting.secret.then(|| format!("{}_FILE", setting.name));
        for name in [Some(setting.name.clone()), file].into_iter().flatten() {
            if !told.contains_key(name.as_str()) {
                problems.push(problem(format!("{name} is missing ({}); add {name}:", setting.help)));
            }
        }
    }
    problems
}

/// `${NAME:-default}` must say what the binary would take by itself.
fn wrong_default(known: &Setting, name: &str, value: &str) -> Option<String> {
    let (from, default) = value.strip_prefix("${")?.strip_suffix('}')?.split_once(":-")?;
    if from != name {
        return Some(format!("{name} is taken from {from}; expected ${{{name}:-…}}"));
    }
    let expected = known.default.as_deref().unwrap_or_default();
    (default != expected)
        .then(|| format!("{name} is {default:?} when it is not set, its default is {expected:?}"))
}

/// The binary of `["binary", "argument"]`; arguments alone belong to an image of others.
fn first_word(command: &str) -> Option<&str> {
    command.strip_prefix("[\"")?.split('"').next().filter(|word| !word.starts_with('-'))
}

fn of_image(known: &Known, image: &Text) -> Vec<String> {
    let names = image.text.lines().filter_map(|line| line.strip_prefix("ENV ")?.split_once('='));
    names
        .map(|(name, _)| name.trim())
        .filter(|name| !FOREIGN.contains(name))
        .filter(|name| !known.contains_key(name.strip_suffix("_FILE").unwrap_or(name)))
        .map(|name| format!("{}: {name} is a setting of no binary", image.path))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known() -> Known {
        let setting = |name: &str, default: Option<&str>, secret, read_by: &[&str]| {
            let read_by = read_by.iter().map(|name| (*name).to_owned()).collect();
            let help = "what for".to_owned();
            let default = default.map(str::to_owned);
            (name.to_owned(), Setting { name: name.to_owned(), default, help, secret, read_by })
        };
        BTreeMap::from([
            setting("NATS_URL", None, false, &["vigie", "gateway", "worker"]),
            setting("NATS_STORAGE", Some("file"), false, &["vigie"]),
            setting("PREFIX", Some("!"), false, &["gateway"]),
            setting("TOKEN", None, true, &["gateway"]),
        ])
    }

    const GOOD: &str = r#"
x-vigie: &vigie
  init: true
x-service: &service
  <<: *vigie
  restart: unless-stopped
x-settings: &settings
  NATS_URL: nats://nats:4222
  NO_COLOR: "1"   # no terminal

x-tokens: &tokens
  TOKEN:
  TOKEN_FILE:

services:
  nats:
    image: nats:2.15-alpine
    command: ["--config", "/etc/nats/nats.conf"]
    environment:
      GOMAXPROCS: ${GOMAXPROCS:-1}
    volumes:
      - ./nats.conf:/etc/nats/nats.conf:ro
  provision:
    <<: *vigie
    command: ["vigie", "provision"]
    environment:
      NATS_STORAGE: ${NATS_STORAGE:-file}
  gateway:
    <<: *service
    command: ["gateway"]
    environment:
      <<: *settings
      PREFIX:
      TOKEN:
      TOKEN_FILE:
    healthcheck: { test: ["CMD", "gateway", "--probe"] }
  worker:
    <<: *service
    command: ["worker"]
    environment: *settings
  doctor:
    <<: *service
    command: ["vigie", "doctor"]
    environment:
      <<: [*settings, *tokens]

volumes:
  nats-data:
"#;

    #[test]
    fn services_that_are_told_what_they_read_are_in_shape() {
        assert_eq!(of_compose(&known(), GOOD), [""; 0]);
    }

    #[test]
    fn names_that_are_missing_unknown_or_for_others_are_told() {
        let bad = |from: &str, to: &str| {
            assert!(GOOD.contains(from), "{from}");
            of_compose(&known(), &GOOD.replacen(from, to, 1))
        };
        assert_eq!(
            bad("      PREFIX:\n", ""),
            ["compose.yaml: gateway: PREFIX is missing (what for); add PREFIX:"]
        );
        assert_eq!(bad("      TOKEN_FILE:\n", "").len(), 1, "a secret may come as a file");
        assert_eq!(
            bad("      PREFIX:\n", "      PREFIX:\n      PREFX: \"?\"\n"),
            ["compose.yaml: gateway: PREFX is no setting of gateway"]
        );
        assert_eq!(
            bad("NATS_URL: nats", "NAT_URL: nats"),
            [
                "compose.yaml: gateway: NAT_URL is no setting of gateway",
                "compose.yaml: gateway: NATS_URL is missing (what for); add NATS_URL:",
                "compose.yaml: worker: NAT_URL is no setting of worker",
                "compose.yaml: worker: NATS_URL is missing (what for); add NATS_URL:",
                "compose.yaml: doctor: NAT_URL is no setting of vigie",
            ]
        );
        assert_eq!(
            bad(
                "command: [\"worker\"]\n    environment: *settings\n",
                "command: [\"worker\"]\n    environment:\n      <<: *settings\n      TOKEN:\n"
            ),
            ["compose.yaml: worker: TOKEN is no setting of worker"]
        );
        assert_eq!(
            bad("${NATS_STORAGE:-file}", "${NATS_STORAGE:-memory}"),
            [
                "compose.yaml: provision: NATS_STORAGE is \"memory\" when it is not set, its default is \"file\""
            ]
        );
        assert_eq!(
            bad("${NATS_STORAGE:-file}", "${STORAGE:-file}"),
            ["compose.yaml: provision: NATS_STORAGE is taken from STORAGE; expected ${NATS_STORAGE:-…}"]
        );
        assert_eq!(
            bad("command: [\"worker\"]", "command: [\"wroker\"]"),
            ["compose.yaml: worker: wroker is not among those that `vigie settings` asks"]
        );
        assert_eq!(of_compose(&known(), "name: x\n"), ["compose.yaml: expected services"]);
    }

    #[test]
    fn an_image_sets_only_what_is_read() {
        let text = "FROM scratch\nENV PATH=/bin\nENV PREFIX=?\nENV LOGLEVEL=debug\n".to_owned();
        let image = Text { path: "deploy/Dockerfile".to_owned(), text };
        assert_eq!(of_image(&known(), &image), ["deploy/Dockerfile: LOGLEVEL is a setting of no binary"]);
    }
}
