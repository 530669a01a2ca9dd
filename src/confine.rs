//! The process takes from itself what it does not need, before it has a thread that could keep it: files by Landlock, system
//! calls by seccomp, what other programs could give it by `no_new_privs`, and its memory from core dumps.
//!
//! Whoever makes the process run code of his own by a mistake in it shall find neither other files, nor a shell, nor most of the
//! kernel. All of it is best effort: an old kernel, or a container that has taken these very calls away, is no reason not to
//! serve. What holds and what does not is in the [`State`], which `run` logs and `check` prints.
//!
//! Landlock and seccomp hold for the thread that asks for them and for those that it makes from then on: hence `run` confines
//! itself before there is a runtime. Hence also [`attempt`]: a thread that is confined and ends, and everybody else is as before.
//!
//! Nothing here knows the configuration: it takes lists of paths ([`Needs`]) and makes of them what the kernel is told ([`Plan`]).

#[cfg(target_os = "linux")]
mod allowed;
#[cfg(target_os = "linux")]
mod calls;
#[cfg(target_os = "linux")]
pub mod dumps;
#[cfg(not(target_os = "linux"))]
mod elsewhere;
#[cfg(target_os = "linux")]
mod files;
mod mounts;
mod plan;
#[cfg(target_os = "linux")]
mod privileges;
mod system;

use std::fmt;
use std::io;
use std::path::Path;

#[cfg(not(target_os = "linux"))]
pub use self::elsewhere::dumps;
#[cfg(not(target_os = "linux"))]
use self::elsewhere::{calls, files, privileges};
pub use self::mounts::Mounts;
pub use self::plan::{Needs, Plan};

/// What to do about a file that [`bars`].
pub const FILE_HINT: &str = "the file's permissions allow it, but the process is confined: new paths outside of the directories that were named at start \
                             need a restart, or a place in [confine] read; if it was not soproxy that confined it, AppArmor or SELinux did";

/// What became of one restriction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Held {
    /// It holds; its name, with what is worth knowing.
    Yes(String),
    /// It does not, and that is nobody's fault: this kernel or processor has none.
    Absent(String),
    /// It does not, although it should.
    Failed(String),
}

/// What holds for a thread and for those that it makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// No program that is run gets rights that its caller has not.
    pub no_new_privs: Held,
    /// Only the plan's paths can be opened.
    pub landlock: Held,
    /// Only the system calls of a server can be made.
    pub seccomp: Held,
}

impl State {
    fn all(&self) -> [&Held; 3] {
        [&self.no_new_privs, &self.landlock, &self.seccomp]
    }

    /// Whether something failed that this kernel should be able to do.
    pub fn failed(&self) -> bool {
        self.all().iter().any(|held| matches!(held, Held::Failed(_)))
    }

    /// What holds, and what does not with the reason.
    pub fn told(&self) -> (Vec<String>, Vec<String>) {
        let (mut good, mut bad) = (Vec::new(), Vec::new());
        for held in self.all() {
            match held {
                Held::Yes(what) => good.push(what.clone()),
                Held::Absent(why) | Held::Failed(why) => bad.push(why.clone()),
            }
        }
        // One reason may do for all.
        bad.dedup();
        (good, bad)
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (good, bad) = self.told();
        let good = if good.is_empty() { "by nothing".to_owned() } else { good.join(", ") };
        let bad: String = bad.iter().map(|why| format!("; {why}")).collect();
        write!(f, "{good}{bad}")
    }
}

/// Confines the current thread, and all that it makes from now on, for good.
pub fn apply(plan: &Plan) -> State {
    // The filter comes last: it lets neither Landlock's calls nor its own through.
    State { no_new_privs: privileges::restrict(), landlock: files::restrict(plan), seccomp: calls::restrict(!plan.execute.is_empty()) }
}

/// What [`apply`] would do, done to a thread that ends at once.
pub fn attempt(plan: Plan) -> io::Result<State> {
    let thread = std::thread::Builder::new().name("confined".to_owned()).spawn(move || apply(&plan))?;
    thread.join().map_err(|_| io::Error::other("the attempt panicked"))
}

/// Whether something else than a file's permissions keeps this process from reading it. Landlock has a say when a file is
/// opened, but none in what `access(2)` tells: when the two differ it was Landlock (or one of its like). So nobody has to
/// remember, or be told, whether this process is confined.
pub fn bars(path: &Path) -> bool {
    let denied = std::fs::File::open(path).is_err_and(|error| error.kind() == io::ErrorKind::PermissionDenied);
    denied && files::are_readable(path)
}

#[cfg(target_os = "linux")]
#[cfg(test)]
mod tests {
    use super::*;

    fn state(landlock: Held) -> State {
        State { no_new_privs: Held::Yes("no_new_privs".into()), landlock, seccomp: Held::Yes("seccomp".into()) }
    }

    #[test]
    fn the_state_says_what_holds_and_why_the_rest_does_not() {
        let good = state(Held::Yes("Landlock ABI 7 (3 paths)".into()));
        assert_eq!((good.to_string().as_str(), good.failed()), ("no_new_privs, Landlock ABI 7 (3 paths), seccomp", false));
        let old = state(Held::Absent("this kernel has no Landlock".into()));
        assert_eq!((old.to_string().as_str(), old.failed()), ("no_new_privs, seccomp; this kernel has no Landlock", false));
        assert!(state(Held::Failed("why".into())).failed());
    }

    #[test]
    fn a_confined_thread_reads_what_is_planned_and_nothing_else() {
        let (inside, outside) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (named, other) = (inside.path().join("named"), outside.path().join("other"));
        std::fs::write(&named, "yes").unwrap();
        std::fs::write(&other, "no").unwrap();
        let plan = Plan { read: vec![inside.path().to_owned()], ..Plan::default() };
        let (first, second) = (named.clone(), other.clone());
        let thread = std::thread::spawn(move || {
            let state = apply(&plan);
            let read = |path| std::fs::read(path).map_err(|error| error.kind());
            (state, read(&first), read(&second), bars(&first), bars(&second), std::process::Command::new("true").spawn().map(drop))
        });
        let (state, first, second, first_barred, second_barred, program) = thread.join().unwrap();
        assert_eq!((first, first_barred), (Ok(b"yes".to_vec()), false), "{state}");
        if let Held::Yes(_) = state.landlock {
            assert_eq!((second, second_barred), (Err(io::ErrorKind::PermissionDenied), true), "{state}");
        } else {
            eprintln!("skipped in part: {state}");
        }
        if let Held::Yes(_) = state.seccomp {
            assert_eq!(program.unwrap_err().raw_os_error(), Some(libc::ENOSYS), "{state}");
        }
        assert_eq!((std::fs::read(&other).unwrap(), bars(&other)), (b"no".to_vec(), false), "this thread is as free as before");
    }

    #[test]
    fn a_confined_thread_opens_no_sockets_but_those_of_a_server() {
        let open = |family: i32| socket2::Socket::new(family.into(), socket2::Type::STREAM, None).map(drop);
        let thread = std::thread::spawn(move || (apply(&Plan::default()), open(libc::AF_INET), open(libc::AF_UNIX), open(libc::AF_VSOCK)));
        let (state, internet, unix, other) = thread.join().unwrap();
        assert!(internet.is_ok() && unix.is_ok(), "{state}");
        if let Held::Yes(_) = state.seccomp {
            assert_eq!(other.unwrap_err().raw_os_error(), Some(libc::ENOSYS));
        }
    }

    #[test]
    fn within_somebody_elses_walls_what_cannot_be_had_is_said_and_is_no_failure() {
        // Our own filter takes these very calls away, as that of a container may do.
        let thread = std::thread::spawn(|| (apply(&Plan::default()), attempt(Plan::default()).unwrap()));
        let (outer, inner) = thread.join().unwrap();
        if let Held::Yes(_) = outer.seccomp {
            assert!(matches!((&inner.landlock, &inner.seccomp), (Held::Absent(_), Held::Absent(_))), "{inner}");
            assert!(!inner.failed() && inner.no_new_privs == Held::Yes("no_new_privs".into()), "{inner}");
        }
    }

    #[test]
    fn a_program_that_is_named_can_be_run_and_another_cannot() {
        let (env, other) = (Path::new("/usr/bin/env"), Path::new("/bin/cat"));
        if !(env.exists() && other.exists()) {
            return eprintln!("skipped: this machine has no /usr/bin/env and /bin/cat");
        }
        let plan = Plan::new(&Needs { execute: vec![env.into()], ..Needs::default() }, &Mounts::default());
        let run = |program: &Path| std::process::Command::new(program).stdin(std::process::Stdio::null()).output();
        let thread = std::thread::spawn(move || (apply(&plan), run(env), run(other)));
        let (state, named, other) = thread.join().unwrap();
        let named = named.unwrap_or_else(|error| panic!("{error}: {state}"));
        assert!(named.status.success() && !named.stdout.is_empty(), "{named:?}");
        if let Held::Yes(_) = state.landlock {
            assert_eq!(other.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
        }
    }

    #[test]
    fn a_file_that_is_not_there_is_not_barred() {
        assert!(!bars(Path::new("/gone")));
    }
}
