//! Does a fault and undoes it: returns when it is over and what was killed has been started again.

use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::Signal;
use serde_json::Value;
use testkit::Proxy;
use tokio::time::{Instant, sleep};

use super::{
    kinds::Deed,
    part::Part,
    plan::Fault,
    stack::{ANSWER_LIMIT, Stack},
};
use crate::http;

/// A slow link holds everything back for so long,
const HELD_BACK: Duration = Duration::from_millis(300);
/// and then lets it pass for so long.
const LET_PASS: Duration = Duration::from_millis(30);
/// How long a part may be away after it was killed, and after it was asked to stop.
const BACK_LIMIT: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// The part that a fault hits.
pub fn target<'a>(stack: &'a Stack, fault: &Fault) -> anyhow::Result<&'a Part> {
    stack.pick(fault.kind.role, fault.which).context("there is no such part")
}

/// Does it, waits for its time, undoes it.
///
/// # Errors
/// When the sandbox refuses what it is told, or a killed part cannot be started again.
pub async fn inject(stack: &Stack, fault: &Fault) -> anyhow::Result<()> {
    let (part, lasts) = (target(stack, fault)?, fault.lasts);
    let link = |link| part.link(link).with_context(|| format!("{} has no such link", part.name));
    match fault.kind.deed {
        Deed::Kill => {
            part.kill(lasts);
            until_it_runs(part).await
        }
        Deed::Terminate => {
            part.terminate(lasts)?;
            until_it_runs(part).await
        }
        Deed::Stop => {
            part.signal(Signal::STOP)?;
            sleep(lasts).await;
            part.signal(Signal::CONT)
        }
        Deed::Cut(which) => {
            let proxy = link(which)?;
            proxy.cut();
            sleep(lasts).await;
            proxy.resume();
            Ok(())
        }
        Deed::Stall(which) => {
            let proxy = link(which)?;
            proxy.stall();
            sleep(lasts).await;
            proxy.resume();
            Ok(())
        }
        Deed::Slow(which) => {
            in_bursts(link(which)?, lasts).await;
            Ok(())
        }
        Deed::Tell(path, body) => {
            http::post(&stack.url, path, &json(body)?, ANSWER_LIMIT).await?;
            Ok(())
        }
        Deed::Knobs(path, on, off) => {
            http::put(&stack.url, path, &json(on)?, ANSWER_LIMIT).await?;
            sleep(lasts).await;
            http::put(&stack.url, path, &json(off)?, ANSWER_LIMIT).await?;
            Ok(())
        }
    }
}

async fn in_bursts(proxy: &Proxy, lasts: Duration) {
    let began = Instant::now();
    while began.elapsed() < lasts {
        proxy.stall();
        sleep(HELD_BACK).await;
        proxy.resume();
        sleep(LET_PASS).await;
    }
}

async fn until_it_runs(part: &Part) -> anyhow::Result<()> {
    let began = Instant::now();
    while !part.runs() {
        ensure!(began.elapsed() < BACK_LIMIT, "{} was not started again", part.name);
        sleep(POLL).await;
    }
    Ok(())
}

fn json(text: &str) -> anyhow::Result<Value> {
    serde_json::from_str(text).with_context(|| format!("{text} is no JSON"))
}
