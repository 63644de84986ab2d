//! The page by itself: once each, bounded, and free when its holder is gone.

use super::*;

pub fn followed(n: u64) -> Followed {
    serde_json::from_value(serde_json::json!({
        "event": EventId::of_platform(Platform::Discord, &n.to_string()).unwrap(),
        "platform": "discord",
        "community": "1",
        "channel": "2",
        "to": n.to_string(),
        "language": "en",
        "prefix": "!",
        "received_us": 5,
        "by": "discord:5",
        "order": "backup",
        "asked_ms": n,
    }))
    .expect("what came later may be absent")
}

#[test]
fn an_event_that_comes_again_is_known_also_when_its_order_is_over() {
    let mut page = Page::default();
    assert_eq!(page.add(&followed(1)), Added::New);
    page.update(&followed(1).event, |one| one.over = true);
    let Added::Again(known) = page.add(&followed(1)) else { panic!("it is known") };
    assert!(known.over && !page.is_open());
    let later = Followed { asked_ms: 1 + KNOWN_MS, ..followed(2) };
    assert_eq!((page.add(&later), page.jobs.len()), (Added::New, 1));
}

#[test]
fn it_never_grows_past_its_bounds() {
    let mut page = Page::default();
    for n in 0..100 {
        let open = page.jobs.iter().filter(|one| !one.over).count();
        assert_eq!(page.add(&followed(n)), if open < OPEN_MAX { Added::New } else { Added::Full });
        if let Some(one) = page.jobs.iter_mut().find(|one| !one.over).filter(|_| n % 3 == 0) {
            one.over = true;
        }
        assert!(page.jobs.len() <= KEPT_MAX, "{}", page.jobs.len());
    }
}

#[test]
fn another_worker_follows_when_the_holder_is_gone() {
    let page = Page { holder: "one".to_owned(), until_ms: 100, jobs: Vec::new() };
    assert!(page.is_free_for("one", 99) && !page.is_free_for("other", 99) && page.is_free_for("other", 100));
    assert!(Page::default().is_free_for("other", 0));
}

#[test]
fn each_message_has_an_id_of_its_own() {
    let mut one = followed(7);
    let awaited = one.event.action(0);
    let mut page = Page { jobs: vec![one.clone()], ..Page::default() };
    assert!(page.awaits(&awaited) && !page.awaits(&one.event.action(1)));
    assert_eq!(one.change(9), None);
    assert!(matches!(one.last("done", 9).body, ActionBody::Reply { .. }));
    page.found(&awaited, &MessageId::from(8));
    assert!(!page.awaits(&awaited));
    one = page.jobs.remove(0);
    one.changes = 3;
    let ids = [one.opening(String::new(), 9).id, one.last("done", 9).id, one.change(9).unwrap().id];
    assert_eq!(ids.map(|id| id.to_string()), ["discord:7:0", "discord:7:1", "discord:7:5"]);
    assert!(matches!(one.last("done", 9).body, ActionBody::Edit { .. }));
    let twitch = Followed { platform: Platform::Twitch, message: None, ..one };
    assert!(!Page { jobs: vec![twitch], ..Page::default() }.awaits(&awaited));
}

#[test]
fn an_end_that_could_not_replace_what_is_shown_is_told_once_more() {
    let shown = Followed { message: Some(MessageId::from(8)), changes: 2, ..followed(7) };
    let page = |one: &Followed| Page { jobs: vec![one.clone()], ..Page::default() };
    let lost = |one: &Followed, n: u32, reason| {
        let (mut page, action) = (page(one), one.event.action(n));
        assert!(page.changes_by(&action));
        page.lost(&action, reason);
        page.jobs.remove(0)
    };
    let without = lost(&shown, CHANGES + 1, DropReason::NotFound);
    assert_eq!(without, Followed { message: None, ..shown.clone() });
    assert_eq!(lost(&shown, CHANGES + 1, DropReason::RateLimited), shown, "the next change shows it");
    let told = Followed { end: Some("done".to_owned()), over: true, ..shown };
    assert_eq!(lost(&told, CHANGES + 1, DropReason::NotFound), told, "the end is heard by itself");
    let again = lost(&told, END, DropReason::Forbidden);
    assert!(!again.over && again.message.is_none());
    let last = again.last("done", 9);
    assert!(matches!(last.body, ActionBody::Reply { .. }));
    let again = lost(&told, END, DropReason::Unreachable);
    assert!(!again.over && matches!(again.last("done", 9).body, ActionBody::Edit { .. }));
    let told_again = Followed { over: true, ..again };
    for n in [END, AGAIN] {
        assert_eq!(lost(&told_again, n, DropReason::NotFound), told_again, "once more, not for ever");
    }
    assert_eq!(last.id, followed(7).event.action(AGAIN));
    assert!(!page(&told).changes_by(&followed(70).event.action(END)));
}
