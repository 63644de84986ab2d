//! `traceparent` comes from other programs, so it is read strictly.

use protocol::TraceParent;

#[test]
fn a_traceparent_survives_the_round_trip() {
    let text = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
    let parsed: TraceParent = text.parse().unwrap();
    assert!(parsed.sampled);
    assert_eq!(parsed.to_string(), text);
}

#[test]
fn what_is_not_a_traceparent_is_refused() {
    for bad in [
        "",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
        "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
    ] {
        assert!(bad.parse::<TraceParent>().is_err(), "{bad:?} was taken");
    }
}
