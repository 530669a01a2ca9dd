//! seccomp: which system calls this thread, and those that it makes, can still make.
//!
//! A list of what is allowed, and not of what is forbidden: the kernel gets new calls all the time. What is not on it is answered
//! ENOSYS, "not implemented", as by a kernel that is older: C libraries and runtimes know what to do then, as they do not with
//! EPERM (glibc makes threads by `clone` when there is no `clone3`, whose flags a filter cannot see), and as they do not at all
//! when they are killed.

use std::collections::BTreeMap;

use seccompiler::{
    BackendError, BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use super::{Held, allowed};

/// Takes all system calls that a server does not need. `programs`: those that start other programs are let through.
pub fn restrict(programs: bool) -> Held {
    // Numbers are different everywhere, and so are the calls that one has and another has not: what nobody tried is not used.
    if !cfg!(any(target_arch = "x86_64", target_arch = "aarch64")) {
        return Held::Absent(format!("there is no list of system calls for {}", std::env::consts::ARCH));
    }
    let program = match filter(programs) {
        Ok(program) => program,
        Err(error) => return Held::Failed(format!("seccomp failed: {error}")),
    };
    match seccompiler::apply_filter(&program) {
        Ok(()) => Held::Yes(if programs { "seccomp (programs may be run)" } else { "seccomp" }.to_owned()),
        Err(Error::Seccomp(error)) if matches!(error.raw_os_error(), Some(libc::ENOSYS | libc::EINVAL)) => {
            Held::Absent("this kernel (or what contains this process) has no seccomp".to_owned())
        }
        Err(error) => Held::Failed(format!("seccomp failed: {error}")),
    }
}

fn filter(programs: bool) -> Result<BpfProgram, BackendError> {
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> = BTreeMap::new();
    let more: &[libc::c_long] = if programs { allowed::PROGRAMS } else { &[] };
    for &call in allowed::ALWAYS.iter().chain(allowed::HERE).chain(more) {
        rules.insert(call, Vec::new());
    }
    let own = u64::from(std::process::id());
    let w_xor_x = [masked(2, libc::PROT_EXEC, 0), masked(2, libc::PROT_WRITE, 0)];
    // A process is no thread.
    let thread = if programs { 0 } else { libc::CLONE_THREAD };
    let mut only = |call: libc::c_long, any: &mut dyn Iterator<Item = Condition>| -> Result<(), BackendError> {
        let any: Result<Vec<_>, BackendError> = any.map(|(argument, op, value)| one(argument, op, value)).collect();
        rules.insert(call, any?);
        Ok(())
    };
    only(libc::SYS_socket, &mut allowed::FAMILIES.iter().map(|&family| equal(0, family)))?;
    only(libc::SYS_socketpair, &mut [equal(0, libc::AF_UNIX)].into_iter())?;
    only(libc::SYS_ioctl, &mut allowed::CONTROLS.iter().map(|&control| (1, SeccompCmpOp::Eq, control)))?;
    only(libc::SYS_prctl, &mut allowed::PROCESS_CONTROLS.iter().map(|&control| equal(0, control)))?;
    // Nothing is written and then run: a mapping is one or the other, and what was one does not become the other.
    only(libc::SYS_mmap, &mut w_xor_x.into_iter())?;
    only(libc::SYS_mprotect, &mut [masked(2, libc::PROT_EXEC, 0)].into_iter())?;
    // Threads, and no namespaces. (`clone3` is not on the list at all.)
    only(libc::SYS_clone, &mut [masked(0, thread | allowed::NAMESPACES, thread)].into_iter())?;
    only(libc::SYS_prlimit64, &mut [equal(0, 0)].into_iter())?;
    if !programs {
        // `abort` and a panic's signal go to ourselves. A child's number is another.
        only(libc::SYS_tgkill, &mut [(0, SeccompCmpOp::Eq, own)].into_iter())?;
    }
    let arch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(rules, SeccompAction::Errno(libc::ENOSYS as u32), SeccompAction::Allow, arch)?.try_into()
}

/// An argument's place, how it is compared, and with what.
type Condition = (u8, SeccompCmpOp, u64);

fn equal(argument: u8, value: i32) -> Condition {
    (argument, SeccompCmpOp::Eq, u64::from(value.cast_unsigned()))
}

fn masked(argument: u8, mask: i32, value: i32) -> Condition {
    (argument, SeccompCmpOp::MaskedEq(u64::from(mask.cast_unsigned())), u64::from(value.cast_unsigned()))
}

fn one(argument: u8, op: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
    // The kernel takes 32 bits of all that is compared here.
    SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, op, value)?])
}
