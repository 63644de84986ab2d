//! Which services a merged compose file has, and how each of them is replaced.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::release::{OPERATIONS, Role};

/// Containers of one service; more than any machine here carries.
const COUNT_MAX: u64 = 64;
/// The one service near Docker. It is never replaced from here: not by itself in the middle of its work, and not by what
/// somebody pushed under its name.
pub const DEPLOYER: &str = "deployer";

/// The services of the bot in a compose file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stack {
    /// The image that all of them run, as `name:tag`. The tag is moved to the version that is rolled out.
    pub image: String,
    /// The same of the second image, which some of them run instead.
    pub operations: String,
    /// A service by which the second image is built.
    pub builds: Option<String>,
    /// Those that stay up.
    pub services: Vec<Service>,
    /// The service that makes keys, once.
    pub keys: Option<String>,
    /// The NATS server.
    pub nats: Option<String>,
    /// Networks and volumes, by `networks.bus` and the like.
    pub shared: BTreeMap<String, Value>,
}

/// A service that stays up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// Its name.
    pub name: String,
    /// The name under which it answers on NATS; `None` for what does not.
    pub answers_as: Option<String>,
    /// How it is replaced.
    pub role: Role,
    /// Whether it runs the second image.
    pub operations: bool,
    /// How many there are from the beginning.
    pub count: u32,
}

/// Reads what `docker compose config --format json` says.
///
/// # Errors
/// What is missing, in words.
pub fn read(config: &Value) -> Result<Stack, String> {
    let services = config["services"].as_object().ok_or("the compose file has no services")?;
    let begins_with = |service: &Value, words: &[&str]| {
        let command = service["command"].as_array().map(Vec::as_slice).unwrap_or_default();
        command.len() >= words.len() && words.iter().zip(command).all(|(word, found)| found == word)
    };
    // What may have the socket is told by its name, whatever it says it runs.
    let others = || services.iter().filter(|(name, _)| *name != DEPLOYER);
    let worker = others().find(|(_, service)| begins_with(service, &["command-worker"]));
    let image = worker.and_then(|(_, worker)| worker["image"].as_str());
    let image =
        image.ok_or("the compose file has no service with the command `command-worker` and an image")?;
    if image.contains('@') || !image.rsplit('/').next().is_some_and(|last| last.contains(':')) {
        return Err(format!("expected an image with a tag such as vigie:local, found {image:?}"));
    }
    let shared = ["networks", "volumes"].into_iter().flat_map(|kind| {
        let all = config[kind].as_object().into_iter().flatten();
        all.map(move |(name, value)| (format!("{kind}.{name}"), value.clone()))
    });
    let operations = format!("{image}{OPERATIONS}");
    let second = |service: &Value| service["image"] == operations.as_str();
    let mut builds = services.iter().filter(|(_, service)| second(service) && service["build"].is_object());
    let mut stack = Stack {
        image: image.to_owned(),
        builds: builds.next().map(|(name, _)| name.clone()),
        services: Vec::new(),
        keys: None,
        nats: None,
        shared: shared.collect(),
        operations: operations.clone(),
    };
    stack.nats = services.contains_key("nats").then(|| "nats".to_owned());
    for (name, service) in others().filter(|(_, service)| service["image"] == image || second(service)) {
        if service["image"] == image && begins_with(service, &["vigie", "keys"]) {
            stack.keys = Some(name.clone());
        } else if service["restart"] != "no" {
            stack.services.extend(read_service(name, service, second(service)));
        }
    }
    Ok(stack)
}

impl Stack {
    /// What all services share and is another in `next`: Compose would take it away from those that run.
    #[must_use]
    pub fn changed_in(&self, next: &Self) -> Vec<String> {
        let differs = |(name, value): (&String, &Value)| {
            next.shared.get(name).is_some_and(|other| other != value).then(|| name.clone())
        };
        self.shared.iter().filter_map(differs).collect()
    }
}

fn read_service(name: &str, service: &Value, operations: bool) -> Option<Service> {
    let binary = service["command"][0].as_str()?;
    let role = match binary {
        DEPLOYER => return None,
        "vigie" => Role::Provision,
        "command-worker" => Role::Worker,
        "discord-gateway" | "twitch-gateway" => Role::Gateway,
        _ => Role::Rest,
    };
    let answers = !matches!(binary, "vigie" | "sandbox");
    let count = service["deploy"]["replicas"].as_u64().or_else(|| service["scale"].as_u64());
    Some(Service {
        name: name.to_owned(),
        answers_as: answers.then(|| binary.to_owned()),
        role,
        operations,
        count: u32::try_from(count.unwrap_or(1).min(COUNT_MAX)).unwrap_or(1),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn services_of_the_bot_are_told_from_others_by_their_image_and_command() {
        let config = json!({ "services": {
            "keys": { "image": "vigie:local", "command": ["vigie", "keys", "/keys"], "restart": "no" },
            "nats": { "image": "nats:2.15-alpine", "command": ["--config", "x"] },
            "provision": { "image": "vigie:local", "command": ["vigie", "provision", "--stay"] },
            "demo-discord": { "image": "vigie:local", "command": ["discord-gateway"] },
            "command-worker": { "image": "vigie:local", "command": ["command-worker"], "deploy": { "replicas": 3 } },
            "healthcheck": { "image": "vigie:local", "command": ["healthcheck"] },
            "deployer": { "image": "vigie:local", "command": ["deployer"] },
            "backup": { "image": "vigie:local-operations", "command": ["backup"], "build": { "context": "x" } },
            "grafana": { "image": "other:local-operations", "command": ["x"] },
            "status": { "image": "vigie:local", "command": ["vigie", "status"], "restart": "no" },
        } });
        let stack = read(&config).unwrap();
        assert_eq!((stack.image.as_str(), stack.keys.as_deref()), ("vigie:local", Some("keys")));
        let found: Vec<_> = stack.services.iter().map(|it| (it.name.as_str(), it.role, it.count)).collect();
        assert_eq!(
            found,
            [
                ("backup", Role::Rest, 1),
                ("command-worker", Role::Worker, 3),
                ("demo-discord", Role::Gateway, 1),
                ("healthcheck", Role::Rest, 1),
                ("provision", Role::Provision, 1),
            ]
        );
        assert_eq!(stack.services[2].answers_as.as_deref(), Some("discord-gateway"));
        let second: Vec<_> = stack.services.iter().filter(|it| it.operations).map(|it| &it.name).collect();
        assert_eq!(second, ["backup"]);
        assert_eq!(
            (stack.operations.as_str(), stack.builds.as_deref()),
            ("vigie:local-operations", Some("backup"))
        );
    }

    #[test]
    fn what_may_have_the_socket_is_never_replaced_whatever_it_runs() {
        for command in ["healthcheck", "command-worker"] {
            let config = json!({ "services": {
                "command-worker": { "image": "vigie:local", "command": ["command-worker"] },
                "deployer": { "image": "vigie:local", "command": [command] },
            } });
            let names: Vec<String> = read(&config).unwrap().services.into_iter().map(|it| it.name).collect();
            assert_eq!(names, ["command-worker"], "{command}");
        }
        let keys = json!({ "services": {
            "command-worker": { "image": "vigie:local", "command": ["command-worker"] },
            "deployer": { "image": "vigie:local", "command": ["vigie", "keys"] },
        } });
        assert_eq!(read(&keys).unwrap().keys, None);
        let alone = json!({ "services": { "deployer": { "image": "x:y", "command": ["command-worker"] } } });
        assert!(read(&alone).is_err());
    }

    #[test]
    fn networks_and_volumes_may_come_and_go_and_not_change() {
        let of = |networks: Value| {
            let worker = json!({ "image": "vigie:local", "command": ["command-worker"] });
            read(&json!({ "services": { "w": worker }, "networks": networks })).unwrap()
        };
        let before = of(json!({ "bus": { "internal": true }, "edge": {} }));
        assert_eq!(before.changed_in(&of(json!({ "bus": { "internal": true }, "new": {} }))), [""; 0]);
        assert_eq!(before.changed_in(&of(json!({ "bus": {}, "edge": {} }))), ["networks.bus"]);
    }

    #[test]
    fn an_image_whose_tag_cannot_be_moved_is_refused() {
        for image in ["vigie", "host:5000/vigie", "vigie@sha256:00"] {
            let config = json!({ "services": { "w": { "image": image, "command": ["command-worker"] } } });
            assert!(read(&config).is_err(), "{image}");
        }
    }
}
