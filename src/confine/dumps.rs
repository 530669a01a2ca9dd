//! Core dumps: the memory of this process holds private keys and tickets, and shall be in no file.

use rustix::process::{DumpableBehavior, Resource, Rlimit, dumpable_behavior, getrlimit, set_dumpable_behavior, setrlimit};

/// Neither the kernel nor a collector such as systemd-coredump gets the memory of this process, and no other process of the
/// same user may read it (`ptrace`, `/proc/PID/mem`). On failure, why.
pub fn forbid() -> Result<(), String> {
    // The limit alone does not bind a collector that the kernel pipes to; not to be dumpable does, and a child that is made
    // to run another program is dumpable again: then the limit holds.
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let limit = setrlimit(Resource::Core, none);
    let dumpable = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    limit.and(dumpable).map_err(|error| error.to_string())
}

/// Whether they are forbidden, by whomever.
pub fn are_forbidden() -> bool {
    getrlimit(Resource::Core).current == Some(0) && dumpable_behavior() == Ok(DumpableBehavior::NotDumpable)
}
