//! The compressed transports, decoded by independent decoders.

use serde_json::Value;
use zstd::stream::raw::{Decoder, InBuffer, Operation, OutBuffer};

use super::bot::{Bot, Got, Harbour, INTENTS};

async fn binary(bot: &mut Bot) -> Vec<u8> {
    match bot.next().await {
        Got::Binary(bytes) => bytes,
        other => panic!("expected a binary frame, got {other:?}"),
    }
}

/// Runs through login and a line, with `decode` turning each frame into its payload.
async fn converse(harbour: &Harbour, bot: &mut Bot, mut decode: impl FnMut(&[u8]) -> Vec<u8>) {
    let mut payload =
        async |bot: &mut Bot| -> Value { serde_json::from_slice(&decode(&binary(bot).await)).unwrap() };
    assert_eq!(payload(bot).await["op"], 10);
    bot.identify(INTENTS).await;
    assert_eq!(payload(bot).await["t"], "READY");
    assert_eq!(payload(bot).await["t"], "GUILD_CREATE");
    for n in 0..50 {
        let text: String = (0..1000).map(|_| fastrand::alphanumeric()).collect();
        harbour.say(&format!("{n} {text}"));
        assert_eq!(payload(bot).await["d"]["content"], format!("{n} {text}"));
    }
}

#[tokio::test]
async fn zlib_stream_is_one_stream_with_a_flush_after_each_payload() {
    let harbour = Harbour::open().await;
    let mut bot = harbour.connect_with("?v=10&encoding=json&compress=zlib-stream").await;
    let mut inflate = flate2::Decompress::new(true);
    converse(&harbour, &mut bot, |frame| {
        assert!(frame.ends_with(&[0, 0, 0xff, 0xff]));
        let mut out = Vec::with_capacity(64 * 1024);
        inflate.decompress_vec(frame, &mut out, flate2::FlushDecompress::Sync).unwrap();
        out
    })
    .await;
}

#[tokio::test]
async fn zstd_stream_is_one_stream_with_a_flush_after_each_payload() {
    let harbour = Harbour::open().await;
    let mut bot = harbour.connect_with("?v=10&encoding=json&compress=zstd-stream").await;
    let mut decoder = Decoder::new().unwrap();
    converse(&harbour, &mut bot, |frame| {
        let mut out = vec![0; 64 * 1024];
        let (mut input, mut output) = (InBuffer::around(frame), OutBuffer::around(&mut out[..]));
        while input.pos() < frame.len() {
            decoder.run(&mut input, &mut output).unwrap();
        }
        let length = output.pos();
        out.truncate(length);
        out
    })
    .await;
}

#[tokio::test]
async fn an_unknown_compression_is_refused() {
    let harbour = Harbour::open().await;
    let url = format!("{}/gateway/?v=10&compress=gzip", harbour.base.replacen("http", "ws", 1));
    assert!(tokio_tungstenite::connect_async(url).await.is_err());
}
