//! The terminal as a screen: another page of it, without a cursor, and keys as they are pressed. All is as it was
//! when this is dropped.

use std::{
    io::{self, IsTerminal, Read, Write},
    thread,
};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::sync::mpsc;

use crate::cli;

/// Another page, and no cursor on it.
const OPEN: &str = "\x1b[?1049h\x1b[?25l";
const CLOSE: &str = "\x1b[?25h\x1b[?1049l";
/// Keys that wait; more are of no use.
const KEYS: usize = 16;

/// A screen.
pub(super) struct Screen {
    before: Termios,
    keys: mpsc::Receiver<u8>,
    shown: String,
}

impl Screen {
    /// `None` where there is no terminal.
    ///
    /// # Errors
    /// When it cannot be set up.
    pub(super) fn open() -> io::Result<Option<Self>> {
        if !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
            return Ok(None);
        }
        let before = tcgetattr(io::stdin())?;
        let mut keys = before.clone();
        // Ctrl-C is still a signal.
        keys.local_modes.remove(LocalModes::ECHO | LocalModes::ICANON);
        tcsetattr(io::stdin(), OptionalActions::Now, &keys)?;
        let (sender, keys) = mpsc::channel(KEYS);
        let screen = Self { before, keys, shown: String::new() };
        cli::say(OPEN)?;
        // It ends with the process, or with its terminal.
        thread::Builder::new().name("keys".to_owned()).spawn(move || {
            let mut key = [0];
            while io::stdin().lock().read(&mut key).is_ok_and(|count| count > 0) {
                if sender.blocking_send(key[0]).is_err() {
                    return;
                }
            }
        })?;
        Ok(Some(screen))
    }

    /// The next key; never, when there are no more.
    pub(super) async fn key(&mut self) -> Option<u8> {
        match self.keys.recv().await {
            None => std::future::pending().await,
            key => key,
        }
    }

    /// Shows a text from the top; what was there is gone. The same text is not written twice.
    ///
    /// # Errors
    /// When the terminal is gone.
    pub(super) fn show(&mut self, text: String) -> io::Result<()> {
        if text == self.shown {
            return Ok(());
        }
        let lines = text.replace('\n', "\x1b[K\r\n");
        self.shown = text;
        cli::say(&format!("\x1b[H{lines}\x1b[K\x1b[J"))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        // Where that fails the terminal is gone.
        let _ = io::stdout().lock().write_all(CLOSE.as_bytes());
        let _ = io::stdout().lock().flush();
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.before);
    }
}
