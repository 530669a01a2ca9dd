//! Landlock: which files this thread, and those that it makes, can still open.
//!
//! The rights are those of ABI 7, which is what this was tried with: the kernel takes as many of them as it knows. Landlock has
//! no say in what `stat(2)` and `access(2)` tell, in changes of mode and owner, in files that are open already, and, in these
//! versions, in connecting to Unix sockets that have a path.

use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, BitFlags, CompatLevel, Compatible, LandlockStatus, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreated,
    RulesetCreatedAttr, RulesetError, RulesetStatus, Scope, make_bitflags,
};

use super::{Held, Plan};

const TRIED: ABI = ABI::V7;

/// Takes everything that the plan does not name.
pub fn restrict(plan: &Plan) -> Held {
    match attempt(plan) {
        Ok(held) => held,
        Err(error) => Held::Failed(format!("Landlock failed: {error}")),
    }
}

fn attempt(plan: &Plan) -> Result<Held, RulesetError> {
    let read = make_bitflags!(AccessFs::{ReadFile | ReadDir});
    let write =
        read | make_bitflags!(AccessFs::{WriteFile | Truncate | MakeReg | MakeDir | MakeSock | MakeSym | RemoveFile | RemoveDir | Refer});
    // A socket is made under another name, and renamed; one that is dead is removed.
    let sockets = make_bitflags!(AccessFs::{MakeSock | RemoveFile});
    let execute = make_bitflags!(AccessFs::{Execute | ReadFile | ReadDir});
    let discard = make_bitflags!(AccessFs::{ReadFile | WriteFile});
    let null = [PathBuf::from("/dev/null")];
    let ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(TRIED))?
        // Nobody of ours listens on an abstract socket, and no signal goes out; a child of ours is within the same walls.
        .scope(Scope::from_all(TRIED))?
        .create()?;
    let rules = [
        (&plan.read[..], read),
        (&plan.system, read),
        (&plan.write, write),
        (&plan.sockets, sockets),
        (&plan.execute, execute),
        (&null, discard),
    ];
    let mut paths = 0;
    let ruleset = rules.into_iter().try_fold(ruleset, |ruleset, (list, rights)| {
        paths += list.len();
        list.iter().try_fold(ruleset, |ruleset, path| allow(ruleset, path, rights))
    })?;
    let status = ruleset.restrict_self()?;
    let abi = match status.landlock {
        LandlockStatus::NotImplemented => {
            return Ok(Held::Absent("this kernel (or what contains this process) has no Landlock".to_owned()));
        }
        LandlockStatus::NotEnabled => {
            return Ok(Held::Absent("Landlock is not switched on in this kernel (boot parameter lsm=)".to_owned()));
        }
        LandlockStatus::Available { effective_abi, kernel_abi } => kernel_abi.unwrap_or(effective_abi as i32),
    };
    Ok(match status.ruleset {
        RulesetStatus::NotEnforced => Held::Failed(format!("Landlock ABI {abi} enforces nothing")),
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Held::Yes(format!("Landlock ABI {abi} ({paths} paths)")),
    })
}

/// Whether a file's permissions let it be read, whatever Landlock says.
pub fn are_readable(path: &std::path::Path) -> bool {
    rustix::fs::access(path, rustix::fs::Access::READ_OK).is_ok()
}

/// A path that has gone meanwhile, or that not even its name can be opened of, is one that nobody could read anyhow.
fn allow(ruleset: RulesetCreated, path: &PathBuf, rights: BitFlags<AccessFs>) -> Result<RulesetCreated, RulesetError> {
    let Ok(open) = PathFd::new(path) else { return Ok(ruleset) };
    let rights = if path.is_dir() { rights } else { rights & AccessFs::from_file(TRIED) };
    ruleset.add_rule(PathBeneath::new(open, rights))
}
