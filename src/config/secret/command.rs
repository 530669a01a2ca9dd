//! A program that prints a secret: run without a shell, in a process group of its own, for so long and no longer.
//!
//! Nothing that it says on standard error is kept, and no message holds its arguments: either might be a secret.

#[cfg_attr(not(unix), path = "command/elsewhere.rs")]
mod group;

use std::io::{self, ErrorKind, Read};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use zeroize::Zeroizing;

use self::group::Group;
use super::MAX_BYTES;

/// How long a program may take, unless its reference says otherwise.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Why a program gave no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It cannot be started. A process that confines itself sees `PermissionDenied` or `Unsupported`.
    Start {
        /// What kind of failure, for the hint.
        kind: ErrorKind,
        /// The system's words.
        error: String,
    },
    /// It ended with this, which is not success.
    Ended(String),
    /// It was not done in this time, and was killed.
    Late(Duration),
    /// It printed more than a secret can be, and was killed.
    TooLarge,
    /// It printed nothing but white space.
    Silent,
    /// Programs are not run for whoever asked.
    NotRun,
}

impl Failure {
    fn start(error: &io::Error) -> Failure {
        Failure::Start { kind: error.kind(), error: error.to_string() }
    }
}

/// What the program prints. Needs no runtime; takes `limit` at most, and a moment to end what is still there then.
pub(super) fn run(program: &Path, arguments: &[String], limit: Duration) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let deadline = Instant::now() + limit;
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    Group::lead_by(&mut command);
    let mut running = Running(Some(command.spawn().map_err(|error| Failure::start(&error))?));
    let (tell, told) = mpsc::sync_channel(1);
    let output = running.0.as_mut().and_then(|child| child.stdout.take());
    // Of its own, because whatever the program has started may keep the pipe open.
    let reader = thread::Builder::new().name("secret".to_owned()).spawn(move || _ = tell.send(output.map_or(Ok(None), read)));
    reader.map_err(|error| Failure::start(&error))?;
    let printed = match told.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(Ok(printed)) => printed.ok_or(Failure::TooLarge)?,
        Ok(Err(error)) => return Err(Failure::Ended(format!("output that cannot be read ({error})"))),
        Err(_) => return Err(Failure::Late(limit)),
    };
    match running.ended_by(deadline) {
        None => Err(Failure::Late(limit)),
        Some(Ok(status)) if status.success() => Ok(printed),
        Some(Ok(status)) => Err(Failure::Ended(group::described(status))),
        Some(Err(error)) => Err(Failure::Ended(format!("an unknown status ({error})"))),
    }
}

/// All of it, in one piece of memory that never moves; `None` is too much.
fn read(mut from: impl Read) -> io::Result<Option<Zeroizing<Vec<u8>>>> {
    let mut room = Zeroizing::new(vec![0; MAX_BYTES as usize + 1]);
    let mut length = 0;
    while length < room.len() {
        match from.read(&mut room[length..]) {
            Ok(0) => return Ok(Some(Zeroizing::new(room[..length].to_vec()))),
            Ok(more) => length += more,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// A child that has not been waited for; its whole group is killed when this is dropped before.
struct Running(Option<Child>);

impl Running {
    /// Waits for its end. Nobody else does, so that its number means this very process until then.
    fn ended_by(&mut self, deadline: Instant) -> Option<io::Result<ExitStatus>> {
        let mut pause = Duration::from_micros(500);
        loop {
            let ended = match self.0.as_mut()?.try_wait() {
                Ok(Some(status)) => Ok(status),
                Ok(None) if Instant::now() >= deadline => return None,
                Ok(None) => {
                    thread::sleep(pause.min(deadline.saturating_duration_since(Instant::now())));
                    pause = (pause * 2).min(Duration::from_millis(20));
                    continue;
                }
                Err(error) => Err(error),
            };
            self.0 = None;
            return Some(ended);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let Some(child) = &mut self.0 else { return };
        // Also when the program itself has ended: it keeps the group's number until it is waited for.
        let group = Group::of(child);
        group.kill(child);
        if self.ended_by(Instant::now() + Duration::from_secs(2)).is_some() {
            return group.reap();
        }
        // One that runs as another user cannot be killed: it is waited for where nobody waits for that.
        if let Some(mut child) = self.0.take() {
            let _ = thread::Builder::new().spawn(move || _ = child.wait());
        }
    }
}
