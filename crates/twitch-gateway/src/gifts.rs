//! A mass gift is one happening, though Twitch tells it in many lines: one that names the giver and
//! the number, then one for each who received.

use std::collections::{HashMap, VecDeque};

use crate::irc::Line;

/// Mass gifts that are remembered, over all channels. A gift's lines follow each other within
/// seconds.
const REMEMBERED: usize = 256;

/// The mass gifts whose receivers are still being told.
#[derive(Debug, Default)]
pub struct Gifts {
    left: HashMap<Box<str>, u32>,
    order: VecDeque<Box<str>>,
}

impl Gifts {
    /// A line announces a gift to `count` people.
    pub fn announced(&mut self, line: &Line<'_>, count: u32) {
        let Some(key) = key(line) else { return };
        if self.order.len() >= REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.left.remove(&oldest);
        }
        if self.left.insert(key.clone(), count).is_none() {
            self.order.push_back(key);
        }
    }

    /// Whether a line tells of one who received from a mass gift. Newer lines say so themselves, and are
    /// known by a gateway that joined after the gift was announced; older ones only follow one that was.
    pub fn belongs(&mut self, line: &Line<'_>) -> bool {
        let says_so = line.raw_tag("msg-param-community-gift-id").is_some();
        let Some(key) = key(line) else { return says_so };
        let Some(left) = self.left.get_mut(&key).filter(|left| **left > 0) else { return says_so };
        *left -= 1;
        if *left == 0 {
            self.left.remove(&key);
            self.order.retain(|known| *known != key);
        }
        true
    }
}

/// What the lines of one mass gift have in common. Older lines carry only the origin id, which single
/// gifts share with each other, but never with a mass gift.
fn key(line: &Line<'_>) -> Option<Box<str>> {
    let room = line.raw_tag("room-id")?;
    let gift = line.raw_tag("msg-param-community-gift-id").or_else(|| line.raw_tag("msg-param-origin-id"))?;
    Some(format!("{room} {gift}").into())
}
