//! Commands that only tests have: they greet, fail, panic, hang, or wait for a gate.

use std::{
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use commands::{Answer, Ask, Definition, Failure};
use protocol::{Platform, Rank};
use tokio::sync::Semaphore;

/// Opens when a test adds a permit; each use takes one.
pub static GATE: Semaphore = Semaphore::const_new(0);
/// How many uses of `gated` have begun.
pub static BEGUN: AtomicU32 = AtomicU32::new(0);
/// How many uses of `hang` have begun.
pub static HUNG: AtomicU32 = AtomicU32::new(0);

/// All of them.
pub static COMMANDS: &[&Definition] = &[&FAIL, &GATED, &GREET, &HANG, &PANIC];

static FAIL: Definition = Definition { name: "fail", run: |_| Box::pin(fail()), ..PLAIN };
static GATED: Definition = Definition { name: "gated", run: |_| Box::pin(gated()), ..PLAIN };
static GREET: Definition =
    Definition { name: "greet", cooldown: Duration::from_secs(60), run: |ask| Box::pin(greet(ask)), ..PLAIN };
static HANG: Definition = Definition { name: "hang", run: |_| Box::pin(hang()), ..PLAIN };
static PANIC: Definition = Definition { name: "panic", run: |_| Box::pin(panics()), ..PLAIN };

const PLAIN: Definition = Definition {
    name: "",
    options: &[],
    rank: Rank::Everyone,
    cooldown: Duration::ZERO,
    platforms: &Platform::ALL,
    run: |_| Box::pin(fail()),
};

async fn greet(ask: &Ask) -> Result<Answer, Failure> {
    Ok(Answer::text(format!("hello {}", ask.user.name)))
}

async fn fail() -> Result<Answer, Failure> {
    Err(Failure::caused_by("the teapot is empty", std::io::Error::other("no water")))
}

async fn panics() -> Result<Answer, Failure> {
    panic!("out of tea")
}

/// Waits until a test opens the gate.
async fn gated() -> Result<Answer, Failure> {
    BEGUN.fetch_add(1, Ordering::SeqCst);
    GATE.acquire().await.unwrap().forget();
    Ok(Answer::text("through the gate"))
}

/// The first use never ends, later ones do.
async fn hang() -> Result<Answer, Failure> {
    if HUNG.fetch_add(1, Ordering::SeqCst) == 0 {
        std::future::pending::<()>().await;
    }
    Ok(Answer::text("not hanging"))
}
