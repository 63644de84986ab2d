//! When `vigie up` is to stop: a signal, or the end of its standard input. A restore in place hears the same signals.

use std::io::{self, Read};

use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    sync::oneshot,
};

/// Listens from the very start, so that an early Ctrl-C is not the abrupt kind.
pub(crate) struct Stopper {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
    stdin: bool,
}

impl Stopper {
    /// Listens to signals and, when `stdin`, to the end of standard input.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub(crate) fn new(stdin: bool) -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            hangup: signal(SignalKind::hangup())?,
            stdin,
        })
    }

    /// Resolves when it is time to stop.
    pub(crate) async fn asked(&mut self) {
        tokio::select! {
            () = signalled(&mut self.interrupt, &mut self.terminate, &mut self.hangup) => {}
            () = stdin_closed(), if self.stdin => {}
        }
    }

    /// Resolves when somebody has no patience left.
    pub(crate) async fn asked_again(&mut self) {
        signalled(&mut self.interrupt, &mut self.terminate, &mut self.hangup).await;
    }
}

async fn signalled(interrupt: &mut Signal, terminate: &mut Signal, hangup: &mut Signal) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

/// Waits on a thread of its own, which the end of the process ends.
async fn stdin_closed() {
    let (closed, wait) = oneshot::channel();
    std::thread::spawn(move || {
        let mut buffer = [0; 64];
        while io::stdin().lock().read(&mut buffer).is_ok_and(|count| count > 0) {}
        // An error says that nobody waits any more.
        let _ = closed.send(());
    });
    if wait.await.is_err() {
        std::future::pending::<()>().await;
    }
}
