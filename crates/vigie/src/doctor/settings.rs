//! Settings: every bad one by name. The services themselves are asked, because only they know what
//! they take; nothing of them is started.

use std::{collections::BTreeSet, env, net::SocketAddr, process::Stdio, time::Duration};

use anyhow::{Context, bail};
use tokio::process::Command;

use super::{Finding, Verdict, names::Names};
use crate::find;

/// How long a service may take to look at its settings.
const PATIENCE: Duration = Duration::from_secs(10);
/// The setting that is given to a service as something it cannot use, so that it looks at its settings,
/// says what is wrong with them, and ends before it starts anything.
const GATE: &str = "VIGIE_HTTP_ADDR";

/// `file`: the settings of `.env`.
pub(crate) async fn look(names: &Names, file: &[(String, String)]) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut problems = BTreeSet::new();
    let set_up = |start: &str| {
        env::vars_os().any(|(name, value)| !value.is_empty() && name.to_string_lossy().starts_with(start))
    };
    let optional = find::OPTIONAL.iter().filter(|(name, start)| set_up(start) && find::binary(name).is_ok());
    for service in find::SERVICES.into_iter().chain(optional.map(|(name, _)| *name)) {
        match ask(service).await {
            Ok(said) => problems.extend(said),
            Err(reason) => {
                let mend = "put all binaries of one version of Vigie into one folder";
                findings.push(Finding::bad("settings", format!("{service}: {reason:#}"), mend));
            }
        }
    }
    problems.extend(bad_address());
    for problem in &problems {
        let name = problem.split(':').next().unwrap_or_default();
        findings.push(Finding::bad(
            "settings",
            problem,
            format!("mend {name} in .env, the environment or vigie.toml"),
        ));
    }
    findings.extend(names.unknown(file));
    let set = names.set();
    if findings.iter().all(|finding| finding.verdict != Verdict::Bad) {
        findings
            .insert(0, Finding::good("settings", format!("{set} set in the environment, all can be used")));
    }
    findings
}

/// What a service says is wrong with its settings, each as `NAME: what`.
async fn ask(service: &str) -> anyhow::Result<Vec<String>> {
    let path = find::binary(service)?;
    let child = Command::new(&path)
        .env(GATE, "-")
        .env_remove(format!("{GATE}_FILE"))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .with_context(|| format!("{} cannot be run", path.display()))?;
    let output = tokio::time::timeout(PATIENCE, child.wait_with_output())
        .await
        .context("it did not say whether its settings can be used")??;
    if output.status.code() != Some(i32::from(service::EXIT_BAD_SETTINGS)) {
        bail!("it did not look at its settings ({})", output.status);
    }
    Ok(problems(&String::from_utf8_lossy(&output.stderr)))
}

fn problems(said: &str) -> Vec<String> {
    let indented = said.lines().filter_map(|line| line.strip_prefix("  "));
    indented.filter(|line| !line.starts_with(&format!("{GATE}:"))).map(str::to_owned).collect()
}

/// The one setting that cannot be asked for, see [`GATE`].
fn bad_address() -> Option<String> {
    let value = env::var(GATE).ok().filter(|value| !value.is_empty())?;
    value
        .parse::<SocketAddr>()
        .err()
        .map(|_| format!("{GATE}: expected an address with a port, found {value:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_service_says_is_read_without_the_gate() {
        let said = "discord-gateway: 2 settings cannot be used:\n  \
                    VIGIE_HTTP_ADDR: expected an address with a port, found \"-\"\n  \
                    DISCORD_SHARDS: expected auto or a number, found \"x\"\n\
                    nothing was started; mend VIGIE_HTTP_ADDR and start again\n";
        assert_eq!(problems(said), ["DISCORD_SHARDS: expected auto or a number, found \"x\""]);
    }
}
