//! Programs of others as backups run them: restic, and those of PostgreSQL.

use std::{path::Path, time::Duration};

use child::Child;

/// What is handed on: where programs and their settings are.
const PASSED: [&str; 8] =
    ["PATH", "HOME", "USER", "LANG", "SSH_AUTH_SOCK", "HTTPS_PROXY", "HTTP_PROXY", "NO_PROXY"];
/// The same, by how they begin: the credentials of the stores of restic.
const PASSED_STARTS: [&str; 7] = ["AWS_", "AZURE_", "B2_", "GOOGLE_", "OS_", "ST_", "RCLONE_"];

/// A program with nothing but what is handed on.
pub fn program(program: impl AsRef<Path>, limit: Duration) -> Child {
    Child::new(program, child::environment(&PASSED, &PASSED_STARTS), limit)
}
