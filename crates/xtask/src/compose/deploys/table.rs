//! What became of each deploy, as a table.

use std::fmt::Write as _;

use protocol::control::DeployState;

use super::super::report::{Trial, seconds};

/// One deploy.
#[derive(Clone, Debug)]
pub struct Deployed {
    /// What was said and answered meanwhile.
    pub trial: Trial,
    /// How it ended.
    pub state: DeployState,
}

/// The table.
#[must_use]
pub fn markdown(machine: &str, all: &[Deployed]) -> String {
    let mut text = format!("`cargo xtask test --compose --only deploy:` with {machine}.\n\n");
    text += "| what was done | ended as | after | commands | answered | lost | doubled | longest wait |\n";
    text += "|---|---|---|---|---|---|---|---|\n";
    for Deployed { trial, state } in all {
        let name = trial.name.trim_start_matches("deploy: ");
        let (after, longest) = (seconds(trial.took), seconds(trial.longest));
        let Trial { commands, answered, lost, doubled, .. } = trial;
        let _ = writeln!(
            text,
            "| {name} | `{}` | {after} | {commands} | {answered} | {lost} | {doubled} | {longest} |",
            word(*state)
        );
    }
    text
}

const fn word(state: DeployState) -> &'static str {
    match state {
        DeployState::RolledOut => "rolled_out",
        DeployState::RolledBackTo => "rolled_back_to",
        DeployState::NeverStarted => "never_started",
        DeployState::RollbackFailed => "rollback_failed",
    }
}
