//! Ids refuse what a subject could not carry.

use proptest::prelude::*;
use protocol::{CommunityId, EventId, Platform};

#[test]
fn an_id_that_would_break_a_subject_is_refused() {
    for bad in ["", "a.b", "*", ">", "a b", "a\n", "é", &"x".repeat(97)] {
        assert!(CommunityId::new(bad).is_err(), "{bad:?} was taken");
        assert!(serde_json::from_value::<CommunityId>(bad.into()).is_err(), "{bad:?} was read");
    }
}

#[test]
fn an_action_id_names_its_event_and_number() {
    let event = EventId::of_platform(Platform::Discord, "175928847299117063").unwrap();
    assert_eq!(event.action(2).as_str(), "discord:175928847299117063:2");
}

proptest! {
    #[test]
    fn what_is_taken_is_one_subject_token(text in ".{0,100}") {
        if let Ok(id) = CommunityId::new(&text) {
            prop_assert_eq!(id.as_str(), &text);
            prop_assert!(!text.is_empty() && !text.contains(['.', '*', '>', ' ', '\r', '\n']));
        }
    }
}
