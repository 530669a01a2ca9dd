//! The store: what is damaged is set aside, and a process that is killed at any instant loses nothing but the last swap.

use std::ffi::OsString;
use std::fs::{self, Permissions};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use soproxy::sandbox::demo;
use soproxy::store::{Identity, Record, Store, StoreError};
use soproxy::superoffice::signing::SigningKey;
use soproxy::superoffice::state;
use soproxy::ticket;

use crate::logs::Logs;

static KEY: LazyLock<Arc<SigningKey>> =
    LazyLock::new(|| Arc::new(SigningKey::parse(demo::SECOND_PRIVATE_KEY_XML.as_bytes(), None).unwrap()));

fn identity(tenant: &str) -> Identity {
    Identity::new(tenant, &demo::TENANT.parse().unwrap(), &"https://online.superoffice.com".parse().unwrap()).unwrap()
}

fn record(generation: u64) -> Record {
    let now = jiff::Timestamp::now();
    let ticket = ticket::Memo {
        value: "7T:a ticket of the usual length, which is some hundred characters of Base64".into(),
        secret: [1; 32],
        token: [2; 32],
        generation,
        issued: now,
        last_used: Some(now),
        accepted: true,
    };
    let document = Some(vec![b' '; 2_000]);
    let state = state::Memo { base: None, endpoint: None, previous: Vec::new(), document, fetched: now };
    Record { serial: Some(demo::SERIAL.into()), ticket: Some(ticket), state: Some(state) }
}

fn generation(store: &Store, tenant: &str) -> Option<u64> {
    Some(store.load(&identity(tenant), std::slice::from_ref(&KEY))?.ticket?.generation)
}

fn names(dir: &Path) -> Vec<OsString> {
    let mut names: Vec<_> = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

fn mode(path: impl AsRef<Path>) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn files_and_directory_are_for_their_owner_alone() {
    let logs = Logs::capture();
    let above = tempfile::tempdir().unwrap();
    let dir = above.path().join("store");
    let store = Store::open(&dir).unwrap();
    assert_eq!(generation(&store, "Main"), None);
    store.save(&identity("Main"), &KEY, &record(1)).unwrap();
    store.save(&identity("MAIN"), &KEY, &record(2)).unwrap();
    assert_eq!(generation(&store, "main"), Some(2));
    assert_eq!(names(&dir), ["lock", "main.sealed"]);
    assert_eq!([mode(&dir), mode(dir.join("lock")), mode(dir.join("main.sealed"))], [0o700, 0o600, 0o600]);
    drop(store);
    assert_eq!(logs.warnings(), [""; 0]);
    fs::set_permissions(&dir, Permissions::from_mode(0o750)).unwrap();
    fs::write(dir.join("main.sealed.0123.new"), "unfinished").unwrap();
    let store = Store::open(&dir).unwrap();
    assert!(logs.warnings()[0].contains("chmod 700"), "{:?}", logs.warnings());
    assert_eq!((generation(&store, "main"), names(&dir).len(), logs.warnings().len()), (Some(2), 2, 1));
}

#[test]
fn a_store_has_one_user_and_says_what_is_wrong() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.save(&identity("Main"), &KEY, &record(1)).unwrap();
    fs::write(dir.path().join("main.sealed.1.new"), "being written").unwrap();
    let error = Store::open(dir.path()).unwrap_err();
    assert!(matches!(error, StoreError::Locked(_)) && error.to_string().contains("in use by another process"), "{error}");
    assert!(error.hint().contains("a directory of its own"));
    assert!(dir.path().join("main.sealed.1.new").exists(), "it is left alone");
    drop(store);
    let store = Store::open(dir.path()).unwrap();
    assert_eq!(generation(&store, "Main"), Some(1));
    for (path, what, hint) in [
        (dir.path().join("no/such"), "cannot be created", "create the directory above"),
        (dir.path().join("main.sealed"), "cannot be opened", "name a directory"),
    ] {
        let error = Store::open(&path).unwrap_err();
        assert!(error.to_string().contains(what) && error.hint().contains(hint), "{error}");
    }
}

/// What is done to the record in the place given, and what the warning says of it.
type Damage = (&'static str, fn(&Path));

const DAMAGES: [Damage; 11] = [
    ("it ends too early", |file| truncate(file, 50)),
    ("it ends too early", |file| truncate(file, 13)),
    ("does not open it", |file| truncate(file, 200)),
    ("does not begin as a record does", |file| truncate(file, 0)),
    ("does not begin as a record does", |file| fs::write(file, [0; 4096]).unwrap()),
    ("does not open it", |file| edit(file, 300)),
    ("of version 3", |file| edit(file, 13)),
    ("it is too large", |file| fs::write(file, vec![0; 2 << 20]).unwrap()),
    ("it is a symbolic link", |file| {
        fs::rename(file, file.with_extension("elsewhere")).unwrap();
        symlink(file.with_extension("elsewhere"), file).unwrap();
    }),
    ("it is no file", |file| {
        fs::remove_file(file).unwrap();
        assert!(Command::new("mkfifo").arg(file).status().unwrap().success());
    }),
    ("it is no file", |file| {
        fs::remove_file(file).unwrap();
        fs::create_dir(file).unwrap();
    }),
];

fn truncate(file: &Path, length: u64) {
    fs::OpenOptions::new().write(true).open(file).unwrap().set_len(length).unwrap();
}

fn edit(file: &Path, at: usize) {
    let mut bytes = fs::read(file).unwrap();
    bytes[at] ^= 2;
    fs::write(file, bytes).unwrap();
}

#[test]
fn a_record_that_cannot_be_used_is_set_aside_with_one_warning() {
    let dir = tempfile::tempdir().unwrap();
    let (file, bad) = (dir.path().join("main.sealed"), dir.path().join("main.bad"));
    let store = Store::open(dir.path()).unwrap();
    for (why, damage) in DAMAGES {
        store.save(&identity("Main"), &KEY, &record(1)).unwrap();
        damage(&file);
        let logs = Logs::capture();
        assert_eq!(generation(&store, "Main"), None, "{why}");
        let warnings = logs.warnings();
        assert!(warnings.len() == 1 && warnings[0].contains(why) && warnings[0].contains("costs one exchange"), "{why}: {warnings:?}");
        assert!(fs::symlink_metadata(&bad).is_ok() && fs::symlink_metadata(&file).is_err(), "{why}");
        assert_eq!(generation(&store, "Main"), None);
        assert_eq!(logs.warnings().len(), 1, "it is told once");
    }
    store.save(&identity("Main"), &KEY, &record(9)).unwrap();
    assert_eq!(generation(&store, "Main"), Some(9));
}

#[test]
fn a_record_of_another_key_or_tenant_is_set_aside() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    let other = Arc::new(SigningKey::parse(demo::PRIVATE_KEY_XML.as_bytes(), None).unwrap());
    store.save(&identity("Main"), &other, &record(1)).unwrap();
    assert!(store.load(&identity("Main"), &[KEY.clone(), other.clone()]).is_some(), "while the key is replaced both open it");
    let logs = Logs::capture();
    assert_eq!(generation(&store, "Main"), None);
    store.save(&identity("Main"), &KEY, &record(1)).unwrap();
    fs::copy(dir.path().join("main.sealed"), dir.path().join("other.sealed")).unwrap();
    assert_eq!((generation(&store, "Other"), generation(&store, "Main")), (None, Some(1)));
    assert_eq!(names(dir.path()), ["lock", "main.bad", "main.sealed", "other.bad"]);
    assert_eq!(logs.warnings().iter().filter(|line| line.contains("private key does not open it")).count(), 2);
    assert!(!logs.text().contains("7T:"));
}

#[test]
fn a_writing_that_fails_leaves_the_old_record() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(dir.path()).unwrap();
    store.save(&identity("Main"), &KEY, &record(1)).unwrap();
    let mut huge = record(2);
    huge.state.as_mut().unwrap().document = Some(vec![0; 1 << 20]);
    assert!(store.save(&identity("Main"), &KEY, &huge).is_err());
    fs::create_dir_all(dir.path().join("taken.sealed/full")).unwrap();
    assert!(store.save(&identity("Taken"), &KEY, &record(1)).is_err());
    assert_eq!(names(dir.path()), ["lock", "main.sealed", "taken.sealed"]);
    assert_eq!(generation(&store, "Main"), Some(1));
}

/// Where the child saves, if this process is the child.
const CHILD: &str = "SOPROXY_TEST_STORE";
const TENANTS: [&str; 3] = ["Alpha", "beta", "lock"];

/// Where children are killed, and how many: a kill leaves what the kernel was told, and that is told faster where there is no disk
/// to wait for.
fn lanes() -> [(PathBuf, usize); 3] {
    let memory = PathBuf::from("/dev/shm");
    let disk = std::env::temp_dir();
    let memory = if memory.is_dir() { memory } else { disk.clone() };
    [(memory.clone(), 100), (memory, 100), (disk, 20)]
}

#[test]
fn the_child_saves_as_fast_as_it_can_until_it_is_killed() {
    let Some(dir) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let store = Store::open(&dir).unwrap();
    let mut generations = TENANTS.map(|tenant| generation(&store, tenant).unwrap());
    loop {
        for (number, tenant) in TENANTS.iter().enumerate() {
            generations[number] += 1;
            store.save(&identity(tenant), &KEY, &record(generations[number])).unwrap();
            // Fails once the parent is gone, however it ended.
            let line = format!("\nsaved {number} {};\n", generations[number]);
            std::io::stdout().write_all(line.as_bytes()).unwrap();
        }
    }
}

/// Runs a child, kills it `after` its first line, and takes over what it said to have saved.
fn kill_one(dir: &Path, saved: &mut [u64; 3], after: Duration) {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "store::the_child_saves_as_fast_as_it_can_until_it_is_killed", "--nocapture"]).env(CHILD, dir);
    let mut child = child.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut take = |line: String| {
        let Some(words) = line.strip_prefix("saved ").and_then(|line| line.strip_suffix(';')) else { return false };
        let (number, generation) = words.split_once(' ').unwrap();
        saved[number.parse::<usize>().unwrap()] = generation.parse().unwrap();
        true
    };
    let first = lines.by_ref().any(&mut take);
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(first, "the child saved nothing");
    for line in lines {
        take(line);
    }
}

#[test]
fn killed_at_any_instant_it_loses_nothing_but_the_last_swap() {
    let lane = |(above, kills): (PathBuf, usize)| {
        let logs = Logs::capture();
        let above = tempfile::tempdir_in(above).unwrap();
        let dir = &above.path().join("store");
        let mut saved = [0; 3];
        {
            let store = Store::open(dir).unwrap();
            TENANTS.iter().for_each(|tenant| store.save(&identity(tenant), &KEY, &record(0)).unwrap());
        }
        let mut interrupted = 0;
        for _ in 0..kills {
            kill_one(dir, &mut saved, Duration::from_micros(rand::random_range(0..15_000)));
            interrupted += usize::from(names(dir).len() > 4);
            let store = Store::open(dir).unwrap();
            assert_eq!(names(dir), ["alpha.sealed", "beta.sealed", "lock", "lock.sealed"]);
            let found = TENANTS.map(|tenant| generation(&store, tenant).expect("the record is there and opens"));
            let ahead: Vec<u64> =
                found.iter().zip(saved).map(|(found, saved)| found.checked_sub(saved).expect("nothing is lost")).collect();
            assert!(ahead.iter().sum::<u64>() <= 1, "{ahead:?}");
            saved = found;
        }
        assert_eq!(logs.warnings(), [""; 0]);
        interrupted
    };
    let interrupted: usize = std::thread::scope(|scope| {
        let lanes: Vec<_> = lanes().into_iter().map(|given| scope.spawn(move || lane(given))).collect();
        lanes.into_iter().map(|lane| lane.join().unwrap()).sum()
    });
    assert!(interrupted > 15, "only {interrupted} kills came while a record was written");
}
