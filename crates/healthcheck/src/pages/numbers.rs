//! The machine, NATS and the services as lines of `/metrics`. Their names are in docs/metrics.md. What cannot be
//! told is left out, never 0.

use std::{fmt::Write as _, time::Duration};

use crate::{
    certificates::Known,
    host::Machine,
    nats::NatsState,
    rules::Level,
    services::ServiceView,
    view::{Verdict, View},
};

/// The stream of dead letters.
const DEAD: &str = "DEAD";

/// All lines.
pub fn lines(view: Option<&View>, stale_after: Duration) -> String {
    let mut lines = Lines(String::new());
    // Numbers of long ago must not look like those of now.
    let Some(view) = view.filter(|view| view.taken.elapsed() <= stale_after) else { return lines.0 };
    machine(&mut lines, &view.found.machine);
    nats(&mut lines, &view.found.nats);
    services(&mut lines, &view.found.services);
    ages(&mut lines, view);
    let verdict = if Verdict::of(Some(view), stale_after).is_good() { 1.0 } else { 0.0 };
    lines.gauge("health_up", "Whether nothing critical is wrong", Some(verdict));
    let count = |level| view.alerts.iter().filter(|alert| alert.level == level).count() as f64;
    let counts = [("warning", count(Level::Warning)), ("critical", count(Level::Critical))];
    lines.family("health_alerts", "gauge", "Things that are wrong now", "level", counts);
    let help = "Things of which nobody is told for a while";
    lines.gauge("health_silences", help, Some(view.silences.len() as f64));
    lines.0
}

struct Lines(String);

impl Lines {
    fn head(&mut self, name: &str, kind: &str, help: &str) {
        // Writing into a String cannot fail.
        let _ = write!(self.0, "# HELP vigie_{name} {help}.\n# TYPE vigie_{name} {kind}\n");
    }

    fn gauge(&mut self, name: &str, help: &str, value: Option<f64>) {
        if let Some(value) = value {
            self.head(name, "gauge", help);
            let _ = writeln!(self.0, "vigie_{name} {value}");
        }
    }

    /// `name` ends with `_total`, also where its kind is said: a gauge may have the name without it, and strict
    /// readers refuse a page that says the kind of a name twice.
    fn counter(&mut self, name: &str, help: &str, value: Option<u64>) {
        if let Some(value) = value {
            self.head(name, "counter", help);
            let _ = writeln!(self.0, "vigie_{name} {value}");
        }
    }

    /// Label values are names of streams, queues and services, which hold nothing that must be escaped.
    fn family<'a>(
        &mut self,
        name: &str,
        kind: &str,
        help: &str,
        label: &str,
        values: impl IntoIterator<Item = (&'a str, f64)>,
    ) {
        let mut values = values.into_iter().peekable();
        if values.peek().is_some() {
            self.head(name, kind, help);
        }
        for (of, value) in values {
            let of: String = of.chars().filter(|c| !matches!(c, '"' | '\\' | '\n')).collect();
            let _ = writeln!(self.0, "vigie_{name}{{{label}=\"{of}\"}} {value}");
        }
    }
}

fn machine(lines: &mut Lines, machine: &Machine) {
    let (memory, disk) = (machine.memory, machine.disk);
    let bytes = |bytes: Option<u64>| bytes.map(|bytes| bytes as f64);
    lines.gauge("host_cpus", "Cores", bytes(machine.cpus));
    lines.gauge("host_cpu_ratio", "Share of all cores that worked since the last look", machine.cpu_ratio);
    lines.gauge("host_load1", "Load average of one minute", machine.load1);
    lines.gauge("host_memory_bytes", "Memory", bytes(memory.map(|memory| memory.bytes)));
    let available = bytes(memory.map(|memory| memory.available_bytes));
    lines.gauge("host_memory_available_bytes", "Memory that can still be given out", available);
    lines.gauge("host_swap_bytes", "Swap", bytes(memory.map(|memory| memory.swap_bytes)));
    lines.gauge(
        "host_swap_used_bytes",
        "Swap that is used",
        bytes(memory.map(|memory| memory.swap_used_bytes)),
    );
    lines.gauge("host_disk_bytes", "The file system that holds the data", bytes(disk.map(|disk| disk.bytes)));
    let available = bytes(disk.map(|disk| disk.available_bytes));
    lines.gauge("host_disk_available_bytes", "What is left of it", available);
    let help = "Bytes written to the disks since the machine started";
    lines.counter("host_disk_written_bytes_total", help, machine.written_bytes);
    lines.gauge("host_temperature_celsius", "The hottest sensor", machine.temperature);
    let is = |is: bool| if is { 1.0 } else { 0.0 };
    let under_voltage = machine.power.map(|power| is(power.under_voltage));
    lines.gauge("host_under_voltage", "1 while a Pi gets too little power", under_voltage);
    let slowed = machine.power.and_then(|power| power.slowed).map(is);
    lines.gauge("host_slowed", "1 while a Pi runs slower for want of power or for heat", slowed);
    lines.gauge("host_uptime_seconds", "Since the machine started", machine.uptime_s);
}

fn nats(lines: &mut Lines, nats: &NatsState) {
    let up = nats.trouble.is_none();
    lines.gauge("nats_up", "1 while NATS answers", Some(if up { 1.0 } else { 0.0 }));
    let round_trip = nats.round_trip.map(|took| took.as_secs_f64());
    lines.gauge("nats_round_trip_seconds", "To NATS and back", round_trip);
    if !up {
        return;
    }
    let streams = &nats.survey.streams;
    let of = |number: fn(&bus::StreamState) -> f64| streams.iter().map(move |one| (one.name, number(one)));
    lines.family("nats_stream_messages", "gauge", "Messages stored", "stream", of(|one| one.messages as f64));
    lines.family("nats_stream_bytes", "gauge", "Their size", "stream", of(|one| one.bytes as f64));
    let limits = streams.iter().filter_map(|one| Some((one.name, one.limit_bytes? as f64)));
    lines.family("nats_stream_limit_bytes", "gauge", "How much it may hold", "stream", limits);
    let help = "Age of the oldest message, 0 when empty";
    lines.family("nats_stream_oldest_seconds", "gauge", help, "stream", of(|one| one.oldest.as_secs_f64()));
    let queues = &nats.survey.queues;
    let of =
        |number: fn(&bus::QueueState) -> u64| queues.iter().map(move |one| (one.name, number(one) as f64));
    lines.family("nats_consumers", "gauge", "Consumers", "queue", of(|one| one.consumers));
    lines.family(
        "nats_pending",
        "gauge",
        "Messages that nobody has taken yet",
        "queue",
        of(|one| one.pending),
    );
    let help = "Messages taken and not acknowledged";
    lines.family("nats_ack_pending", "gauge", help, "queue", of(|one| one.ack_pending));
    let help = "Those of them that were given out more than once";
    lines.family("nats_redelivered", "gauge", help, "queue", of(|one| one.redelivered));
    let dead = streams.iter().find(|one| one.name == DEAD);
    lines.gauge(
        "nats_dead_letters",
        "Dead letters that wait for a person",
        dead.map(|one| one.messages as f64),
    );
    lines.counter("nats_dead_letters_total", "Dead letters there ever were", dead.map(|one| one.last));
}

fn ages(lines: &mut Lines, view: &View) {
    let good_ms = view.found.backups.as_ref().and_then(|backups| backups.status.good_ms);
    let age_s = good_ms.map(|good_ms| view.at_ms.saturating_sub(good_ms) as f64 / 1000.0);
    lines.gauge("backup_age_seconds", "Since the last good backup was made", age_s);
    let left = view.found.certificates.iter().filter_map(|(server, known)| match known {
        Known::Until(until_ms) => {
            Some((server.as_str(), until_ms.saturating_sub(view.at_ms) as f64 / 1000.0))
        }
        Known::Trouble(_) => None,
    });
    let help = "Until the certificate runs out, 0 when it has";
    lines.family("certificate_left_seconds", "gauge", help, "server", left);
}

fn services(lines: &mut Lines, services: &[ServiceView]) {
    let of =
        |number: fn(&ServiceView) -> f64| services.iter().map(move |one| (one.name.as_str(), number(one)));
    let help = "Instances that answer";
    lines.family("service_instances", "gauge", help, "service", of(|one| one.instances.len() as f64));
    let help = "Those of them that are ready";
    lines.family("service_ready_instances", "gauge", help, "service", of(|one| one.ready() as f64));
    let help = "Since an instance last answered, 0 while one does";
    lines.family("service_silent_seconds", "gauge", help, "service", of(|one| one.silent.as_secs_f64()));
}
