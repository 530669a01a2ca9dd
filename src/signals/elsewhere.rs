//! Windows' events under the names of signals.
//!
//! Ctrl-C is SIGINT. Ctrl-Break, the console's window being closed, and the end of the system are SIGTERM: after the latter two
//! Windows ends the process within seconds, drained or not.

use std::future::{pending, poll_fn};
use std::io;
use std::task::Poll;

use tokio::signal::windows::{CtrlBreak, CtrlC, CtrlClose, CtrlShutdown, ctrl_break, ctrl_c, ctrl_close, ctrl_shutdown};

/// Which signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SignalKind {
    /// SIGTERM
    Terminate,
    /// SIGINT
    Interrupt,
    /// One that Windows does not have.
    Unknown,
}

impl SignalKind {
    /// SIGTERM: stop.
    pub fn terminate() -> SignalKind {
        SignalKind::Terminate
    }

    /// SIGINT: stop, from the keyboard.
    pub fn interrupt() -> SignalKind {
        SignalKind::Interrupt
    }

    /// SIGHUP, which never comes.
    pub fn hangup() -> SignalKind {
        SignalKind::Unknown
    }

    /// SIGUSR1, which never comes.
    pub fn user_defined1() -> SignalKind {
        SignalKind::Unknown
    }
}

/// Hears one kind of signal.
#[derive(Debug)]
pub struct Signal(Events);

#[derive(Debug)]
enum Events {
    Terminate(CtrlBreak, CtrlClose, CtrlShutdown),
    Interrupt(CtrlC),
    Never,
}

/// Listens for it from now on.
pub fn signal(kind: SignalKind) -> io::Result<Signal> {
    Ok(Signal(match kind {
        SignalKind::Terminate => Events::Terminate(ctrl_break()?, ctrl_close()?, ctrl_shutdown()?),
        SignalKind::Interrupt => Events::Interrupt(ctrl_c()?),
        SignalKind::Unknown => Events::Never,
    }))
}

impl Signal {
    /// The next one.
    pub async fn recv(&mut self) -> Option<()> {
        match &mut self.0 {
            Events::Terminate(pause, close, shutdown) => {
                poll_fn(|cx| {
                    let came = pause.poll_recv(cx).is_ready() || close.poll_recv(cx).is_ready() || shutdown.poll_recv(cx).is_ready();
                    if came { Poll::Ready(Some(())) } else { Poll::Pending }
                })
                .await
            }
            Events::Interrupt(events) => events.recv().await,
            Events::Never => pending().await,
        }
    }
}
