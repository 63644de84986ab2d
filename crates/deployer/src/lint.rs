//! What a merged compose file may hold. It decides what containers may do to the machine, and comes from a repository
//! that others can write to: so what is not known here is refused, by name.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use crate::stack::DEPLOYER;

/// Who may save the settings, and so may read them.
const BACKUP: &str = "backup";
/// The volume with the deployer's own files.
const DEPLOYER_DATA: &str = "deployer-data";
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

/// What a service may say of its address in a network.
const ADDRESSES: &[&str] = &["ipv4_address", "ipv6_address", "link_local_ips", "mac_address"];

/// Files and folders of this machine, by the service that has them.
type Paths = BTreeMap<String, BTreeSet<PathBuf>>;

/// What the operator's own compose file gives, and no other may by itself.
#[derive(Clone, Debug, Default)]
pub struct Given {
    paths: Paths,
    /// Subnets and fixed addresses, by whose they are.
    addresses: BTreeMap<String, Value>,
}

/// What is allowed here besides.
#[derive(Clone, Debug, Default)]
pub struct Allowed {
    /// The name of the project.
    pub project: String,
    /// The folder of the compose file. What lies in it may be mounted, but not the folder itself.
    pub folder: PathBuf,
    /// The configured folder, which the deployer itself is given, and `backup` where the operator has it save the settings.
    pub home: PathBuf,
    /// The file with settings and secrets, which nobody else is.
    pub env_file: PathBuf,
    /// Other files and folders that may be mounted, or hold secrets. They need not be seen from here.
    pub binds: Vec<PathBuf>,
    /// What there is by the operator's own compose file, and so may be by this one. `None` where this is that file.
    pub given: Option<Given>,
    /// Names of other services.
    pub services: Vec<String>,
    /// A folder of this program that Docker does not see under this path: it would make an empty one in its place.
    pub unseen: Option<PathBuf>,
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
                found.taken(config, allowed);
            }
            "networks" => found.networks(value, allowed),
            "volumes" => found.volumes(value, allowed),
            "secrets" | "configs" => found.files(key, value, allowed),
            key if key.starts_with("x-") => {}
            key => found.add(format!("{key}: is not known here")),
        }
    }
    found.addresses(config, allowed);
    found.0.truncate(SHOWN_MAX);
    found.0
}

/// What a compose file gives.
#[must_use]
pub fn given(config: &Value) -> Given {
    Given { paths: paths(config), addresses: addresses(config) }
}

/// What each service is given: mounts, and the files of secrets.
fn paths(config: &Value) -> Paths {
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let of = |service: &Value| {
        let binds = list(&service["volumes"]).into_iter().map(|mount| mount["source"].clone());
        let files = ["secrets", "configs"].into_iter().flat_map(|kind| {
            let named = list(&service[kind]).into_iter();
            named.map(move |one| config[kind][one["source"].as_str().unwrap_or_default()]["file"].clone())
        });
        let paths = binds.chain(files).filter_map(|path| path.as_str().map(PathBuf::from));
        paths.filter(|path| path.is_absolute()).collect()
    };
    object(&config["services"]).map(|(name, service)| (name.clone(), of(service))).collect()
}

/// The subnets of networks, and the fixed addresses of services in them: what is asked for there on this machine is not
/// reached any more.
fn addresses(config: &Value) -> BTreeMap<String, Value> {
    let is_said = |value: &Value| !value.is_null() && value.as_array().is_none_or(|all| !all.is_empty());
    let mut found = BTreeMap::new();
    for (name, network) in object(&config["networks"]) {
        let subnets = &network["ipam"]["config"];
        if is_said(subnets) {
            found.insert(format!("networks: {name}"), subnets.clone());
        }
    }
    for (service, settings) in object(&config["services"]) {
        for (name, network) in object(&settings["networks"]) {
            let fixed = ADDRESSES.iter().filter(|key| is_said(&network[**key]));
            let fixed: Vec<Value> = fixed.map(|key| json!([key, network[*key]])).collect();
            if !fixed.is_empty() {
                found.insert(format!("{service}: networks: {name}"), fixed.into());
            }
        }
    }
    found
}

/// What these services would be given of files that Docker does not see. Others keep what they were given.
pub fn unseen<'a>(config: &Value, services: impl Iterator<Item = &'a str>, allowed: &Allowed) -> Vec<String> {
    let (Some(folder), given) = (&allowed.unseen, paths(config)) else { return Vec::new() };
    let of = |name: &str| {
        let paths = given.get(name).into_iter().flatten().filter(|path| path.starts_with(folder));
        let words = |path: &PathBuf| {
            let path = path.display();
            format!("{name}: Docker does not see {path}: expected a volume, or a full path in DEPLOY_BINDS")
        };
        paths.map(words).collect::<Vec<_>>()
    };
    services.flat_map(of).take(SHOWN_MAX).collect()
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
                "ports" if name == DEPLOYER => Some("the deployer has no open port".to_owned()),
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

    /// What the operator gave to one service is not another's for the asking.
    fn taken(&mut self, config: &Value, allowed: &Allowed) {
        let Some(before) = &allowed.given else { return };
        for (name, paths) in paths(config) {
            let had = before.paths.get(&name);
            for path in paths.into_iter().filter(|path| is_named(path, allowed)) {
                if had.is_none_or(|had| !had.contains(&path)) {
                    let home = allowed.home.display();
                    let path = path.display();
                    self.add(format!("{name}: {path} is not given to it by the compose file in {home}"));
                }
            }
        }
    }

    fn addresses(&mut self, config: &Value, allowed: &Allowed) {
        let Some(before) = &allowed.given else { return };
        for (whose, said) in addresses(config) {
            if before.addresses.get(&whose) != Some(&said) {
                let home = allowed.home.display();
                self.add(format!(
                    "{whose}: expected no fixed addresses but those of the compose file in {home}"
                ));
            }
        }
    }

    fn networks(&mut self, networks: &Value, allowed: &Allowed) {
        for (name, network) in object(networks) {
            for (key, value) in object(network) {
                let fine = match key.as_str() {
                    "name" => is_own(name, value, allowed),
                    "internal" | "labels" | "enable_ipv6" | "attachable" => true,
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
    fn volumes(&mut self, volumes: &Value, allowed: &Allowed) {
        for (name, volume) in object(volumes) {
            for (key, value) in object(volume) {
                let fine = match key.as_str() {
                    "name" => is_own(name, value, allowed),
                    "labels" => true,
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
                    // Compose has nobody write to it.
                    ("file", Some(path)) => place(Path::new(path), true, allowed),
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

/// Whether a network or a volume is called as Compose calls it by itself: any other name is another project's, or a way
/// around what is said of its own.
fn is_own(key: &str, name: &Value, allowed: &Allowed) -> bool {
    *name == format!("{}_{key}", allowed.project)
}

/// What an image is built of lies in the folder, and its build gets nothing of this machine.
fn build(build: &Value, allowed: &Allowed) -> Option<String> {
    object(build).find_map(|(key, value)| match key.as_str() {
        "args" | "labels" | "target" | "platforms" | "shm_size" | "pull" | "no_cache" => None,
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
        // In it are the compose files that were checked already, and what git is told.
        Some("volume") if mount["source"] == DEPLOYER_DATA && service != DEPLOYER => {
            Some(format!("{DEPLOYER_DATA} is for the deployer alone"))
        }
        Some("volume" | "tmpfs") => None,
        Some("bind") => {
            let source = Path::new(mount["source"].as_str().unwrap_or_default());
            if object(&mount["bind"]).any(|(key, value)| key == "propagation" && !value.is_null()) {
                return Some(format!("{}: a mount that spreads is not allowed here", source.display()));
            }
            let read_only = mount["read_only"] == true;
            if service == DEPLOYER && (is_socket(source) || source == allowed.home) {
                return None;
            }
            let is_given = |given: &Given| given.paths.get(service).is_some_and(|had| had.contains(source));
            if service == BACKUP
                && read_only
                && source == allowed.home
                && allowed.given.as_ref().is_none_or(is_given)
            {
                return None;
            }
            place(source, read_only, allowed)
        }
        other => Some(format!("mounts of type {:?} are not allowed here", other.unwrap_or("none"))),
    }
}

fn is_socket(path: &Path) -> bool {
    ["/var/run/docker.sock", "/run/docker.sock"].iter().any(|socket| path == Path::new(socket))
}

/// What is wrong with a path of this machine, which a container would be given.
fn place(path: &Path, read_only: bool, allowed: &Allowed) -> Option<String> {
    let shown = path.display();
    let Some(found) = real(path) else {
        return (!is_named(path, allowed)).then(|| format!("{shown} is not there, and not in DEPLOY_BINDS"));
    };
    if real(&allowed.env_file).is_some_and(|settings| settings.starts_with(&found)) {
        return Some(format!("{shown} holds the settings and secrets"));
    }
    if is_named(path, allowed) {
        return None;
    }
    if !found.starts_with(&allowed.folder) || found == allowed.folder {
        return Some(format!("{shown} is not in {} or DEPLOY_BINDS", allowed.folder.display()));
    }
    // What was checked there must stay what it was.
    (!read_only).then(|| format!("{shown}: expected it read-only, with `:ro`, or in DEPLOY_BINDS"))
}

/// Whether a path is one that the operator names.
fn is_named(path: &Path, allowed: &Allowed) -> bool {
    let Some(found) = real(path) else {
        // Not seen from within a container: what the operator names is believed, as it is written.
        let plain = path.components().all(|part| part.as_os_str() != "..");
        return plain && allowed.binds.iter().any(|bind| path.starts_with(bind));
    };
    let mut binds = allowed.binds.iter().map(|bind| real(bind).unwrap_or_else(|| bind.clone()));
    binds.any(|bind| found.starts_with(bind))
}

/// Where it really is: a link in the folder could lead anywhere.
fn real(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok()
}

#[cfg(test)]
mod tests;
