//! `vigie status`: how every service is and how much waits in NATS, as NATS sees it.

mod asking;
mod look;
mod numbers;

use std::{io::IsTerminal, process::ExitCode, time::Duration};

use anyhow::Context;
use bus::Backlog;
use protocol::ServiceStats;
use serde_json::json;
use tokio::signal;

pub(crate) use self::look::Looker;
use crate::{
    cli, find,
    here::{self, NO_NATS, Part, Runs, Way},
    paint::{self, Paint},
};

/// How often `--watch` looks.
const WATCH_EVERY: Duration = Duration::from_secs(2);
/// The stream of dead letters, which should stay empty.
const DEAD: &str = "DEAD";
/// Sessions of Discord that could not be resumed.
const SESSIONS_LOST: &str = "discord_sessions_lost_total";
/// Who tells people what is wrong.
const TELLER: &str = "healthcheck";
/// Clears the terminal and goes to its top.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// What `vigie status --help` ends with.
const EXIT_CODES: &str = "Exit codes: 0 everything is ready; 1 something is not, or NATS does not answer;\n\
64 settings or arguments cannot be used";

/// Arguments of `vigie status`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Options {
    /// Print one JSON object; with --watch one a line
    #[arg(long)]
    json: bool,
    /// Look again every two seconds until Ctrl-C
    #[arg(long)]
    watch: bool,
    #[command(flatten)]
    pub runs: Runs,
}

/// What NATS sees or, without it, what runs Vigie here.
pub(crate) struct View {
    url: String,
    /// Its version; empty when it does not answer.
    server: String,
    pub services: Vec<ServiceStats>,
    /// What was started here, as far as that is known: its services should answer.
    started: Vec<Part>,
    pub streams: Vec<Backlog>,
    /// What is wrong with what NATS keeps, in words.
    lacks: Option<String>,
    away: Option<Away>,
}

/// Why NATS cannot be asked, and what is known all the same.
struct Away {
    reason: String,
    /// What runs Vigie here, and its parts.
    runs: Option<(String, Way, Vec<Part>)>,
}

/// Prints how everything is; exit code 1 when something is not ready.
///
/// `without`: why NATS cannot be asked from here, where that is known.
///
/// # Errors
/// When a setting cannot be used, or the reader went away.
pub(crate) async fn run(options: &Options, without: Option<String>) -> anyhow::Result<ExitCode> {
    let mut looker = Looker::new(&options.runs, without)?;
    let paint = Paint::stdout();
    loop {
        let Some(view) = looker.look().await? else { return Ok(ExitCode::from(NO_NATS)) };
        let text = if options.json { view.json()? } else { view.render(paint) };
        let clear =
            if options.watch && !options.json && std::io::stdout().is_terminal() { CLEAR } else { "" };
        cli::say(&format!("{clear}{text}"))?;
        if !options.watch {
            let ready = view.problems().is_empty();
            return Ok(if ready { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        tokio::select! {
            () = tokio::time::sleep(WATCH_EVERY) => {}
            stopped = signal::ctrl_c() => return stopped.map(|()| ExitCode::SUCCESS).context("cannot wait for Ctrl-C"),
        }
        if let Some(code) = looker.hand_over_again().await {
            return Ok(code);
        }
    }
}

impl View {
    /// What is not as it should be, for a person.
    pub(crate) fn problems(&self) -> Vec<String> {
        if let Some(away) = &self.away {
            return vec![away.reason.clone()];
        }
        let services = find::SERVICES.into_iter().chain(find::OPTIONAL.map(|(name, _)| name));
        let mut problems: Vec<String> = services.filter_map(|name| self.silence_of(name)).collect();
        for service in self.services.iter().filter(|service| !service.ready) {
            problems
                .push(format!("{} {} is not ready: {}", service.service, service.instance, service.reason));
        }
        problems.extend(self.lacks.clone());
        problems
    }

    fn answers(&self, name: &str) -> bool {
        self.services.iter().any(|service| service.service == name)
    }

    /// That a service does not answer and should, or not all of it.
    fn silence_of(&self, name: &str) -> Option<String> {
        let parts = || self.started.iter().filter(|part| here::works_as(&part.name, name));
        let down: Vec<&Part> = parts().filter(|part| !part.is_up()).collect();
        let answering = self.services.iter().filter(|service| service.service == name).count();
        let why = |part: &&Part| {
            let detail = paint::harmless(&part.detail);
            if part.name == name { detail } else { format!("{}: {detail}", part.name) }
        };
        let whys: Vec<String> = down.iter().map(why).collect();
        match (answering, parts().count()) {
            (0, 0) => find::NEEDED.contains(&name).then(|| format!("no {name} answers: is it running?")),
            (0, _) if down.is_empty() => {
                Some(format!("no {name} answers, though it was started: `vigie logs {name}` may say why"))
            }
            (0, _) => {
                Some(format!("no {name} answers ({}): `vigie logs {name}` may say why", whys.join(", ")))
            }
            // One that runs and was not heard this time may have been busy.
            (some, all) if some < all && !down.is_empty() => Some(format!(
                "{some} of {all} {name} answer ({}): `vigie logs {name}` may say why",
                whys.join(", ")
            )),
            _ => None,
        }
    }

    fn dead_letters(&self) -> u64 {
        self.streams.iter().filter(|one| one.stream == DEAD).map(|one| one.messages).sum()
    }

    /// What is good to know and needs no hand now, such as what went wrong before.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        let has_teller =
            self.answers(TELLER) || self.started.iter().any(|part| here::works_as(&part.name, TELLER));
        if self.away.is_none() && !has_teller {
            warnings.push(format!("no {TELLER} answers: nobody is told when something is wrong"));
        }
        let dead = self.dead_letters();
        if dead > 0 {
            let letters = if dead == 1 { "letter" } else { "letters" };
            warnings.push(format!(
                "{} dead {letters}: `vigie dead list` says what and why",
                paint::grouped(dead)
            ));
        }
        for service in &self.services {
            let lost = service.metrics.get(SESSIONS_LOST).copied().unwrap_or_default();
            if lost > 0.0 {
                let sessions = if lost < 2.0 { "session" } else { "sessions" };
                warnings.push(format!(
                    "{} {}: {lost} {sessions} could not be resumed since it started; what was said meanwhile was \
                     not read",
                    service.service, service.instance
                ));
            }
        }
        warnings
    }

    pub(crate) fn json(&self) -> anyhow::Result<String> {
        let streams: Vec<_> = self
            .streams
            .iter()
            .map(|one| json!({ "stream": one.stream, "messages": one.messages, "bytes": one.bytes }))
            .collect();
        let problems = self.problems();
        let runs = self.away.as_ref().and_then(|away| away.runs.as_ref());
        let runs = runs.map(|(_, way, parts)| json!({ "by": way, "parts": parts }));
        let all = json!({
            "nats": { "url": self.url, "version": self.server, "answers": self.away.is_none() },
            "ready": problems.is_empty(),
            "problems": problems,
            "warnings": self.warnings(),
            "services": self.services,
            "streams": streams,
            "runs": runs,
        });
        Ok(serde_json::to_string(&all)? + "\n")
    }

    fn render(&self, paint: Paint) -> String {
        if let Some(away) = &self.away {
            return away.render(paint);
        }
        let mut text = format!(
            "{}\n\n{}\n{}\n",
            paint.faint(&self.head()),
            self.services_table(paint),
            self.streams_table(paint),
        );
        let problems = self.problems();
        if problems.is_empty() {
            text += &paint.good("Everything is ready.\n");
        }
        let width = paint::width().unwrap_or(usize::MAX);
        let signed = problems.iter().map(|problem| ("✗", problem.clone()));
        for (sign, line) in signed.chain(self.warnings().into_iter().map(|warning| ("!", warning))) {
            text += &paint.bad(&format!("{sign} {}\n", paint::wrap(&line, width, 2)));
        }
        text
    }

    /// The first line: whose view it is.
    pub(crate) fn head(&self) -> String {
        match &self.away {
            Some(away) => away.head(),
            None => {
                let build = self.common_build().map(|build| format!(", all of version {build}"));
                format!("As seen by NATS {} at {}{}", self.server, self.url, build.unwrap_or_default())
            }
        }
    }

    /// Parts that are known without NATS.
    pub(crate) fn parts(&self) -> &[Part] {
        let runs = self.away.as_ref().and_then(|away| away.runs.as_ref());
        runs.map_or(&[], |(_, _, parts)| parts)
    }

    /// The build that all services have, unless an update is half done.
    fn common_build(&self) -> Option<&str> {
        let first = &self.services.first()?.build;
        self.services.iter().all(|service| service.build == *first).then_some(first)
    }

    pub(crate) fn services_table(&self, paint: Paint) -> String {
        let heading = ["SERVICE", "STATE", "UP", "MEMORY", "INSTANCE", "NUMBERS"];
        let mut rows = vec![heading.map(str::to_owned).to_vec()];
        let mixed = self.common_build().is_none();
        for service in &self.services {
            let state = if service.ready { "✓ ready" } else { "✗ not ready" };
            rows.push(vec![
                service.service.clone(),
                state.to_owned(),
                paint::duration(service.uptime_s),
                paint::bytes(service.resident_bytes),
                service.instance.clone(),
                match numbers::of(service) {
                    numbers if !mixed => numbers,
                    numbers if numbers.is_empty() => service.build.clone(),
                    numbers => format!("{}: {numbers}", service.build),
                },
            ]);
        }
        let style = |row: usize, column: usize, cell: String| match (row, column) {
            (0, _) => paint.faint(&cell),
            (_, 0) => paint.strong(&cell),
            (row, 1) if self.services[row - 1].ready => paint.good(&cell),
            (_, 1) => paint.bad(&cell),
            (_, 4) => paint.faint(&cell),
            _ => cell,
        };
        paint::table(&rows, &[2, 3], &style)
    }

    pub(crate) fn streams_table(&self, paint: Paint) -> String {
        let mut rows = vec![["STREAM", "WAITING", "SIZE"].map(str::to_owned).to_vec()];
        for one in &self.streams {
            rows.push(vec![one.stream.to_owned(), paint::grouped(one.messages), paint::bytes(one.bytes)]);
        }
        let style = |row: usize, column: usize, cell: String| match (row, column) {
            (0, _) => paint.faint(&cell),
            (_, 0) => paint.strong(&cell),
            (row, 1) if self.streams[row - 1].stream == DEAD && self.streams[row - 1].messages > 0 => {
                paint.bad(&cell)
            }
            _ => cell,
        };
        paint::table(&rows, &[1, 2], &style)
    }
}

impl Away {
    fn head(&self) -> String {
        match &self.runs {
            Some((whose, ..)) => format!("As seen by {whose}, without NATS"),
            None => "Without NATS; nothing is known to run Vigie here".to_owned(),
        }
    }

    fn render(&self, paint: Paint) -> String {
        let mut text = paint.faint(&self.head()) + "\n\n";
        if let Some((_, _, parts)) = &self.runs {
            text += &here::render(parts, paint);
            text.push('\n');
        }
        text + &paint.bad(&format!("✗ {}\n", self.reason))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::here::State;

    fn service(name: &str, reason: &str, metrics: &[(&str, f64)]) -> ServiceStats {
        ServiceStats {
            v: protocol::VERSION,
            service: name.to_owned(),
            instance: "pi-4711".to_owned(),
            build: "0.1.0 (abc1234567)".to_owned(),
            uptime_s: 4000,
            ready: reason.is_empty(),
            reason: reason.to_owned(),
            resident_bytes: 9_700_000,
            metrics: metrics
                .iter()
                .map(|(name, value)| ((*name).to_owned(), *value))
                .collect::<BTreeMap<_, _>>(),
        }
    }

    /// A bot with so many dead letters, whose Twitch gateway is not ready for this reason, if there is one.
    pub(crate) fn view(twitch: &str, dead: u64) -> View {
        let discord = [
            ("shards", 2.0),
            ("shards_ready", 2.0),
            ("communities", 1000.0),
            ("events_total", 123_456.0),
            ("gateway_latency_ms", 41.7),
        ];
        View {
            url: "nats://127.0.0.1:4222".to_owned(),
            server: "2.15.1".to_owned(),
            services: vec![
                service("command-worker", "", &[("commands_total.ping", 7.0), ("commands_total.help", 5.0)]),
                service("discord-gateway", "", &discord),
                service("healthcheck", "", &[]),
                service("twitch-gateway", twitch, &[("channels_joined", 1.0)]),
            ],
            started: Vec::new(),
            streams: vec![
                Backlog { stream: "EVENTS", messages: 3, bytes: 1290 },
                Backlog { stream: DEAD, messages: dead, bytes: dead * 400 },
            ],
            lacks: None,
            away: None,
        }
    }

    #[test]
    fn a_healthy_bot() {
        let view = view("", 0);
        assert_eq!(view.problems(), Vec::<String>::new());
        insta::assert_snapshot!(view.render(Paint::plain()));
    }

    #[test]
    fn a_bot_with_troubles() {
        let mut view = view("twitch: login refused: make a new token and set TWITCH_OAUTH_TOKEN", 2);
        view.services.remove(0);
        view.services[0].build = "0.2.0 (def1234567)".to_owned();
        view.services[0].metrics.insert(SESSIONS_LOST.to_owned(), 1.0);
        insta::assert_snapshot!(view.render(Paint::plain()));
    }

    fn part(name: &str, state: State, detail: &str) -> Part {
        Part { name: name.to_owned(), state, detail: detail.to_owned() }
    }

    #[test]
    fn what_was_started_and_does_not_answer_is_a_problem() {
        let mut view = view("", 0);
        view.services.retain(|service| service.service != "healthcheck");
        let nobody = "no healthcheck answers: nobody is told when something is wrong";
        assert_eq!((view.problems(), view.warnings()), (Vec::new(), vec![nobody.to_owned()]));
        view.started = vec![
            part("backup", State::Failing, "Restarting (1) 1 second ago\x1b[2J"),
            part("command-worker@1", State::Ready, "active (running)"),
            part("command-worker@2", State::Down, "inactive (dead)"),
            part("demo-discord", State::Ready, "Up 2 minutes (healthy)"),
            part("healthcheck", State::Ready, "Up 2 minutes (healthy)"),
            part("nats", State::Ready, "Up 2 minutes (healthy)"),
            part("twitch-gateway", State::Starting, "Up 2 seconds (health: starting)"),
        ];
        view.services.retain(|service| service.service != "twitch-gateway");
        let problems = [
            "no twitch-gateway answers (Up 2 seconds (health: starting)): `vigie logs twitch-gateway` may say why",
            "1 of 2 command-worker answer (command-worker@2: inactive (dead)): `vigie logs command-worker` may say \
             why",
            "no healthcheck answers, though it was started: `vigie logs healthcheck` may say why",
            "no backup answers (Restarting (1) 1 second ago\u{fffd}[2J): `vigie logs backup` may say why",
        ];
        assert_eq!((view.problems(), view.warnings()), (problems.map(str::to_owned).to_vec(), Vec::new()));
    }

    #[test]
    fn a_bot_without_nats() {
        let parts = vec![
            part("discord-gateway", State::Ready, "Up 3 minutes (healthy)"),
            part("nats", State::Failing, "Restarting (1) 2 seconds ago"),
        ];
        let mut view = view("", 0);
        let runs = Some(("Docker Compose in /srv/bot".to_owned(), Way::Compose, parts));
        let reason = "no NATS server answers at nats://127.0.0.1:4222".to_owned();
        view.away = Some(Away { reason, runs });
        let json: serde_json::Value = serde_json::from_str(&view.json().unwrap()).unwrap();
        assert_eq!((&json["ready"], &json["nats"]["answers"]), (&json!(false), &json!(false)));
        assert_eq!(json["runs"]["parts"][1]["state"], "failing");
        insta::assert_snapshot!(view.render(Paint::plain()));
    }

    #[test]
    fn the_same_for_a_program() {
        let json: serde_json::Value = serde_json::from_str(&view("", 0).json().unwrap()).unwrap();
        assert_eq!(json["ready"], true);
        assert_eq!(json["services"][1]["metrics"]["shards"], 2.0);
        assert_eq!(json["streams"][0]["messages"], 3);
        assert_eq!(json["warnings"], json!([]));
    }
}
