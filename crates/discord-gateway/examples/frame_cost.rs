//! What one `MESSAGE_CREATE` costs on the way in: read with the few fields that are used, against
//! read with all of twilight's types. `cargo run --release -p discord-gateway --example frame_cost`
#![allow(clippy::print_stdout, clippy::expect_used, reason = "a measurement for people")]

use std::{hint::black_box, time::Instant};

use discord_gateway::{
    convert,
    frame::{Header, Message, data},
};
use protocol::Rank;
use twilight_gateway::EventTypeFlags;

/// How often each is done; the best of the rounds counts.
const TIMES: u32 = 50_000;
const ROUNDS: u32 = 8;

fn main() {
    let frame = frame();
    println!("a MESSAGE_CREATE of {} bytes, best of {ROUNDS} rounds, one core:", frame.len());
    report("find opcode, sequence and name", || {
        black_box(Header::read(black_box(&frame)));
    });
    report("read the fields that are used", || {
        black_box(data::<Message<'_>>(black_box(&frame)).expect("it is a message"));
    });
    report("the same, and make the event", || {
        black_box(event(black_box(&frame)));
    });
    report("the same, and write it as JSON", || {
        black_box(serde_json::to_vec(&event(black_box(&frame))).expect("JSON"));
    });
    report("twilight: read all fields", || {
        black_box(parse(black_box(&frame)));
    });
    report("twilight: read and write all fields", || {
        if let twilight_gateway::Event::MessageCreate(message) = parse(black_box(&frame)) {
            black_box(serde_json::to_vec(&*message).expect("JSON"));
        }
    });
}

fn report(what: &str, mut work: impl FnMut()) {
    let round = |_| {
        let started = Instant::now();
        (0..TIMES).for_each(|_| work());
        started.elapsed() / TIMES
    };
    let best = (0..ROUNDS).map(round).min().unwrap_or_default();
    println!("{:>8} ns  {what}", best.as_nanos());
}

fn event(frame: &str) -> protocol::Event {
    let message: Message<'_> = data(frame).expect("it is a message");
    convert::message(&message, Rank::Everyone, None, 0).expect("its id is one")
}

fn parse(frame: &str) -> twilight_gateway::Event {
    let event = twilight_gateway::parse(frame.to_owned(), EventTypeFlags::all());
    event.expect("it is an event").expect("it is known").into()
}

fn frame() -> String {
    r#"{"t":"MESSAGE_CREATE","s":1234567,"op":0,"d":{"type":0,"tts":false,"timestamp":"2026-11-20T12:27:56.616000+00:00","pinned":false,"nonce":"1173456789012345678","mentions":[],"mention_roles":[],"mention_everyone":false,"member":{"roles":["1073456789012345678","1073456789012345679","1073456789012345680"],"premium_since":null,"pending":false,"nick":"Ines","mute":false,"joined_at":"2021-10-21T12:27:53.727000+00:00","flags":0,"deaf":false,"communication_disabled_until":null,"banner":null,"avatar":null},"id":"1173456789012345677","flags":0,"embeds":[],"edited_timestamp":null,"content":"has anybody seen the tide tables for saturday? the old link is dead","components":[],"channel_type":0,"channel_id":"900722068918788146","author":{"username":"ines","public_flags":0,"primary_guild":null,"id":"900713338982510593","global_name":"Ines","display_name_styles":null,"discriminator":"0","collectibles":null,"clan":null,"avatar_decoration_data":null,"avatar":"e3c2aacef7920d3a661a19aaab969337"},"attachments":[],"guild_id":"900722059808747612"}}"#.to_owned()
}
