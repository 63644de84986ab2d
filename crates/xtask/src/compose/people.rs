//! The people of a trial: they type commands at a steady rate in every channel, and somebody watches what is
//! replied. What was said and replied is kept in the ledger that `chaos` uses too.

use std::{
    cell::{RefCell, RefMut},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use serde_json::{Value, json};
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::{
    chaos::{
        kinds::Platform,
        ledger::{Ledger, Place},
        load::listen,
    },
    http,
};

/// How long the sandbox may take to answer a question.
pub const ANSWER_LIMIT: Duration = Duration::from_secs(5);
/// Commands a second on each platform.
pub const RATE: u32 = 4;
/// Channels of each platform in which they are typed: enough that nowhere more answers wait for the end of a
/// trial than a gateway keeps for one channel.
const CHANNELS: usize = 8;
/// How long a bot may take to answer for the first time.
const FIRST_REPLY_LIMIT: Duration = Duration::from_secs(90);
const PEOPLE: [&str; 4] = ["ines", "noor", "max", "olive"];
const POLL: Duration = Duration::from_millis(20);

/// People at the sandbox of a project.
pub struct People {
    url: String,
    places: Vec<Place>,
    ledger: RefCell<Ledger>,
    began: Instant,
}

impl People {
    /// Finds channels to talk in; on Twitch the bot becomes moderator there, for it may not say much elsewhere.
    ///
    /// # Errors
    /// When the sandbox does not answer.
    pub async fn come(url: &str) -> anyhow::Result<Self> {
        let mut places = Vec::new();
        for (platform, key) in [(Platform::Discord, "id"), (Platform::Twitch, "login")] {
            let listed =
                http::get(url, &format!("/sandbox/channels?platform={}", platform.name()), ANSWER_LIMIT)
                    .await?;
            let open = |one: &&Value| one["name"] != "announcements" && one["name"] != "staff";
            let usable = listed.as_array().into_iter().flatten().filter(open);
            let ids = usable.filter_map(|one| one[key].as_str()).take(CHANNELS);
            places.extend(ids.map(|id| Place { platform, channel: id.to_owned() }));
        }
        for place in places.iter().filter(|place| place.platform == Platform::Twitch) {
            let body = json!({ "channel": place.channel, "login": "vigie_bot", "standing": "moderator" });
            http::post(url, "/sandbox/twitch/standing", &body, ANSWER_LIMIT).await?;
        }
        Ok(Self { url: url.to_owned(), places, ledger: RefCell::default(), began: Instant::now() })
    }

    /// Time since they came.
    pub fn now(&self) -> Duration {
        self.began.elapsed()
    }

    /// The ledger, for as long as nothing is awaited.
    pub fn ledger(&self) -> RefMut<'_, Ledger> {
        self.ledger.borrow_mut()
    }

    /// Talks and watches for ever.
    ///
    /// # Errors
    /// When the sandbox does not take a line, or its feed leaves something out.
    pub async fn talk(&self) -> anyhow::Result<()> {
        tokio::select! {
            ended = self.say_on(Platform::Discord) => ended,
            ended = self.say_on(Platform::Twitch) => ended,
            ended = self.watch() => ended,
        }
    }

    async fn say_on(&self, platform: Platform) -> anyhow::Result<()> {
        let places: Vec<&Place> = self.places.iter().filter(|place| place.platform == platform).collect();
        ensure!(!places.is_empty(), "{} has no channel to talk in", platform.name());
        let mut tick = interval(Duration::from_secs(1) / RATE);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for turn in 0.. {
            tick.tick().await;
            let place = places[turn % places.len()];
            let (number, token) = self.ledger().begin(place.clone(), self.now());
            let body = json!({
                "platform": platform.name(),
                "channel": place.channel,
                "person": PEOPLE[(turn / places.len()) % PEOPLE.len()],
                "text": format!("!echo {token} ahoy"),
            });
            let said = http::post(&self.url, "/sandbox/say", &body, ANSWER_LIMIT).await?;
            let id = said["id"].as_str().context("the sandbox told no id")?;
            let heard = said["heard"].as_u64().context("the sandbox did not tell who heard it")?;
            self.ledger().told(number, id, heard);
        }
        Ok(())
    }

    async fn watch(&self) -> anyhow::Result<()> {
        listen(&self.url, |place, text| self.ledger().seen(place, text, self.now())).await
    }

    /// Waits until somebody was answered at once in every channel.
    ///
    /// # Errors
    /// When that takes longer than the limit.
    pub async fn all_well(&self, since: Duration, limit: Duration) -> anyhow::Result<()> {
        let until = self.now() + limit;
        while !self.ledger().answers_again(&self.places, since) {
            ensure!(
                self.now() < until,
                "not every channel was answered at once within {} s",
                limit.as_secs()
            );
            sleep(POLL).await;
        }
        Ok(())
    }
}

/// Asks for `!ping` on a platform until the first answer, and says how long that took.
///
/// # Errors
/// When no answer comes in time.
pub async fn first_reply(url: &str, platform: Platform) -> anyhow::Result<Duration> {
    let began = Instant::now();
    let question = json!({ "platform": platform.name(), "text": "!ping", "within_ms": 1000 });
    loop {
        match http::post(url, "/sandbox/ask", &question, ANSWER_LIMIT).await {
            Ok(_) => return Ok(began.elapsed()),
            Err(error) if began.elapsed() > FIRST_REPLY_LIMIT => {
                return Err(error.context(format!("nothing is answered on {}", platform.name())));
            }
            Err(_) => sleep(POLL).await,
        }
    }
}
