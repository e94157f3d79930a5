//! Ctrl-C and SIGTERM: the first asks to stop, a second one ends the process at once. SIGHUP: the keys are read anew.

use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

/// The exit code of a process that was interrupted twice, as shells give it for SIGINT.
const INTERRUPTED: i32 = 130;

/// Both signals, from the moment this is made.
#[derive(Debug)]
pub(crate) struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    /// Takes the signals over.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next one and gives its name.
    ///
    /// # Cancel safety
    /// No signal is lost.
    pub(crate) async fn recv(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }

    /// Runs an orderly stop to its end, unless another signal ends the process at once.
    ///
    /// # Cancel safety
    /// As `stop`.
    pub(crate) async fn or_at_once<T>(&mut self, stop: impl Future<Output = T>) -> T {
        tokio::select! {
            biased;
            _ = self.recv() => end_process(INTERRUPTED),
            done = stop => done,
        }
    }
}

/// SIGHUP, from the moment this is made; it does not end the process any more.
#[derive(Debug)]
pub(crate) struct HangUp(Signal);

impl HangUp {
    /// Takes the signal over.
    ///
    /// # Errors
    /// The system refuses.
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self(signal(SignalKind::hangup())?))
    }

    /// Waits for the next one.
    ///
    /// # Cancel safety
    /// No signal is lost; several that come at once may be one.
    pub(crate) async fn recv(&mut self) {
        self.0.recv().await;
    }
}

/// Ends the process from wherever it is.
pub(crate) fn end_process(code: i32) -> ! {
    #[expect(
        clippy::disallowed_methods,
        clippy::exit,
        reason = "asked to end at once, while user code may hold every other thread"
    )]
    std::process::exit(code)
}
