//! Where there are no process groups: the program alone. What it has started outlives it when it is killed.

use std::process::{Child, Command, ExitStatus};

/// Nothing.
#[derive(Clone, Copy)]
pub(super) struct Group;

impl Group {
    /// Nothing to ask for.
    pub(super) fn lead_by(_: &mut Command) {}

    /// That of any program.
    pub(super) fn of(_: &Child) -> Group {
        Group
    }

    /// Kills the program.
    pub(super) fn kill(self, program: &mut Child) {
        let _ = program.kill();
    }

    /// Nobody else is there.
    pub(super) fn reap(self) {}
}

/// How a message tells how a program ended.
pub(super) fn described(status: ExitStatus) -> String {
    status.code().map_or_else(|| status.to_string(), |code| format!("exit status {code}"))
}
