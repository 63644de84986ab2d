//! What Vigie needs is allowed, and everything that gives power over the machine is not.

use std::fs;

use secrecy::ExposeSecret as _;
use serde_json::json;

use super::*;
use crate::sheet::Sheet;

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
            given: None,
            unseen: None,
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
                    { "type": "bind", "source": "FOLDER/nats.conf", "target": "/x", "read_only": true,
                        "bind": { "create_host_path": true } },
                    { "type": "volume", "source": "nats-data", "target": "/data" },
                ],
                "cap_drop": ["ALL"], "security_opt": ["no-new-privileges:true"], "privileged": false,
                "logging": { "driver": "json-file" },
            },
            "caddy": { "cap_add": ["NET_BIND_SERVICE"], "ports": [{ "target": 80 }] },
            "deployer": { "volumes": [
                { "type": "bind", "source": "/var/run/docker.sock", "target": "/x" },
                { "type": "bind", "source": "/srv/vigie", "target": "/srv/vigie", "read_only": true },
                { "type": "volume", "source": "deployer-data", "target": "/data" },
            ] },
            "command-worker": {
                "build": { "context": "FOLDER", "dockerfile": "deploy/Dockerfile", "args": {} },
                "pull_policy": "never",
                "deploy": { "replicas": 2, "resources": { "limits": { "memory": "1" } }, "placement": {} },
                "devices": [], "network_mode": "none",
            },
            "backup": { "volumes": [
                { "type": "bind", "source": "/srv/vigie", "target": "/settings", "read_only": true },
            ] },
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
        ("build", json!({ "context": "FOLDER", "tags": ["postgres:17"] })),
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
    let spread = json!([{ "type": "bind", "source": "FOLDER/secret", "bind": { "propagation": "shared" } }]);
    assert_eq!(world.of_worker("volumes", spread).len(), 1);
    // What was checked would not stay what it was.
    let writable = json!([{ "type": "bind", "source": "FOLDER/secret", "target": "/x", "read_only": false }]);
    assert_eq!(world.of_worker("volumes", writable).len(), 1);
    assert_eq!(world.of_worker("volumes", bind("FOLDER/secret")).len(), 1);
    let data = json!([{ "type": "volume", "source": "deployer-data", "target": "/x", "read_only": true }]);
    assert_eq!(world.of_worker("volumes", data).len(), 1);
    assert_eq!(world.of_worker("volumes", json!([{ "type": "npipe", "source": "x" }])).len(), 1);
    for (key, value) in [
        ("volumes", json!({ "driver_opts": { "type": "none", "o": "bind", "device": "/" } })),
        ("volumes", json!({ "driver": "other" })),
        ("volumes", json!({ "external": true })),
        ("volumes", json!({ "name": "other_it" })),
        ("volumes", json!({ "name": "vigie_deployer-data" })),
        ("networks", json!({ "name": "other_default" })),
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

#[test]
fn what_the_operator_gave_to_one_service_is_not_given_to_another() {
    let config = |of: &str, secret: &str| {
        let bind = json!({ "type": "bind", "source": "/not/seen/data", "target": "/x" });
        let mut config = json!({
            "services": { "backup": {}, "command-worker": {} },
            "secrets": { "a": { "file": "/not/seen/key" }, "b": { "file": "/etc/hostname" } },
        });
        config["services"][of] =
            json!({ "volumes": [bind], "secrets": [{ "source": secret, "target": "x" }] });
        config
    };
    let own = config("backup", "a");
    let allowed = Allowed { given: Some(given(&own)), ..World::new().allowed() };
    assert_eq!(check(&own, &allowed), [""; 0]);
    assert_eq!(
        check(&config("command-worker", "a"), &allowed),
        [
            "command-worker: /not/seen/data is not given to it by the compose file in /srv/vigie",
            "command-worker: /not/seen/key is not given to it by the compose file in /srv/vigie",
        ]
    );
    let other = check(&config("backup", "b"), &allowed);
    assert_eq!(other, ["backup: /etc/hostname is not given to it by the compose file in /srv/vigie"]);
    // Nor what lies beside it.
    let mut deeper = own;
    deeper["services"]["backup"]["volumes"][0]["source"] = json!("/not/seen/data/../../etc");
    assert!(!check(&deeper, &allowed).is_empty());
    deeper["services"]["backup"]["volumes"][0]["source"] = json!("/not/seen");
    assert_eq!(check(&deeper, &allowed).len(), 1);
}

/// What is asked for at an address of this machine's network would not be reached any more.
#[test]
fn addresses_are_the_operators_to_give() {
    let config = |subnets: Value, service: Value| {
        json!({
            "services": { "command-worker": { "networks": { "bus": service, "out": null } } },
            "networks": { "bus": { "ipam": { "config": subnets } } },
        })
    };
    let own = config(json!([{ "subnet": "10.7.0.0/16" }]), json!({ "ipv4_address": "10.7.0.9" }));
    let plain = config(json!([]), json!({ "aliases": ["worker"] }));
    let world = World::new();
    assert_eq!(world.check(&own), [""; 0], "it is the operator's own");
    let with = |own: &Value| Allowed { given: Some(given(own)), ..world.allowed() };
    for pushed in [&own, &plain] {
        assert_eq!(check(pushed, &with(&own)), [""; 0]);
    }
    let words = |whose: &str| {
        format!("{whose}: expected no fixed addresses but those of the compose file in /srv/vigie")
    };
    let both = [words("command-worker: networks: bus"), words("networks: bus")];
    assert_eq!(check(&own, &with(&plain)), both);
    let other =
        config(json!([{ "subnet": "192.168.1.0/24" }]), json!({ "mac_address": "02:00:00:00:00:01" }));
    assert_eq!(check(&other, &with(&own)), both);
}

/// Needs no engine, only the program.
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
    let has_compose = std::process::Command::new("docker").args(["compose", "version"]).output();
    if !has_compose.is_ok_and(|answer| answer.status.success()) {
        eprintln!(
            "NOT TRIED: docker compose is not installed, so that the compose file that is shipped was not merged"
        );
        return;
    }
    let output = compose.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let config: Value = serde_json::from_slice(&output.stdout).unwrap();
    let allowed = Allowed {
        project: "vigie".to_owned(),
        env_file: root.join(".env"),
        home: root.clone(),
        folder: root,
        ..Allowed::default()
    };
    assert_eq!(check(&config, &allowed), [""; 0]);
    read_again(&allowed.folder, &config);
    let stack = crate::stack::read(&config).unwrap();
    let names: Vec<&str> = stack.services.iter().map(|service| service.name.as_str()).collect();
    for name in
        ["command-worker", "discord-gateway", "twitch-gateway", "demo-discord", "provision", "healthcheck"]
    {
        assert!(names.contains(&name), "{names:?}");
    }
    assert!(!names.contains(&"deployer") && !names.contains(&"nats"), "{names:?}");
    assert_eq!((stack.keys.as_deref(), stack.nats.as_deref()), (Some("keys"), Some("nats")));
    // The name has the socket, so that nothing that is pushed may run under it.
    let mut pushed = config;
    pushed["services"]["deployer"]["image"] = json!(stack.image);
    pushed["services"]["deployer"]["command"] = json!(["healthcheck"]);
    assert_eq!(check(&pushed, &allowed), [""; 0]);
    assert_eq!(crate::stack::read(&pushed).unwrap().services, stack.services);
}

/// What Compose says of the shipped file it reads again as it was.
fn read_again(root: &Path, config: &Value) {
    let sheet = Sheet::merged(&root.display().to_string(), config);
    let Sheet::Merged { text, .. } = &sheet else { panic!() };
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), text.expose_secret()).unwrap();
    let mut compose = std::process::Command::new("docker");
    compose.args(["compose", "--project-name", "vigie", "--env-file", ".env.example", "--profile", "*"]);
    compose.arg("--file").arg(file.path()).args(["config", "--format", "json"]).current_dir(root);
    let output = compose.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(serde_json::from_slice::<Value>(&output.stdout).unwrap(), *config);
}

#[test]
fn the_settings_are_for_who_saves_them_and_nobody_changes_them() {
    let mount = |service: &str, read_only: bool| {
        let volume =
            json!({ "type": "bind", "source": "/srv/vigie", "target": "/x", "read_only": read_only });
        World::new().check(&json!({ "services": { service: { "volumes": [volume] } } }))
    };
    assert_eq!(mount("backup", true), [""; 0]);
    for (service, read_only) in [("backup", false), ("command-worker", true), ("healthcheck", true)] {
        assert_eq!(mount(service, read_only).len(), 1, "{service}");
    }
    // Whoever pushes does not decide that they are saved.
    let volume = json!({ "type": "bind", "source": "/srv/vigie", "target": "/x", "read_only": true });
    let pushed = json!({ "services": { "backup": { "volumes": [volume] } } });
    let none = json!({ "services": { "backup": { "volumes": [] } } });
    for (own, wrong) in [(&pushed, 0), (&none, 1)] {
        let allowed = Allowed { given: Some(given(own)), ..World::new().allowed() };
        assert_eq!(check(&pushed, &allowed).len(), wrong);
    }
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
