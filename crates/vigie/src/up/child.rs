//! One process: how it is started so that it cannot outlive this one, and how its log is read.

use std::{
    env,
    ffi::OsString,
    process::{ExitStatus, Stdio},
};

use anyhow::Context;
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader},
    process::{Child, Command},
};

use super::{
    part::{Part, Readiness},
    probe::Probe,
    report::Reporter,
};

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
        // Its log goes through this process, which paints the names.
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        // A Ctrl-C in the terminal reaches this process alone, which then stops the parts in order.
        .process_group(0)
        .kill_on_drop(true);
    tell(&mut command, part, probe.address(), env::vars_os().map(|(name, _)| name));
    die_with_this_process(&mut command);
    let mut child = command.spawn().with_context(|| format!("cannot start {}", part.program.display()))?;
    pass_on(part, child.stdout.take(), reporter);
    pass_on(part, child.stderr.take(), reporter);
    Ok(child)
}

/// Takes what is not for this part out of the variables that it would inherit, and adds its own.
fn tell(
    command: &mut Command,
    part: &Part,
    address: Option<&str>,
    inherited: impl Iterator<Item = OsString>,
) {
    for name in inherited.filter(|name| !part.may_know(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    let own = part.variables.iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let address = address.map(|address| ("VIGIE_HTTP_ADDR", address));
    // The same name after each start: what the one before had is taken over at once.
    let instance = instance(&part.name);
    let service = matches!(part.readiness, Readiness::OwnHttp);
    let instance = service.then_some(("VIGIE_INSTANCE", instance.as_str()));
    for (name, value) in own.chain(address).chain(instance).filter(|(name, _)| part.may_know(name)) {
        // A service takes either of the two, never both.
        command.env(name, value).env_remove(format!("{name}_FILE"));
    }
}

/// The name of a part among all machines that share a NATS: those need different host names, or each its
/// own VIGIE_INSTANCE.
fn instance(part: &str) -> String {
    let named = env::var("VIGIE_INSTANCE").ok().filter(|name| !name.is_empty());
    let host = named.unwrap_or_else(|| rustix::system::uname().nodename().to_string_lossy().into_owned());
    let token = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    format!("{}-{part}", host.chars().take(32).map(token).collect::<String>())
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

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, path::PathBuf};

    use super::{super::part::Stage, *};

    /// What a part is told and, with `None`, what it is not.
    fn told(platform: Option<&'static str>) -> BTreeMap<String, Option<String>> {
        let variables = [("NATS_URL", "nats://x"), ("TWITCH_API_URL", "http://y")];
        let part = Part {
            name: "part".to_owned(),
            stage: Stage::Worker,
            program: PathBuf::from("part"),
            arguments: Vec::new(),
            variables: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
            platform,
            readiness: Readiness::OwnHttp,
            quiet: None,
        };
        let mut command = Command::new("part");
        let inherited = ["DISCORD_TOKEN", "TWITCH_OAUTH_TOKEN_FILE", "PREFIX"];
        tell(&mut command, &part, Some("127.0.0.1:1"), inherited.map(OsString::from).into_iter());
        let text = |text: &std::ffi::OsStr| text.to_str().unwrap().to_owned();
        command.as_std().get_envs().map(|(name, value)| (text(name), value.map(text))).collect()
    }

    #[test]
    fn only_its_gateway_is_told_the_accounts_of_a_platform() {
        let names = ["DISCORD_TOKEN", "TWITCH_OAUTH_TOKEN_FILE", "PREFIX"];
        let removed = |platform| {
            let told = told(platform);
            names.map(|name| told.get(name).is_some_and(Option::is_none))
        };
        assert_eq!(removed(None), [true, true, false]);
        assert_eq!(removed(Some("DISCORD_")), [false, true, false]);
        assert_eq!(removed(Some("TWITCH_")), [true, false, false]);
        assert_eq!(told(None).get("TWITCH_API_URL"), None);
        assert_eq!(told(Some("TWITCH_"))["TWITCH_API_URL"].as_deref(), Some("http://y"));
    }

    #[test]
    fn a_value_that_is_told_takes_the_place_of_one_in_a_file() {
        let told = told(None);
        assert_eq!(told["NATS_URL"].as_deref(), Some("nats://x"));
        assert_eq!(told["NATS_URL_FILE"], None);
        assert_eq!(told["VIGIE_HTTP_ADDR_FILE"], None);
        assert!(told["VIGIE_INSTANCE"].as_deref().is_some_and(|name| name.ends_with("-part")));
    }
}
