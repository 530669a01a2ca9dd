//! Where the kernel is not Linux: nothing is held, and it is said why.

const WHY: &str = "only Linux can be asked for it";

/// In place of `no_new_privs`.
pub(super) mod privileges {
    use super::super::Held;

    pub(in super::super) fn restrict() -> Held {
        Held::Absent(super::WHY.to_owned())
    }
}

/// In place of Landlock.
pub(super) mod files {
    use std::path::Path;

    use super::super::{Held, Plan};

    pub(in super::super) fn restrict(_: &Plan) -> Held {
        Held::Absent(super::WHY.to_owned())
    }

    /// Nothing but its permissions keeps a file from being read.
    pub(in super::super) fn are_readable(_: &Path) -> bool {
        false
    }
}

/// In place of seccomp.
pub(super) mod calls {
    use super::super::Held;

    pub(in super::super) fn restrict(_programs: bool) -> Held {
        Held::Absent(super::WHY.to_owned())
    }
}

/// Core dumps are the system's affair.
pub mod dumps {
    /// Nothing is done, and nothing is wrong with that.
    pub fn forbid() -> Result<(), String> {
        Ok(())
    }

    /// Nobody knows.
    pub fn are_forbidden() -> bool {
        false
    }
}
