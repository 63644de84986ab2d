//! What a merged compose file may hold. It decides what containers may do to the machine, and comes from a repository
//! that others can write to: so what is not known here is refused, by name.

use std::path::{Path, PathBuf};

use serde_json::Value;

/// Services that there are in Vigie's own compose files.
const SERVICES: &[&str] = &[
    "keys",
    "nats",
    "provision",
    "discord-gateway",
    "twitch-gateway",
    "command-worker",
    "healthcheck",
    "backup",
    "webhook-deploy",
    "deployer",
    "dashboard",
    "sandbox",
    "demo-discord",
    "demo-twitch",
    "caddy",
    "postgres",
    "otlp",
    "metrics",
    "traces",
    "logs",
    "grafana",
];
/// What a service may say of itself without harm to others.
const PLAIN: &[&str] = &[
    "cap_drop",
    "command",
    "cpus",
    "depends_on",
    "dns",
    "entrypoint",
    "environment",
    "expose",
    "healthcheck",
    "hostname",
    "image",
    "init",
    "labels",
    "mem_limit",
    "mem_reservation",
    "memswap_limit",
    "networks",
    "pids_limit",
    "platform",
    "profiles",
    "read_only",
    "restart",
    "scale",
    "secrets",
    "configs",
    "shm_size",
    "stdin_open",
    "stop_grace_period",
    "stop_signal",
    "tty",
    "user",
    "working_dir",
    "tmpfs",
    "ulimits",
];
/// Drivers that keep logs on this machine.
const LOGS: &[&str] = &["json-file", "local", "journald", "none"];
/// Services that may publish ports.
const PUBLISHING: &[&str] =
    &["healthcheck", "sandbox", "caddy", "grafana", "webhook-deploy", "dashboard", "metrics"];
/// More trouble than anybody reads at once.
const SHOWN_MAX: usize = 20;

/// What is allowed here besides.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    /// The name of the project.
    pub project: String,
    /// The folder of the compose file. What lies in it may be mounted, but not the folder itself.
    pub folder: PathBuf,
    /// The configured folder, which the deployer itself is given.
    pub home: PathBuf,
    /// The file with settings and secrets, which nobody else is.
    pub env_file: PathBuf,
    /// Other files and folders that may be mounted, or hold secrets. They need not be seen from here.
    pub binds: Vec<PathBuf>,
    /// Names of other services.
    pub services: Vec<String>,
}

/// Everything that is wrong, at most 20 of it; nothing when the file may be used.
#[must_use]
pub fn check(config: &Value, allowed: &Allowed) -> Vec<String> {
    let mut found = Found(Vec::new());
    for (key, value) in object(config) {
        match key.as_str() {
            "name" if value == allowed.project.as_str() => {}
            "name" => found.add(format!("name: expected {:?}, found {value}", allowed.project)),
            "services" => {
                for (name, service) in object(value) {
                    found.of_service(name, service, allowed);
                }
            }
            "networks" => found.networks(value),
            "volumes" => found.volumes(value),
            "secrets" | "configs" => found.files(key, value, allowed),
            key if key.starts_with("x-") => {}
            key => found.add(format!("{key}: is not known here")),
        }
    }
    found.0.truncate(SHOWN_MAX);
    found.0
}

struct Found(Vec<String>);

impl Found {
    fn add(&mut self, words: String) {
        self.0.push(words);
    }

    fn of_service(&mut self, name: &str, service: &Value, allowed: &Allowed) {
        if !SERVICES.contains(&name) && !allowed.services.iter().any(|known| known == name) {
            self.add(format!("{name}: is no service of Vigie, and not in DEPLOY_SERVICES"));
            return;
        }
        for (key, value) in object(service) {
            let nothing = value.is_null() || value.as_array().is_some_and(Vec::is_empty);
            if nothing || PLAIN.contains(&key.as_str()) {
                continue;
            }
            let words = match key.as_str() {
                "build" => build(value, allowed),
                "cap_add" if name == "caddy" && only(value, &["NET_BIND_SERVICE"]) => None,
                "deploy" => deploy(value),
                "logging" => {
                    let driver = value["driver"].as_str().unwrap_or("json-file");
                    (!LOGS.contains(&driver)).then(|| format!("a driver other than {}", LOGS.join(", ")))
                }
                "network_mode" if value == "none" => None,
                "ports" if name == "deployer" => Some("the deployer has no open port".to_owned()),
                "ports" if PUBLISHING.contains(&name) => None,
                "ports" if allowed.services.iter().any(|known| known == name) => None,
                "privileged" | "use_api_socket" | "oom_kill_disable" if value == false => None,
                "pull_policy" => {
                    let local = matches!(value.as_str(), Some("never" | "missing" | "if_not_present"));
                    (!local).then(|| "expected never or missing: what runs is what was proved".to_owned())
                }
                "security_opt" if only(value, &["no-new-privileges:true", "no-new-privileges"]) => None,
                "volumes" => {
                    let all = value.as_array().map(Vec::as_slice).unwrap_or_default();
                    all.iter().find_map(|one| mount(name, one, allowed))
                }
                _ => Some("is not allowed here".to_owned()),
            };
            if let Some(words) = words {
                self.add(format!("{name}: {key}: {words}"));
            }
        }
    }

    fn networks(&mut self, networks: &Value) {
        for (name, network) in object(networks) {
            for (key, value) in object(network) {
                let fine = match key.as_str() {
                    "name" | "internal" | "labels" | "enable_ipv6" | "attachable" => true,
                    "driver" => value == "bridge",
                    "driver_opts" => object(value).all(|(key, _)| key == "com.docker.network.driver.mtu"),
                    "ipam" => object(value).all(|(key, _)| key == "config"),
                    "external" => value == false,
                    _ => value.is_null(),
                };
                if !fine {
                    self.add(format!("networks: {name}: {key}: is not allowed here"));
                }
            }
        }
    }

    /// Options of a volume can mount any place of the machine.
    fn volumes(&mut self, volumes: &Value) {
        for (name, volume) in object(volumes) {
            for (key, value) in object(volume) {
                let fine = match key.as_str() {
                    "name" | "labels" => true,
                    "driver" => value == "local",
                    "driver_opts" => value["type"] == "tmpfs" && value["device"] == "tmpfs",
                    "external" => value == false,
                    _ => value.is_null(),
                };
                if !fine {
                    self.add(format!("volumes: {name}: {key}: is not allowed here"));
                }
            }
        }
    }

    fn files(&mut self, what: &str, files: &Value, allowed: &Allowed) {
        for (name, file) in object(files) {
            for (key, value) in object(file) {
                let trouble = match (key.as_str(), value.as_str()) {
                    ("name" | "environment" | "content" | "labels", _) => None,
                    ("external", _) if value == false => None,
                    ("file", Some("/dev/null")) => None,
                    ("file", Some(path)) => place(Path::new(path), allowed),
                    _ => Some("is not allowed here".to_owned()),
                };
                if let Some(words) = trouble {
                    self.add(format!("{what}: {name}: {key}: {words}"));
                }
            }
        }
    }
}

fn object(value: &Value) -> impl Iterator<Item = (&String, &Value)> {
    value.as_object().into_iter().flatten()
}

fn only(value: &Value, known: &[&str]) -> bool {
    let all = value.as_array().map(Vec::as_slice).unwrap_or_default();
    all.iter().all(|one| one.as_str().is_some_and(|one| known.contains(&one)))
}

/// What an image is built of lies in the folder, and its build gets nothing of this machine.
fn build(build: &Value, allowed: &Allowed) -> Option<String> {
    object(build).find_map(|(key, value)| match key.as_str() {
        "args" | "labels" | "target" | "platforms" | "tags" | "shm_size" | "pull" | "no_cache" => None,
        "context" => {
            let context = Path::new(value.as_str()?);
            let inside = real(context).is_some_and(|context| context.starts_with(&allowed.folder));
            (!inside)
                .then(|| format!("context: {} is not in {}", context.display(), allowed.folder.display()))
        }
        "dockerfile" => {
            let file = Path::new(value.as_str()?);
            let inside = !file.components().any(|part| part.as_os_str() == "..")
                && (file.is_relative() || file.starts_with(&allowed.folder));
            (!inside).then(|| format!("dockerfile: {} is elsewhere", file.display()))
        }
        key => (!value.is_null()).then(|| format!("{key}: is not allowed here")),
    })
}

/// How many, and how much of memory and processor; no devices.
fn deploy(deploy: &Value) -> Option<String> {
    object(deploy).find_map(|(key, value)| {
        let fine = match key.as_str() {
            "replicas" | "labels" => true,
            "placement" => object(value).next().is_none(),
            "resources" => object(value).all(|(_, part)| {
                object(part).all(|(key, _)| matches!(key.as_str(), "cpus" | "memory" | "pids"))
            }),
            _ => value.is_null(),
        };
        (!fine).then(|| format!("{key}: is not allowed here"))
    })
}

fn mount(service: &str, mount: &Value, allowed: &Allowed) -> Option<String> {
    match mount["type"].as_str() {
        Some("volume" | "tmpfs") => None,
        Some("bind") => {
            let source = Path::new(mount["source"].as_str().unwrap_or_default());
            if object(&mount["bind"]).any(|(key, value)| key == "propagation" && !value.is_null()) {
                return Some(format!("{}: a mount that spreads is not allowed here", source.display()));
            }
            // The one service near Docker.
            if service == "deployer" && (is_socket(source) || source == allowed.home) {
                return None;
            }
            place(source, allowed)
        }
        other => Some(format!("mounts of type {:?} are not allowed here", other.unwrap_or("none"))),
    }
}

fn is_socket(path: &Path) -> bool {
    ["/var/run/docker.sock", "/run/docker.sock"].iter().any(|socket| path == Path::new(socket))
}

/// What is wrong with a path of this machine, which a container would be given.
fn place(path: &Path, allowed: &Allowed) -> Option<String> {
    let shown = path.display();
    let Some(found) = real(path) else {
        // Not seen from within a container: what the operator names is believed, as it is written.
        let plain = path.components().all(|part| part.as_os_str() != "..");
        let named = plain && allowed.binds.iter().any(|bind| path.starts_with(bind));
        return (!named).then(|| format!("{shown} is not there, and not in DEPLOY_BINDS"));
    };
    if real(&allowed.env_file).is_some_and(|settings| settings.starts_with(&found)) {
        return Some(format!("{shown} holds the settings and secrets"));
    }
    let in_folder = found.starts_with(&allowed.folder) && found != allowed.folder;
    let mut binds = allowed.binds.iter().map(|bind| real(bind).unwrap_or_else(|| bind.clone()));
    let named = binds.any(|bind| found.starts_with(bind));
    (!in_folder && !named).then(|| format!("{shown} is not in {} or DEPLOY_BINDS", allowed.folder.display()))
}

/// Where it really is: a link in the folder could lead anywhere.
fn real(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;

    use super::*;

    struct World {
        folder: tempfile::TempDir,
    }

    impl World {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            for name in ["nats.conf", ".env", "secret"] {
                fs::write(folder.path().join(name), "").unwrap();
            }
            std::os::unix::fs::symlink("/etc/passwd", folder.path().join("link")).unwrap();
            Self { folder }
        }

        fn allowed(&self) -> Allowed {
            let folder = self.folder.path().canonicalize().unwrap();
            Allowed {
                project: "vigie".to_owned(),
                env_file: folder.join(".env"),
                home: PathBuf::from("/srv/vigie"),
                folder,
                binds: vec![PathBuf::from("/etc/hostname"), PathBuf::from("/not/seen")],
                services: vec!["mine".to_owned()],
            }
        }

        fn check(&self, config: &Value) -> Vec<String> {
            let folder = self.allowed().folder;
            let text = config.to_string().replace("FOLDER", folder.to_str().unwrap());
            let found = check(&serde_json::from_str(&text).unwrap(), &self.allowed());
            found.into_iter().map(|words| words.replace(folder.to_str().unwrap(), "FOLDER")).collect()
        }

        fn of_worker(&self, key: &str, value: Value) -> Vec<String> {
            let mut service = json!({ "image": "vigie:local", "command": ["command-worker"] });
            service[key] = value;
            self.check(&json!({ "services": { "command-worker": service } }))
        }
    }

    #[test]
    fn what_vigie_needs_is_fine() {
        let config = json!({
            "name": "vigie",
            "services": {
                "nats": {
                    "image": "nats:2.15-alpine",
                    "volumes": [
                        { "type": "bind", "source": "FOLDER/nats.conf", "target": "/x", "bind": { "create_host_path": true } },
                        { "type": "volume", "source": "nats-data", "target": "/data" },
                    ],
                    "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"], "privileged": false,
                    "logging": { "driver": "json-file" },
                },
                "caddy": { "cap_add": ["NET_BIND_SERVICE"], "ports": [{ "target": 80 }] },
                "deployer": { "volumes": [
                    { "type": "bind", "source": "/var/run/docker.sock", "target": "/x" },
                    { "type": "bind", "source": "/srv/vigie", "target": "/srv/vigie", "read_only": true },
                ] },
                "command-worker": {
                    "build": { "context": "FOLDER", "dockerfile": "deploy/Dockerfile", "args": {} },
                    "pull_policy": "never",
                    "deploy": { "replicas": 2, "resources": { "limits": { "memory": "1" } }, "placement": {} },
                    "devices": [], "network_mode": "none",
                },
                "mine": { "volumes": [
                    { "type": "bind", "source": "/etc/hostname", "target": "/x" },
                    { "type": "bind", "source": "/not/seen/from/here", "target": "/y" },
                ] },
            },
            "networks": { "bus": { "name": "vigie_bus", "ipam": {}, "internal": true } },
            "volumes": { "nats-data": { "name": "vigie_nats-data" } },
            "secrets": { "a": { "name": "a", "file": "/dev/null" }, "b": { "file": "FOLDER/secret" } },
            "x-vigie": {},
        });
        assert_eq!(World::new().check(&config), [""; 0]);
    }

    #[test]
    fn no_service_gets_power_over_the_machine() {
        let world = World::new();
        for (key, value) in [
            ("privileged", json!(true)),
            ("cap_add", json!(["SYS_ADMIN"])),
            ("cap_add", json!(["NET_BIND_SERVICE"])),
            ("devices", json!([{ "source": "/dev/sda" }])),
            ("device_cgroup_rules", json!(["c 1:3 mr"])),
            ("network_mode", json!("host")),
            ("network_mode", json!("container:other")),
            ("pid", json!("host")),
            ("ipc", json!("host")),
            ("uts", json!("host")),
            ("userns_mode", json!("host")),
            ("cgroup", json!("host")),
            ("cgroup_parent", json!("/")),
            ("security_opt", json!(["seccomp:unconfined"])),
            ("security_opt", json!(["apparmor=unconfined"])),
            ("sysctls", json!({ "kernel.core_pattern": "|x" })),
            ("volumes_from", json!(["other"])),
            ("runtime", json!("other")),
            ("gpus", json!([{ "count": -1 }])),
            ("use_api_socket", json!(true)),
            ("provider", json!({ "type": "x" })),
            ("post_start", json!([{ "command": "x", "privileged": true }])),
            ("pre_stop", json!([{ "command": "x" }])),
            ("extra_hosts", json!({ "nats": "10.0.0.1" })),
            ("container_name", json!("x")),
            ("credential_spec", json!({ "file": "x" })),
            ("group_add", json!(["docker"])),
            ("logging", json!({ "driver": "syslog" })),
            ("ports", json!([{ "target": 22 }])),
            ("pull_policy", json!("always")),
            ("deploy", json!({ "resources": { "reservations": { "devices": [{}] } } })),
            ("build", json!({ "context": "/etc" })),
            ("build", json!({ "context": "FOLDER", "dockerfile": "../x" })),
            ("build", json!({ "context": "FOLDER", "privileged": true })),
            ("build", json!({ "context": "FOLDER", "network": "host" })),
            ("build", json!({ "context": "FOLDER", "entitlements": ["security.insecure"] })),
            ("build", json!({ "context": "FOLDER", "additional_contexts": { "a": "/" } })),
            ("build", json!({ "context": "FOLDER", "ssh": ["default"] })),
            ("what-comes-next-year", json!(1)),
        ] {
            let found = world.of_worker(key, value.clone());
            assert_eq!(found.len(), 1, "{key}: {value}: {found:?}");
            assert!(found[0].starts_with(&format!("command-worker: {key}: ")), "{found:?}");
        }
    }

    #[test]
    fn no_service_is_given_files_of_others() {
        let world = World::new();
        let bind = |source: &str| json!([{ "type": "bind", "source": source, "target": "/x" }]);
        for source in [
            "/",
            "/etc",
            "/var/run/docker.sock",
            "FOLDER",
            "FOLDER/.env",
            "FOLDER/link",
            "FOLDER/..",
            "FOLDER/none",
            "/srv/vigie",
            "/not/seen/../../etc",
        ] {
            assert_eq!(world.of_worker("volumes", bind(source)).len(), 1, "{source}");
        }
        let spread =
            json!([{ "type": "bind", "source": "FOLDER/secret", "bind": { "propagation": "shared" } }]);
        assert_eq!(world.of_worker("volumes", spread).len(), 1);
        assert_eq!(world.of_worker("volumes", json!([{ "type": "npipe", "source": "x" }])).len(), 1);
        for (key, value) in [
            ("volumes", json!({ "driver_opts": { "type": "none", "o": "bind", "device": "/" } })),
            ("volumes", json!({ "driver": "other" })),
            ("volumes", json!({ "external": true })),
            ("networks", json!({ "driver": "host" })),
            ("networks", json!({ "external": true })),
            ("networks", json!({ "driver": "macvlan", })),
            ("secrets", json!({ "file": "/etc/shadow" })),
            ("secrets", json!({ "file": "FOLDER/.env" })),
            ("secrets", json!({ "external": true })),
            ("configs", json!({ "file": "/etc/shadow" })),
        ] {
            let found = world.check(&json!({ key: { "it": value } }));
            assert_eq!(found.len(), 1, "{key}: {found:?}");
        }
    }

    /// Needs no engine, only the program; where that is not installed there is no compose file to be merged either.
    #[test]
    fn the_compose_file_that_is_shipped_may_be_used() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
        let mut compose = std::process::Command::new("docker");
        compose.args(["compose", "--project-name", "vigie", "--env-file", ".env.example"]).current_dir(&root);
        compose.args([
            "--profile",
            "demo",
            "--profile",
            "proxy",
            "--profile",
            "observability",
            "--profile",
            "deploy",
        ]);
        compose.args(["config", "--format", "json"]).env("DEPLOY_FOLDER", &root);
        let Ok(output) = compose.output() else { return };
        let complaint = String::from_utf8_lossy(&output.stderr);
        if complaint.contains("is not a docker command") || complaint.contains("unknown") {
            return;
        }
        assert!(output.status.success(), "{complaint}");
        let config: Value = serde_json::from_slice(&output.stdout).unwrap();
        let allowed = Allowed {
            project: "vigie".to_owned(),
            env_file: root.join(".env"),
            home: root.clone(),
            folder: root,
            ..Allowed::default()
        };
        assert_eq!(check(&config, &allowed), [""; 0]);
        let stack = crate::stack::read(&config).unwrap();
        let names: Vec<&str> = stack.services.iter().map(|service| service.name.as_str()).collect();
        for name in [
            "command-worker",
            "discord-gateway",
            "twitch-gateway",
            "demo-discord",
            "provision",
            "healthcheck",
        ] {
            assert!(names.contains(&name), "{names:?}");
        }
        assert!(!names.contains(&"deployer") && !names.contains(&"nats"), "{names:?}");
        assert_eq!((stack.keys.as_deref(), stack.nats.as_deref()), (Some("keys"), Some("nats")));
    }

    #[test]
    fn other_services_projects_and_sections_are_named() {
        let config = json!({
            "name": "other",
            "services": { "miner": { "image": "x" }, "deployer": { "ports": [{ "target": 1 }] } },
            "models": {},
        });
        assert_eq!(
            World::new().check(&config),
            [
                "models: is not known here",
                "name: expected \"vigie\", found \"other\"",
                "deployer: ports: the deployer has no open port",
                "miner: is no service of Vigie, and not in DEPLOY_SERVICES",
            ]
        );
    }
}
