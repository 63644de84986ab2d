//! What is remembered of channels: what was said there last, and where the API may not be used.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use protocol::ChannelId;
use tokio::time::Instant;

use crate::{limiter::Standing, text};

/// How long chat is used after the API said that the application may not speak.
const FALL_BACK_FOR: Duration = Duration::from_secs(10 * 60);
/// How long Twitch takes a text for a repetition of the one before it: 30 s, with margin.
const REPETITION: Duration = Duration::from_secs(32);
/// Channels whose last text, or whose way, is remembered before the list is swept.
const SWEEP_AT: usize = 256;

/// What is remembered of channels.
#[derive(Debug, Default)]
pub struct Memory {
    last_said: Mutex<HashMap<ChannelId, (Instant, String)>>,
    /// Until when chat is used; `None` stands for all channels.
    fall_back: Mutex<HashMap<Option<ChannelId>, Instant>>,
}

impl Memory {
    /// The text, or one that looks the same when it was the last one here a moment ago. Moderators and
    /// VIPs may repeat themselves.
    pub fn distinct(&self, channel: &ChannelId, text: &str, standing: Standing) -> String {
        let now = Instant::now();
        let mut last_said = self.last_said.lock().unwrap_or_else(PoisonError::into_inner);
        let repeated = standing == Standing::Normal
            && last_said.get(channel).is_some_and(|(at, said)| said == text && *at + REPETITION > now);
        let text = if repeated { text::differing(text) } else { text.to_owned() };
        if last_said.len() >= SWEEP_AT {
            last_said.retain(|_, (at, _)| *at + REPETITION > now);
        }
        last_said.insert(channel.clone(), (now, text.clone()));
        text
    }

    /// The text in a way that looks the same, because another gateway said it a moment ago.
    pub fn differing(&self, channel: &ChannelId, text: &str) -> String {
        let text = text::differing(text);
        let mut last_said = self.last_said.lock().unwrap_or_else(PoisonError::into_inner);
        last_said.insert(channel.clone(), (Instant::now(), text.clone()));
        text
    }

    /// Whether chat is used here although there is an application.
    pub fn falls_back(&self, channel: &ChannelId) -> bool {
        let now = Instant::now();
        let fall_back = self.fall_back.lock().unwrap_or_else(PoisonError::into_inner);
        let is_on = |key: &Option<ChannelId>| fall_back.get(key).is_some_and(|until| *until > now);
        is_on(&None) || is_on(&Some(channel.clone()))
    }

    /// The application may not speak here, or nowhere.
    pub fn fall_back(&self, channel: &ChannelId, everywhere: bool) {
        let now = Instant::now();
        let mut fall_back = self.fall_back.lock().unwrap_or_else(PoisonError::into_inner);
        if fall_back.len() >= SWEEP_AT {
            fall_back.retain(|_, until| *until > now);
        }
        fall_back.insert((!everywhere).then(|| channel.clone()), now + FALL_BACK_FOR);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_repeated_text_differs_unless_the_bot_may_repeat_itself() {
        let (memory, channel) = (Memory::default(), ChannelId::from(1));
        let say = |standing| memory.distinct(&channel, "pong", standing);
        assert_eq!(say(Standing::Normal), "pong");
        let second = say(Standing::Normal);
        assert_ne!(second, "pong");
        assert_eq!(text::without_difference(&second), "pong");
        assert_eq!(say(Standing::Normal), "pong");
        assert_eq!(say(Standing::Elevated), "pong");
        tokio::time::advance(REPETITION).await;
        assert_eq!(say(Standing::Normal), "pong");
    }
}
