//! One process: how it is started so that it cannot outlive this one, and how its log is read.

use std::process::{ExitStatus, Stdio};

use anyhow::Context;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    process::{Child, Command},
};

use super::{part::Part, probe::Probe, report::Reporter};

/// A longer line of a log is passed on in pieces, in bytes.
const MAX_LINE_BYTES: u64 = 16 * 1024;

/// Starts the process of a part. Its log is read until it ends.
///
/// # Errors
/// When the operating system refuses.
pub(crate) fn spawn(part: &Part, probe: &Probe, reporter: &Reporter) -> anyhow::Result<Child> {
    let mut command = Command::new(&part.program);
    command
        .args(&part.arguments)
        .envs(part.variables.iter().map(|(name, value)| (name, value)))
        .env_remove("VIGIE_HTTP_ADDR_FILE")
        // Its log goes through this process, which paints the names.
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A Ctrl-C in the terminal reaches this process alone, which then stops the parts in order.
        .process_group(0)
        .kill_on_drop(true);
    if let Some(address) = probe.address() {
        command.env("VIGIE_HTTP_ADDR", address);
    }
    die_with_this_process(&mut command);
    let mut child = command.spawn().with_context(|| format!("cannot start {}", part.program.display()))?;
    pass_on(part, child.stdout.take(), reporter);
    pass_on(part, child.stderr.take(), reporter);
    Ok(child)
}

/// Makes the kernel kill the child when this process dies, even by `kill -9`. All state that matters
/// survives such an end: it is how the services are made.
#[cfg(target_os = "linux")]
#[allow(unsafe_code, reason = "there is no safe way to run code between fork and exec")]
fn die_with_this_process(command: &mut Command) {
    use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

    let this = getpid();
    let prepare = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // This process may have died before the line above.
        if getppid() != Some(this) {
            return Err(rustix::io::Errno::SRCH.into());
        }
        Ok(())
    };
    // SAFETY: the closure makes two system calls and neither allocates nor takes a lock, which is all
    // that may happen in a child between fork and exec.
    unsafe {
        command.pre_exec(prepare);
    }
}

/// Elsewhere children end with this process only when it ends in order.
#[cfg(not(target_os = "linux"))]
fn die_with_this_process(_command: &mut Command) {}

fn pass_on(part: &Part, stream: Option<impl AsyncRead + Unpin + Send + 'static>, reporter: &Reporter) {
    let Some(stream) = stream else { return };
    let (name, quiet, reporter) = (part.name.clone(), part.quiet, reporter.clone());
    tokio::spawn(async move {
        let mut stream = BufReader::new(stream);
        let mut line = Vec::new();
        loop {
            line.clear();
            let read = (&mut stream).take(MAX_LINE_BYTES).read_until(b'\n', &mut line).await;
            if !read.is_ok_and(|count| count > 0) {
                return;
            }
            let text = String::from_utf8_lossy(&line);
            let text = text.trim_end();
            if !quiet.is_some_and(|quiet| text.contains(quiet)) {
                reporter.line(&name, text);
            }
        }
    });
}

/// Why a process ended, for a person.
pub(crate) fn reason(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(0), _) => "by itself, without an error".to_owned(),
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(9)) => "killed (signal 9)".to_owned(),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "for an unknown reason".to_owned(),
    }
}
