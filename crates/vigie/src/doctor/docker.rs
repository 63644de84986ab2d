//! Docker, where it is installed: new enough, within reach, and with images for this machine.

use std::env;

use super::Finding;
use crate::here::program;

/// The oldest engine that `compose.yaml` was tried with.
const ENGINE: [u32; 3] = [20, 10, 0];
/// The oldest Compose that knows all of `compose.yaml` and of `roll.sh`: it came with `include` (2.20) and
/// `COMPOSE_ENV_FILES` (2.23), and gives an included file its settings since 2.24.7.
const COMPOSE: [u32; 3] = [2, 24, 7];
/// Ignores `--env-file` (<https://github.com/docker/compose/issues/11906>).
const DEAF_COMPOSE: [u32; 3] = [2, 27, 1];
const UPDATE: &str = "update Docker: https://docs.docker.com/engine/install, or deploy/pi/prepare.sh";

/// What Compose starts from.
pub(crate) const COMPOSE_FILE: &str = "compose.yaml";

/// Whether there is a `docker` on PATH.
pub(crate) fn is_there() -> bool {
    program::is_there("docker")
}

/// Whether Compose understands its file together with the settings; nothing is started.
pub(crate) async fn look_at_file() -> Finding {
    match ask(&["compose", "config", "--quiet"]).await {
        Ok(_) => Finding::good("docker", format!("Compose can start {COMPOSE_FILE}")),
        Err(reason) => Finding::bad(
            "docker",
            format!("Compose cannot start {COMPOSE_FILE}: {reason}"),
            "mend what it names, in that file or in .env",
        ),
    }
}

pub(crate) async fn look() -> Vec<Finding> {
    let (engine, compose, image) = tokio::join!(
        ask(&["version", "--format", "{{.Server.Version}} {{.Server.Arch}}"]),
        ask(&["compose", "version", "--short"]),
        ask_image(),
    );
    let arch = engine.as_ref().ok().and_then(|told| told.split_once(' ')).map(|(_, arch)| arch.to_owned());
    let mut findings = vec![of_engine(engine), of_compose(compose)];
    if let (Some(engine), Ok(image)) = (arch, image) {
        findings.extend(of_image(&engine, &image));
    }
    findings
}

/// The architecture of the image that Compose starts; an error when it is not there yet.
async fn ask_image() -> Result<String, String> {
    let tag = env::var("VIGIE_TAG").ok().filter(|tag| !tag.is_empty()).unwrap_or_else(|| "local".to_owned());
    ask(&["image", "inspect", "--format", "{{.Architecture}}", &format!("vigie:{tag}")]).await
}

async fn ask(arguments: &[&str]) -> Result<String, String> {
    let answer = program::ask(program::command("docker", arguments)).await;
    answer.map(|told| told.trim().to_owned()).map_err(|reason| format!("{reason:#}"))
}

fn of_engine(told: Result<String, String>) -> Finding {
    let told = match told {
        Ok(told) => told,
        Err(reason) => {
            let mend = if reason.contains("permission denied") {
                "add yourself to its group: sudo usermod -aG docker $USER, and log in anew"
            } else {
                "start it: sudo systemctl start docker"
            };
            return Finding::warn("docker", format!("the engine does not answer: {reason}"), mend);
        }
    };
    let version = told.split(' ').next().unwrap_or_default();
    let seen = format!("engine {version}");
    match parse(version) {
        Some(found) if found < ENGINE => too_old(&seen, ENGINE),
        Some(_) => Finding::good("docker", seen),
        None => Finding::note("docker", format!("{seen}: a version that cannot be compared")),
    }
}

fn of_compose(told: Result<String, String>) -> Finding {
    let Ok(told) = told else {
        return Finding::bad("docker", "Compose v2 is missing: `docker compose` does not work", UPDATE);
    };
    let seen = format!("Compose {}", told.trim_start_matches('v'));
    match parse(&told) {
        Some(found) if found < COMPOSE => too_old(&seen, COMPOSE),
        Some(DEAF_COMPOSE) => Finding::warn("docker", format!("{seen} does not hear --env-file"), UPDATE),
        Some(_) => Finding::good("docker", seen),
        None => Finding::note("docker", format!("{seen}: a version that cannot be compared")),
    }
}

fn of_image(engine: &str, image: &str) -> Option<Finding> {
    (engine != image).then(|| {
        let seen =
            format!("the image is for {image}, this machine for {engine}: its containers cannot start");
        Finding::bad("docker", seen, format!("build or load the image for {engine}"))
    })
}

fn too_old(seen: &str, least: [u32; 3]) -> Finding {
    let least = least.map(|part| part.to_string()).join(".");
    Finding::bad("docker", format!("{seen} is too old; {least} or newer is needed"), UPDATE)
}

/// `28.5.2`, `v2.26.1-4`, `20.10.24+dfsg1`.
fn parse(version: &str) -> Option<[u32; 3]> {
    let mut parts = version.trim_start_matches('v').split(['.', '-', '+']).map(str::parse);
    Some([parts.next()?.ok()?, parts.next()?.ok()?, parts.next().and_then(Result::ok).unwrap_or(0)])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Verdict;

    #[test]
    fn old_engines_and_composes_are_named() {
        let engine = |told: &str| of_engine(Ok(told.to_owned())).verdict;
        assert_eq!(engine("20.10.24+dfsg1 arm64"), Verdict::Good);
        assert_eq!(engine("19.03.8 arm64"), Verdict::Bad);
        assert_eq!(engine("dev amd64"), Verdict::Note);
        let compose = |told: &str| of_compose(Ok(told.to_owned()));
        assert_eq!(compose("2.26.1-4").verdict, Verdict::Good);
        assert_eq!(compose("v2.23.3").verdict, Verdict::Bad);
        assert_eq!((compose("2.24.6").verdict, compose("2.24.7").verdict), (Verdict::Bad, Verdict::Good));
        assert_eq!((compose("2.27.1").verdict, compose("2.27.2").verdict), (Verdict::Warn, Verdict::Good));
        assert!(compose("1.29.2").seen.contains("2.24.7 or newer is needed"));
        assert_eq!(of_compose(Err(String::new())).verdict, Verdict::Bad);
    }

    #[test]
    fn an_engine_out_of_reach_and_a_foreign_image_say_what_to_do() {
        let finding = of_engine(Err("permission denied while trying to connect to the socket".to_owned()));
        assert!(finding.mend.contains("usermod -aG docker"), "{finding:?}");
        assert_eq!(of_image("arm64", "arm64"), None);
        assert!(of_image("arm64", "amd64").unwrap().seen.contains("for amd64, this machine for arm64"));
    }
}
