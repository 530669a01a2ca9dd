//! Programs that print secrets: what comes of each, how soon, and what is left behind.

use std::time::Instant;

use super::super::command;
use super::*;

fn sh(script: &str, timeout: Duration) -> SecretRef {
    SecretRef::Command { command: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(), timeout }
}

fn words(words: &[&str]) -> SecretRef {
    SecretRef::Command { command: words.iter().map(|word| (*word).to_owned()).collect(), timeout: TIMEOUT }
}

fn text(reference: &SecretRef) -> Result<String, SecretError> {
    let none = env(&[]);
    let secrets = Secrets::new(Path::new("/nowhere"), &none).running(true);
    secrets.text(reference).map(|text| text.expose_secret().to_owned())
}

#[track_caller]
fn fails(reference: &SecretRef, what: &str, hint: &str) {
    let error = text(reference).unwrap_err();
    assert!(error.to_string().contains(what) && error.hint().contains(hint), "{error} ({})", error.hint());
    for told in [error.to_string(), error.hint(), format!("{error:?}"), format!("{reference:?}")] {
        assert!(!told.contains("hush"), "{told}");
    }
}

/// Whether a process with this number runs; a zombie does not, but is there.
fn is_there(pid: &str) -> bool {
    Path::new("/proc").join(pid.trim()).exists()
}

#[track_caller]
fn goes(pid: &str) {
    let started = Instant::now();
    while is_there(pid) {
        assert!(started.elapsed() < Duration::from_secs(5), "process {pid} is still there");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_a_program_prints_is_the_secret_without_the_white_space_around_it() {
    assert_eq!(text(&sh("echo ' one two '; echo hush >&2", TIMEOUT)).unwrap(), "one two");
    // What looks like a shell's is not one's.
    assert_eq!(text(&words(&["echo", "$HOME;", "`id`", "a  b"])).unwrap(), "$HOME; `id` a  b");
    let none = env(&[]);
    let secrets = Secrets::new(Path::new("/nowhere"), &none).running(true);
    assert_eq!(&**secrets.bytes(&sh("printf '\\377\\376\\000 x\\n'", TIMEOUT)).unwrap(), b"\xff\xfe\0 x\n");
}

#[test]
fn a_program_reads_nothing_and_ends_when_it_has_printed() {
    let started = Instant::now();
    assert_eq!(text(&sh("cat; echo done", TIMEOUT)).unwrap(), "done");
    assert!(started.elapsed() < Duration::from_secs(5));
}

#[test]
fn a_program_that_fails_is_told_by_its_status_alone() {
    fails(&sh("echo hush; echo hush >&2; exit 3", TIMEOUT), "program /bin/sh ended with exit status 3", "run it by hand");
    fails(&sh("kill -9 $$ # hush", TIMEOUT), "program /bin/sh ended with signal 9", "run it by hand");
    fails(&sh(": hush", TIMEOUT), "program /bin/sh printed nothing", "run it by hand");
    fails(&sh("echo; echo ' ' # hush", TIMEOUT), "printed nothing", "run it by hand");
    fails(&sh("printf 'hush\\377'", TIMEOUT), "the output of /bin/sh is not UTF-8 text", "UTF-8");
    fails(&sh("echo hush; echo hush", TIMEOUT), "the output of /bin/sh has a line break", "one line");
}

#[test]
fn a_program_that_cannot_be_started_has_a_hint_for_each_reason() {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str, bytes: &str, mode: u32| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    };
    fails(&words(&["no-such-program-1", "hush"]), "there is no program no-such-program-1", "PATH");
    fails(&words(&["no-such-program-1 get hush"]), "there is no program no-such-program-1…", "item of its own");
    fails(&words(&["bin/no-such-program-1", "hush"]), "there is no program bin/no-such-program-1", "relative to the configuration file");
    fails(&words(&[&at("no-interpreter", "#!/no/such/interpreter\n", 0o700), "hush"]), "there is no program", "interpreter");
    fails(&words(&[&at("not-executable", "#!/bin/sh\necho x\n", 0o600), "hush"]), "cannot be started", "[confine] execute");
    fails(&words(&[dir.path().to_str().unwrap(), "hush"]), "cannot be started", "--no-confine");
    fails(&words(&[&at("no-program", "\x01\x02", 0o700), "hush"]), "cannot be started", "begins with #!");
    fails(&words(&["echo", "hu\0sh"]), "cannot be started", "");
}

#[test]
fn a_path_is_relative_to_the_configuration_and_a_name_is_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bin/get");
    std::fs::create_dir(dir.path().join("bin")).unwrap();
    std::fs::write(&path, "#!/bin/sh\necho \"got $1\"\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    let none = env(&[]);
    let secrets = Secrets::new(dir.path(), &none).running(true);
    for name in ["bin/get", "./bin/get", path.to_str().unwrap()] {
        assert_eq!(secrets.text(&words(&[name, "it"])).unwrap().expose_secret(), "got it", "{name}");
    }
    assert_eq!(secrets.text(&words(&["get", "it"])).unwrap_err().to_string(), "there is no program get");
}

#[test]
fn a_program_that_takes_too_long_is_killed_with_all_that_it_has_started() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("pids");
    let limit = Duration::from_millis(300);
    // A grandchild that holds the pipe open; with a program that waits for it, and with one that is long gone.
    for script in ["sleep 60 & echo $$ $! > PIDS; echo hush; wait", "sleep 60 & echo $$ $! > PIDS; echo hush"] {
        let started = Instant::now();
        fails(&sh(&script.replace("PIDS", path.to_str().unwrap()), limit), "was not done after 300ms", "timeout = \"30s\"");
        assert!(started.elapsed() >= limit && started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
        let pids = std::fs::read_to_string(&path).unwrap();
        let (own, other) = pids.trim().split_once(' ').unwrap();
        // Waited for before it returns: no zombie. Its child is somebody else's to wait for.
        assert!(!is_there(own), "{script}");
        let zombie = std::fs::read_to_string(Path::new("/proc").join(other).join("stat")).is_ok_and(|stat| stat.contains(") Z "));
        if !zombie {
            goes(other);
        }
    }
    // One that closes its output and goes on.
    fails(&sh("exec >&-; sleep 60", limit), "was not done after 300ms", "run it by hand");
}

#[test]
fn a_program_that_does_not_stop_printing_is_killed() {
    let started = Instant::now();
    fails(&words(&["yes", "hush"]), "program yes printed more than 1 MiB", "secret alone");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    let most = sh("head -c 1048576 /dev/zero | tr '\\0' x", TIMEOUT);
    assert_eq!(text(&most).unwrap().len(), 1_048_576);
}

#[test]
fn a_command_runs_once_for_all_who_refer_to_it() {
    let dir = tempfile::tempdir().unwrap();
    let none = env(&[]);
    let secrets = Secrets::new(dir.path(), &none).running(true);
    let path = dir.path().join("runs");
    let once = sh(&format!("echo run >> {0}; wc -l < {0}", path.display()), TIMEOUT);
    let fails = sh(&format!("echo run >> {}; exit 1", path.display()), TIMEOUT);
    for _ in 0..3 {
        assert_eq!(secrets.text(&once).unwrap().expose_secret(), "1");
        assert_eq!(&**secrets.bytes(&once).unwrap(), b"1\n");
        assert!(secrets.text(&fails).is_err());
    }
    assert_eq!(std::fs::read_to_string(path).unwrap(), "run\nrun\n", "one of each");
    // The next reading runs it again.
    assert_eq!(Secrets::new(dir.path(), &none).running(true).text(&once).unwrap().expose_secret(), "3");
}

#[test]
fn nothing_runs_for_those_who_did_not_ask_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ran");
    let none = env(&[]);
    let error = Secrets::new(dir.path(), &none).text(&sh(&format!("touch {}; echo x", path.display()), TIMEOUT)).unwrap_err();
    assert_eq!(error.to_string(), "the program /bin/sh is not run for this");
    assert!(!path.exists());
}

#[test]
fn a_command_shows_its_program_only() {
    let reference = words(&["vault", "hush"]);
    assert_eq!(format!("{reference:?}"), "Command { program: \"vault\", timeout: 10s, .. }");
    assert!(!format!("{:?}", words(&["curl -H hush", "hush"])).contains("hush"));
    assert_eq!(command::TIMEOUT, Duration::from_secs(10));
}
