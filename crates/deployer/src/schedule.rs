//! Once a day, in a window of time, it is looked whether there is something new.

use std::{sync::Arc, time::Duration};

use service::clock::unix_ms;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{book::Book, desk::Desk, engine::Engine, gate::Pace, plan::Want, source::Source};

/// Between two looks at the clock.
const TICK: Duration = Duration::from_secs(60);
/// After a look that did not work, until the next in the same window.
const RETRY_PAUSE: Duration = Duration::from_secs(4 * 60);
const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 24 * 60 * MINUTE_MS;

/// What is done about something new that nobody asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Check {
    /// Nothing: it is not looked.
    #[default]
    Off,
    /// People are told.
    Notify,
    /// It is rolled out.
    Auto,
}

/// A time of the day, in minutes after midnight UTC; it may span midnight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Window {
    from: u64,
    until: u64,
}

impl Window {
    /// Reads two times such as `02:00-05:00`.
    ///
    /// # Errors
    /// When they are none.
    pub fn read(text: &str) -> Result<Self, String> {
        let minutes = |time: &str| {
            let (hours, minutes) = time.trim().split_once(':')?;
            let (hours, minutes) = (hours.parse::<u64>().ok()?, minutes.parse::<u64>().ok()?);
            (hours < 24 && minutes < 60).then_some(hours * 60 + minutes)
        };
        let times = text.split_once('-').and_then(|(from, until)| Some((minutes(from)?, minutes(until)?)));
        times.map(|(from, until)| Self { from, until }).ok_or_else(String::new)
    }

    /// The day on which the window began that is open at this time, in days since 1970; `None` when it is closed.
    fn day(self, now_ms: u64) -> Option<u64> {
        let (day, minute) = (now_ms / DAY_MS, now_ms % DAY_MS / MINUTE_MS);
        let spans = self.from > self.until;
        match (minute >= self.from, minute < self.until) {
            (true, true) => Some(day),
            (true, false) if spans => Some(day),
            (false, true) if spans => day.checked_sub(1),
            _ => None,
        }
    }
}

/// A look that did not work, in the window that began on this day.
#[derive(Debug)]
struct Missed {
    day: u64,
    again_ms: u64,
    words: String,
}

/// The day on which it is to be looked now, when it was not looked yet. Whoever deploys at the moment has looked.
fn due(book: &Book, window: Window, missed: Option<&Missed>, now_ms: u64) -> Option<u64> {
    let waits = |day: u64| missed.is_some_and(|missed| missed.day == day && now_ms < missed.again_ms);
    window.day(now_ms).filter(|day| *day != book.looked_day && book.job.is_none() && !waits(*day))
}

/// What did not work in a window that is over.
fn over(missed: &mut Option<Missed>, window: Window, now_ms: u64) -> Option<Missed> {
    missed.take_if(|missed| window.day(now_ms) != Some(missed.day))
}

/// Looks, until `shutdown`.
pub async fn run(
    desk: Arc<Desk>,
    engine: Engine,
    source: Source,
    (check, window, pace): (Check, Window, Pace),
    shutdown: CancellationToken,
) -> anyhow::Result<()> {
    let pause_ms = u64::try_from(RETRY_PAUSE.min(pace.limit).as_millis()).unwrap_or(u64::MAX);
    let work = async {
        let mut missed: Option<Missed> = None;
        loop {
            let now_ms = unix_ms();
            if let Some(missed) = over(&mut missed, window, now_ms)
                && let Err(error) = desk.change(|book| book.unlooked(&missed.words, now_ms))
            {
                warn!(error = service::chain(&error), "it is not kept that it could not be looked");
            }
            if let Some(day) = due(&desk.book(), window, missed.as_ref(), now_ms) {
                let looked = look(&desk, &engine, &source, check, (day, now_ms)).await;
                missed = looked.err().map(|words| {
                    warn!(words, "it could not be looked whether there is something new; trying again");
                    Missed { day, again_ms: unix_ms() + pause_ms, words }
                });
            }
            sleep(TICK.min(pace.limit)).await;
        }
    };
    if check == Check::Off {
        shutdown.cancelled().await;
        return Ok(());
    }
    tokio::select! {
        () = work => Ok(()),
        () = shutdown.cancelled() => Ok(()),
    }
}

async fn look(
    desk: &Desk,
    engine: &Engine,
    source: &Source,
    check: Check,
    (day, now_ms): (u64, u64),
) -> Result<(), String> {
    let chain = |error: &dyn std::error::Error| service::chain(error);
    let platform = engine.platform().await?;
    let book = desk.book();
    let newest = source.newest(None, &platform, book.last_signed()).await.map_err(|error| chain(&error))?;
    // That it was looked is written with what is done about it.
    let written = desk.change(|book| {
        match check {
            Check::Auto if !book.knows(&newest) => {
                let want = Want::Newest { force: false, commit: None };
                let id = book.accept("schedule".to_owned(), want, now_ms)?;
                info!(deploy = id, version = newest.name, "something new is there");
            }
            Check::Notify => book.offer(&newest, now_ms),
            Check::Auto | Check::Off => {}
        }
        book.looked_day = day;
        Ok(())
    });
    written.map_err(|error| chain(&error))?
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 60 * MINUTE_MS;

    #[test]
    fn it_is_looked_once_in_each_window() {
        let window = Window::read("02:00-05:00").unwrap();
        let mut book = Book::default();
        let due = |book: &Book, now_ms| due(book, window, None, now_ms);
        assert_eq!(due(&book, 7 * DAY_MS + HOUR_MS), None);
        assert_eq!(due(&book, 7 * DAY_MS + 2 * HOUR_MS), Some(7));
        book.looked_day = 7;
        assert_eq!(due(&book, 7 * DAY_MS + 4 * HOUR_MS), None);
        assert_eq!(due(&book, 8 * DAY_MS + 4 * HOUR_MS), Some(8));
        assert_eq!(due(&book, 8 * DAY_MS + 5 * HOUR_MS), None);
    }

    #[test]
    fn what_did_not_work_is_tried_again_in_the_same_window_after_a_pause() {
        let window = Window::read("02:00-05:00").unwrap();
        let at = |minutes: u64| 7 * DAY_MS + 2 * HOUR_MS + minutes * MINUTE_MS;
        let missed = Missed { day: 7, again_ms: at(5), words: String::new() };
        let due = |now_ms| due(&Book::default(), window, Some(&missed), now_ms);
        assert_eq!((due(at(4)), due(at(5))), (None, Some(7)));
        assert_eq!((due(at(4) + DAY_MS), due(at(200))), (Some(8), None));
    }

    #[test]
    fn a_whole_window_in_which_nothing_worked_is_told_when_it_is_over() {
        let window = Window::read("02:00-05:00").unwrap();
        let end = 7 * DAY_MS + 5 * HOUR_MS;
        let mut missed = Some(Missed { day: 7, again_ms: 0, words: "it is away".to_owned() });
        assert!(over(&mut missed, window, end - 1).is_none());
        let words = over(&mut missed, window, end).unwrap().words;
        assert!(over(&mut missed, window, end).is_none());
        let mut book = Book::default();
        book.unlooked(&words, end);
        let told: Vec<&str> = book.untold.iter().map(|notice| notice.words.as_str()).collect();
        assert_eq!(told, ["it is not known whether there is something new: it is away"]);
    }

    #[test]
    fn a_window_may_span_midnight() {
        let window = Window::read("23:00-01:00").unwrap();
        assert_eq!(window.day(7 * DAY_MS + 23 * HOUR_MS), Some(7));
        assert_eq!(window.day(8 * DAY_MS), Some(7));
        assert_eq!(window.day(8 * DAY_MS + HOUR_MS), None);
        for bad in ["", "2-5", "02:00", "24:00-01:00", "02:60-03:00"] {
            assert!(Window::read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_version_is_offered_once() {
        let mut book = Book::default();
        let release = |name: &str| crate::release::Release {
            name: name.to_owned(),
            source: name.to_owned(),
            commit: None,
            pull: String::new(),
            image: String::new(),
            operations: None,
            folder: String::new(),
        };
        book.current = Some(release("1"));
        for name in ["1", "2", "2", "3"] {
            book.offer(&release(name), 1);
        }
        let told: Vec<&str> = book.untold.iter().map(|notice| notice.object.as_str()).collect();
        assert_eq!(told, ["2", "3"]);
        assert_eq!(book.untold[0].words, "2 is there; `vigie deploy now` rolls it out");
    }
}
