//! `/health/detailed`: everything, for a person at a terminal.

use std::{fmt::Write as _, time::Duration};

use super::json::{state, version};
use crate::{
    backups::Backups,
    certificates::Known,
    nats::NatsState,
    rules::Level,
    silences::covers,
    view::{Condition, Verdict, View},
    words::{bytes, duration, harmless, moment},
};

/// How wide a bar is, in characters.
const BAR: usize = 20;

/// The whole page.
pub fn detailed(view: Option<&View>, verdict: Verdict) -> String {
    let Some(view) = view else { return "… starting: the first look is still to come\n".to_owned() };
    let (sign, words) = match verdict {
        Verdict::Starting => ('…', "starting: not every service had the time to answer"),
        Verdict::Healthy => ('✓', "healthy: nothing is wrong"),
        Verdict::Degraded => ('!', "degraded: it works, and somebody should look at it"),
        Verdict::Unhealthy => ('✗', "unhealthy"),
        Verdict::Stuck => ('✗', "stuck: the last look is long ago"),
    };
    let mut page =
        format!("{sign} {words}\n  {}, watched for {}\n", moment(view.at_ms), duration(view.uptime));
    alerts(&mut page, view);
    services(&mut page, view);
    nats(&mut page, &view.found.nats);
    machine(&mut page, view);
    ages(&mut page, view);
    people(&mut page, view);
    page
}

fn alerts(page: &mut String, view: &View) {
    if !view.alerts.is_empty() {
        page.push('\n');
    }
    for alert in &view.alerts {
        let sign = if alert.level == Level::Critical { '✗' } else { '!' };
        let since = Duration::from_millis(view.at_ms.saturating_sub(alert.since_ms));
        // Writing into a String cannot fail, here and below.
        let silent = if covers(&view.silences, alert, view.at_ms) { ", silenced" } else { "" };
        let _ = writeln!(page, "{sign} {} (for {}{silent})", harmless(&alert.title()), duration(since));
        let _ = writeln!(page, "    {}", harmless(&alert.text));
    }
}

fn services(page: &mut String, view: &View) {
    let mut rows =
        vec![["SERVICE", "STATE", "READY", "MEMORY", "ANSWERS IN", "UP", "VERSION"].map(str::to_owned)];
    for service in &view.found.services {
        let state = state(service);
        let sign = match state {
            "ready" => '✓',
            "unknown" => '…',
            _ => '✗',
        };
        let youngest = service.instances.iter().map(|one| one.stats.uptime_s).min();
        rows.push([
            format!("{sign} {}", harmless(&service.name)),
            state.replace('_', " "),
            format!("{} of {}", service.ready(), service.instances.len()),
            bytes(service.memory_bytes()),
            service.latency().map_or_else(|| "-".to_owned(), duration),
            youngest.map_or_else(|| "-".to_owned(), |seconds| duration(Duration::from_secs(seconds.max(1)))),
            harmless(&version(service)),
        ]);
    }
    page.push('\n');
    table(page, &rows, &[2, 3, 4, 5]);
    for one in view.found.services.iter().flat_map(|service| &service.instances) {
        if !one.stats.reason.is_empty() {
            let _ = writeln!(page, "  {}: {}", harmless(&one.stats.instance), harmless(&one.stats.reason));
        }
    }
}

fn nats(page: &mut String, nats: &NatsState) {
    let _ = match (&nats.trouble, nats.round_trip) {
        (Some(trouble), _) => writeln!(page, "\n✗ NATS: {}", harmless(trouble)),
        (None, Some(took)) => {
            let ms = took.as_secs_f64() * 1000.0;
            writeln!(page, "\n✓ NATS {}, {ms:.1} ms there and back", harmless(&nats.version))
        }
        (None, None) => writeln!(page, "\n! NATS {} did not echo", harmless(&nats.version)),
    };
    let mut rows = vec![["  STREAM", "WAITING", "OLDEST", "SIZE", "FULL"].map(str::to_owned)];
    for stream in &nats.survey.streams {
        let full = stream.limit_bytes.map(|limit| crate::host::percent(stream.bytes, limit));
        rows.push([
            format!("  {}", stream.name),
            stream.messages.to_string(),
            if stream.messages == 0 { "-".to_owned() } else { duration(stream.oldest) },
            bytes(stream.bytes),
            full.map_or_else(|| "-".to_owned(), |full| format!("{full:.0} %")),
        ]);
    }
    table(page, &rows, &[1, 2, 3, 4]);
    let mut rows = vec![["  QUEUE", "CONSUMERS", "WAITING", "IN WORK", "AGAIN"].map(str::to_owned)];
    for queue in &nats.survey.queues {
        let numbers = [queue.consumers, queue.pending, queue.ack_pending, queue.redelivered];
        let [consumers, pending, taken, again] = numbers.map(|number| number.to_string());
        rows.push([format!("  {}", queue.name), consumers, pending, taken, again]);
    }
    page.push('\n');
    table(page, &rows, &[1, 2, 3, 4]);
}

fn machine(page: &mut String, view: &View) {
    let machine = &view.found.machine;
    let mut lines: Vec<(&str, Option<f64>, String)> = Vec::new();
    if let Some(ratio) = machine.cpu_ratio {
        let load = machine.load1.map(|load| format!(", load {load:.2}")).unwrap_or_default();
        let cores = machine.cpus.unwrap_or(1);
        lines.push((
            "processor",
            Some(ratio * 100.0),
            format!("{:.0} % of {cores} cores{load}", ratio * 100.0),
        ));
    }
    if let Some(memory) = machine.memory {
        let used = 100.0 - crate::host::percent(memory.available_bytes, memory.bytes);
        let words = format!("{} left of {}", bytes(memory.available_bytes), bytes(memory.bytes));
        lines.push(("memory", Some(used), words));
    }
    if let Some(disk) = machine.disk {
        let words = format!("{} left of {}", bytes(disk.available_bytes), bytes(disk.bytes));
        lines.push(("disk", Some(disk.used_percent()), words));
    }
    if let Some(written) = machine.written_bytes {
        let since = machine.uptime_s.and_then(|up| Duration::try_from_secs_f64(up).ok()).unwrap_or_default();
        lines.push(("written", None, format!("{} in {}", bytes(written), duration(since))));
    }
    if let Some(celsius) = machine.temperature {
        lines.push(("temperature", Some(celsius), format!("{celsius:.1} °C")));
    }
    if let Some(power) = machine.power {
        let words = if power.under_voltage { "too little" } else { "enough" };
        let slowed = if power.slowed == Some(true) { ", slowed down" } else { "" };
        lines.push(("power", None, format!("{words}{slowed}")));
    }
    page.push_str("\nMACHINE\n");
    for (name, percent, words) in lines {
        let bar = percent.map_or_else(|| " ".repeat(BAR), bar);
        let _ = writeln!(page, "  {name:<12} {bar}  {words}");
    }
}

/// Backups and certificates; nothing when there is neither.
fn ages(page: &mut String, view: &View) {
    let mut lines = Vec::new();
    if let Some(Backups { status, .. }) = &view.found.backups {
        let (sign, words) = match (status.good_ms, status.next_ms) {
            (Some(at_ms), _) => {
                let age = duration(Duration::from_millis(view.at_ms.saturating_sub(at_ms)));
                (sign_of(view, "backup"), format!("{age} old"))
            }
            (None, Some(next_ms)) => ('…', format!("none yet; the first one comes at {}", moment(next_ms))),
            (None, None) => ('…', "off, or never yet: set BACKUP_REPOSITORY or BACKUP_EXPORT".to_owned()),
        };
        lines.push(("backup".to_owned(), sign, words));
        if let Some(drill) = &status.drill {
            lines.push(("drill".to_owned(), if drill.good { '✓' } else { '✗' }, drill.words.clone()));
        }
    }
    for (server, known) in &view.found.certificates {
        let (sign, words) = match known {
            Known::Until(until_ms) if *until_ms > view.at_ms => {
                ('✓', format!("valid until {}", moment(*until_ms)))
            }
            Known::Until(until_ms) => ('✗', format!("valid until {}", moment(*until_ms))),
            Known::Trouble(reason) => ('✗', reason.clone()),
        };
        lines.push((server.clone(), sign, words));
    }
    if !lines.is_empty() {
        page.push_str("\nBACKUPS AND CERTIFICATES\n");
    }
    for (name, sign, words) in lines {
        let _ = writeln!(page, "  {sign} {name}: {}", harmless(&words));
    }
}

/// How the subject of a rule that has one only is shown.
fn sign_of(view: &View, rule: &str) -> char {
    match view.alerts.iter().find(|alert| alert.rule == rule).map(|alert| alert.level) {
        None | Some(Level::Fine) => '✓',
        Some(Level::Warning) => '!',
        Some(Level::Critical) => '✗',
    }
}

fn people(page: &mut String, view: &View) {
    page.push_str("\nTOLD BY\n");
    if view.found.channels.is_empty() {
        page.push_str("  nobody is told: set ALERT_DISCORD_CHANNEL or another ALERT_ setting\n");
    }
    let channels = view.found.channels.iter().map(|(name, condition)| (*name, condition));
    let witness = view.found.witness.iter().map(|condition| ("witness", condition));
    for (name, condition) in channels.chain(witness) {
        let _ = match condition {
            Condition::Untried => writeln!(page, "  … {name}: not tried yet"),
            Condition::Fine => writeln!(page, "  ✓ {name}"),
            Condition::Trouble(reason) => writeln!(page, "  ✗ {name}: {}", harmless(reason)),
        };
    }
    for silence in view.silences.values() {
        let colon = if silence.reason.is_empty() { "" } else { ": " };
        let (alert, until) = (harmless(&silence.alert), moment(silence.until_ms));
        let (by, reason) = (harmless(&silence.by), harmless(&silence.reason));
        let _ = writeln!(page, "  · not of {alert} until {until}, says {by}{colon}{reason}");
    }
}

/// `▰▰▰▰▱▱▱▱`, of a percentage.
fn bar(percent: f64) -> String {
    // Between 0 and BAR, so the cast keeps it whole.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let full = (percent.clamp(0.0, 100.0) / 100.0 * BAR as f64).round() as usize;
    "▰".repeat(full) + &"▱".repeat(BAR - full)
}

/// Rows with aligned columns; those at the positions in `right` are flush right. The first row is the heading.
fn table<const N: usize>(page: &mut String, rows: &[[String; N]], right: &[usize]) {
    let width = |at: usize| rows.iter().map(|row| row[at].chars().count()).max().unwrap_or(0);
    for row in rows {
        let mut line = String::new();
        for (at, cell) in row.iter().enumerate() {
            let width = width(at);
            let gap = if at == 0 { "" } else { "  " };
            let _ = match right.contains(&at) {
                true => write!(line, "{gap}{cell:>width$}"),
                false => write!(line, "{gap}{cell:<width$}"),
            };
        }
        page.push_str(line.trim_end());
        page.push('\n');
    }
}
