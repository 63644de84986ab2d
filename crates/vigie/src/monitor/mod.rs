//! `vigie monitor`: services, streams and what passes, in a whole terminal, until `q` or Ctrl-C. It only looks, and
//! goes on when NATS is away.

mod frame;
mod rates;
mod screen;

use std::{collections::VecDeque, process::ExitCode, time::Duration};

use anyhow::Context;
use bus::{Bus, Incoming};
use tokio::{
    signal,
    sync::watch,
    time::{MissedTickBehavior, interval, sleep},
};

use self::{frame::Frame, rates::Rates, screen::Screen};
use crate::{
    cli,
    events::{Line, Passing},
    here::{NO_NATS, Runs},
    paint::{self, Paint},
    status::{Looker, View},
};

/// How often services and streams are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often the screen is drawn.
const DRAW_EVERY: Duration = Duration::from_millis(250);
/// Lines that are kept: more than any terminal is high.
const MOST_LINES: usize = 200;

/// What its `--help` ends with.
const EXIT_CODES: &str =
    "Exit codes: 0 ended by q or Ctrl-C; 64 settings or arguments cannot be used, or there is no terminal";

/// Arguments of `vigie monitor`.
#[derive(clap::Args, Debug)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Options {
    #[command(flatten)]
    pub runs: Runs,
}

/// What was seen last, and by whom.
type Seen = Option<(View, Option<Bus>)>;

/// Draws until somebody has seen enough.
///
/// `without`: why NATS cannot be asked from here, where that is known.
///
/// # Errors
/// When a setting cannot be used, or the terminal is gone.
pub(crate) async fn run(options: &Options, without: Option<String>) -> anyhow::Result<ExitCode> {
    let Some(mut screen) = Screen::open()? else {
        return Ok(cli::refuse(
            "monitor needs a terminal; `vigie status --watch --json` and `vigie events --json` are for programs",
        ));
    };
    let mut looker = Looker::new(&options.runs, without)?;
    let (sender, seen) = watch::channel::<Seen>(None);
    let look = async {
        loop {
            let Some(view) = looker.look().await? else { return Ok(ExitCode::from(NO_NATS)) };
            sender.send_replace(Some((view, looker.bus.clone())));
            sleep(LOOK_EVERY).await;
        }
    };
    tokio::select! {
        ended = look => ended,
        drawn = draw(&mut screen, seen) => drawn.map(|()| ExitCode::SUCCESS),
    }
}

async fn draw(screen: &mut Screen, mut seen: watch::Receiver<Seen>) -> anyhow::Result<()> {
    let paint = Paint::stdout();
    let mut ticks = interval(DRAW_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (mut passing, mut lines, mut rates) = (None, VecDeque::new(), Rates::default());
    loop {
        tokio::select! {
            key = screen.key() => if key == Some(b'q') { return Ok(()) },
            stopped = signal::ctrl_c() => return stopped.context("cannot wait for Ctrl-C"),
            incoming = next(&mut passing) => match incoming {
                Some(incoming) => take(&incoming, &mut lines, &mut rates, paint),
                None => passing = None,
            },
            changed = seen.changed() => {
                changed?;
                let bus = seen.borrow().as_ref().and_then(|(_, bus)| bus.clone());
                if let (None, Some(bus)) = (&passing, bus) {
                    passing = Some(Passing::of(&bus).await?);
                }
            }
            _ = ticks.tick() => {
                let Some(size) = paint::size() else { return Ok(()) };
                let rates = passing.is_some().then(|| rates.now());
                let text = match &*seen.borrow() {
                    Some((view, _)) => Frame { view, rates, lines: &lines, paint }.render(size),
                    None => "looking …".to_owned(),
                };
                screen.show(text)?;
            }
        }
    }
}

/// The next that passes; never, as long as there is nobody to tell.
async fn next(passing: &mut Option<Passing>) -> Option<Incoming> {
    match passing {
        Some(passing) => passing.next().await,
        None => std::future::pending().await,
    }
}

fn take(incoming: &Incoming, lines: &mut VecDeque<String>, rates: &mut Rates, paint: Paint) {
    match Line::read(incoming) {
        Ok(read) => {
            for line in read {
                rates.count(line.what);
                lines.push_back(line.render(paint));
            }
        }
        Err(error) => {
            let text = paint::harmless(&format!("{}: {error}", incoming.subject));
            lines.push_back(paint.bad(&text));
        }
    }
    while lines.len() > MOST_LINES {
        lines.pop_front();
    }
}
