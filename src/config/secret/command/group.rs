//! A program and all that it starts, as one: a process group.

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitOptions, kill_process_group, waitpgid};

/// Its number is that of the program which leads it.
#[derive(Clone, Copy)]
pub(super) struct Group(Pid);

impl Group {
    /// The program will lead a group of its own.
    pub(super) fn lead_by(command: &mut Command) {
        command.process_group(0);
    }

    /// That of a program that leads one, and has not been waited for.
    pub(super) fn of(leader: &Child) -> Group {
        Group(Pid::from_child(leader))
    }

    /// Kills all that are in it.
    pub(super) fn kill(self, _leader: &mut Child) {
        let _ = kill_process_group(self.0, Signal::KILL);
    }

    /// In a container we are the first process: what the program has started is ours now, and nobody else waits for it.
    pub(super) fn reap(self) {
        for _ in 0..20 {
            match waitpgid(self.0, WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                Ok(None) => thread::sleep(Duration::from_millis(5)),
                Err(_) => break,
            }
        }
    }
}

/// How a message tells how a program ended.
pub(super) fn described(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit status {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}
