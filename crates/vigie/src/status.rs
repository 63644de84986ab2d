//! `vigie status`: how every service is and how much waits in NATS, as NATS sees it.

mod asking;
mod numbers;

use std::{io::IsTerminal, process::ExitCode, time::Duration};

use anyhow::Context;
use bus::{Backlog, Bus, Link};
use protocol::ServiceStats;
use serde_json::json;
use tokio::signal;

use crate::{
    cli, find,
    here::{self, Part, Runs, Way},
    paint::{self, Paint},
};

/// How often `--watch` looks.
const WATCH_EVERY: Duration = Duration::from_secs(2);
/// The stream of dead letters, which should stay empty.
const DEAD: &str = "DEAD";
/// Sessions of Discord that could not be resumed.
const SESSIONS_LOST: &str = "discord_sessions_lost_total";
/// Clears the terminal and goes to its top.
const CLEAR: &str = "\x1b[H\x1b[2J";

/// What `vigie status --help` ends with.
const EXIT_CODES: &str = "Exit codes: 0 everything is ready; 1 something is not, or NATS does not answer;\n\
64 arguments cannot be used";

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
    pub streams: Vec<Backlog>,
    away: Option<Away>,
}

/// Why NATS cannot be asked, and what is known all the same.
struct Away {
    reason: String,
    /// What runs Vigie here, and its parts.
    runs: Option<(String, Way, Vec<Part>)>,
}

/// Looks at a Vigie, again and again; connects to its NATS when that is there.
pub(crate) struct Looker<'a> {
    runs: &'a Runs,
    url: String,
    pub bus: Option<Bus>,
}

impl<'a> Looker<'a> {
    /// # Errors
    /// When a setting cannot be read.
    pub(crate) fn new(runs: &'a Runs) -> anyhow::Result<Self> {
        Ok(Self { runs, url: runs.which.nats_url()?, bus: None })
    }

    /// How everything is now.
    pub(crate) async fn look(&mut self) -> View {
        if self.bus.is_none() {
            match find::connect(&self.url).await {
                Ok(bus) => self.bus = Some(bus),
                Err(reason) => return self.away(format!("{reason:#}")).await,
            }
        }
        match &self.bus {
            Some(bus) if *bus.link().borrow() == Link::Up => View {
                url: bus::without_credentials(&self.url),
                server: bus.server_version(),
                services: asking::services(bus).await,
                streams: bus::backlogs(bus).await,
                away: None,
            },
            // It comes back by itself.
            _ => {
                let url = bus::without_credentials(&self.url);
                self.away(format!("NATS at {url} does not answer any more")).await
            }
        }
    }

    async fn away(&self, reason: String) -> View {
        let runs = match here::find(self.runs).await {
            Ok(Some(found)) => {
                let parts = found.parts().await.unwrap_or_default();
                Some((found.to_string(), found.way(), parts))
            }
            // There may be nothing, or more than one; the reason is what counts here.
            Ok(None) | Err(_) => None,
        };
        View {
            url: bus::without_credentials(&self.url),
            server: String::new(),
            services: Vec::new(),
            streams: Vec::new(),
            away: Some(Away { reason, runs }),
        }
    }
}

/// Prints how everything is; exit code 1 when something is not ready.
///
/// # Errors
/// When a setting cannot be read, or the reader went away.
pub(crate) async fn run(options: &Options) -> anyhow::Result<ExitCode> {
    let mut looker = Looker::new(&options.runs)?;
    let paint = Paint::stdout();
    loop {
        let view = looker.look().await;
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
    }
}

impl View {
    /// What is not as it should be, for a person.
    pub(crate) fn problems(&self) -> Vec<String> {
        if let Some(away) = &self.away {
            return vec![away.reason.clone()];
        }
        let mut problems = Vec::new();
        for name in find::NEEDED {
            if !self.services.iter().any(|service| service.service == name) {
                problems.push(format!("no {name} answers: is it running?"));
            }
        }
        for service in self.services.iter().filter(|service| !service.ready) {
            problems
                .push(format!("{} {} is not ready: {}", service.service, service.instance, service.reason));
        }
        if self.streams.is_empty() {
            problems.push("NATS has no streams: run `vigie provision`".to_owned());
        }
        problems
    }

    fn dead_letters(&self) -> u64 {
        self.streams.iter().filter(|one| one.stream == DEAD).map(|one| one.messages).sum()
    }

    /// What went wrong before, and needs no hand now.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
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
                if mixed {
                    format!("{}: {}", service.build, numbers::of(service))
                } else {
                    numbers::of(service)
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
                service("twitch-gateway", twitch, &[("channels_joined", 1.0)]),
            ],
            streams: vec![
                Backlog { stream: "EVENTS", messages: 3, bytes: 1290 },
                Backlog { stream: DEAD, messages: dead, bytes: dead * 400 },
            ],
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

    #[test]
    fn a_bot_without_nats() {
        let part = |name: &str, state, detail: &str| Part {
            name: name.to_owned(),
            state,
            detail: detail.to_owned(),
        };
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
