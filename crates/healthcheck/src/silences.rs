//! Of what people are not told for a while, since somebody knows of it. How the bot is stays what it is: only telling
//! is silenced.
//!
//! A silence is of one thing that is wrong, and of how bad it was: what gets worse is told all the same. It ends by
//! itself, or sooner when somebody wishes; what is then still wrong is told again. That it is over is told as ever, to
//! whoever was told of it.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use bus::{Bus, Orders};
use presence::Connection;
use protocol::{
    VERSION,
    control::{
        Alert as Told, AlertLevel, Audit, AuditResult, HealthAnswer, HealthOrder, HealthReply, HealthRequest,
        SILENCE_MAX_S, SILENCE_MIN_S, Silence, WORDS_MAX,
    },
};
use service::{Context, clock::unix_ms};
use tokio::time::timeout;
use tracing::{info, warn};

use crate::{
    kept::{Kept, Store},
    rules::{Alert, Level},
    view::Views,
    words::{harmless, moment},
};

/// More silences than anybody keeps in mind.
const SILENCES_MAX: usize = 50;
/// The next order waits for the note of the one before, and whoever gave it for 5 s.
const NOTE_LIMIT: Duration = Duration::from_secs(3);
/// The longest name of who asks, in characters.
const BY_MAX: usize = 100;

/// What is silenced, by the alert's name.
pub type Silences = BTreeMap<String, Silence>;

/// Obeys from now on, and ends what is over.
pub fn start(context: &Context, connection: &Connection, views: &Views, store: &Arc<Store>) {
    let (connection, views) = (connection.clone(), views.clone());
    let (store, shutdown) = (store.clone(), context.shutdown.clone());
    context.tasks.spawn("silences", async move {
        let both = async {
            tokio::try_join!(
                obey(connection.clone(), &views, &store),
                end(&connection, views.clone(), &store)
            )
        };
        shutdown.run_until_cancelled(both).await.transpose().map(drop)
    });
}

/// Whether nobody is to be told of this alert at this time.
pub fn covers(silences: &Silences, alert: &Alert, at_ms: u64) -> bool {
    let of = silences.get(&alert.name()).filter(|silence| at_ms < silence.until_ms);
    of.is_some_and(|silence| alert.level <= level(silence.level))
}

async fn obey(mut connection: Connection, views: &Views, store: &Store) -> anyhow::Result<()> {
    let bus = match connection.wait_for(Result::is_ok).await.map(|bus| bus.clone()) {
        Ok(Ok(bus)) => bus,
        // Nobody connects any more: the service ends.
        _ => return std::future::pending().await,
    };
    let mut orders: Orders<HealthRequest> = bus.obey(env!("CARGO_PKG_NAME")).await?;
    while let Some(ordered) = orders.next().await {
        let view = views.borrow().clone();
        let alerts = view.as_ref().map(|view| view.alerts.as_slice()).unwrap_or_default();
        let mut reply = HealthReply::Refused { reason: String::new() };
        store.change(|kept| reply = answer(kept, alerts, &ordered.order, unix_ms()));
        let entry = entry(&ordered.order, &reply);
        if let Err(error) = ordered.answer(&HealthAnswer { v: VERSION, reply }).await {
            warn!(error = service::chain(&error), "an order about silences was not answered");
        }
        if let Some(entry) = entry {
            note(&bus, &entry).await;
        }
    }
    Ok(())
}

/// Ends what is over, also while NATS is away; then that is only in the log.
async fn end(connection: &Connection, mut views: Views, store: &Store) -> anyhow::Result<()> {
    while views.changed().await.is_ok() {
        let mut over = Vec::new();
        store.change(|kept| over = end_old(kept, unix_ms()));
        for silence in over {
            info!(alert = silence.alert, "is silenced no more");
            let bus = connection.borrow().clone();
            if let Ok(bus) = bus {
                note(&bus, &ended_by_itself(&silence)).await;
            }
        }
    }
    Ok(())
}

async fn note(bus: &Bus, entry: &Audit) {
    match timeout(NOTE_LIMIT, bus.note(entry)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            warn!(error = service::chain(&error), "what was silenced is not in the audit trail");
        }
        Err(_) => warn!("what was silenced is not in the audit trail: NATS does not take it"),
    }
}

/// Does what is asked at this time, in Unix milliseconds; `alerts` is what is wrong now.
fn answer(kept: &mut Kept, alerts: &[Alert], request: &HealthRequest, at_ms: u64) -> HealthReply {
    end_old(kept, at_ms);
    let done = match &request.order {
        HealthOrder::Silence { alert, for_s, reason } => {
            silence(kept, alerts, alert, (*for_s, reason), (&request.by, at_ms))
        }
        HealthOrder::Unsilence { alert } => {
            take(kept, alert).ok_or_else(|| format!("`{}` is not silenced", harmless(alert)))
        }
        HealthOrder::Silences => {
            let mut silences: Vec<Silence> = kept.silences.values().cloned().collect();
            silences.sort_by_key(|silence| silence.until_ms);
            return HealthReply::Silences { silences, alerts: alerts.iter().map(told).collect() };
        }
    };
    match done {
        Ok(silence) => HealthReply::Done { silence },
        Err(reason) => HealthReply::Refused { reason },
    }
}

fn silence(
    kept: &mut Kept,
    alerts: &[Alert],
    name: &str,
    (for_s, reason): (u64, &str),
    (by, at_ms): (&str, u64),
) -> Result<Silence, String> {
    if !(SILENCE_MIN_S..=SILENCE_MAX_S).contains(&for_s) {
        return Err("a silence lasts between a minute and 30 days".to_owned());
    }
    if reason.chars().count() > WORDS_MAX {
        return Err(format!("the reason has more than {WORDS_MAX} characters"));
    }
    let before = kept.silences.get(name);
    // What comes and goes may be away just now.
    let level = alerts.iter().find(|alert| alert.name() == name).map(|alert| told(alert).level);
    let Some(level) = level.or(before.map(|silence| silence.level)) else {
        let wrong: Vec<String> = alerts.iter().map(|alert| format!("`{}`", alert.name())).collect();
        let wrong = if wrong.is_empty() { "nothing is".to_owned() } else { wrong.join(", ") };
        return Err(format!(
            "only what is wrong can be silenced, and `{}` is not; wrong: {wrong}",
            harmless(name)
        ));
    };
    if before.is_none() && kept.silences.len() >= SILENCES_MAX {
        return Err(format!("{SILENCES_MAX} are silenced already: end one first"));
    }
    let silence = Silence {
        alert: name.to_owned(),
        level,
        since_ms: at_ms,
        until_ms: at_ms.saturating_add(for_s * 1000),
        by: harmless(by).chars().take(BY_MAX).collect(),
        reason: harmless(reason),
    };
    kept.silences.insert(name.to_owned(), silence.clone());
    Ok(silence)
}

/// Takes a silence away, and has people told of what is still wrong as if that was long ago.
fn take(kept: &mut Kept, name: &str) -> Option<Silence> {
    let silence = kept.silences.remove(name)?;
    for channel in kept.channels.values_mut() {
        let of = |key: &str| key.trim_end_matches('/') == name;
        for (_, told) in channel.told.iter_mut().filter(|(key, _)| of(key)) {
            told.at_ms = 0;
        }
    }
    Some(silence)
}

fn end_old(kept: &mut Kept, at_ms: u64) -> Vec<Silence> {
    let over = kept.silences.values().filter(|silence| silence.until_ms <= at_ms);
    let over: Vec<String> = over.map(|silence| silence.alert.clone()).collect();
    over.iter().filter_map(|name| take(kept, name)).collect()
}

fn entry(request: &HealthRequest, reply: &HealthReply) -> Option<Audit> {
    let HealthReply::Done { silence } = reply else { return None };
    let words = match request.order {
        HealthOrder::Silence { .. } if silence.reason.is_empty() => {
            format!("until {}", moment(silence.until_ms))
        }
        HealthOrder::Silence { .. } => format!("until {}: {}", moment(silence.until_ms), silence.reason),
        _ => format!("it was to end at {}", moment(silence.until_ms)),
    };
    let by = harmless(&request.by).chars().take(BY_MAX).collect();
    Some(audit(protocol::control::Order::verb(request), by, silence, words))
}

fn ended_by_itself(silence: &Silence) -> Audit {
    audit("unsilence", "schedule".to_owned(), silence, format!("it was silenced by {}", silence.by))
}

fn audit(verb: &str, by: String, silence: &Silence, words: String) -> Audit {
    Audit {
        v: VERSION,
        at_ms: unix_ms(),
        service: env!("CARGO_PKG_NAME").to_owned(),
        by,
        verb: verb.to_owned(),
        object: silence.alert.clone(),
        result: AuditResult::Done,
        words,
    }
}

fn told(alert: &Alert) -> Told {
    Told {
        alert: alert.name(),
        level: if alert.level == Level::Critical { AlertLevel::Critical } else { AlertLevel::Warning },
        since_ms: alert.since_ms,
        title: alert.title(),
        text: harmless(&alert.text),
    }
}

const fn level(level: AlertLevel) -> Level {
    match level {
        AlertLevel::Warning => Level::Warning,
        AlertLevel::Critical => Level::Critical,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kept;

    const NOW: u64 = 1_000_000;

    fn alert(rule: &str, subject: &str, level: Level) -> Alert {
        let text = "so and so".to_owned();
        Alert { rule: rule.to_owned(), subject: subject.to_owned(), level, since_ms: 1000, text }
    }

    fn ask(kept: &mut Kept, alerts: &[Alert], order: HealthOrder, at_ms: u64) -> Result<Silence, String> {
        let request = HealthRequest { v: VERSION, by: "cli".to_owned(), order };
        match answer(kept, alerts, &request, at_ms) {
            HealthReply::Done { silence } => Ok(silence),
            HealthReply::Refused { reason } => Err(reason),
            HealthReply::Silences { .. } => panic!("nobody asked for it"),
        }
    }

    fn wish(alert: &str, for_s: u64) -> HealthOrder {
        HealthOrder::Silence { alert: alert.to_owned(), for_s, reason: "the new card comes".to_owned() }
    }

    #[test]
    fn one_thing_is_silenced_as_bad_as_it_is_and_for_its_time() {
        let mut kept = Kept::default();
        let disk = alert("disk", "", Level::Warning);
        let alerts =
            [disk.clone(), alert("silent", "backup", Level::Critical), alert("silent", "x", Level::Critical)];
        ask(&mut kept, &alerts, wish("disk", 60), NOW).unwrap();
        ask(&mut kept, &alerts, wish("silent/backup", SILENCE_MAX_S), NOW).unwrap();
        let covered: Vec<bool> = alerts.iter().map(|alert| covers(&kept.silences, alert, NOW)).collect();
        assert_eq!(covered, [true, true, false]);
        let worse = Alert { level: Level::Critical, ..disk.clone() };
        assert!(!covers(&kept.silences, &worse, NOW), "what gets worse is told");
        let better = Alert { level: Level::Warning, ..alerts[1].clone() };
        assert!(covers(&kept.silences, &better, NOW));
        assert!(covers(&kept.silences, &disk, NOW + 59_999) && !covers(&kept.silences, &disk, NOW + 60_000));
    }

    #[test]
    fn only_what_is_wrong_and_only_for_a_bounded_time() {
        let mut kept = Kept::default();
        let alerts = [alert("silent", "backup", Level::Critical)];
        for (name, for_s, expected) in [
            ("disk", 60, "and `disk` is not; wrong: `silent/backup`"),
            ("silent", 60, "`silent` is not"),
            ("silent/backup", 59, "between a minute and 30 days"),
            ("silent/backup", SILENCE_MAX_S + 1, "between a minute and 30 days"),
        ] {
            let refused = ask(&mut kept, &alerts, wish(name, for_s), NOW).unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
        let reason = "x".repeat(WORDS_MAX + 1);
        let order = HealthOrder::Silence { alert: "silent/backup".to_owned(), for_s: 60, reason };
        assert!(ask(&mut kept, &alerts, order, NOW).unwrap_err().contains("characters"));
        assert_eq!(kept, Kept::default());
    }

    #[test]
    fn there_is_a_most_of_silences_and_one_can_still_be_changed() {
        let mut kept = Kept::default();
        let alerts: Vec<Alert> =
            (0..=SILENCES_MAX).map(|n| alert("silent", &n.to_string(), Level::Critical)).collect();
        for alert in &alerts[..SILENCES_MAX] {
            ask(&mut kept, &alerts, wish(&alert.name(), 60), NOW).unwrap();
        }
        let last = alerts[SILENCES_MAX].name();
        assert!(ask(&mut kept, &alerts, wish(&last, 60), NOW).unwrap_err().contains("end one first"));
        // Also while it is not wrong just now.
        let longer = ask(&mut kept, &[], wish("silent/0", 3600), NOW).unwrap();
        assert_eq!((longer.until_ms, longer.level), (NOW + 3_600_000, AlertLevel::Critical));
        // What is over makes room.
        ask(&mut kept, &alerts, wish(&last, 60), NOW + 60_000).unwrap();
        assert_eq!(kept.silences.len(), 2);
    }

    #[test]
    fn what_is_still_wrong_at_its_end_is_told_again() {
        let told = kept::Told { level: Level::Warning, title: String::new(), since_ms: 1, at_ms: NOW };
        let channel = kept::Channel {
            told: [("disk/".to_owned(), told.clone()), ("silent/backup".to_owned(), told)].into(),
            ..kept::Channel::default()
        };
        let mut kept = Kept { channels: [("ntfy".to_owned(), channel)].into(), ..Kept::default() };
        let alerts = [alert("disk", "", Level::Warning), alert("silent", "backup", Level::Critical)];
        for alert in &alerts {
            ask(&mut kept, &alerts, wish(&alert.name(), 60), NOW).unwrap();
        }
        let at = |kept: &Kept, key: &str| kept.channels["ntfy"].told[key].at_ms;
        let order = HealthOrder::Unsilence { alert: "silent/backup".to_owned() };
        ask(&mut kept, &alerts, order.clone(), NOW).unwrap();
        assert_eq!((at(&kept, "silent/backup"), at(&kept, "disk/")), (0, NOW));
        assert!(ask(&mut kept, &alerts, order, NOW).unwrap_err().contains("is not silenced"));
        assert_eq!(end_old(&mut kept, NOW + 59_999), []);
        assert_eq!(end_old(&mut kept, NOW + 60_000).len(), 1);
        assert_eq!((at(&kept, "disk/"), kept.silences.len()), (0, 0));
    }

    #[test]
    fn who_silenced_what_is_noted_and_what_was_refused_is_not() {
        let mut kept = Kept::default();
        let alerts = [alert("disk", "", Level::Warning)];
        let request = HealthRequest { v: VERSION, by: "cli".to_owned(), order: wish("disk", 60) };
        let reply = answer(&mut kept, &alerts, &request, NOW);
        let noted = entry(&request, &reply).unwrap();
        assert_eq!(
            (noted.verb.as_str(), noted.object.as_str(), noted.by.as_str()),
            ("silence", "disk", "cli")
        );
        assert_eq!(noted.words, "until 1970-01-01T00:17:40Z: the new card comes");
        let over = end_old(&mut kept, NOW + 60_000);
        let noted = ended_by_itself(&over[0]);
        assert_eq!((noted.verb.as_str(), noted.by.as_str()), ("unsilence", "schedule"));
        let request = HealthRequest { order: HealthOrder::Silences, ..request };
        assert_eq!(entry(&request, &answer(&mut kept, &alerts, &request, NOW)), None);
    }
}
