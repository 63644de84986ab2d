//! The three ways in which payloads travel: plain text, one zlib stream, or one zstd stream per
//! connection. Source: <https://docs.discord.com/developers/events/gateway#transport-compression>.

use axum::extract::ws::Message;
use flate2::{Compress, Compression, FlushCompress};
use zstd::stream::raw::{Encoder, InBuffer, Operation, OutBuffer};

/// How much output space is added when a compressor wants more.
const STEP: usize = 16 * 1024;
/// Fast rather than small: this runs beside what it serves.
const ZSTD_LEVEL: i32 = 1;

/// The compressor of one connection.
pub enum Transport {
    /// Text frames.
    Plain,
    /// Binary frames, each ending with a sync flush (`00 00 FF FF`).
    Zlib(Box<Compress>),
    /// Binary frames, each ending with a flush.
    Zstd(Box<Encoder<'static>>),
}

impl Transport {
    /// The one that the query of the gateway address names with `compress`.
    ///
    /// # Errors
    /// When there is no such compression, or it cannot be set up.
    pub fn named(name: Option<&str>) -> std::io::Result<Self> {
        match name {
            None | Some("") => Ok(Self::Plain),
            Some("zlib-stream") => Ok(Self::Zlib(Box::new(Compress::new(Compression::fast(), true)))),
            Some("zstd-stream") => Ok(Self::Zstd(Box::new(Encoder::new(ZSTD_LEVEL)?))),
            Some(other) => Err(std::io::Error::other(format!("no compression is called {other}"))),
        }
    }

    /// One payload as one WebSocket message.
    ///
    /// # Errors
    /// When the compressor fails, after which the connection is of no use.
    pub fn pack(&mut self, text: String) -> std::io::Result<Message> {
        match self {
            Self::Plain => Ok(Message::Text(text.into())),
            Self::Zlib(compress) => Ok(Message::Binary(deflate(compress, text.as_bytes())?.into())),
            Self::Zstd(encoder) => Ok(Message::Binary(zstd_flush(encoder, text.as_bytes())?.into())),
        }
    }
}

fn deflate(compress: &mut Compress, input: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(input.len() / 2 + 64);
    let begin = compress.total_in();
    loop {
        let done = usize::try_from(compress.total_in() - begin).unwrap_or(usize::MAX);
        let rest = input.get(done..).unwrap_or_default();
        compress.compress_vec(rest, &mut out, FlushCompress::Sync).map_err(std::io::Error::other)?;
        let done = usize::try_from(compress.total_in() - begin).unwrap_or(usize::MAX);
        // Room left over means that the flush is complete.
        if done >= input.len() && out.len() < out.capacity() {
            return Ok(out);
        }
        out.reserve(STEP);
    }
}

fn zstd_flush(encoder: &mut Encoder<'static>, input: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut out = Vec::with_capacity(input.len() / 2 + 64);
    let mut input = InBuffer::around(input);
    while input.pos() < input.src.len() {
        append(&mut out, |room| encoder.run(&mut input, room))?;
    }
    while append(&mut out, |room| encoder.flush(room))? > 0 {}
    Ok(out)
}

/// Runs `write` on the free end of `out`, which it grows first.
fn append<T>(
    out: &mut Vec<u8>,
    write: impl FnOnce(&mut OutBuffer<'_, Vec<u8>>) -> std::io::Result<T>,
) -> std::io::Result<T> {
    out.reserve(STEP);
    let at = out.len();
    write(&mut OutBuffer::around_pos(out, at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_compression_is_refused() {
        assert!(Transport::named(Some("gzip")).is_err());
    }

    #[test]
    fn each_zlib_message_ends_with_a_sync_flush_even_when_it_is_large() {
        let mut transport = Transport::named(Some("zlib-stream")).unwrap();
        let mut inflate = flate2::Decompress::new(true);
        for size in [10, 1000, 300_000] {
            let text: String = (0..size).map(|_| fastrand::alphanumeric()).collect();
            let Message::Binary(packed) = transport.pack(text.clone()).unwrap() else { panic!("text") };
            assert_eq!(packed[packed.len() - 4..], [0, 0, 0xff, 0xff]);
            let mut out = Vec::with_capacity(size + 100);
            inflate.decompress_vec(&packed, &mut out, flate2::FlushDecompress::Sync).unwrap();
            assert_eq!(out, text.as_bytes());
        }
    }
}
