//! Writing lines on a thread of its own, so that a terminal that is held (Ctrl-S) or a pipe that nobody
//! reads never holds up the one who has something to say.

use std::{
    io::{self, Write},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{SyncSender, sync_channel},
    },
    thread,
    time::Duration,
};

use tokio::{sync::watch, time::timeout};

/// Lines that wait for the reader; further ones are dropped and counted.
const QUEUE_LINES: usize = 1024;
/// How long the end waits for a reader of the last lines; with the end of all parts less than five seconds.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// Where lines go; cheap to clone.
#[derive(Clone)]
pub(crate) struct Writer {
    lines: SyncSender<String>,
    waiting: watch::Sender<usize>,
    lost: Arc<AtomicU64>,
}

impl Writer {
    /// Writes to `out`; `tell_lost` says there, or elsewhere, how many lines were dropped.
    ///
    /// # Errors
    /// When the operating system gives no thread.
    pub(crate) fn start<W: Write + Send + 'static>(
        mut out: W,
        tell_lost: impl Fn(&mut W, u64) + Send + 'static,
    ) -> io::Result<Self> {
        let (lines, queue) = sync_channel::<String>(QUEUE_LINES);
        let writer = Self { lines, waiting: watch::Sender::new(0), lost: Arc::default() };
        let (waiting, lost) = (writer.waiting.clone(), writer.lost.clone());
        let write = move || {
            for line in queue {
                write_line(&mut out, &line);
                // Lines are lost only while others wait, so that this comes by after the last of them.
                let lost = lost.swap(0, Ordering::Relaxed);
                if lost > 0 {
                    tell_lost(&mut out, lost);
                }
                waiting.send_modify(|count| *count = count.saturating_sub(1));
            }
        };
        thread::Builder::new().name("writer".to_owned()).spawn(write)?;
        Ok(writer)
    }

    /// Writes a line soon, or drops it when too many wait already.
    pub(crate) fn push(&self, line: String) {
        self.waiting.send_modify(|count| *count += 1);
        if self.lines.try_send(line).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
            self.waiting.send_modify(|count| *count = count.saturating_sub(1));
        }
    }

    /// Waits, not for long, until everything is written.
    pub(crate) async fn finish(&self) {
        let mut waiting = self.waiting.subscribe();
        // When nobody reads, the last words are lost like others before them.
        let _ = timeout(LAST_WORDS, waiting.wait_for(|count| *count == 0)).await;
    }
}

/// A reader that went away must not end what runs.
pub(crate) fn write_line(out: &mut impl Write, line: &str) {
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Mutex,
        mpsc::{Receiver, channel},
    };

    use super::*;

    /// Holds the first line until it is let go, as Ctrl-S does.
    struct Held {
        go: Receiver<()>,
        text: Arc<Mutex<Vec<u8>>>,
    }

    impl Write for Held {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            // An error says that it was let go for good.
            let _ = self.go.recv();
            self.text.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn a_reader_that_does_not_read_holds_up_nobody_and_is_told_what_it_missed() {
        let (release, go) = channel();
        let text = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::new(AtomicU64::new(0));
        let sum = told.clone();
        let writer = Writer::start(Held { go, text: text.clone() }, move |_, lost| {
            sum.fetch_add(lost, Ordering::Relaxed);
        })
        .unwrap();
        let all = QUEUE_LINES + 10;
        (0..all).for_each(|number| writer.push(number.to_string()));
        drop(release);
        writer.waiting.subscribe().wait_for(|count| *count == 0).await.unwrap();
        let text = String::from_utf8(text.lock().unwrap().clone()).unwrap();
        let lost = usize::try_from(told.load(Ordering::Relaxed)).unwrap();
        assert!((9..=10).contains(&lost), "one line may be in the writer's hand, {lost} are lost");
        assert_eq!(text.lines().count() + lost, all);
    }
}
